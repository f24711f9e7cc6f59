"""Results folder -> one HTML page that needs nothing else. It reads and never trains.

`results.records` reads the files; `tables.py`, `comparison.py`, `curves.py`, `classes.py` and `provenance.py` have the
numbers, `charts.py`, `figures.py` and `analyses.py` the drawings, `page.py` brings them together; the markup is in
`*.html.jinja`, `published.toml` is what the paper prints, `export.py` writes the same as tables, figures and PDF.
"""

from __future__ import annotations

from pathlib import Path

from firstsight.files import write_text
from firstsight.report.export import figures_of, tables_of, write_figures, write_pdf, write_tables
from firstsight.report.page import render, view
from firstsight.results.records import Results

__all__ = ["write_figures", "write_pdf", "write_report", "write_tables"]


def write_report(results: Path, out: Path, tables: Path | None = None, figures: Path | None = None) -> Path:
    """Write the page that shows everything in a results folder.

    Args:
        results: folder with `runs/*.json` and, where there are any, `data/*.json` and `pictures/*.json`.
        out: the HTML file; it is replaced in one step, never left half written.
        tables: folder for the tables, as `write_tables` writes them.
        figures: folder for the figures, as `write_figures` writes them.

    Raises:
        InputError: the folder is missing, has no finished runs, or holds a file that cannot be read.
    """
    out = Path(out)
    shown = view(Results.read(Path(results)))
    write_text(out, render(shown))
    if tables is not None:
        tables_of(shown, Path(tables))
    if figures is not None:
        figures_of(shown, Path(figures))
    return out
