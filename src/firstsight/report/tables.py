"""The numbers of the report: runs grouped by data set and method, means and spreads over seeds, who leads.

A run is what `experiment` wrote for one method, data set and seed. Nothing here knows how a page looks.
"""

from __future__ import annotations

import re
import statistics
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from itertools import groupby
from typing import Any, NamedTuple

Record = Mapping[str, Any]  # one JSON object as read

NAMES = {
    "spaen": "SP-AEN",
    "spaen:cls-only": "SP-AEN Cls. only",
    "spaen:paper": "SP-AEN (paper settings)",
    "spaen:paper-cls-only": "SP-AEN Cls. only (paper settings)",
    "spaen:authors": "SP-AEN (authors' settings)",
    "spaen:authors-cls-only": "SP-AEN Cls. only (authors' settings)",
    "devise": "DeViSE",
    "cmt_star": "CMT*",
}


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
    def of(cls, values: Iterable[float | None], is_deterministic: bool = False) -> Stat | None:
        """Of the values that are there; None where none is."""
        known = [value for value in values if value is not None]
        if not known:
            return None
        if len(known) > 1:
            return cls(statistics.fmean(known), statistics.stdev(known))
        return cls(known[0], 0.0 if is_deterministic else None)

    def is_clearly_above(self, other: Stat) -> bool:
        """Whether the difference is larger than both standard deviations together; never where one is unknown."""
        if self.deviation is None or other.deviation is None:
            return False
        return self.mean - other.mean > self.deviation + other.deviation

    def text(self, digits: int = 1) -> str:
        """As in a sentence: `41.2 ± 0.6`."""
        spread = "" if self.deviation is None else f"\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{self.deviation:.{digits}f}"
        return f"{self.mean:.{digits}f}{spread}"


@dataclass(frozen=True)
class MethodRow:
    """One method on one data set, over all its seeds.

    Attributes:
        stats: mean and spread of each column; None where no run has the number.
        marks: `best` for the highest mean of a column, `tied` for what is known not to be clearly below.
        published: what the paper prints for this method here.
    """

    method: str
    runs: Sequence[Record]
    stats: Mapping[str, Stat | None]
    published: Mapping[str, float] | None
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As people write it."""
        return display_name(self.method)

    @property
    def seeds(self) -> list[int]:
        """Of the finished runs."""
        return sorted({run.get("seed") or 0 for run in self.runs})

    @property
    def shown(self) -> Record:
        """The run whose curve stands for all, the one with the median AUSUC."""
        ranked = sorted(self.runs, key=lambda run: run.get("ausuc") or 0.0)
        return ranked[(len(ranked) - 1) // 2]

    def setting(self, name: str) -> str:
        """This setting's value; all of them where seeds differ."""
        values = [str(settings[name]) for run in self.runs if name in (settings := run.get("settings") or {})]
        return " / ".join(dict.fromkeys(values))


class Leader(NamedTuple):
    """Who is ahead by one number: several names where the lead of the first is not clear."""

    label: str
    hint: str
    digits: int
    best: Stat
    names: list[str]


def display_name(method: str) -> str:
    """`spaen:cls-only` as people write it."""
    if method in NAMES:
        return NAMES[method]
    base, _, preset = method.partition(":")
    return NAMES.get(base, base.upper()) + (f" ({preset})" if preset else "")


def plain_name(name: str) -> str:
    """A class or attribute name without folder number, prefix and underscores: `041.Scissor_tailed_Flycatcher`."""
    name = re.sub(r"^\d+\.(?=\D)", "", str(name))
    name = re.sub(r"^has_(?=.*::)", "", name)
    return name.replace("::", ": ").replace("_", " ").strip()


def published_numbers(data: str) -> dict[str, dict[str, float]]:
    """What the paper prints for this data set, by method; empty for one it does not have."""
    text = resources.files(__package__).joinpath("published.toml").read_text(encoding="utf-8")
    return tomllib.loads(text).get(data.upper(), {})


