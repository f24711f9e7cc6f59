"""The files of a results folder, read and checked."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firstsight.errors import InputError
from firstsight.report import tables
from firstsight.report.analyses import ANALYSES, PROJECTION
from firstsight.report.tables import Record

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
    "curve?": {"gamma?": [NUMBER], "u": [NUMBER], "s": [NUMBER]},
    "analyses?": ANALYSES,
    "images?": {"lead": str, "right": str},
    "temperature?": NUMBER,
    "defaults?": {},
    "settings_from?": str,
    "commit?": str,
    "memory?": NUMBER,
    "threads?": int,
    "error?": str,
}
DATA = {
    "name": str,
    "projection?": PROJECTION,
    "labels?": [int],
    "is_seen?": [NUMBER],
    "variance?": {"attributes?": [str], "trainval": [NUMBER], "test_unseen": [NUMBER], "cosine?": NUMBER},
}
GUESSES = [{"name": str, "seen?": bool, "score?": NUMBER}]
REASONS = [[str, NUMBER]]  # attributes with their weights
PICTURES = {
    "name": str,
    "samples": [{"truth": str, "seen?": bool, "picture": str, "predictions?": {"*": GUESSES}}],
    "explained?": [
        {"truth": str, "predicted": str, "method?": str, "picture?": str, "for?": REASONS, "against?": REASONS}
    ],
    "reconstructions?": [{"original": str, "reconstructed": str}],
}
KINDS = {str: "text", int: "a whole number", NUMBER: "a number", bool: "true or false"}
ADVICE = "delete it and run the experiment again"


@dataclass(frozen=True)
class Results:
    """A results folder.

    Attributes:
        finished: runs with numbers, in the order of their files.
        failed: runs with an `error`.
        data: what is known of each data set, by name.
        pictures: test pictures with predictions, by the name of the data set.
    """

    finished: Sequence[Record]
    failed: Sequence[Record]
    data: Mapping[str, Record]
    pictures: Mapping[str, Record]


def read_results(folder: Path) -> Results:
    """Everything in a results folder: `runs/*.json` and, where there are any, `data/*.json` and `pictures/*.json`.

    Raises:
        InputError: the folder is missing, has no finished runs, or holds a file that cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"results must be a folder; got {str(folder)!r}, which is not one; run an experiment first")
    runs, data, pictures = (
        [_read(path, shape) for path in sorted((folder / kind).glob("*.json"))]
        for kind, shape in (("runs", RUN), ("data", DATA), ("pictures", PICTURES))
    )
    failed = [run for run in runs if run.get("error")]
    finished = [run for run in runs if not run.get("error")]
    if not finished:
        found = f"{len(failed)} failed" if failed else "none"
        raise InputError(f"results must hold finished runs; got {found} in {str(folder)!r}; run an experiment first")
    return Results(finished, failed, {one["name"]: one for one in data}, {one["name"]: one for one in pictures})


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
    wrong = misfit(record, shape, "") or _uneven(record)
    if wrong:
        raise InputError(f"{name} must have {wrong}; {ADVICE}")
    return record


def _finite(text: str) -> float | None:
    return value if math.isfinite(value := float(text)) else None


def misfit(value: Any, shape: Any, where: str) -> str | None:
    """`a number as 'curve.u[3]'; got str` for the first place where the value is not of this shape."""
    kind: Any = list if isinstance(shape, list) else dict if isinstance(shape, dict) else shape
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        got = "nothing" if value is None else type(value).__name__
        wanted = {list: "a list", dict: "an object"}.get(kind) or KINDS[kind]
        return f"{wanted} as {where!r}; got {got}" if where else f"an object; got {got}"
    parts: Iterable[tuple[Any, Any, str]] = ()
    if isinstance(shape, list) and len(shape) > 1:  # one shape for each place
        if len(value) != len(shape):
            return f"{len(shape)} entries as {where!r}; got {len(value)}"
        parts = ((one, inner, f"{where}[{place}]") for place, (one, inner) in enumerate(zip(value, shape, strict=True)))
    elif isinstance(shape, list):
        parts = ((one, shape[0], f"{where}[{place}]") for place, one in enumerate(value))
    elif isinstance(shape, dict):
        fields = dict.fromkeys(value, shape["*"]) if "*" in shape else shape
        parts = (
            (value.get(name), inner, f"{where}.{name}".lstrip("."))
            for field, inner in fields.items()
            if value.get(name := field.removesuffix("?")) is not None or name == field
        )
    return next((wrong for part in parts if (wrong := misfit(*part))), None)


def _uneven(record: Mapping[str, Any]) -> str | None:
    """`lists of equal length; got 3 u, 2 s` where lists that belong together differ in length."""
    variance, curve = record.get("variance") or {}, record.get("curve") or {}
    for owner, names in ((curve, ("u", "s")), (variance, ("trainval", "test_unseen", "attributes"))):
        lengths = {name: len(owner[name]) for name in names if owner.get(name)}
        if len(set(lengths.values())) > 1:
            return "lists of equal length; got " + ", ".join(f"{length} {name}" for name, length in lengths.items())
    return None
