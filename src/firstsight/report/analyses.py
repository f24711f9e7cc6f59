"""What the page says of one data set beyond accuracies: a text, a figure and a table for each analysis.

The numbers come from the records of the runs, where `firstsight.analysis.analyse` left them, and of the data set.
Figures show the few best methods, tables all of them. What is missing in older results is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from markupsafe import Markup

from firstsight.errors import InputError
from firstsight.report import figures
from firstsight.report.figures import Shown
from firstsight.report.names import BASELINE, plain_name
from firstsight.report.tables import name_of
from firstsight.results.analyses import AttributeQuality, Confusion, Hubness, Probability, Selection
from firstsight.results.numbers import class_gains
from firstsight.results.records import DataRecord, RunRecord

MOST_SHOWN = 4  # methods in a figure
DASH = "\N{EN DASH}"  # for a number that is not known


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

    def made(key: str, make: Callable[[list[Shown[Any]], str], Analysis | None]) -> Analysis | None:
        """Make the analysis of the methods whose results hold this part, the best first."""
        found = ((run, getattr(run.analyses, key)) for run in ranked if run.analyses)
        shown = [Shown(slots[run.method], name_of(run), part) for run, part in found if part]
        return make(shown, data.name) if shown else None

    parts = [
        _projection(data),
        made("confusion", _confusion),
        _gain(ranked, data.name),
        made("hubness", _hubness),
        made("attributes", _attributes),
        made("probability", _probability),
        made("reject", _rejection),
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
        "Each dot is a test class at its attributes, placed by t-SNE: classes with similar attributes are near each "
        "other; the size of a gap means little. Where unseen classes move together on the right, the attributes that "
        "separate them hardly vary in training."
    )
    near = maps.nearest
    if near and near.all.unseen and near.high.unseen is not None:
        lost = ", ".join(plain_name(one.class_) for one in maps.lost)
        said += (
            " From an unseen class to the nearest other class the mean cosine distance is "
            f"{near.all.unseen:.3f} by all attributes and {near.high.unseen:.3f} by the high-variance half"
        ) + (f"; most is lost by {lost}." if lost else ".")
    label = f"t-SNE of the test classes of {data.name} by all and by high-variance attributes"
    return Analysis("Test classes by their attributes", said, figures.projection_maps(maps, names, is_seen, label))


def _confusion(methods: Sequence[Shown[Confusion]], name: str) -> Analysis:
    """Show which classes are predicted for which."""
    said = (
        "Percent of the images of seen and unseen classes that are predicted as a seen or an unseen class, correctly "
        "or not, mean per class: without gamma, unseen images are predicted as seen classes. The pairs count with "
        "gamma where there is one, in percent of the first class's images."
    )
    chart = figures.confusion_tables(methods[:MOST_SHOWN], f"Seen and unseen images by predicted side on {name}")
    rows = []
    for one in methods[MOST_SHOWN:]:
        tables = (shares or [[None, None]] * 2 for shares in (one.found.plain, one.found.calibrated))
        rows.append((one.name, *(_number(as_unseen, 1) for table in tables for _, as_unseen in table)))
    heads = ("seen, no gamma", "unseen, no gamma", "seen, gamma", "unseen, gamma")
    table = Table("Percent of images predicted as unseen classes by the other methods", heads, rows) if rows else None
    return Analysis("Confused classes", said, chart, table)


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
        f"{up} classes gain, {down} lose. A mean does not show how many do."
    )
    return Analysis("Gain by class", said, figures.gain_bars(gains, f"Gain of {pair} on {name}, class by class"))


def _hubness(methods: Sequence[Shown[Hubness]], name: str) -> Analysis:
    """Show which classes are predicted for many images."""
    worst = ", ".join(f"{plain_name(one.name)} ({one.answers})" for one in methods[0].found.uu.hubs[:3])
    said = (
        "Number of unseen images that are predicted as each class, without gamma. A steep start is a hub, a class that "
        f"is predicted for many images of others; for {methods[0].name} the worst are {worst}. The table gives the "
        "skewness of these counts (N1) and of being among the ten best (N10): 0 is even, above 1 there are hubs."
    )
    rows = [
        (one.name, *(_number(value, 2) for value in (*one.found.uu.skewness, *one.found.ut.skewness)))
        for one in methods
    ]
    heads = ("N1, unseen classes", "N10, unseen classes", "N1, all classes", "N10, all classes")
    chart = figures.hub_profiles(methods[:MOST_SHOWN], f"Predictions per class on {name}")
    return Analysis("Hubs", said, chart, Table("Skewness of the counts", heads, rows))


def _attributes(methods: Sequence[Shown[AttributeQuality]], name: str) -> Analysis:
    """Show how well attributes are predicted."""
    said = (
        "The attributes that a method predicts for an image are those of the candidate classes, weighted by their "
        "probabilities. The area under the ROC curve of an attribute is the chance that an unseen image which has it "
        "ranks above one which has not; 0.5 is chance."
    )
    rows = [(one.name, _number(one.found.mean.unseen, 3), _number(one.found.mean.all, 3)) for one in methods]
    chart = figures.attribute_profiles(methods[:MOST_SHOWN], f"Attributes predicted by each method on {name}")
    table = Table("Mean area under the ROC curve", ("unseen classes", "all classes"), rows)
    return Analysis("Attribute prediction", said, chart, table)


def _probability(methods: Sequence[Shown[Probability]], name: str) -> Analysis | None:
    """Show whether probabilities are as high as accuracies."""
    fitted = [(one, one.found.fitted, one.found.raw) for one in methods if one.found.fitted]
    if not fitted:
        return None
    said = (
        "Scores become probabilities by a softmax with a temperature that was fitted on validation classes. On the "
        "dotted line the probability of the prediction equals the accuracy; below it, it is too high. ECE is the mean "
        "gap, NLL the mean minus log probability of the right class; raw is the softmax of the scores as they are."
    )
    rows = []
    for one, own, raw in fitted:
        of_raw = (_number(raw.ece, 3), _number(raw.nll, 2)) if raw else (DASH, DASH)
        rows.append((one.name, _number(own.ece, 3), _number(own.nll, 2), *of_raw, f"{own.temperature:.3g}"))
    shown = [Shown(one.slot, one.name, own) for one, own, _ in fitted[:MOST_SHOWN]]
    chart = figures.reliability_diagram(shown, f"Reliability on {name}")
    table = Table("Over all test images, all classes", ("ECE", "NLL", "ECE raw", "NLL raw", "temperature"), rows)
    return Analysis("Calibration of probabilities", said, chart, table, is_narrow=True)


def _rejection(methods: Sequence[Shown[Selection]], name: str) -> Analysis:
    """Show error against coverage, and whether unseen images are told from seen ones."""
    said = (
        "Predicting for the most certain images alone lowers the share of errors: AURC is the mean of that share over "
        "all coverages, least AURC what a perfect order of the same predictions would reach. AUROC is the chance that "
        "the lead of the best unseen class over the best seen one is higher for an unseen image than for a seen one: "
        "how well the method detects unseen classes."
    )
    rows = [
        (one.name, *(_number(value, 3) for value in (one.found.risk, one.found.aurc, one.found.least, one.found.auroc)))
        for one in methods
    ]
    table = Table("Over all test images, all classes", ("errors", "AURC", "least AURC", "AUROC"), rows)
    shown = [Shown(one.slot, one.name, one.found.curve) for one in methods if one.found.curve]
    chart = figures.risk_coverage_chart(shown[:MOST_SHOWN], f"Risk and coverage on {name}") if shown else None
    return Analysis("Selective prediction: error against coverage", said, chart, table, is_narrow=True)


def _number(value: float | None, digits: int) -> str:
    """Write a number, or a dash where it is not known."""
    return DASH if value is None else f"{value:.{digits}f}"
