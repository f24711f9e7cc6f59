"""Tables of classes: `classes.csv` in a folder of pictures, and the files of `--classes`.

Commas, semicolons or tabs separate the cells, the last two with decimal commas too; the text is UTF-8 or, with a byte
order mark, UTF-16.
A first line such as `sep=;`, blank lines, lines of commas and commas at the ends of lines are skipped.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import chain, islice
from pathlib import Path

import numpy as np

from firstsight.data import ClassEmbeddings
from firstsight.errors import InputError, first_of, nearest

CLASSES_FILE = "classes.csv"
LARGEST = 1e18  # of a number; the sum of the squares of some hundred is still a number in single precision
_DELIMITERS = ",;\t"
_SEPARATOR_LINE = re.compile(rf'"?sep=([{_DELIMITERS}])"?[{_DELIMITERS}\s]*', re.IGNORECASE)  # spreadsheets write it
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HEAD = 100  # lines in which the header is looked for
_LONGEST = 1 << 24  # characters of a line; a file without line ends must not fill the memory
_DESCRIPTION = re.compile(r"description( ?\d+)?")  # a class may have several, in columns or parted by |
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


@dataclass(frozen=True, eq=False)
class ClassTable:
    """What a table of classes says."""

    names: tuple[str, ...]  # c classes in the order of the file
    lines: tuple[int, ...]  # c numbers of the lines in which they are, from 1
    splits: tuple[str, ...]  # c words in lower case, `seen` and `unseen` in a `classes.csv`; empty where there is none
    descriptions: tuple[str, ...]  # c texts, empty where there is none; several of a class are parted by `|`
    attributes: tuple[str, ...]  # a names of the columns of numbers
    vectors: np.ndarray  # [c, a] their values, as in the file
    text_columns: tuple[str, ...]  # columns that are no numbers, which nothing reads


@dataclass(frozen=True, eq=False)
class Table:
    """A table whose rows are read as they are asked for."""

    header: tuple[str, ...]  # names of the columns, as written
    # number of the line and cells of each row, without spaces around them, as many as the header has
    rows: Iterator[tuple[int, list[str]]]
    has_decimal_commas: bool  # 0,5 is a number


def read_class_table(path: Path, attributes: Sequence[str] | None = None) -> ClassTable:
    """Read classes from a column `class`, and `split`, `description`, `description 2`... and columns of numbers.

    Yes, no, true and false count as numbers. The case of column names does not matter.

    Args:
        path: of the table.
        attributes: columns of numbers to read, in this order; others are left out. All columns of numbers where None.

    Raises:
        InputError: no such table, no such columns, or cells that are not what their column should hold.
    """
    table = read_table(path, "class")
    first = next(table.rows, None)
    if first is None:
        raise InputError(f"{path} must have a header and a line per class; got {min(len(table.header), 1)} lines")
    keys = _checked_keys(table.header, path)
    described = [place for place, key in enumerate(keys) if _DESCRIPTION.fullmatch(key)]
    unnamed = [place for place, key in enumerate(keys) if not key and attributes is None]
    places = _places(attributes, table.header, path)
    lines: dict[str, int] = {}  # by class
    splits, descriptions, values = [], [], array("d")  # 8 bytes for a number, row after row
    marks: set[str] = set()  # in numbers that may have decimal commas
    wrong: dict[int, tuple[str, str, int]] = {}  # by column: cell, class and line of the first that is no fit number
    for line, cells in chain([first], table.rows):
        name = _class_name(cells[keys.index("class")], lines, line, path)
        lines[name] = line
        splits.append(cells[keys.index("split")].lower() if "split" in keys else "")
        descriptions.append("|".join(filter(None, (cells[place] for place in described))))
        if filled := [place for place in unnamed if cells[place]]:
            raise InputError(
                f"columns of {path} must have names; got none for column {filled[0] + 1}; name it, or delete it "
                "if it only counts the lines"
            )
        for place in places:
            values.append(value := _number(cells[place], table.has_decimal_commas))
            if table.has_decimal_commas and not math.isnan(value):
                marks |= {".", ","} & set(cells[place])
            if not abs(value) <= LARGEST:
                wrong.setdefault(place, (cells[place], name, line))
    if len(marks) > 1:  # 1,234 may be a thousand or a bit more than one
        raise InputError(f"numbers in {path} must have one decimal mark; got points and commas")
    vectors = np.asarray(values).reshape(len(lines), len(places))
    is_text = np.isnan(vectors).all(axis=0) & (attributes is None)
    for place in np.array(places, dtype=int)[~is_text]:
        if place in wrong:
            raise _no_number(table, place, *wrong[place], path)
    names = np.array(table.header, dtype=object)[np.array(places, dtype=int)]
    return ClassTable(
        names=tuple(lines),
        lines=tuple(lines.values()),
        splits=tuple(splits),
        descriptions=tuple(descriptions),
        attributes=tuple(names[~is_text]),
        vectors=vectors[:, ~is_text] if is_text.any() else vectors,
        text_columns=tuple(names[is_text]),
    )


def read_classes_like(path: Path, known: ClassEmbeddings) -> ClassEmbeddings:
    """Read classes with the attributes of known ones, in the units of the table.

    The table must have these attributes by name; where they have no names, as many columns of numbers in their order.
    """
    table = read_class_table(path, known.attributes or None)
    got = table.vectors.shape[1] + (0 if known.attributes else len(table.text_columns))
    if got != (width := known.vectors.shape[1]):
        raise InputError(f"{path} must have {width} columns of numbers, as in training; got {got}")
    if problem := zeros_problem(table.names, table.vectors):
        raise InputError(problem)
    return ClassEmbeddings(table.names, table.vectors, known.attributes)


def zeros_problem(names: Sequence[str], vectors: np.ndarray) -> str | None:
    """Name the classes whose vectors [c, a] are all zeros in a sentence; None where there are none."""
    zeros = [name for name, row in zip(names, vectors, strict=True) if not row.any()]
    if not zeros:
        return None
    return f"class embeddings must not be all zeros, which say nothing of a class; got {first_of(zeros, len(names))}"


def read_table(path: Path, column: str) -> Table:
    """Read the header of a table, which is empty where the file is.

    The delimiter is the one with which the header has `column`, a name in lower case, or else makes most columns.

    Raises:
        InputError: a file that cannot be read as a table, at once or while its rows are read.
    """
    lines = _lines(path)
    head = list(islice(lines, _HEAD))
    stated = _SEPARATOR_LINE.fullmatch(head[0]) if head else None
    skipped = int(stated is not None)
    del head[:skipped]
    headers = {delimiter: _first_record(head, delimiter) for delimiter in (stated[1] if stated else _DELIMITERS)}
    delimiter = max(headers, key=lambda one: (column in map(_key, headers[one]), len(headers[one])))
    records = _records(chain(head, lines), delimiter, skipped, path)
    _, header = next(records, (0, []))
    while header and not header[-1]:  # commas at the end
        header.pop()
    return Table(tuple(header), _rows(records, len(header), path), delimiter != ",")


def _rows(records: Iterator[tuple[int, list[str]]], width: int, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Cut what is empty beyond the header off each record; refuse records of another width."""
    for line, cells in records:
        if len(cells) < width or any(cells[width:]):
            raise InputError(
                f"every line of {path} must have {width} cells, as its header; got {len(cells)} in line {line}"
            )
        yield line, cells[:width]


