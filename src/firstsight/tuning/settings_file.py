"""The file of chosen settings: TOML with a table for each data set and method, `["data".method]`."""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firstsight.errors import InputError
from firstsight.files import write_text
from firstsight.methods import Method, named


@dataclass(frozen=True)
class Chosen:
    """Settings that differ from the defaults of a method, and their origin."""

    settings: Mapping[str, Any]
    origin: str


def write_settings(path: Path, data: str, method: Method, settings: Mapping[str, Any], origin: str) -> None:
    """Write the settings that differ from the method's defaults to the file; other tables stay.

    The origin says how they were found; it is written as a comment above the table.
    """
    default = type(method)().settings()
    tables = {header(*at): chosen for at, chosen in read_settings(path).items()} if path.exists() else {}
    changes = {name: value for name, value in settings.items() if value != default[name]}
    tables[header(data, method.name)] = Chosen(changes, origin)
    lines = []
    for head, chosen in sorted(tables.items()):
        lines += [f"# {chosen.origin}"] if chosen.origin else []
        lines += [head, *(f"{name} = {json.dumps(value)}" for name, value in chosen.settings.items()), ""]
    write_text(path, "\n".join(lines))


def header(data: str, method: str) -> str:
    """Return the line above the settings of a method."""
    return f"[{json.dumps(data)}.{method}]"


def read_settings(path: Path) -> dict[tuple[str, str], Chosen]:
    """Read the settings by (data set, method); raise InputError for settings that the methods do not have."""
    try:
        text = path.read_text(encoding="utf-8")
        by_data = tomllib.loads(text)
    except FileNotFoundError as error:
        raise InputError(f"settings must be a TOML file; got {path}, which does not exist") from error
    except (OSError, ValueError) as error:
        raise InputError(f"settings must be a TOML file; got {path}: {error}") from error
    return dict(_tables(by_data, text, path))


def _tables(by_data: Mapping[str, Any], text: str, path: Path) -> Iterator[tuple[tuple[str, str], Chosen]]:
    above = {line: before for before, line in itertools.pairwise(text.splitlines())}
    for data, methods in by_data.items():
        if not isinstance(methods, dict) or not all(isinstance(table, dict) for table in methods.values()):
            raise InputError(f'settings must be in tables like ["CUB".eszsl]; got {data!r} = {methods!r} in {path}')
        for name, table in methods.items():
            kind = named(name)
            unknown = set(table) - set(kind().settings())
            if unknown:
                raise InputError(f"settings of {name} must be its own; got {sorted(unknown)[0]!r} in {path}")
            kind(**table)
            comment = above.get(header(data, name), "")
            yield (data, name), Chosen(table, comment.removeprefix("# ") if comment.startswith("# ") else "")
