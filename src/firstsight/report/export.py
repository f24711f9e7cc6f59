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
from firstsight.report import provenance, tables
from firstsight.report.charts import style
from firstsight.report.names import display_name, plain_name
from firstsight.report.page import Section, View, view
from firstsight.results.records import Results

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")
QUIET = "headless no-sandbox disable-gpu no-first-run disable-background-networking disable-sync no-pdf-header-footer"
MISSING = "\N{EN DASH}"
MARGIN = 18  # around a figure in a file of its own
PRINTING = 180  # seconds a browser may take


class Table(NamedTuple):
    """A table for a file; numbers are kept whole in CSV and rounded in LaTeX."""

    name: str
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    printed: tuple[Sequence[str], Sequence[Sequence[Any]]] | None = None  # for LaTeX where it differs from CSV
    groups: Sequence[tuple[str, int]] = ()  # for LaTeX, heads over so many columns each, after the first column


def write_tables(results: Path, folder: Path) -> list[Path]:
    """Write every table of a results folder into `folder`, as `<table>.csv` and `<table>.tex` (booktabs)."""
    return tables_of(view(Results.read(Path(results))), Path(folder))


def write_figures(results: Path, folder: Path) -> list[Path]:
    """Write every figure of a results folder into `folder`, as `<data>-<figure>.svg` that needs nothing else."""
    return figures_of(view(Results.read(Path(results))), Path(folder))


def write_pdf(page: Path, out: Path) -> Path:
    """Print the page with a browser of the Chromium family.

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


def tables_of(shown: View, folder: Path) -> list[Path]:
    """Write the tables of a view."""
    every = (*(table for section in shown.sections for table in _of_section(section)), *_of_all(shown))
    return [path for table in every if table.rows for path in write_table(table, folder)]


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write a table into a folder as `<name>.csv` and `<name>.tex`."""
    written = []
    for ending, write in ((".csv", _csv), (".tex", latex)):
        written.append(folder / (file_name(*table.name.split("-")) + ending))
        write_text(written[-1], write(table))
    return written


def _of_section(section: Section) -> Iterable[Table]:
    """Yield the tables of one data set."""
    name, best = section.name, section.rows[0].name
    yield _numbers(section)
    yield _comparison(section)
    yield Table(
        f"{name}-curves",
        f"Points on the seen-unseen curves of {name}: at each method's gamma from validation classes, and where u = s.",
        ("method", "u_cal", "s_cal", "h_cal", "u_balanced", "s_balanced", "h_balanced", "gamma_balanced"),
        [[one.curve.name, *(one.curve.calibrated or (None, None)), one.own_h, *one.at] for one in section.riders],
    )
    yield Table(
        f"{name}-classes",
        f"Unseen classes of {name} by {best}: percent recognised among all classes.",
        ("class", "images", "accuracy", "accuracy_calibrated"),
        section.classes,
    )
    yield Table(
        f"{name}-published",
        f"Numbers printed for {name} (Chen et al., CVPR 2018), on 2,048-d features.",
        ("method", *tables.PUBLISHED_COLUMNS),
        [
            [display_name(method), *(numbers.get(key) for key in tables.PUBLISHED_COLUMNS)]
            for method, numbers in section.published.items()
        ],
    )


def _comparison(section: Section) -> Table:
    """Make the table of the highest method against the others."""
    whole, printed = [], []
    for key, (first, others) in section.tests.items():
        metric = tables.COLUMNS[key]
        for other in others:
            value, one = other.stat.mean, other.comparison
            head = [metric.name, first.name, other.name]
            whole.append([*head, value, *(one[2:] if one else (None,) * 5), other.is_clear, other.reason])
            rounded = [MISSING] * 3
            if one:
                difference, low, high = (f"{number:.{metric.digits}f}" for number in one[2:5])
                rounded = [difference, f"[{low}, {high}]", f"{one.corrected:.2g}"]
            printed.append([*head, f"{value:.{metric.digits}f}", *rounded])
    return Table(
        f"{section.name}-comparison",
        f"The highest method on {section.name} against the others; paired bootstrap over test images"
        f" ({section.standing.resamples} redraws), Holm's correction for all pairs.",
        ("number", "highest", "other", "value", "below_by", "low", "high", "p", "p_corrected", "is_better", "note"),
        whole,
        (("Number", "Highest", "Other", "Value", "Below by", "95 % interval", "p, corrected"), printed),
    )


def _numbers(section: Section) -> Table:
    """Make the main table: four columns a number in CSV, one in LaTeX."""
    parts = ("", "_sd", "_low", "_high")
    header = ["method", "seeds", *(key + part for key in tables.COLUMNS for part in parts)]
    whole, printed = [], []
    for row in section.rows:
        cells: list[Any] = [row.name, len(row.seeds)]
        texts = [row.name, str(len(row.seeds))]
        for key, metric in tables.COLUMNS.items():
            stat, ends = row.stats[key], section.standing.interval(row.method, key)
            cells += [stat and stat.mean, stat and stat.deviation, *(ends or (None, None))]
            text = stat.text(metric.digits) if stat else MISSING
            texts.append(text + (f" [{ends[0]:.{metric.digits}f}, {ends[1]:.{metric.digits}f}]" if ends else ""))
        published = [(row.published or {}).get(key) for key in tables.PUBLISHED_COLUMNS]
        whole.append([*cells, *published])
        printed.append(texts)
    heads = [metric.name.replace("calibrated", "cal.") for metric in tables.COLUMNS.values()]
    return Table(
        f"{section.name}-numbers",
        f"Results on {section.name}: mean over seeds, standard deviation where there are several,"
        " 95 % bootstrap interval over test images.",
        [*header, *(f"published_{key}" for key in tables.PUBLISHED_COLUMNS)],
        whole,
        (["Method", "Seeds", *heads], printed),
    )


