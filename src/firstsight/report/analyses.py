"""What the page says of one data set beyond accuracies: a text, a figure and a table for each analysis.

The numbers come from the records of the runs, where `firstsight.analysis.analyse` left them, and of the data set.
Figures show the few best methods, tables all of them. What is missing in older results is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from firstsight.errors import InputError
from firstsight.report import figures
from firstsight.report.figures import Found, Shown
from firstsight.report.names import BASELINE, plain_name
from firstsight.report.tables import name_of
from firstsight.results.analyses import (
    Analyses,
    AttributeQuality,
    Confusion,
    Hubness,
    Probability,
    Projection,
    Selection,
    Shares,
)
from firstsight.results.gain import class_gains
from firstsight.results.records import DataRecord, RunRecord

MOST_SHOWN = 4  # methods in a figure


class Table(NamedTuple):
    """A table with a row for each method; the first entry of a row is the method's name."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Analysis:
    """One analysis of one data set."""

    title: str
    text: str  # how to read the figure, and what it says here
    figure: Markup | None
    table: Table | None = None
    is_narrow: bool = False  # the table fits beside the figure


def analyses_of(runs: Sequence[RunRecord], data: DataRecord, slots: Mapping[str, int]) -> list[Analysis]:
    """Make the analyses of one data set that its results allow.

    Args:
        runs: one finished run of each method.
        data: the record of the data set.
        slots: colours by method.
    """
    ranked = sorted(runs, key=lambda run: -(run.ausuc or 0.0))

    def having(part: Callable[[Analyses], Found | None]) -> list[Shown[Found]]:
        """List the methods whose results hold this part of the analyses."""
        found = ((run, part(run.analyses)) for run in ranked if run.analyses)
        return [Shown(slots[run.method], name_of(run), one) for run, one in found if one]

    parts = [
        _projection(data),
        _confusion(having(lambda found: found.confusion), data.name),
        _gain(ranked, data.name),
        _hubness(having(lambda found: found.hubness), data.name),
        _attributes(having(lambda found: found.attributes), data.name),
        _probability(having(lambda found: found.probability), data.name),
        _rejection(having(lambda found: found.reject), data.name),
    ]
    return [part for part in parts if part is not None]


def _projection(data: DataRecord) -> Analysis | None:
    """Show the test classes on two maps."""
    maps, names, is_seen = data.projection, data.names, data.is_seen
    if not maps or not names or not is_seen or not maps.class_:
        return None
    points = len(maps.class_)
    if {len(maps.all), len(maps.high)} != {points} or max(maps.class_) >= min(len(names), len(is_seen)):
        return None
    said = (
        "Each dot is a test class at its attributes, placed by t-SNE: near dots have like attributes, wide gaps mean "
        "little. Where unseen classes come together on the right, what told them apart lies in attributes that "
        "training hardly sees."
    )
    label = f"t-SNE of the test classes of {data.name} by all and by high-variance attributes"
    chart = figures.projection_maps(maps, names, is_seen, label)
    return Analysis("Test classes by their attributes", said + _distances(maps), chart)


def _distances(maps: Projection) -> str:
    """Say how far unseen classes are from their neighbours, where that is known."""
    near = maps.nearest
    if near is None or near.all.unseen is None or near.high.unseen is None or not near.all.unseen:
        return ""
    lost = ", ".join(plain_name(one.class_) for one in maps.lost)
    return (
        f" From an unseen class to the nearest other class the cosine distance is {near.all.unseen:.3f} by all "
        f"attributes and {near.high.unseen:.3f} by the high-variance half"
    ) + (f"; most is lost by {lost}." if lost else ".")


def _confusion(methods: Sequence[Shown[Confusion]], name: str) -> Analysis | None:
    """Show which classes are answered for which."""
    if not methods:
        return None
    said = (
        "Percent of the images of seen and unseen classes that get the name of a seen or an unseen class, right or "
        "not, mean per class: without gamma, unseen images go to seen names. The pairs count with gamma where there "
        "is one, in percent of the first class's images."
    )
    chart = figures.confusion_tables(methods[:MOST_SHOWN], f"Seen and unseen images by answer on {name}")
    rows = [
        (
            one.name,
            *(_number(share, 1) for shares in (one.found.plain, one.found.calibrated) for share in _last(shares)),
        )
        for one in methods[MOST_SHOWN:]
    ]
    heads = ("seen, no gamma", "unseen, no gamma", "seen, gamma", "unseen, gamma")
    table = Table("Percent of images called unseen by the other methods", heads, rows) if rows else None
    return Analysis("Who is taken for whom", said, chart, table)


def _last(shares: Shares | None) -> list[float | None]:
    """Return the shares of seen and of unseen images that are answered with unseen classes."""
    return [row[1] for row in shares] if shares else [None, None]