def _records(lines: Iterable[str], delimiter: str, skipped: int, path: Path) -> Iterator[tuple[int, list[str]]]:
    """List line number and cells of all records that are not empty; `skipped` lines came before."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num + skipped, stripped
    except csv.Error as error:
        raise InputError(f"{path} must be a table of comma-separated values; got {error}") from error


def _first_record(head: Sequence[str], delimiter: str) -> list[str]:
    """Return the cells of the first record that is not empty; none where the delimiter does not fit."""
    try:
        return next(_records(head, delimiter, 0, Path()), (0, []))[1]
    except InputError:
        return []


def _lines(path: Path) -> Iterator[str]:
    """Read the lines of a text file, with their ends, one after the other."""
    try:
        with path.open("rb") as file:
            coding = "utf-16" if file.peek(2)[:2] in _UTF_16 else "utf-8-sig"
            text = TextIOWrapper(file, coding, newline="")
            try:
                while line := text.readline(_LONGEST):
                    if len(line) == _LONGEST:
                        raise InputError(f"lines of {path} must be at most {_LONGEST:,} characters; got a longer one")
                    yield line
            except UnicodeDecodeError as error:
                wrong = file.tell() - len(error.object) + error.start  # text is decoded piece by piece
                raise InputError(
                    f"{path} must be text in UTF-8; got another coding from byte {wrong} on; save it as CSV UTF-8"
                ) from error
    except OSError as error:
        raise InputError(f"{path} must be a readable file; got {(error.strerror or str(error)).lower()}") from error


def _key(name: str) -> str:
    """Return a column's name as it is compared: in lower case, with composed letters."""
    return unicodedata.normalize("NFC", name).lower()


