"""The tables of the page as CSV and LaTeX, its figures as SVG files, and the page as PDF."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from firstsight.errors import InputError
from firstsight.files import file_name, replacing, write_text
from firstsight.report import charts, tables
from firstsight.report.comparison import HEADLINES
from firstsight.report.names import display_name, plain_name
from firstsight.report.page import view
from firstsight.report.records import read_results
from firstsight.report.standalone import standalone

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")
QUIET = "headless no-sandbox disable-gpu no-first-run disable-background-networking disable-sync no-pdf-header-footer"
MISSING = "\N{EN DASH}"
PRINTING = 180  # seconds a browser may take


class Table(NamedTuple):
    """A table for a file; numbers are kept whole in CSV and rounded in LaTeX.

    Attributes:
        printed: header and rows for LaTeX where they differ from those for CSV.
    """

    name: str
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    printed: tuple[Sequence[str], Sequence[Sequence[Any]]] | None = None


def write_tables(results: Path, folder: Path) -> list[Path]:
    """Writes every table of the page as CSV and as LaTeX (booktabs).

    Args:
        results: folder as for `write_report`.
        folder: `<table>.csv` and `<table>.tex` go there; others in it stay.
    """
    return tables_of(view(read_results(Path(results))), Path(folder))


def write_figures(results: Path, folder: Path) -> list[Path]:
    """Writes every figure of the page as an SVG file that needs nothing else.

    Args:
        results: folder as for `write_report`.
        folder: `<data>-<figure>.svg` go there; others in it stay.
    """
    return figures_of(view(read_results(Path(results))), Path(folder))


def write_pdf(page: Path, out: Path) -> Path:
    """Prints the page with a browser of the Chromium family.

    Raises:
        InputError: there is no such browser on PATH, or it made no PDF.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise InputError(
            f"pdf must be printed by a browser; got none of {', '.join(BROWSERS)} on PATH; "
            "install one, or print the page from any browser"
        )
    with tempfile.TemporaryDirectory() as profile, replacing(out) as unfinished:
        where = [f"--user-data-dir={profile}", f"--print-to-pdf={unfinished.resolve()}", Path(page).resolve().as_uri()]
        command = [browser, *(f"--{flag}" for flag in QUIET.split()), *where]
        try:
            done = subprocess.run(command, capture_output=True, timeout=PRINTING, check=False)
        except subprocess.TimeoutExpired as error:
            raise InputError(f"pdf must be printed within {PRINTING} s; got nothing from {browser}") from error
        if not unfinished.is_file():
            raise InputError(f"pdf must be printed by {browser}; got exit code {done.returncode} and no file")
    return Path(out)


def tables_of(shown: Mapping[str, Any], folder: Path) -> list[Path]:
    """The tables of a view."""
    written = []
    for table in (*(table for section in shown["sections"] for table in _of_section(section)), *_of_all(shown)):
        if table.rows:
            path = folder / file_name(*table.name.split("-"))
            write_text(path.with_name(path.name + ".csv"), _csv(table))
            write_text(path.with_name(path.name + ".tex"), latex(table))
            written += [path.with_name(path.name + ending) for ending in (".csv", ".tex")]
    return written


def _of_section(section: Mapping[str, Any]) -> Iterable[Table]:
    name, rows, standing = section["name"], section["rows"], section["standing"]
    yield _numbers(section)
    tests = [
        (HEADLINES[metric], first.name, other, column.digits)
        for metric, (first, others) in section["tests"].items()
        for column in (tables.column_of(metric),)
        for other in others
    ]
    header = ("number", "highest", "other", "value", "below_by", "low", "high", "p", "p_corrected", "is_better", "note")
    yield Table(
        f"{name}-comparison",
        f"The highest method on {name} against the others; paired bootstrap over test images"
        f" ({standing.resamples} redraws), Holm's correction for all pairs.",
        header,
        [
            [label, first, other.name, other.stat.mean, *_measured(other.comparison), other.is_clear, other.reason]
            for label, first, other, _ in tests
        ],
        (
            ("Number", "Highest", "Other", "Value", "Below by", "95 % interval", "p, corrected"),
            [
                [label, first, other.name, f"{other.stat.mean:.{digits}f}", *_printed(other.comparison, digits)]
                for label, first, other, digits in tests
            ],
        ),
    )
    riders = [(one["curve"], one["own_h"], one["at"]) for one in section["riders"]]
    yield Table(
        f"{name}-curves",
        f"Points on the seen-unseen curves of {name}: at each method's gamma from validation classes, and where u = s.",
        ("method", "u_cal", "s_cal", "h_cal", "u_balanced", "s_balanced", "h_balanced", "gamma_balanced"),
        [[curve.name, *(curve.calibrated or (None, None)), h, *at] for curve, h, at in riders],
    )
    yield Table(
        f"{name}-classes",
        f"Unseen classes of {name} by {rows[0].name}: percent recognised among all classes.",
        ("class", "images", "accuracy", "accuracy_calibrated"),
        section["classes"],
    )
    yield Table(
        f"{name}-published",
        f"Numbers printed for {name} (Chen et al., CVPR 2018), on 2,048-d features.",
        ("method", *tables.PUBLISHED_COLUMNS),
        [
            [display_name(method), *(numbers.get(key) for key in tables.PUBLISHED_COLUMNS)]
            for method, numbers in section["published"].items()
        ],
    )


