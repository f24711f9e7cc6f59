"""What is to be recognised, and as what: pictures in folders, feature files, tables of classes.

All is read as it is asked for, so a million pictures take no more memory than one.
"""

from __future__ import annotations

import csv
import difflib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from firstsight.data import ClassEmbeddings, Floats
from firstsight.errors import InputError

NOT_ATTRIBUTES = ("class", "split", "description")  # columns of a table of classes


@dataclass(frozen=True)
class FeatureFile:
    """Features in a .safetensors file, not read yet.

    Attributes:
        path: of the file.
        n: images.
        names: of the n pictures; their numbers where the file does not say.
        source: what else the file says, such as `backbone`.
    """

    path: Path
    n: int
    names: tuple[str, ...]
    source: dict[str, str]

    @classmethod
    def open(cls, path: str | Path) -> FeatureFile:
        """The file's header."""
        path = Path(path)
        if not path.is_file():
            raise InputError(f"feature file must exist; got {path}")
        try:
            with safe_open(path, framework="np") as file:
                shape = file.get_slice("features").get_shape()
                source = dict(file.metadata() or {})
            names = json.loads(source.pop("files", "null"))
        except (SafetensorError, OSError, ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path} must be a .safetensors file with a tensor 'features'; got {reason}") from error
        if len(shape) != 2:
            raise InputError(f"{path} must hold features [n, v]; got shape {shape}")
        if names is None:
            names = [f"{path}[{row}]" for row in range(shape[0])]
        if not isinstance(names, list) or len(names) != shape[0] or not all(isinstance(name, str) for name in names):
            raise InputError(f"{path} must name one file for each of {shape[0]} rows; got other names")
        return cls(path, shape[0], tuple(names), source)

    def blocks(self, rows: int) -> Iterator[tuple[tuple[str, ...], Floats]]:
        """Names and features [up to `rows`, v], one block after the other."""
        with safe_open(self.path, framework="np") as file:
            features = file.get_slice("features")
            for start in range(0, self.n, rows):
                some = slice(start, min(start + rows, self.n))
                yield self.names[some], features[some]


def read_classes(path: str | Path, like: ClassEmbeddings) -> ClassEmbeddings:
    """Classes from a table with a column `class` and a column of numbers for each attribute.

    Args:
        path: CSV file.
        like: classes whose attributes it must have, by name; where they have no names, as many columns in their order.
            Columns that are no attribute are left out.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"table of classes must exist; got {path}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file)
            header = list(lines.fieldnames or ())
            columns = _attribute_columns(path, header, like)
            names, vectors = [], []
            for row in lines:
                name = (row["class"] or "").strip()
                if not name:
                    raise InputError(f"{path} must name a class in every line; got none in line {lines.line_num}")
                names.append(name)
                vectors.append([_number(path, lines.line_num, column, row[column]) for column in columns])
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} must be a table in UTF-8; got {error}") from error
    if not names:
        raise InputError(f"{path} must list classes; got none")
    return ClassEmbeddings(tuple(names), np.array(vectors), like.attributes)


def _attribute_columns(path: Path, header: list[str], like: ClassEmbeddings) -> list[str]:
    if "class" not in header:
        raise InputError(f"{path} must have a column 'class'; got {', '.join(header) or 'no header'}")
    if not like.attributes:
        columns = [column for column in header if column not in NOT_ATTRIBUTES]
        if len(columns) != (width := like.vectors.shape[1]):
            raise InputError(f"{path} must have {width} columns of numbers, as in training; got {len(columns)}")
        return columns
    missing = [name for name in like.attributes if name not in header]
    if missing:
        close = difflib.get_close_matches(missing[0], header, n=1)
        hint = f"; did {close[0]!r} mean it?" if close else ""
        raise InputError(
            f"{path} must have a column for each of {len(like.attributes)} attributes; "
            f"got none for {missing[0]!r}{f' and {len(missing) - 1} others' if len(missing) > 1 else ''}{hint}"
        )
    return list(like.attributes)


def _number(path: Path, line: int, column: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{path} must hold a number for {column!r} in line {line}; got {text!r}")
    return value