def _gain(ranked: Sequence[RunRecord], name: str) -> Analysis | None:
    """Compare the best method with the baseline, or with the second where that is missing or the best."""
    having = [run for run in ranked if run.classes]
    if len(having) < 2:
        return None
    best = having[0]
    base = next((run for run in having[1:] if run.method.partition(":")[0] == BASELINE), having[1])
    try:
        gains = class_gains(best.classes, base.classes)
    except InputError:  # of other data under the same name
        return None
    if not gains:
        return None
    up, down = (sum(sign * row.gain > 0 for row in gains) for sign in (1, -1))
    pair = f"{name_of(best)} over {name_of(base)}"
    said = (
        f"Gain of {pair} for every class in points, with gamma where both have one: "
        f"{up} classes gain, {down} lose. A mean hides how many do."
    )
    return Analysis("Class by class", said, figures.gain_bars(gains, f"Gain of {pair} on {name}, class by class"))


def _hubness(methods: Sequence[Shown[Hubness]], name: str) -> Analysis | None:
    """Show which classes are answered for many images."""
    if not methods:
        return None
    best = methods[0]
    said = (
        "How many unseen images get each class as their answer, without gamma. A steep start is a hub, a class that "
        f"answers for many others; for {best.name} the worst are "
        + ", ".join(f"{plain_name(one.name)} ({one.answers})" for one in best.found.uu.hubs[:3])
        + ". The table gives the skewness of these counts (N1) and of being among the ten best (N10): 0 is even, "
        "above 1 there are hubs."
    )
    rows = [
        (one.name, *(_number(value, 2) for value in (*one.found.uu.skewness, *one.found.ut.skewness)))
        for one in methods
    ]
    heads = ("N1, unseen names", "N10, unseen names", "N1, all names", "N10, all names")
    chart = figures.hub_profiles(methods[:MOST_SHOWN], f"Answers per class on {name}")
    return Analysis("Hubs", said, chart, Table("Skewness of the counts", heads, rows))


def _attributes(methods: Sequence[Shown[AttributeQuality]], name: str) -> Analysis | None:
    """Show how well attributes are predicted."""
    if not methods:
        return None
    said = (
        "An image's attributes as a method sees them: those of the candidate classes, weighed by their probabilities. "
        "For each attribute, the chance that an unseen image which has it ranks above one which has not; one half "
        "is a guess."
    )
    rows = [(one.name, _number(one.found.mean.unseen, 3), _number(one.found.mean.all, 3)) for one in methods]
    chart = figures.attribute_profiles(methods[:MOST_SHOWN], f"Attributes told by each method on {name}")
    table = Table("Mean area under the ROC curve", ("unseen names", "all names"), rows)
    return Analysis("Which attributes are told", said, chart, table)


def _probability(methods: Sequence[Shown[Probability]], name: str) -> Analysis | None:
    """Show whether probabilities are as high as accuracies."""
    fitted = [(one, one.found.fitted, one.found.raw) for one in methods if one.found.fitted]
    if not fitted:
        return None
    said = (
        "Scores become probabilities by a softmax with a temperature that was fitted on validation classes. On the "
        "dotted line a method is right as often as it says; below it, it says too much. ECE is the mean gap, NLL the "
        "mean minus log probability of the right class; raw is the softmax of the scores as they come."
    )
    rows = []
    for one, own, raw in fitted:
        of_raw = (raw.ece, raw.nll) if raw else (None, None)
        errors = zip((own.ece, own.nll, *of_raw), (3, 2, 3, 2), strict=True)
        rows.append((one.name, *(_number(*error) for error in errors), f"{own.temperature:.3g}"))
    shown = [Shown(one.slot, one.name, own) for one, own, _ in fitted[:MOST_SHOWN]]
    chart = figures.reliability_diagram(shown, f"Reliability on {name}")
    table = Table("Over all test images, all names", ("ECE", "NLL", "ECE raw", "NLL raw", "temperature"), rows)
    return Analysis("Is it right as often as it says?", said, chart, table, is_narrow=True)


def _rejection(methods: Sequence[Shown[Selection]], name: str) -> Analysis | None:
    """Show error against coverage, and whether unseen images are told from seen ones."""
    if not methods:
        return None
    said = (
        "Answering the most certain images alone lowers the share of wrong answers: AURC is the mean of that share "
        "over all coverages, least what a perfect order of the same answers would reach. AUROC is the chance that an "
        "unseen image has a higher lead of the best unseen class over the best seen one than a seen image: whether "
        "the method knows new from known."
    )
    rows = [
        (one.name, *(_number(value, 3) for value in (one.found.risk, one.found.aurc, one.found.least, one.found.auroc)))
        for one in methods
    ]
    table = Table("Over all test images, all names", ("wrong of all", "AURC", "least AURC", "AUROC"), rows)
    shown = [Shown(one.slot, one.name, one.found.curve) for one in methods if one.found.curve]
    chart = figures.risk_coverage_chart(shown[:MOST_SHOWN], f"Risk and coverage on {name}") if shown else None
    return Analysis("What declining to answer buys", said, chart, table, is_narrow=True)


def _number(value: float | None, digits: int) -> str:
    """Write a number, or a dash where it is not known."""
    return "\N{EN DASH}" if value is None else f"{value:.{digits}f}"
