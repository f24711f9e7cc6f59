"""The table of classes, `classes.csv`: names, splits, descriptions and attributes."""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from firstsight.errors import InputError

CLASSES_FILE = "classes.csv"
_OWN_COLUMNS = ("class", "split")
_DESCRIPTION = re.compile(r"description( ?\d+)?")  # a class may have several, in columns or parted by |
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


@dataclass(frozen=True, eq=False)
class ClassTable:
    """What `classes.csv` says.

    Attributes:
        names: c classes in the order of the file.
        splits: c times `seen`, `unseen` or nothing.
        descriptions: c texts, empty where there is none; several of a class are parted by `|`.
        attributes: a names of the columns of numbers.
        vectors: [c, a] their values, as in the file.
        text_columns: columns that are no numbers, which nothing reads.
    """

    names: tuple[str, ...]
    splits: tuple[str, ...]
    descriptions: tuple[str, ...]
    attributes: tuple[str, ...]
    vectors: np.ndarray
    text_columns: tuple[str, ...]


def read_classes(folder: str | Path) -> ClassTable:
    """The classes of the folder's `classes.csv`."""
    return read_class_table(Path(folder) / CLASSES_FILE)


def read_class_table(path: Path) -> ClassTable:
    """Classes with a column `class`, and `split`, `description`, `description 2`... and columns of numbers if wanted.

    Commas, semicolons (then with decimal commas too) and tabs separate; yes, no, true and false count as numbers.
    """
    header, rows, decimal_comma = _table(path)
    lower = [name.lower() for name in header]
    repeated = [name for name, count in Counter(name.lower() for name in header if name).items() if count > 1]
    if repeated:
        raise InputError(f"columns of {path} must have different names; got {repeated[0]!r} more than once")
    if "class" not in lower:
        raise InputError(f"{path} must have a column 'class'; got {', '.join(header[:5])}")
    own = {name: lower.index(name) for name in _OWN_COLUMNS if name in lower}
    described = [place for place, name in enumerate(lower) if _DESCRIPTION.fullmatch(name)]
    names = [unicodedata.normalize("NFC", cells[own["class"]]) for _, cells in rows]
    _check_names(names, [line for line, _ in rows], path)
    splits = [cells[own["split"]].lower() if "split" in own else "" for _, cells in rows]
    for (line, cells), split in zip(rows, splits, strict=True):
        if split not in ("", "seen", "unseen"):
            raise InputError(
                f"split in {path} must be 'seen', 'unseen' or empty; got {cells[own['split']]!r} in line {line}"
            )
    attributes, columns, text = [], [], []
    for place, name in enumerate(header):
        if place in own.values() or place in described:
            continue
        values = _numbers([cells[place] for _, cells in rows], decimal_comma)
        filled = [bool(cells[place]) for _, cells in rows]
        if not name:
            if any(filled):
                raise InputError(
                    f"columns of {path} must have names; got none for column {place + 1}; name it, or delete it "
                    "if it only counts the lines"
                )
            continue  # a comma at the end of every line
        if all(value is None for value in values):
            text.append(name)
            continue
        for (line, cells), value, class_name in zip(rows, values, names, strict=True):
            if value is None or not math.isfinite(value):
                raise InputError(
                    f"attribute {name!r} in {path} must be a finite number for every class; "
                    f"got {cells[place]!r} for {class_name!r} in line {line}"
                )
        attributes.append(name)
        columns.append(values)
    descriptions = ["|".join(filter(None, (cells[place] for place in described))) for _, cells in rows]
    return ClassTable(
        tuple(names),
        tuple(splits),
        tuple(descriptions),
        tuple(attributes),
        np.array(columns, dtype=np.float64).T.reshape(len(names), len(columns)),
        tuple(text),
    )


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]], bool]:
    """Header, rows with their line numbers, and whether decimals have commas; cells without spaces around them."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} must be text in UTF-8; got another coding from byte {error.start} on; save it as CSV UTF-8"
        ) from error
    except OSError as error:
        raise InputError(f"{path} must be a readable file; got {(error.strerror or str(error)).lower()}") from error
    first = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(map(str.strip, cells))]
    except csv.Error as error:
        raise InputError(f"{path} must be a table of comma-separated values; got {error}") from error
    if len(rows) < 2:
        raise InputError(f"{path} must have a header and a line per class; got {len(rows)} lines")
    (_, header), *rows = rows
    for line, cells in rows:
        if len(cells) != len(header):
            raise InputError(
                f"every line of {path} must have {len(header)} cells, as its header; got {len(cells)} in line {line}"
            )
    return header, rows, delimiter == ";"


def _check_names(names: Sequence[str], lines: Sequence[int], path: Path) -> None:
    first: dict[str, int] = {}
    for name, line in zip(names, lines, strict=True):
        if not name or "\n" in name or name.startswith("/") or ".." in name.split("/"):
            raise InputError(f"class in {path} must be the name of a folder; got {name!r} in line {line}")
        if name in first:
            raise InputError(f"classes in {path} must be different; got {name!r} in lines {first[name]} and {line}")
        first[name] = line


def _numbers(cells: Sequence[str], decimal_comma: bool) -> list[float | None]:
    """The cells as numbers, None for those that are none."""

    def number(cell: str) -> float | None:
        if cell.lower() in _WORDS:
            return _WORDS[cell.lower()]
        try:
            return float(cell.replace(",", ".") if decimal_comma else cell)
        except ValueError:
            return None

    return [number(cell) for cell in cells]
