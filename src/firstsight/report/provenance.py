"""How the numbers came about: settings and where they come from, gammas, times, machines, versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from firstsight.report.names import duration, memory
from firstsight.report.tables import MethodRow
from firstsight.results.records import RunRecord


class SettingsTable(NamedTuple):
    """The settings of one method: a row each, [name, value on the first data set, ...]."""

    name: str
    data: Sequence[str]
    rows: Sequence[Sequence[str]]


def settings_tables(methods: Iterable[str], groups: Mapping[str, Sequence[MethodRow]]) -> Iterator[SettingsTable]:
    """List every setting of each method that has some, on every data set; where seeds differ, all values."""
    for method in methods:
        used = {data: row for data, rows in groups.items() for row in rows if row.method == method}
        names = dict.fromkeys(name for row in used.values() for run in row.runs for name in run.settings)
        rows = [[name, *(_joined(_setting(row, name)) for row in used.values())] for name in names]
        if rows:
            yield SettingsTable(next(iter(used.values())).name, list(used), rows)


def _setting(row: MethodRow, name: str) -> list[str]:
    """List the values of a setting over seeds, as text."""
    return row.values(lambda run: str(run.settings[name]) if name in run.settings else None)


def _joined(values: Iterable[Any]) -> str:
    """Join values as in `0.1 / 0.2`."""
    return " / ".join(map(str, values))


class Conduct(NamedTuple):
    """How one method was run on one data set, as text; an empty text where nothing is known."""

    data: str
    name: str
    seeds: str
    origin: str  # of the settings
    changed: list[str] | None  # settings that are not the defaults; None where the runs do not say what those are
    gamma: str  # range over seeds
    temperature: str
    seconds: str  # of training, mean over seeds
    memory: str  # peak of a run


def conduct(groups: Mapping[str, Sequence[MethodRow]]) -> list[Conduct]:
    """Say how each method was run on each data set."""
    return [
        Conduct(
            data,
            row.name,
            _seeds(row.seeds),
            _joined(row.values(lambda run: run.settings_from)),
            _changed(row),
            _range(run.gamma for run in row.runs),
            _range(run.temperature for run in row.runs),
            duration(fit.mean) if (fit := row.stats["seconds_fit"]) else "",
            _peak(row.runs),
        )
        for data, rows in groups.items()
        for row in rows
    ]


def _peak(runs: Sequence[RunRecord]) -> str:
    """Write the highest peak of memory, where it is known."""
    return memory(max(known)) if (known := [run.memory for run in runs if run.memory]) else ""


def _seeds(seeds: Sequence[int]) -> str:
    """Write seeds as `0 to 4`, or list all where one between is missing."""
    is_whole = len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1
    return f"{seeds[0]} to {seeds[-1]}" if is_whole else ", ".join(map(str, seeds))


def _changed(row: MethodRow) -> list[str] | None:
    """List settings that are not the method's defaults, as `alpha 1.0 (default 10.0)`."""
    defaults = row.shown.defaults
    if not defaults:
        return None
    return [
        f"{name} {_joined(values)} (default {defaults[name]})"
        for name in row.shown.settings
        if name not in ("seed", "device") and name in defaults
        if (values := _setting(row, name)) != [str(defaults[name])]
    ]


def _range(values: Iterable[float | None]) -> str:
    """Write the known values as `0.1 to 0.2`, or the one that all are."""
    texts = list(dict.fromkeys(f"{value:.3g}" for value in sorted(value for value in values if value is not None)))
    return " to ".join([texts[0], texts[-1]] if len(texts) > 1 else texts)


def versions(runs: Iterable[RunRecord]) -> dict[str, list[str]]:
    """List by program all versions that were used; `commit` is one of the programs."""
    found: dict[str, set[str]] = {}
    for run in runs:
        named = {**run.versions, "commit": run.commit}
        for program, version in named.items():
            if version:
                found.setdefault(program, set()).add(str(version))
    return {program: sorted(used) for program, used in sorted(found.items())}


def machine(runs: Sequence[RunRecord]) -> dict[str, str]:
    """Name devices, threads, peak memory and the time of all runs, where known."""
    devices = sorted({run.device for run in runs if run.device})
    threads = sorted({run.threads for run in runs if run.threads})
    known = {"device": "; ".join(devices), "threads": ", ".join(map(str, threads)), "peak memory of a run": _peak(runs)}
    return {name: text for name, text in known.items() if text}
