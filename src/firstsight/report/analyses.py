"""What the page says of one data set beyond accuracies: a text, a figure and a table for each analysis.

The numbers come from the run files, where `firstsight.analysis.analyse` left them, and from the data file. Figures
show the few best methods, tables all of them. What is missing in older results is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from firstsight.analysis.gain import class_gains
from firstsight.errors import InputError
from firstsight.report import figures
from firstsight.report.figures import Shown
from firstsight.report.names import display_name, plain_name
from firstsight.report.tables import Record

MOST_SHOWN = 4  # methods in a figure

# What the files must look like, in the grammar of `report.RUN`; a field that ends in ? may be missing or null.
NUMBER = (int, float)
COUNTS = {"skewness": [object], "perfect?": NUMBER, "counts": [[NUMBER]], "hubs": [{"name": str, "answers": NUMBER}]}
PAIRS = [{"truth": str, "answer": str, "share": NUMBER}]
BINS = {"confidence": [NUMBER], "accuracy": [NUMBER], "images": [NUMBER]}
NAMED = [{"name": str, "auc": NUMBER}]
ANALYSES = {
    "hubness?": {"uu": COUNTS, "ut": COUNTS},
    "confusion?": {"plain": [[NUMBER]], "calibrated?": [[NUMBER]], "pairs?": PAIRS, "unseen_pairs?": PAIRS},
    "attributes?": {"auc": [object], "mean": {"unseen?": NUMBER, "all?": NUMBER}, "best?": NAMED, "worst?": NAMED},
    "probability?": {
        "fitted?": {"temperature": NUMBER, "ece": NUMBER, "nll": NUMBER, "bins": BINS},
        "raw?": {"ece": NUMBER, "nll": NUMBER},
    },
    "reject?": {
        "aurc?": NUMBER,
        "least?": NUMBER,
        "risk?": NUMBER,
        "curve?": {"coverage": [NUMBER], "risk": [NUMBER]},
        "auroc?": NUMBER,
    },
}
PROJECTION = {"all": [[NUMBER]], "high": [[NUMBER]], "class": [int], "images?": [NUMBER], "nearest?": {}}


@dataclass(frozen=True)
class Section:
    """One analysis of one data set.

    Attributes:
        title: a heading.
        text: how to read the figure, and what it says here.
        figure: SVG, and a table where methods are compared.
    """

    title: str
    text: str
    figure: Markup


def sections(runs: Sequence[Record], data: Record, slots: Mapping[str, int] | None = None) -> list[Section]:
    """The analyses of one data set that its results allow.

    Args:
        runs: one finished run of each method, as its file holds it.
        data: the data set's file; {} where there is none.
        slots: colours by method; in the order of the runs where None.
    """
    slots = slots or {run["method"]: number for number, run in enumerate(runs)}
    ranked = sorted(runs, key=lambda run: -(run.get("ausuc") or 0.0))
    methods = [Shown(slots[run["method"]], display_name(run["method"]), run.get("analyses") or {}) for run in ranked]
    name = data.get("name") or (runs[0]["data"] if runs else "")
    parts = [
        _projection(data, name),
        _confusion(_having(methods, "confusion"), name),
        _gain(ranked, name),
        _hubness(_having(methods, "hubness"), name),
        _attributes(_having(methods, "attributes"), name),
        _probability(_having(methods, "probability", "fitted"), name),
        _rejection(_having(methods, "reject"), name),
    ]
    return [part for part in parts if part is not None]


def _having(methods: Sequence[Shown], *keys: str) -> list[Shown]:
    """The methods whose results hold this analysis, or this part of it."""

    def found(one: Shown) -> Any:
        value: Any = one.analyses
        for key in keys:
            value = (value or {}).get(key)
        return value

    return [one for one in methods if found(one)]


def _projection(data: Record, name: str) -> Section | None:
    maps, names, is_seen = (data.get(key) for key in ("projection", "names", "is_seen"))
    if not maps or not names or not is_seen or not maps["class"]:
        return None
    points = len(maps["class"])
    if {len(maps["all"]), len(maps["high"])} != {points} or max(maps["class"]) >= min(len(names), len(is_seen)):
        return None
    said = (
        "Each dot is a test class at its attributes, placed by t-SNE: near dots have like attributes, wide gaps mean "
        "little. Where unseen classes come together on the right, what told them apart lies in attributes that "
        "training hardly sees."
    )
    near = maps.get("nearest") or {}
    distances = [(near.get(key) or {}).get("unseen") for key in ("all", "high")]
    if None not in distances and distances[0]:
        said += (
            f" From an unseen class to the nearest other class the cosine distance is {distances[0]:.3f} by all "
            f"attributes and {distances[1]:.3f} by the high-variance half"
        )
        lost = [plain_name(one["class"]) for one in maps.get("lost") or ()]
        said += f"; most is lost by {', '.join(lost)}." if lost else "."
    label = f"t-SNE of the test classes of {name} by all and by high-variance attributes"
    return Section(
        "Test classes by their attributes", said, _wide(figures.projection_maps(maps, names, is_seen, label))
    )


def _confusion(methods: Sequence[Shown], name: str) -> Section | None:
    if not methods:
        return None
    said = (
        "Percent of the images of seen and unseen classes that get the name of a seen or an unseen class, right or "
        "not, mean per class: without gamma, unseen images go to seen names. The pairs count with gamma where there "
        "is one, in percent of the first class's images."
    )
    chart = _wide(figures.confusion_tables(methods[:MOST_SHOWN], f"Seen and unseen images by answer on {name}"))
    cells = [(key, row) for key in ("plain", "calibrated") for row in (0, 1)]
    rows = [
        (one.name, *(_number(_entry(one.analyses["confusion"].get(key), row, 1), 1) for key, row in cells))
        for one in methods[MOST_SHOWN:]
    ]
    heads = ("seen, no gamma", "unseen, no gamma", "seen, gamma", "unseen, gamma")
    table = _table("Percent of images called unseen by the other methods", heads, rows) if rows else Markup("")
    return Section("Who is taken for whom", said, chart + table)


def _entry(table: Sequence[Sequence[Any]] | None, row: int, column: int) -> Any:
    return None if not table else table[row][column]


def _gain(ranked: Sequence[Record], name: str) -> Section | None:
    """The best method against ESZSL, or against the second where ESZSL is missing or the best."""
    having = [run for run in ranked if run.get("classes")]
    if len(having) < 2:
        return None
    best = having[0]
    base = next((run for run in having[1:] if run["method"].partition(":")[0] == "eszsl"), having[1])
    try:
        gains = class_gains(best["classes"], base["classes"])
    except InputError:  # of other data under the same name
        return None
    if not gains:
        return None
    up, down = (sum(sign * row["gain"] > 0 for row in gains) for sign in (1, -1))
    pair = f"{display_name(best['method'])} over {display_name(base['method'])}"
    said = (
        f"Gain of {pair} for every class in points, with gamma where both have one: "
        f"{up} classes gain, {down} lose. A mean hides how many do."
    )
    return Section("Class by class", said, _wide(figures.gain_bars(gains, f"Gain of {pair} on {name}, class by class")))


def _hubness(methods: Sequence[Shown], name: str) -> Section | None:
    if not methods:
        return None
    best = methods[0]
    hubs = best.analyses["hubness"]["uu"]["hubs"][:3]
    said = (
        "How many unseen images get each class as their answer, without gamma. A steep start is a hub, a class that "
        f"answers for many others; for {best.name} the worst are "
        + ", ".join(f"{plain_name(one['name'])} ({one['answers']})" for one in hubs)
        + ". The table gives the skewness of these counts (N1) and of being among the ten best (N10): 0 is even, "
        "above 1 there are hubs."
    )
    rows = []
    for one in methods:
        found = one.analyses["hubness"]
        skews = [value for key in ("uu", "ut") for value in found[key]["skewness"]]
        rows.append((one.name, *(_number(value, 2) for value in skews)))
    heads = ("N1, unseen names", "N10, unseen names", "N1, all names", "N10, all names")
    chart = _wide(figures.hub_profiles(methods[:MOST_SHOWN], f"Answers per class on {name}"))
    return Section("Hubs", said, chart + _table("Skewness of the counts", heads, rows))


def _attributes(methods: Sequence[Shown], name: str) -> Section | None:
    if not methods:
        return None
    said = (
        "An image's attributes as a method sees them: those of the candidate classes, weighed by their probabilities. "
        "For each attribute, the chance that an unseen image which has it ranks above one which has not; one half "
        "is a guess."
    )
    rows = [
        (one.name, *(_number(one.analyses["attributes"]["mean"].get(key), 3) for key in ("unseen", "all")))
        for one in methods
    ]
    chart = _wide(figures.attribute_profiles(methods[:MOST_SHOWN], f"Attributes told by each method on {name}"))
    table = _table("Mean area under the ROC curve", ("unseen names", "all names"), rows)
    return Section("Which attributes are told", said, chart + table)


def _probability(methods: Sequence[Shown], name: str) -> Section | None:
    if not methods:
        return None
    said = (
        "Scores become probabilities by a softmax with a temperature that was fitted on validation classes. On the "
        "dotted line a method is right as often as it says; below it, it says too much. ECE is the mean gap, NLL the "
        "mean minus log probability of the right class; raw is the softmax of the scores as they come."
    )
    rows = []
    for one in methods:
        fitted, raw = one.analyses["probability"]["fitted"], one.analyses["probability"].get("raw") or {}
        values = [(fitted["ece"], 3), (fitted["nll"], 2), (raw.get("ece"), 3), (raw.get("nll"), 2)]
        rows.append((one.name, *(_number(*value) for value in values), f"{fitted['temperature']:.3g}"))
    chart = figures.reliability_diagram(methods[:MOST_SHOWN], f"Reliability on {name}")
    table = _table("Over all test images, all names", ("ECE", "NLL", "ECE raw", "NLL raw", "temperature"), rows)
    return Section("Is it right as often as it says?", said, _beside(chart, table))


def _rejection(methods: Sequence[Shown], name: str) -> Section | None:
    shown = _having(methods, "reject", "curve")
    if not methods:
        return None
    said = (
        "Answering the most certain images alone lowers the share of wrong answers: AURC is the mean of that share "
        "over all coverages, least what a perfect order of the same answers would reach. AUROC is the chance that an "
        "unseen image has a higher lead of the best unseen class over the best seen one than a seen image: whether "
        "the method knows new from known."
    )
    rows = []
    for one in methods:
        found = one.analyses["reject"]
        rows.append((one.name, *(_number(found.get(key), 3) for key in ("risk", "aurc", "least", "auroc"))))
    heads = ("wrong of all", "AURC", "least AURC", "AUROC")
    table = _table("Over all test images, all names", heads, rows)
    if shown:
        table = _beside(figures.risk_coverage_chart(shown[:MOST_SHOWN], f"Risk and coverage on {name}"), table)
    return Section("What declining to answer buys", said, table)


def _number(value: Any, digits: int) -> str:
    return "\N{EN DASH}" if value is None else f"{value:.{digits}f}"


def _wide(chart: Markup) -> Markup:
    """The chart in a frame that scrolls where the screen is narrow."""
    frame = (
        '<div class="scroll" tabindex="0" role="region" aria-label="chart, scrolls sideways on small screens">{}</div>'
    )
    return Markup(frame).format(chart)


def _beside(chart: Markup, table: Markup) -> Markup:
    return Markup('<div class="side">{}<div>{}</div></div>').format(chart, table)


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """A row a method; the first entry is its name."""
    head = _cells('<th scope="col">{}</th>', heads)
    body = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(row[0], _cells("<td>{}</td>", row[1:])) for row in rows
    )
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{}"><table class="plain-table">'
        "<caption><span>{}</span></caption>"
        '<thead><tr><th scope="col">Method</th>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(caption, caption, head, body)


def _cells(tag: str, values: Sequence[str]) -> Markup:
    return Markup("").join(Markup(tag).format(value) for value in values)
