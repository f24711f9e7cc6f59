"""What was reproduced of the paper -> one HTML page, tables and figures.

Ours stand beside what the paper prints, with their difference and what differs between the two. Whatever is not of the
paper's own input has a mark beside every number. Nothing here runs anything: `bench.reproduce` hands over the numbers.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from firstsight.files import replacing, write_text
from firstsight.report import charts
from firstsight.report.export import MISSING, Table, standalone, write_table
from firstsight.report.names import listed
from firstsight.report.page import environment
from firstsight.report.tables import Stat

PAPER_DATA = {"SUN": "SUN", "CUB": "CUB", "AWA2": "AWA2", "APY": "aPY"}  # in the paper's order, with its names
ACCURACIES = {"t1": "U→U", "u": "U→T", "s": "S→T", "h": "H"}
ERROR = {"mse": "error"}
MARKS = ("*", "†", "‡", "§")
HEADER = ("method", "data", "printed_data", "number", "ours", "ours_sd", "printed", "difference", "what_differs")
PAGE = "reproduction.html"


@dataclass(frozen=True)
class Column:
    """A data set of a grid.

    Attributes:
        data: name of the data set that ours are of; empty where nothing could run.
        printed: key in PAPER_DATA of the data set whose printed numbers stand beside; empty where the paper has none.
        differs: what ours were made of that is not the paper's input, in words; empty where all is.
        head: lines below the name.
    """

    data: str
    printed: str
    differs: str = ""
    head: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the name over the column: the paper's where it prints numbers."""
        return PAPER_DATA.get(self.printed, self.data)

    @property
    def shown(self) -> str:
        """Return the name of the data set that ours are of, as the paper writes it where it is the paper's."""
        return PAPER_DATA.get(self.data.upper(), self.data)


class Cell(NamedTuple):
    """One number: ours over seeds, and what the paper prints; None where there is none."""

    ours: Stat | None
    printed: float | None

    @property
    def difference(self) -> float | None:
        """Return ours minus printed."""
        return None if self.ours is None or self.printed is None else self.ours.mean - self.printed


@dataclass(frozen=True)
class Row:
    """A method of a grid.

    Attributes:
        name: of the method, as people write it.
        ours: by data set and number.
        printed: by key of PAPER_DATA and number.
        made: how ours were trained, in words, by data set.
    """

    name: str
    ours: Mapping[str, Mapping[str, Stat | None]]
    printed: Mapping[str, Mapping[str, float]]
    made: Mapping[str, str] = field(default_factory=dict)

    def cell(self, column: Column, number: str) -> Cell:
        """Return one number in one column."""
        ours = self.ours.get(column.data, {}).get(number)
        return Cell(ours, self.printed.get(column.printed, {}).get(number))


