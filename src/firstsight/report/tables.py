"""The numbers of the report: runs grouped by data set and method, means and spreads over seeds.

A run is what `experiment` wrote for one method, data set and seed. Nothing here knows how a page looks.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from firstsight.report.names import display_name, in_print, published_numbers

Record = Mapping[str, Any]  # one JSON object as read


class Column(NamedTuple):
    """One number of a run, as the main table shows it."""

    key: str
    label: str
    group: str
    digits: int
    hint: str
    lower_is_better: bool = False


COLUMNS = (
    Column("t1", "T1", "Unseen names", 1, "unseen images, unseen names to choose from, percent"),
    Column("u", "u", "All names", 1, "unseen images, all names to choose from, percent"),
    Column("s", "s", "All names", 1, "seen test images, all names to choose from, percent"),
    Column("h", "H", "All names", 1, "harmonic mean of u and s, percent"),
    Column("ausuc", "class", "AUSUC per", 3, "area under the seen-unseen curve of per-class accuracies, 0 to 1"),
    Column("ausuc_per_sample", "sample", "AUSUC per", 3, "the same area with per-sample accuracies, 0 to 1"),
    Column("u_cal", "u", "All names, calibrated", 1, "u after calibrated stacking, percent"),
    Column("s_cal", "s", "All names, calibrated", 1, "s after calibrated stacking, percent"),
    Column("h_cal", "H", "All names, calibrated", 1, "H after calibrated stacking, percent"),
    Column("seconds_fit", "fit", "Seconds", 1, "seconds of training", True),
)
COLUMN_GROUPS = [(group, len(list(own))) for group, own in groupby(COLUMNS, key=lambda column: column.group)]
PUBLISHED_COLUMNS = ("t1", "u", "s", "h")


@dataclass(frozen=True)
class Stat:
    """A number over seeds: its mean, and its standard deviation where more than one seed (n - 1) gives one."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Stat | None:
        """Of the values that are there; None where none is. One seed has no deviation, which is not one of 0."""
        known = [value for value in values if value is not None]
        if not known:
            return None
        return cls(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None)

    def is_within_spread_of(self, other: Stat) -> bool:
        """Whether both spreads over seeds are known and together reach over the difference."""
        if self.deviation is None or other.deviation is None:
            return False
        return abs(self.mean - other.mean) <= self.deviation + other.deviation

    def text(self, digits: int = 1) -> str:
        """As in a sentence: `41.2 ± 0.6`."""
        spread = "" if self.deviation is None else f"\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{self.deviation:.{digits}f}"
        return f"{self.mean:.{digits}f}{spread}"


@dataclass(frozen=True)
class MethodRow:
    """One method on one data set, over all its seeds.

    Attributes:
        stats: mean and spread of each column; None where no run has the number.
        published: what the paper prints for this method here.
    """

    method: str
    runs: Sequence[Record]
    stats: Mapping[str, Stat | None]
    published: Mapping[str, float] | None

    @property
    def name(self) -> str:
        """As people write it."""
        return display_name(self.method)

    @property
    def seeds(self) -> list[int]:
        """Of the finished runs."""
        return sorted({run.get("seed") or 0 for run in self.runs})

    @property
    def has_seeds(self) -> bool:
        """Whether there are several."""
        return len(self.seeds) > 1

    @property
    def shown(self) -> Record:
        """The run whose curve stands for all, the one with the median AUSUC."""
        ranked = sorted(self.runs, key=lambda run: run.get("ausuc") or 0.0)
        return ranked[(len(ranked) - 1) // 2]

    def values(self, of: Callable[[Record], Any]) -> list[Any]:
        """What the runs have by this, each value once, in the order of seeds."""
        return list(dict.fromkeys(value for run in self.runs if (value := of(run)) is not None))


def method_rows(runs: Sequence[Record]) -> list[MethodRow]:
    """The methods of one data set, the best first by `headline_key`."""
    published = published_numbers(str(runs[0]["data"]))
    grouped: dict[str, list[Record]] = {}
    for run in runs:
        grouped.setdefault(run["method"], []).append(run)
    rows = [
        MethodRow(
            method=method,
            runs=sorted(own, key=lambda run: run.get("seed") or 0),
            stats={column.key: Stat.of(run.get(column.key) for run in own) for column in COLUMNS},
            published=published.get(in_print(method)),
        )
        for method, own in grouped.items()
    ]
    leading = [row for row, _ in ranked(rows, headline_key(rows))]
    return leading + [row for row in rows if row not in leading]


def ranked(rows: Sequence[MethodRow], key: str) -> list[tuple[MethodRow, Stat]]:
    """The methods that have this number, the highest first."""
    known = [(row, stat) for row in rows if (stat := row.stats[key]) is not None]
    return sorted(known, key=lambda pair: -pair[1].mean)


def headline_key(rows: Sequence[MethodRow]) -> str:
    """The number that decides: calibrated H where every method has it, else H."""
    return "h_cal" if all(row.stats["h_cal"] for row in rows) else "h"


def column_of(key: str) -> Column:
    """The column of this number."""
    return next(column for column in COLUMNS if column.key == key)