def method_rows(runs: Sequence[Record]) -> list[MethodRow]:
    """The methods of one data set, the best first by `headline_key`, with best and tied numbers marked."""
    published = published_numbers(str(runs[0]["data"]))
    grouped: dict[str, list[Record]] = {}
    for run in runs:
        grouped.setdefault(run["method"], []).append(run)
    rows = [
        MethodRow(
            method=method,
            runs=sorted(own, key=lambda run: run.get("seed") or 0),
            stats={
                column.key: Stat.of(
                    (run.get(column.key) for run in own), all(run.get("deterministic") is True for run in own)
                )
                for column in COLUMNS
            },
            published=published.get(_in_print(method)),
        )
        for method, own in grouped.items()
    ]
    for column in COLUMNS:
        _mark(rows, column)
    ranked = [row for row, _ in _ranked(rows, headline_key(rows))]
    return ranked + [row for row in rows if row not in ranked]


def _in_print(method: str) -> str:
    """The name under which the paper prints a method, whichever settings reproduce it."""
    return method.replace(":paper", ":").replace(":authors", ":").replace(":-", ":").removesuffix(":")


def _mark(rows: Sequence[MethodRow], column: Column) -> None:
    sign = -1 if column.lower_is_better else 1
    known = {row.method: stat for row in rows if (stat := row.stats[column.key]) is not None}
    if len(known) < 2:
        return
    signed = {method: Stat(sign * stat.mean, stat.deviation) for method, stat in known.items()}
    best = max(signed.values(), key=lambda stat: stat.mean)
    for row in rows:
        stat = signed.get(row.method)
        if stat is not None and stat.mean == best.mean:
            row.marks[column.key] = "best"
        elif stat is not None and None not in (best.deviation, stat.deviation) and not best.is_clearly_above(stat):
            row.marks[column.key] = "tied"


def _ranked(rows: Sequence[MethodRow], key: str) -> list[tuple[MethodRow, Stat]]:
    """The methods that have this number, the highest first."""
    known = [(row, stat) for row in rows if (stat := row.stats[key]) is not None]
    return sorted(known, key=lambda pair: -pair[1].mean)


def headline_key(rows: Sequence[MethodRow]) -> str:
    """The number that decides: calibrated H where every method has it, else H."""
    return "h_cal" if all(row.stats["h_cal"] for row in rows) else "h"


def leader(rows: Sequence[MethodRow], key: str, label: str) -> Leader | None:
    """The best method by this number, with all that are not clearly below it."""
    ranked = _ranked(rows, key)
    if not ranked:
        return None
    column = next(column for column in COLUMNS if column.key == key)
    first, best = ranked[0]
    names = [row.name for row, stat in ranked if row is first or not best.is_clearly_above(stat)]
    return Leader(label, column.hint, column.digits, best, names)


def leaders(rows: Sequence[MethodRow]) -> list[Leader]:
    """By the four numbers that each look at another side of a method."""
    asked = (("t1", "T1"), ("h", "H"), ("h_cal", "H calibrated"), ("ausuc", "AUSUC"))
    return [found for key, label in asked if (found := leader(rows, key, label)) is not None]


def verdict(groups: Mapping[str, Sequence[MethodRow]]) -> str:
    """One sentence on all data sets; `better` only where the difference exceeds the spread over seeds."""
    said: dict[str, list[str]] = {}  # claim -> the data sets it holds for, with their numbers
    for data, rows in groups.items():
        claim, numbers = _claim(rows)
        said.setdefault(claim, []).append(f"on {data}" + (f" ({numbers})" if numbers else ""))
    sentence = "; ".join(f"{claim} {_listed(places)}" for claim, places in said.items())
    return sentence[0].upper() + sentence[1:] + "."