def _checked_keys(header: Sequence[str], path: Path) -> list[str]:
    """Return the columns' names as they are compared; refuse two of one name, and a table without `class`."""
    keys = [_key(name) for name in header]
    if repeated := [key for key, count in Counter(filter(None, keys)).items() if count > 1]:
        raise InputError(f"columns of {path} must have different names; got {repeated[0]!r} more than once")
    if "class" not in keys:
        raise InputError(f"{path} must have a column 'class'; got {', '.join(header[:5])}")
    return keys


def _places(attributes: Sequence[str] | None, header: Sequence[str], path: Path) -> list[int]:
    """Find the columns of these attributes; where None, all that may be attributes."""
    places = {_key(name): place for place, name in enumerate(header)}
    if attributes is None:
        return [places[key] for key in places if key not in ("", "class", "split") and not _DESCRIPTION.fullmatch(key)]
    if missing := [name for name in attributes if _key(name) not in places]:
        others = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        close = nearest(missing[0], header)
        hint = f"; did {close!r} mean it?" if close else ""
        raise InputError(
            f"{path} must have a column for each of {len(attributes)} attributes; got none for {missing[0]!r}{others}"
            f"{hint}"
        )
    return [places[_key(name)] for name in attributes]


def _class_name(cell: str, lines: dict[str, int], line: int, path: Path) -> str:
    """Return a class's name with composed letters; `lines` are those of the names before it."""
    name = unicodedata.normalize("NFC", cell)
    if not name:
        raise InputError(f"{path} must name a class in every line; got none in line {line}")
    if name in lines:
        raise InputError(f"classes in {path} must be different; got {name!r} in lines {lines[name]} and {line}")
    return name


def _number(cell: str, has_decimal_commas: bool) -> float:
    """Return the number in a cell: NaN where it is none, infinity where it is not finite."""
    if (word := cell.lower()) in _WORDS:
        return _WORDS[word]
    try:
        value = float(cell.replace(",", ".") if has_decimal_commas else cell)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.inf


def _no_number(table: Table, place: int, cell: str, name: str, line: int, path: Path) -> InputError:
    """Make the error about a cell that is no number, or one that is too large."""
    is_large = math.isfinite(_number(cell, table.has_decimal_commas))
    expected = f"a number of at most {LARGEST:g} in size" if is_large else "a finite number for every class"
    return InputError(
        f"attribute {table.header[place]!r} in {path} must be {expected}; got {cell!r} for {name!r} in line {line}"
    )
