"""How the numbers came about: settings and where they come from, gammas, times, machines, versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from firstsight.report.names import display_name, duration, memory
from firstsight.report.tables import MethodRow, Record, Stat


class SettingsTable(NamedTuple):
    """The settings of one method: a row each, [name, value on the first data set, ...]."""

    name: str
    data: Sequence[str]
    rows: Sequence[Sequence[str]]


def settings_table(method: str, groups: Mapping[str, Sequence[MethodRow]]) -> SettingsTable:
    """Every setting of a method on every data set it was run on; where seeds differ, all values."""
    used = {data: row for data, rows in groups.items() for row in rows if row.method == method}
    names = dict.fromkeys(name for row in used.values() for run in row.runs for name in run.get("settings") or {})
    rows = [[name, *(_joined(_setting(row, name)) for row in used.values())] for name in names]
    return SettingsTable(display_name(method), list(used), rows)


def _setting(row: MethodRow, name: str) -> list[str]:
    return [str(value) for value in row.values(lambda run: _text(run.get("settings") or {}, name))]


def _text(settings: Mapping[str, Any], name: str) -> str | None:
    return str(settings[name]) if name in settings else None


def _joined(values: Iterable[Any]) -> str:
    return " / ".join(map(str, values))


class Conduct(NamedTuple):
    """How one method was run on one data set, as text; an empty text where nothing is known.

    Attributes:
        origin: where the settings come from.
        changed: settings other than the method's defaults; None where the runs do not say what those are.
        gamma: what stacking subtracts, from validation classes; the range over seeds.
        temperature: of probabilities, from validation classes.
        seconds: of training, mean over seeds.
        memory: peak of a run.
    """

    data: str
    name: str
    seeds: str
    origin: str
    changed: list[str] | None
    gamma: str
    temperature: str
    seconds: str
    memory: str


def conduct(data: str, row: MethodRow) -> Conduct:
    """How one method was run."""
    fit = Stat.of(run.get("seconds_fit") for run in row.runs)
    peak = max((run["memory"] for run in row.runs if run.get("memory")), default=None)
    return Conduct(
        data,
        row.name,
        _seeds(row.seeds),
        _joined(row.values(lambda run: run.get("settings_from"))),
        _changed(row),
        _range(run.get("gamma") for run in row.runs),
        _range(run.get("temperature") for run in row.runs),
        duration(fit.mean) if fit else "",
        memory(peak) if peak else "",
    )


def _seeds(seeds: Sequence[int]) -> str:
    """`0 to 4`, or all where one between is missing."""
    is_whole = len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1
    return f"{seeds[0]} to {seeds[-1]}" if is_whole else ", ".join(map(str, seeds))


def _changed(row: MethodRow) -> list[str] | None:
    """`alpha 1.0 (default 10.0)` for what is not as the method has it by itself."""
    defaults = row.shown.get("defaults")
    if not defaults:
        return None
    return [
        f"{name} {_joined(values)} (default {defaults[name]})"
        for name in row.shown.get("settings") or {}
        if name not in ("seed", "device") and name in defaults
        if (values := _setting(row, name)) != [str(defaults[name])]
    ]


def _range(values: Iterable[float | None]) -> str:
    texts = list(dict.fromkeys(f"{value:.3g}" for value in sorted(value for value in values if value is not None)))
    return " to ".join([texts[0], texts[-1]] if len(texts) > 1 else texts)


def versions(runs: Iterable[Record]) -> dict[str, list[str]]:
    """Versions by program, all that were used; `commit` among them."""
    found: dict[str, set[str]] = {}
    for run in runs:
        named = {**(run.get("versions") or {}), "commit": run.get("commit")}
        for program, version in named.items():
            if version:
                found.setdefault(program, set()).add(str(version))
    return {program: sorted(used) for program, used in sorted(found.items())}


def machine(runs: Sequence[Record]) -> dict[str, str]:
    """Devices, threads, peak memory and the time of all runs, where known."""
    devices = sorted({str(run["device"]) for run in runs if run.get("device")})
    threads = sorted({run["threads"] for run in runs if run.get("threads")})
    peak = max((run["memory"] for run in runs if run.get("memory")), default=None)
    known = {
        "device": "; ".join(devices),
        "threads": ", ".join(map(str, threads)),
        "peak memory of a run": memory(peak) if peak else "",
    }
    return {name: text for name, text in known.items() if text}