def _claim(rows: Sequence[MethodRow]) -> tuple[str, str]:
    """What can be said of the methods on one data set, and the numbers it rests on."""
    key = headline_key(rows)
    ranked = _ranked(rows, key)
    found = leader(rows, key, "H")
    if found is None:
        return "no method has an H", ""
    stats = [stat for _, stat in ranked]
    number = ("calibrated H" if key == "h_cal" else "H") + "\N{NO-BREAK SPACE}" + found.best.text()
    n_ahead = len(found.names)
    if len(ranked) == 1:
        return f"{found.names[0]} was run alone", number
    if n_ahead == 1:
        rivals = {2: ranked[1][0].name, 3: "both other methods"}.get(
            len(ranked), f"the {len(ranked) - 1} other methods"
        )
        return f"{found.names[0]} is better than {rivals}", f"{number}, next {stats[1].text()}"
    names = _listed(found.names) if n_ahead <= 4 else f"the {n_ahead} highest methods"
    if any(stat.deviation is None for stat in stats[:n_ahead]):
        return f"one seed is too few to rank {names}", f"highest {number}"
    return f"there is no clear difference between {names}", f"{number} and {stats[1].text()} at the top"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


class ClassRow(NamedTuple):
    """Accuracy of one class over seeds, in percent."""

    name: str
    images: int
    accuracy: float
    calibrated: float | None


def unseen_classes(row: MethodRow) -> list[ClassRow]:
    """The unseen classes with their accuracy among all classes, the best first."""
    grouped: dict[str, list[Record]] = {}
    for run in row.runs:
        for one in run.get("classes") or ():
            if not one.get("seen") and one.get("accuracy") is not None:
                grouped.setdefault(str(one.get("name", "")), []).append(one)
    classes = []
    for name, found in grouped.items():
        calibrated = Stat.of(one.get("accuracy_calibrated") for one in found)
        mean = statistics.fmean(one["accuracy"] for one in found)
        classes.append(
            ClassRow(plain_name(name), found[0].get("images") or 0, mean, calibrated.mean if calibrated else None)
        )
    return sorted(
        classes,
        key=lambda one: (-(one.accuracy if one.calibrated is None else one.calibrated), -one.accuracy, one.name),
    )


@dataclass(frozen=True)
class VarianceView:
    """Attribute variances, ascending by trainval variance.

    Attributes:
        names: a attribute names, or a numbers counted from 1 in the order of the data set.
        trainval: [a] variance over training images.
        test_unseen: [a] variance over images of unseen classes.
        cosine: between the two vectors.
        quiet_share: percent of the variance among unseen classes that lies in the half of the attributes that
            vary less in training.
        rising: attributes of that half that vary most among unseen classes.
    """

    names: Sequence[str]
    trainval: Sequence[float]
    test_unseen: Sequence[float]
    cosine: float | None
    quiet_share: float
    rising: Sequence[str]


def variance_view(variance: Record | None) -> VarianceView | None:
    """The heat map's numbers, or None where there are none."""
    if not variance or not variance.get("trainval") or not variance.get("test_unseen"):
        return None
    given = variance.get("attributes") or ()
    seen, unseen = variance["trainval"], variance["test_unseen"]
    names = [plain_name(name) for name in given] or [f"attribute {place + 1}" for place in range(len(seen))]
    order = sorted(range(len(seen)), key=seen.__getitem__)
    quiet = order[: len(order) // 2]
    rising = sorted(quiet, key=lambda place: -unseen[place])[:3] if given else ()
    return VarianceView(
        names=[names[place] for place in order],
        trainval=[seen[place] for place in order],
        test_unseen=[unseen[place] for place in order],
        cosine=variance.get("cosine"),
        quiet_share=100 * sum(unseen[place] for place in quiet) / (sum(unseen) or 1.0),
        rising=[names[place] for place in rising],
    )


class SettingsTable(NamedTuple):
    """The settings of one method: a row each, [name, value on the first data set, ...]."""

    name: str
    data: Sequence[str]
    rows: Sequence[Sequence[str]]


def settings_table(method: str, groups: Mapping[str, Sequence[MethodRow]]) -> SettingsTable:
    """Every setting of a method on every data set it was run on."""
    used = {data: row for data, rows in groups.items() for row in rows if row.method == method}
    names = dict.fromkeys(name for row in used.values() for run in row.runs for name in run.get("settings") or {})
    rows = [[name, *(row.setting(name) for row in used.values())] for name in names]
    return SettingsTable(display_name(method), list(used), rows)


def duration(seconds: float) -> str:
    """`95` as `1 min 35 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