def _of_all(shown: View) -> Iterable[Table]:
    """Yield the tables that cover all data sets."""
    yield Table(
        "conduct",
        "How each method was run.",
        ("data", "method", "seeds", "settings_from", "changed", "gamma", "temperature", "training", "memory"),
        [[*one[:4], "; ".join(one.changed or ()), *one[5:]] for one in provenance.conduct(shown.groups)],
    )
    yield Table(
        "settings",
        "Settings of all methods.",
        ("method", "data", "setting", "value"),
        [
            [table.name, data, values[0], values[1 + place]]
            for table in provenance.settings_tables(shown.slots, shown.groups)
            for place, data in enumerate(table.data)
            for values in table.rows
        ],
    )
    keys = ("images", "classes", "seen", "unseen", "attributes", "trainval", "test_seen", "test_unseen", "fingerprint")
    yield Table(
        "data",
        "Data sets.",
        ("data", *keys),
        [[section.name, *(getattr(section.about, key) for key in keys)] for section in shown.sections],
    )
    yield Table(
        "failed",
        "Runs that failed.",
        ("data", "method", "seed", "error"),
        [[run.data, tables.name_of(run), run.seed, run.error] for run in shown.failed],
    )


def _csv(table: Table) -> str:
    """Write a table as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([table.header, *table.rows])
    return text.getvalue()


def latex(table: Table) -> str:
    r"""Write a table for `\input`, with the rules of booktabs."""
    header, rows = table.printed or ([plain_name(name) for name in table.header], table.rows)
    columns = "l" + "r" * (len(header) - 1)
    head, *lines = (" & ".join(map(_escaped, row)) + r" \\" for row in (header, *rows))
    caption = table.caption.replace("\n", " ")
    opening = [f"% {caption}", r"% needs \usepackage{booktabs}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    if table.groups:
        over = (rf" & \multicolumn{{{width}}}{{c}}{{{_escaped(name)}}}" for name, width in table.groups)
        opening.append("".join(over).lstrip() + r" \\")
    return "\n".join([*opening, head, r"\midrule", *lines, r"\bottomrule", r"\end{tabular}", ""])


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
    "→": r"$\to$",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "§": r"\S{}",
}


def _escaped(value: Any) -> str:
    """Write a value for LaTeX."""
    text = MISSING if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return "".join(SPECIAL.get(character, character) for character in text)


def figures_of(shown: View, folder: Path) -> list[Path]:
    """Write the figures of a view."""
    written = []
    for section in shown.sections:
        for name, figure in section.figures.items():
            written.append(folder / (file_name(*f"{section.name}-{name}".split("-")) + ".svg"))
            write_text(written[-1], standalone(figure))
    return written


def standalone(figure: Markup) -> str:
    """Return the figure as an SVG file that looks right alone: light, with its style inside.

    Programs other than browsers know no CSS variables, so they are replaced by what they stand for.
    """
    match = re.match(r'<svg class="(\w+)" viewBox="0 0 ([\d.]+) ([\d.]+)"', figure)
    if match is None:
        raise ValueError("figure must be one drawing of firstsight.report")
    width, height = (float(size) + 2 * MARGIN for size in match.group(2, 3))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{match[1]}" width="{width:g}" height="{height:g}" '
        f'viewBox="{-MARGIN} {-MARGIN} {width:g} {height:g}"'
    )
    tag, _, body = figure[match.end() :].partition(">")
    paper = f'<rect class="paper" x="{-MARGIN}" y="{-MARGIN}" width="{width:g}" height="{height:g}"/>'
    slots = sorted({int(slot) for slot in re.findall(r'class="m(\d+) ', figure)})
    return f"{head}{tag}><style>{_without_variables(slots)}</style>{paper}{body}\n"


def _without_variables(slots: Sequence[int]) -> str:
    """Return the charts' style sheet with every var() replaced; a rule with a method's colour is repeated for each."""
    sheet = " ".join(str(style(slots)).split())
    rules = re.findall(r"([^{}]+?) *{([^{}]*)}", sheet)
    values = {selector.strip(): dict(re.findall(r"--([\w-]+): *([^;]+);", body)) for selector, body in rules}
    lines = ["svg .paper { fill: var(--paper); }"]
    for selector, body in rules:
        name = selector.strip()
        if name.startswith("svg") and "var(--c)" not in body:
            lines.append(f"{name} {{{body}}}")
        elif name.startswith("svg"):
            lines += [
                f"{name.replace('svg .', f'svg .m{slot}.')} {{{_filled(body, values[f'.m{slot}'])}}}" for slot in slots
            ]
    flat = "\n".join(lines)
    while (filled := _filled(flat, values[":root"])) != flat:  # values name other values
        flat = filled
    return flat


def _filled(sheet: str, values: Mapping[str, str]) -> str:
    """Return the style with the variables of these names replaced by their values."""
    return re.sub(r"var\(--([\w-]+)\)", lambda found: values.get(found[1], found[0]), sheet)
