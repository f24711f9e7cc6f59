"""Dataclasses as JSON documents: the fields of a class are the one description of what a file holds.

A field whose name ends in an underscore, as Python's own words must, is written without it. A value that is missing
or null takes the field's default; other keys than the fields are ignored, so newer files can be read.
"""

from __future__ import annotations

import dataclasses
import json
import math
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

from firstsight.errors import InputError
from firstsight.files import write_text

SCALARS: dict[type, tuple[type, ...]] = {str: (str,), int: (int,), float: (float, int), bool: (bool,)}
WORDS: dict[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    tuple: "a list",
    dict: "an object",
}
OMITTED = {"omitted": True}  # metadata of a field that is left out where it is None; others are written as null
ADVICE = "delete it and run the experiment again"


class MisfitError(ValueError):
    """What a document must have, as the end of a sentence: `text as 'data'; got nothing`."""


class Record:
    """Base of the dataclasses that have a file of their own."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file; NaN and infinity count as null.

        Raises:
            InputError: it cannot be read, or does not hold such a record; the message names the folder and the file.
        """
        name = f"{path.parent.name}/{path.name}"
        try:
            text = path.read_text(encoding="utf-8")
            value = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
        except OSError as error:
            raise InputError(f"{name} must be a file that can be read; got {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{name} must be valid JSON; got {error}; {ADVICE}") from error
        try:
            record: Self = parsed(cls, value)
        except MisfitError as error:
            raise InputError(f"{name} must have {error}; {ADVICE}") from error
        return record

    def write(self, path: Path) -> None:
        """Write the record as one line of JSON, whole or not at all."""
        write_text(path, json.dumps(self.document()))

    def document(self) -> dict[str, Any]:
        """Return the record as JSON holds it."""
        found: dict[str, Any] = document(self)
        return found


def document(value: Any) -> Any:
    """Return a value as JSON holds it: dataclasses become objects, tuples lists."""
    if dataclasses.is_dataclass(value):
        entries = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {
            field.name.rstrip("_"): document(entry)
            for field, entry in entries
            if entry is not None or "omitted" not in field.metadata
        }
    if isinstance(value, dict):
        return {key: document(entry) for key, entry in value.items()}
    return [document(entry) for entry in value] if isinstance(value, list | tuple) else value


def parsed(kind: Any, value: Any, where: str = "") -> Any:
    """Return a JSON value as a type: a scalar, `X | None`, `list[X]`, `tuple[X, Y]`, `dict[str, X]` or a dataclass.

    Args:
        kind: the type.
        value: what `json.loads` returned.
        where: place in the document, for the message.

    Raises:
        MisfitError: the value is not of this type; it says what is wanted at the first place that differs.
    """
    if kind is Any:
        return value
    if isinstance(kind, UnionType):
        return None if value is None else parsed(get_args(kind)[0], value, where)
    base = dict if dataclasses.is_dataclass(kind) else get_origin(kind) or kind
    if type(value) not in SCALARS.get(base, (list if base is tuple else base,)):
        got = "nothing" if value is None else type(value).__name__
        raise MisfitError(f"{WORDS[base]} as {where!r}; got {got}" if where else f"an object; got {got}")
    if base in SCALARS:
        return value
    if dataclasses.is_dataclass(kind):
        return _record(kind, value, where)
    inner = get_args(kind)
    if base is dict:
        return {key: parsed(inner[1], entry, f"{where}.{key}") for key, entry in value.items()}
    if base is tuple and len(value) != len(inner):
        raise MisfitError(f"{len(inner)} entries as {where!r}; got {len(value)}")
    if base is list and set(map(type, value)) <= set(SCALARS.get(inner[0], ())):
        return value
    kinds = inner if base is tuple else inner * len(value)
    return base(parsed(*pair, f"{where}[{at}]") for at, pair in enumerate(zip(kinds, value, strict=True)))


def _record(kind: Any, value: dict[str, Any], where: str) -> Any:
    """Return an object as a dataclass."""
    found = {}
    for name, of_field, is_required in _fields(kind):
        key = name.rstrip("_")
        if is_required or value.get(key) is not None:
            found[name] = parsed(of_field, value.get(key), f"{where}.{key}".lstrip("."))
    return kind(**found)


@cache
def _fields(kind: type) -> list[tuple[str, Any, bool]]:
    """List name, type and whether it is required of each field of a dataclass."""
    types = get_type_hints(kind)
    missing = dataclasses.MISSING
    return [
        (field.name, types[field.name], field.default is missing and field.default_factory is missing)
        for field in dataclasses.fields(kind)
    ]


def check_even(**lists: list[Any] | None) -> None:
    """Check that lists which belong together are of equal length; those that are empty or None are passed over.

    Raises:
        MisfitError: they are not.
    """
    lengths = {name: len(values) for name, values in lists.items() if values}
    if len(set(lengths.values())) > 1:
        raise MisfitError(
            "lists of equal length; got " + ", ".join(f"{length} {name}" for name, length in lengths.items())
        )


def _finite(text: str) -> float | None:
    """Return the number of a text, None where it is too large for one."""
    return value if math.isfinite(value := float(text)) else None