def _measured(comparison: Any) -> tuple[float | None, ...]:
    return tuple(comparison[2:]) if comparison else (None,) * 5


def _printed(comparison: Any, digits: int) -> tuple[str, str, str]:
    if comparison is None:
        return MISSING, MISSING, MISSING
    ends = f"[{comparison.low:.{digits}f}, {comparison.high:.{digits}f}]"
    return f"{comparison.difference:.{digits}f}", ends, f"{comparison.corrected:.2g}"


def _numbers(section: Mapping[str, Any]) -> Table:
    """The main table: four columns a number in CSV, one in LaTeX."""
    rows, standing = section["rows"], section["standing"]
    parts = ("", "_sd", "_low", "_high")
    header = ["method", "seeds", *(column.key + part for column in tables.COLUMNS for part in parts)]
    whole, printed = [], []
    for row in rows:
        cells: list[Any] = [row.name, len(row.seeds)]
        texts = [row.name, str(len(row.seeds))]
        for column in tables.COLUMNS:
            stat, ends = row.stats[column.key], standing.interval(row.method, column.key)
            cells += [stat and stat.mean, stat and stat.deviation, *(ends or (None, None))]
            text = stat.text(column.digits) if stat else MISSING
            texts.append(text + (f" [{ends[0]:.{column.digits}f}, {ends[1]:.{column.digits}f}]" if ends else ""))
        published = [(row.published or {}).get(key) for key in tables.PUBLISHED_COLUMNS]
        whole.append([*cells, *published])
        printed.append(texts)
    names = {"ausuc": "AUSUC", "ausuc_per_sample": "AUSUC per sample", "seconds_fit": "Seconds"}
    heads = [
        names.get(column.key, column.label + (" cal." if column.key.endswith("_cal") else ""))
        for column in tables.COLUMNS
    ]
    return Table(
        f"{section['name']}-numbers",
        f"Results on {section['name']}: mean over seeds, standard deviation where there are several,"
        " 95 % bootstrap interval over test images.",
        [*header, *(f"published_{key}" for key in tables.PUBLISHED_COLUMNS)],
        whole,
        (["Method", "Seeds", *heads], printed),
    )


def _of_all(shown: Mapping[str, Any]) -> Iterable[Table]:
    yield Table(
        "conduct",
        "How each method was run.",
        ("data", "method", "seeds", "settings_from", "changed", "gamma", "temperature", "training", "memory"),
        [[*one[:4], "; ".join(one.changed or ()), *one[5:]] for one in shown["conduct"]],
    )
    yield Table(
        "settings",
        "Settings of all methods.",
        ("method", "data", "setting", "value"),
        [
            [table.name, data, values[0], values[1 + place]]
            for table in shown["settings"]
            for place, data in enumerate(table.data)
            for values in table.rows
        ],
    )
    keys = ("images", "classes", "seen", "unseen", "attributes", "trainval", "test_seen", "test_unseen", "fingerprint")
    yield Table(
        "data",
        "Data sets.",
        ("data", *keys),
        [[section["name"], *(section["about"].get(key) for key in keys)] for section in shown["sections"]],
    )
    yield Table(
        "failed",
        "Runs that failed.",
        ("data", "method", "seed", "error"),
        [[run["data"], display_name(run["method"]), run.get("seed") or 0, run["error"]] for run in shown["failed"]],
    )


def _csv(table: Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([table.header, *table.rows])
    return text.getvalue()


def latex(table: Table) -> str:
    r"""The table for `\input`, with the rules of booktabs."""
    header, rows = table.printed or ([plain_name(name) for name in table.header], table.rows)
    columns = "l" + "r" * (len(header) - 1)
    lines = [" & ".join(map(_escaped, row)) + r" \\" for row in (header, *rows)]
    return "\n".join(
        [
            rf"% {table.caption}".replace("\n", " "),
            r"% needs \usepackage{booktabs}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


SPECIAL = {character: "\\" + character for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    MISSING: "--",
    "\N{NO-BREAK SPACE}": "~",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\n": " ",
}


def _escaped(value: Any) -> str:
    text = MISSING if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return "".join(SPECIAL.get(character, character) for character in text)


def figures_of(shown: Mapping[str, Any], folder: Path) -> list[Path]:
    """The figures of a view."""
    written = []
    for section in shown["sections"]:
        figures = {name: section[name] for name in ("forest", "bars", "strips") if section[name]}
        if section["series"]:
            label = f"Seen-unseen curves on {section['name']}"
            figures["curves"] = charts.curve_chart(section["series"], label, True, not section["is_many"])
        figures |= {f"analysis-{place}": one.figure for place, one in enumerate(section["analyses"], 1) if one.figure}
        for name, markup in figures.items():
            drawings = re.findall(r"<svg.*?</svg>", str(markup), flags=re.DOTALL)
            for number, drawing in enumerate(drawings, start=1):
                part = f"-{number}" if len(drawings) > 1 else ""
                path = folder / (file_name(*f"{section['name']}-{name}{part}".split("-")) + ".svg")
                write_text(path, standalone(Markup(drawing)))
                written.append(path)
    return written
