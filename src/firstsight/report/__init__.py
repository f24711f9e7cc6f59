"""Results folder -> one HTML page that needs nothing else. It reads and never trains.

`tables.py` has the numbers, `charts.py` and `analyses.py` the drawings, `page.html.jinja` the markup,
`published.toml` what the paper prints.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from firstsight.errors import InputError
from firstsight.files import write_text
from firstsight.report import charts, tables
from firstsight.report.tables import MethodRow, Record

__all__ = ["write_report"]

# What files must look like where the page relies on it; a field that ends in ? may be missing or null.
NUMBER = (int, float)
RUN = {
    "data": str,
    "method": str,
    "seed?": int,
    **{f"{column.key}?": NUMBER for column in tables.COLUMNS},
    "gamma?": NUMBER,
    "seconds_score?": NUMBER,
    "settings?": {},
    "versions?": {},
    "classes?": [{"name": str, "images?": int, "accuracy?": NUMBER, "accuracy_calibrated?": NUMBER}],
    "curve?": {"u": [NUMBER], "s": [NUMBER]},
    "error?": str,
}
DATA = {
    "name": str,
    "variance?": {"attributes?": [str], "trainval": [NUMBER], "test_unseen": [NUMBER], "cosine?": NUMBER},
}
GUESSES = [{"name": str, "seen?": bool, "score?": NUMBER}]
PICTURES = {
    "name": str,
    "samples": [{"truth": str, "seen?": bool, "picture": str, "predictions?": {"*": GUESSES}}],
    "reconstructions?": [{"original": str, "reconstructed": str}],
}
KINDS = {str: "text", int: "a whole number", NUMBER: "a number", bool: "true or false"}
ADVICE = "delete it and run the experiment again"


def write_report(results: Path, out: Path) -> Path:
    """Writes the page that shows everything in a results folder.

    Args:
        results: folder with `runs/*.json` and, where there are any, `data/*.json` and `pictures/*.json`.
        out: the HTML file; it is replaced in one step, never left half written.

    Returns:
        out.

    Raises:
        InputError: the folder is missing, has no finished runs, or holds a file that cannot be read.
    """
    results, out = Path(results), Path(out)
    if not results.is_dir():
        raise InputError(f"results must be a folder; got {str(results)!r}, which is not one; run an experiment first")
    runs = [_read(path, RUN) for path in sorted((results / "runs").glob("*.json"))]
    failed = [run for run in runs if run.get("error")]
    finished = [run for run in runs if not run.get("error")]
    if not finished:
        found = f"{len(failed)} failed" if failed else "none"
        raise InputError(f"results must hold finished runs; got {found} in {str(results)!r}; run an experiment first")
    data = [_read(path, DATA) for path in sorted((results / "data").glob("*.json"))]
    pictures = [_read(path, PICTURES) for path in sorted((results / "pictures").glob("*.json"))]
    write_text(out, _page(finished, failed, data, pictures))
    return out


def _read(path: Path, shape: Mapping[str, Any]) -> Record:
    """The JSON object in a file, or the sentence that says what is wrong with it."""
    name = f"{path.parent.name}/{path.name}"
    try:
        # NaN and infinity are no numbers to show
        text = path.read_text(encoding="utf-8")
        record = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except OSError as error:
        raise InputError(f"{name} must be a file that can be read; got {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} must be valid JSON; got {error}; {ADVICE}") from error
    misfit: str | None = _misfit(record, shape, "") or _uneven(record)
    if misfit:
        raise InputError(f"{name} must have {misfit}; {ADVICE}")
    return record


def _finite(text: str) -> float | None:
    return value if math.isfinite(value := float(text)) else None


def _misfit(value: Any, shape: Any, where: str) -> str | None:
    """`a number as 'curve.u[3]'; got str` for the first place where the value is not of this shape."""
    kind: Any = list if isinstance(shape, list) else dict if isinstance(shape, dict) else shape
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        got = "nothing" if value is None else type(value).__name__
        wanted = {list: "a list", dict: "an object"}.get(kind) or KINDS[kind]
        return f"{wanted} as {where!r}; got {got}" if where else f"an object; got {got}"
    parts: Iterable[tuple[Any, Any, str]] = ()
    if isinstance(shape, list):
        parts = ((one, shape[0], f"{where}[{place}]") for place, one in enumerate(value))
    elif isinstance(shape, dict):
        fields = dict.fromkeys(value, shape["*"]) if "*" in shape else shape
        parts = (
            (value.get(name), inner, f"{where}.{name}".lstrip("."))
            for field, inner in fields.items()
            if value.get(name := field.removesuffix("?")) is not None or name == field
        )
    return next((misfit for part in parts if (misfit := _misfit(*part))), None)


def _uneven(record: Mapping[str, Any]) -> str | None:
    """`lists of equal length; got 3 u, 2 s` where lists that belong together differ in length."""
    variance, curve = record.get("variance") or {}, record.get("curve") or {}
    for owner, names in ((curve, ("u", "s")), (variance, ("trainval", "test_unseen", "attributes"))):
        lengths = {name: len(owner[name]) for name in names if owner.get(name)}
        if len(set(lengths.values())) > 1:
            return "lists of equal length; got " + ", ".join(f"{length} {name}" for name, length in lengths.items())
    return None


def _page(
    finished: Sequence[Record], failed: Sequence[Record], data: Sequence[Record], pictures: Sequence[Record]
) -> str:
    """The whole page; the same results give the same bytes."""
    about = {one["name"]: one for one in data}
    shown = {one["name"]: one for one in pictures}
    by_data: dict[str, list[Record]] = {}
    for run in finished:
        by_data.setdefault(run["data"], []).append(run)
    groups = {name: tables.method_rows(by_data[name]) for name in sorted(by_data, key=str.lower)}
    methods = sorted({row.method for rows in groups.values() for row in rows}, key=_method_order)
    slots = {method: number for number, method in enumerate(methods)}
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(plain=tables.plain_name, method=tables.display_name, duration=tables.duration)
    template = resources.files(__package__).joinpath("page.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        verdict=tables.verdict(groups),
        sections=[
            _section(name, rows, about.get(name, {}), shown.get(name, {}), slots) for name, rows in groups.items()
        ],
        never_shown=[one for record in pictures for one in record["samples"] if not one.get("seen")][:4],
        methods=methods,
        slots=slots,
        style=charts.style(slots.values()),
        columns=tables.COLUMNS,
        column_groups=tables.COLUMN_GROUPS,
        published_columns=tables.PUBLISHED_COLUMNS,
        settings=[tables.settings_table(method, groups) for method in methods],
        failed=failed,
        n_runs=len(finished),
        seeds=sorted({run.get("seed") or 0 for run in finished}),
        devices=sorted({str(run["device"]) for run in finished if run.get("device")}),
        versions=_versions(finished),
        seconds=sum((run.get("seconds_fit") or 0.0) + (run.get("seconds_score") or 0.0) for run in finished),
    )


def _method_order(method: str) -> tuple[bool, str]:
    """SP-AEN and its variants first, so that it keeps the first colour."""
    return not method.startswith("spaen"), method


def _section(name: str, rows: Sequence[MethodRow], about: Record, pictures: Record, slots: Mapping) -> dict[str, Any]:
    """What the template shows of one data set."""
    best = rows[0]
    classes = tables.unseen_classes(best)
    variance = tables.variance_view(about.get("variance"))
    curves = [series for row in rows if (series := _series(row, slots[row.method])) is not None]
    return {
        "name": name,
        "about": about,
        "rows": rows,
        "leaders": tables.leaders(rows),
        "published": tables.published_numbers(name),
        "curves": charts.curve_chart(curves, f"Seen-unseen curves on {name}") if curves else None,
        "classes": classes,
        "bars": charts.class_bars(classes, f"Accuracy of unseen classes of {name}, {best.name}") if classes else None,
        "variance": variance,
        "strips": charts.variance_strips(variance, f"Attribute variances of {name}") if variance else None,
        "samples": pictures.get("samples") or [],
        "reconstructions": pictures.get("reconstructions") or [],
    }


def _series(row: MethodRow, slot: int) -> charts.Series | None:
    lines = {id(run): _points(run) for run in row.runs}
    shown = row.shown
    if not lines[id(shown)]:
        return None
    return charts.Series(
        slot=slot,
        name=row.name,
        points=lines.pop(id(shown)),
        others=[points for points in lines.values() if points],
        plain=_pair(shown, "u", "s"),
        calibrated=_pair(shown, "u_cal", "s_cal"),
    )


def _points(run: Record) -> list[tuple[float, float]]:
    curve = run.get("curve") or {}
    return list(zip(curve.get("u") or (), curve.get("s") or (), strict=True))


def _pair(run: Record, x: str, y: str) -> tuple[float, float] | None:
    return None if run.get(x) is None or run.get(y) is None else (run[x], run[y])


def _versions(runs: Iterable[Record]) -> dict[str, list[str]]:
    """Versions by program, all that were used."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for program, version in (run.get("versions") or {}).items():
            found.setdefault(program, set()).add(str(version))
    return {program: sorted(versions) for program, versions in sorted(found.items())}
