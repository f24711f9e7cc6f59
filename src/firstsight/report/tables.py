"""The numbers of the report: runs grouped by data set and method, means and spreads over seeds.

A run is what `bench` wrote for one method, data set and seed. Nothing here knows how a page looks.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from firstsight.report.names import display_name, in_print, published_numbers
from firstsight.results.numbers import METRICS, Metric
from firstsight.results.records import RunRecord

SECONDS = Metric("seconds_fit", "Seconds", 1, "", "seconds of training", higher_is_better=False)
GROUPS = {  # of the columns of the main table: by head, the label of each number
    "Unseen classes": {"t1": "T1"},
    "All classes": {"u": "u", "s": "s", "h": "H"},
    "AUSUC per": {"ausuc": "class", "ausuc_per_sample": "sample"},
    "All classes, calibrated": {"u_cal": "u", "s_cal": "s", "h_cal": "H"},
    "Seconds": {"seconds_fit": "fit"},
}
COLUMNS = {key: METRICS.get(key, SECONDS) for own in GROUPS.values() for key in own}
PUBLISHED_COLUMNS = ("t1", "u", "s", "h")


@dataclass(frozen=True)
class Stat:
    """A number over seeds: its mean, and its standard deviation where more than one seed (n - 1) gives one."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Stat | None:
        """Summarise the values that are known; None where none is. One seed has no deviation, which is not one of 0."""
        if not (known := [value for value in values if value is not None]):
            return None
        return cls(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None)

    def is_within_spread_of(self, other: Stat) -> bool:
        """Tell whether both spreads over seeds are known and together reach over the difference."""
        if self.deviation is None or other.deviation is None:
            return False
        return abs(self.mean - other.mean) <= self.deviation + other.deviation

    def text(self, digits: int = 1) -> str:
        """Write it as in a sentence: `41.2 ± 0.6`."""
        spread = "" if self.deviation is None else f"\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{self.deviation:.{digits}f}"
        return f"{self.mean:.{digits}f}{spread}"


@dataclass(frozen=True)
class MethodRow:
    """One method on one data set, over all its seeds."""

    method: str
    runs: Sequence[RunRecord]
    stats: Mapping[str, Stat | None]  # by column; None where no run has the number
    published: Mapping[str, float] | None  # what the paper prints for this method here

    @property
    def name(self) -> str:
        """Return the method's name as people write it."""
        return name_of(self.runs[0])

    @property
    def seeds(self) -> list[int]:
        """List the seeds of the finished runs."""
        return sorted({run.seed for run in self.runs})

    @property
    def has_seeds(self) -> bool:
        """Tell whether there are several seeds."""
        return len(self.seeds) > 1

    @property
    def shown(self) -> RunRecord:
        """Return the run with the median AUSUC, whose curve stands for all."""
        ranked = sorted(self.runs, key=lambda run: run.ausuc or 0.0)
        return ranked[(len(ranked) - 1) // 2]

    def values(self, of: Callable[[RunRecord], Any]) -> list[Any]:
        """List what a function returns for the runs, each value once, in the order of seeds; None is left out."""
        return list(dict.fromkeys(value for run in self.runs if (value := of(run)) is not None))


def name_of(run: RunRecord) -> str:
    """Return the name of a run's method as people write it; older versions did not record it."""
    return run.title or display_name(run.method)


def method_rows(runs: Sequence[RunRecord]) -> list[MethodRow]:
    """List the methods of one data set, the best first by `headline_key`."""
    published = published_numbers(runs[0].data)
    grouped: dict[str, list[RunRecord]] = {}
    for run in runs:
        grouped.setdefault(run.method, []).append(run)
    rows = [
        MethodRow(
            method=method,
            runs=sorted(own, key=lambda run: run.seed),
            stats={key: Stat.of(run.number(key) for run in own) for key in COLUMNS},
            published=published.get(in_print(method)),
        )
        for method, own in grouped.items()
    ]
    leading = [row for row, _ in ranked(rows, headline_key(rows))]
    return leading + [row for row in rows if row not in leading]


def ranked(rows: Sequence[MethodRow], key: str) -> list[tuple[MethodRow, Stat]]:
    """List the methods that have this number, the highest first."""
    known = [(row, stat) for row in rows if (stat := row.stats[key]) is not None]
    return sorted(known, key=lambda pair: -pair[1].mean)


def headline_key(rows: Sequence[MethodRow]) -> str:
    """Return the key of the number that ranks methods: calibrated H where every method has it, else H."""
    return "h_cal" if all(row.stats["h_cal"] for row in rows) else "h"