@dataclass(frozen=True)
class Grid:
    """A table of methods by data sets by numbers, as Table 1 of the paper is.

    Attributes:
        name: of its files.
        caption: what it shows, in words.
        columns: data sets.
        rows: methods.
        numbers: heads of the numbers of every data set, by their keys.
        digits: after the point.
        lower_is_better: where so, a difference below 0 is the good one.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    numbers: Mapping[str, str]
    digits: int = 1
    lower_is_better: bool = False

    @property
    def width(self) -> int:
        """Count the columns of numbers."""
        return len(self.columns) * len(self.numbers)

    @property
    def has_printed(self) -> bool:
        """Tell whether the paper prints any of its numbers."""
        return any(row.printed for row in self.rows)

    @property
    def trained(self) -> list[tuple[str, str, str]]:
        """List how ours were trained: row, data set, words."""
        return [(row.name, data, words) for row in self.rows for data, words in row.made.items()]


@dataclass(frozen=True)
class Figure:
    """A figure with a caption of our own: a drawing, or a PNG picture."""

    name: str
    title: str
    caption: str
    drawing: Markup | None = None
    picture: bytes = b""

    @property
    def inline(self) -> str:
        """Return the picture as base64."""
        return base64.b64encode(self.picture).decode()


@dataclass(frozen=True)
class Outcome:
    """What became of an item on one data set."""

    data: str
    is_run: bool
    said: str  # what it was made of, or why it could not run
    supply: tuple[str, ...] = ()  # what would make it possible, or closer to the paper
    is_paper: bool = True  # it was made of the paper's own input


@dataclass(frozen=True)
class Part:
    """An item of the paper as it was reproduced."""

    key: str
    title: str
    text: str
    outcomes: Sequence[Outcome]
    grids: Sequence[Grid] = ()
    figures: Sequence[Figure] = ()

    @property
    def alike(self) -> list[tuple[str, Outcome]]:
        """List what became of it, with the names of all data sets that an outcome is of."""
        named: dict[Outcome, list[str]] = {}
        for one in self.outcomes:
            named.setdefault(replace(one, data="", supply=()), []).append(one.data)
        return [(listed(list(dict.fromkeys(names))), one) for one, names in named.items()]

    @property
    def is_run(self) -> bool:
        """Tell whether it could run on any data set."""
        return any(one.is_run for one in self.outcomes)


@dataclass(frozen=True)
class Reproduction:
    """All that the page shows; `conditions` are sentences on how everything was run."""

    parts: Sequence[Part]
    is_quick: bool
    conditions: Sequence[str]
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def supplies(self) -> list[str]:
        """List what would bring it nearer to the paper."""
        return list(dict.fromkeys(words for part in self.parts for one in part.outcomes for words in one.supply))

    @property
    def grids(self) -> list[Grid]:
        """List the grids of all parts."""
        return [grid for part in self.parts for grid in part.grids]

    @property
    def marks(self) -> dict[str, str]:
        """Return the mark of everything that differs, by its words, in the order of the page."""
        differing = dict.fromkeys(one.differs for grid in self.grids for one in grid.columns if one.differs)
        return {words: MARKS[at % len(MARKS)] * (at // len(MARKS) + 1) for at, words in enumerate(differing)}

    @property
    def verdict(self) -> str:
        """Say in a sentence what was run."""
        run = [part for part in self.parts if part.is_run]
        if not run:
            return "Nothing could run: every input is missing."
        own = [part.title for part in run if any(one.is_run and one.is_paper for one in part.outcomes)]
        others = [part.title for part in run if any(one.is_run and not one.is_paper for one in part.outcomes)]
        said = [f"{len(run)} of {len(self.parts)} items of the paper were run"]
        said += [f"on the paper's own inputs {listed(own)}"] if own else []
        said += [f"on stand-ins {listed(others)}"] if others else []
        return f"{said[0]}: {'; '.join(said[1:])}."


def columns_of(found: Sequence[Column]) -> list[Column]:
    """Lay data sets out as the paper does: its four, filled where one was found; then all others."""
    left, columns = list(found), []
    for key in PAPER_DATA:
        own = next((one for one in left if one.printed == key), None)
        columns.append(own or Column("", key))
        if own is not None:
            left.remove(own)
    return columns + left


def write_reproduction(shown: Reproduction, out: Path) -> Path:
    """Write the page, `tables/*.csv`, `tables/*.tex` and `figures/*` into a folder, and return the page's path."""
    for grid in shown.grids:
        write_table(as_table(grid, shown.marks), out / "tables")
    for part in shown.parts:
        for figure in part.figures:
            place = out / "figures" / figure.name
            if figure.drawing is not None:
                write_text(place.with_name(f"{place.name}.svg"), standalone(figure.drawing))
            else:
                with replacing(place.with_name(f"{place.name}.png")) as unfinished:
                    unfinished.write_bytes(figure.picture)
    write_text(out / PAGE, render_reproduction(shown))
    return out / PAGE


def render_reproduction(shown: Reproduction) -> str:
    """Write the page's text; the same numbers give the same bytes."""
    template = environment().get_template("reproduction.html.jinja")
    return template.render(shown=shown, marks=shown.marks, paper_data=PAPER_DATA, style=charts.style(range(8)))


def as_table(grid: Grid, marks: Mapping[str, str]) -> Table:
    """Make a grid's table for files: one line a number in CSV; the paper's layout, as `ours (printed)`, in LaTeX."""
    return Table(
        grid.name,
        f"{grid.caption} Each cell is ours, then (printed).",
        HEADER,
        list(_lines(grid)),
        (
            ["Method", *(head for _ in grid.columns for head in grid.numbers.values())],
            [
                [
                    row.name,
                    *(_text(row.cell(one, key), one, grid, marks) for one in grid.columns for key in grid.numbers),
                ]
                for row in grid.rows
            ],
        ),
        [(_over(one), len(grid.numbers)) for one in grid.columns],
    )


def number_rows(grid: Grid) -> list[dict[str, Any]]:
    """Return the lines of a grid's CSV file, by the names of their columns, with the name of the grid."""
    return [{"table": grid.name, **dict(zip(HEADER, line, strict=True))} for line in _lines(grid)]


def _lines(grid: Grid) -> Iterator[list[Any]]:
    """Yield the lines of the CSV file: every number that is ours or printed."""
    for row in grid.rows:
        for one in grid.columns:
            for key in grid.numbers:
                cell = row.cell(one, key)
                if cell.ours is None and cell.printed is None:
                    continue
                ours = (cell.ours.mean, cell.ours.deviation) if cell.ours else (None, None)
                differs = "; ".join(filter(None, (one.differs, row.made.get(one.data, "")))) if cell.ours else ""
                head = [row.name, one.data if cell.ours else "", PAPER_DATA.get(one.printed, ""), key]
                yield [*head, *ours, cell.printed, cell.difference, differs]


def _text(cell: Cell, column: Column, grid: Grid, marks: Mapping[str, str]) -> str:
    """Write a cell for LaTeX."""
    mark = marks.get(column.differs, "")
    ours = f"{cell.ours.mean:.{grid.digits}f}{mark}" if cell.ours else MISSING
    return ours if cell.printed is None else f"{ours} ({cell.printed:.{grid.digits}f})"


def _over(column: Column) -> str:
    """Write the head of a data set for LaTeX."""
    return f"{column.name} {' '.join(column.head)}".strip()
