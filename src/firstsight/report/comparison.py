"""What the numbers allow to be said: intervals, who leads, and who is better than whom.

The word "better" needs per-image records of both methods, a corrected p below 0.05 (`results.bootstrap`), and, where
both were trained with several seeds, a difference beyond the spread over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from firstsight.errors import InputError
from firstsight.report.names import NBSP, listed
from firstsight.report.tables import COLUMNS, MethodRow, Stat, headline_key, ranked
from firstsight.results.bootstrap import METRICS, Comparison, Images, bootstrap, compare, enough_resamples, interval
from firstsight.results.numbers import Metric
from firstsight.results.records import DataRecord, RunRecord

HEADLINES = ("t1", "h", "h_cal", "ausuc")  # each looks at another side of a method


@dataclass(frozen=True)
class Standing:
    """What redrawn test images say of the methods on one data set; empty where no run has per-image records."""

    resamples: int = 0  # how often test images were drawn
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)  # by method and metric
    comparisons: Mapping[str, Sequence[Comparison]] = field(default_factory=dict)  # by metric, highest against others

    def interval(self, method: str, metric: str) -> tuple[float, float] | None:
        """Return the interval of one number, where it has one."""
        return self.intervals.get(method, {}).get(metric)


def assess(rows: Sequence[MethodRow], about: DataRecord) -> Standing:
    """Compute intervals and comparisons of the methods whose runs all hold per-image records.

    Raises:
        InputError: a run's per-image record does not fit the labels.
    """
    methods = {}
    for row in rows:
        seeds = [(_images(run, about), run.gamma) for run in row.runs]
        known = [(images, gamma) for images, gamma in seeds if images is not None]
        if len(known) == len(seeds):
            methods[row.method] = known
    if not methods:
        return Standing()
    resamples = enough_resamples(len(methods))
    drawn = bootstrap(methods, resamples)
    stats = {row.method: row.stats for row in rows}
    # a number that the run itself does not give (T1 of a method that needs seen classes, say) has no interval either
    metrics = {
        metric: {method: stat.mean for method in drawn if (stat := stats[method][metric]) and metric in drawn[method]}
        for metric in METRICS
    }
    intervals = {
        method: {metric: interval(numbers[metric]) for metric in METRICS if method in metrics[metric]}
        for method, numbers in drawn.items()
    }
    comparisons = {
        metric: compare(values, {method: drawn[method][metric] for method in values})
        for metric, values in metrics.items()
    }
    return Standing(resamples, intervals, comparisons)


def _images(run: RunRecord, about: DataRecord) -> Images | None:
    """Return the per-image record of a run, if it has one, and check that its numbers follow from it."""
    name = f"{run.method} on {run.data}, seed {run.seed}"
    try:
        images = Images.decode(run, about)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    if images is None:
        return None
    slack = 2 * float(images.share.max())  # an image or two may fall to the other side by rounding
    for metric, value in images.metrics(run.gamma).items():
        given = run.number(metric)
        scale = 0.01 if metric == "ausuc" else 1.0
        if given is not None and abs(given - value) > scale * slack:
            digits = COLUMNS[metric].digits
            raise InputError(
                f"{name}: images must give the {metric} of the run, {given:.{digits}f}; got {value:.{digits}f}; "
                "run the experiment again"
            )
    return images


class Rival(NamedTuple):
    """The highest method against another one, in words that can be shown."""

    name: str
    stat: Stat
    comparison: Comparison | None  # by the test images
    is_clear: bool  # whether the highest may be called better
    reason: str  # why not, where test images alone would allow it


def rivals(rows: Sequence[MethodRow], standing: Standing, key: str) -> list[Rival]:
    """List every method below the highest one, in the order of this number; untested ones too."""
    found = ranked(rows, key)
    # where the highest has no per-image record, another one is the highest of those that have
    tested = {(one.best, one.other): one for one in standing.comparisons.get(key, ())}
    said = []
    for row, stat in found[1:]:
        first, best = found[0]
        comparison, reason = tested.get((first.method, row.method)), ""
        if comparison is None:
            reason = "not tested: no per-image record"
        elif comparison.is_better and best.is_within_spread_of(stat):
            reason = "within the spread over seeds"
        is_clear = comparison is not None and comparison.is_better and not reason
        said.append(Rival(row.name, stat, comparison, is_clear, reason))
    return said


def tied(rows: Sequence[MethodRow], standing: Standing, key: str) -> list[str]:
    """Name the methods that a test does not tell apart from the highest one."""
    return [one.name for one in rivals(rows, standing, key) if one.comparison is not None and not one.is_clear]


def marks(rows: Sequence[MethodRow], standing: Standing) -> dict[tuple[str, str], str]:
    """Return by method and column `best` for the highest mean, `tied` for what a test does not tell apart from it."""
    found: dict[tuple[str, str], str] = {}
    for key, metric in COLUMNS.items():
        known = [(row, stat.mean) for row in rows if (stat := row.stats[key]) is not None]
        if len(known) < 2:
            continue
        best = (max if metric.higher_is_better else min)(value for _, value in known)
        found |= {(row.method, key): "best" for row, value in known if value == best}
        close = tied(rows, standing, key)
        found |= {(row.method, key): "tied" for row, value in known if row.name in close and value != best}
    return found


class Leader(NamedTuple):
    """The highest method by one number."""

    metric: Metric
    best: Stat
    interval: tuple[float, float] | None
    name: str
    close: list[str]  # methods that are not clearly below


def leaders(rows: Sequence[MethodRow], standing: Standing) -> list[Leader]:
    """Say who leads by the numbers of HEADLINES."""
    highest = ((key, *ranked(rows, key)[0]) for key in HEADLINES if ranked(rows, key))
    return [
        Leader(COLUMNS[key], best, standing.interval(row.method, key), row.name, tied(rows, standing, key))
        for key, row, best in highest
    ]


def verdict(groups: Mapping[str, Sequence[MethodRow]], standings: Mapping[str, Standing]) -> str:
    """Sum up all data sets in one sentence."""
    said: dict[str, list[str]] = {}  # claim -> the data sets it holds for, with their numbers
    for data, rows in groups.items():
        claim, numbers = _claim(rows, standings.get(data, Standing()))
        said.setdefault(claim, []).append(f"on {data}" + (f" ({numbers})" if numbers else ""))
    sentence = "; ".join(f"{claim} {listed(places)}" for claim, places in said.items())
    return sentence[0].upper() + sentence[1:] + "."


def _claim(rows: Sequence[MethodRow], standing: Standing) -> tuple[str, str]:
    """Return what can be said of the methods on one data set, and the numbers it rests on."""
    key = headline_key(rows)
    found = ranked(rows, key)
    if not found:
        return "no method has an H", ""
    number = "calibrated H" if key == "h_cal" else "H"
    (first, best), others = found[0], rivals(rows, standing, key)
    height = f"{number}{NBSP}{best.text()}"
    if not others:
        return f"{first.name} was run alone", height
    numbers = f"{best.text()}, next {others[0].stat.text()}"
    clear = [one.name for one in others if one.is_clear]
    if len(clear) == len(others):
        whom = {1: clear[0], 2: "both other methods"}.get(len(clear), f"the {len(clear)} other methods")
        return f"{first.name} is better than {whom}", f"{number}{NBSP}{numbers}"
    if not any(one.comparison for one in others):
        return f"{first.name} has the highest {number}, which was not tested,", numbers
    if clear:
        whom = f"{len(clear)} of the {len(others)} other methods"
        return f"{first.name} has the highest {number} and is better than {whom}", numbers
    names = [first.name, *(one.name for one in others)]
    shown = listed(names) if len(names) <= 4 else f"the {len(names)} methods"
    return f"there is no clear difference between {shown}", f"{number}{NBSP}{numbers} at the top"
