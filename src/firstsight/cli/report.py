"""`firstsight report`: make a page from a folder of results."""

from __future__ import annotations

from pathlib import Path


def report(
    results: Path,
    /,
    out: Path = Path("report.html"),
    tables: Path | None = None,
    figures: Path | None = None,
    pdf: Path | None = None,
) -> None:
    """Write the results of `bench` as one self-contained HTML page, and as tables, figures and PDF.

    Args:
        results: folder that `bench` wrote.
        out: file of the page.
        tables: folder for every table as CSV and as LaTeX.
        figures: folder for every figure as SVG.
        pdf: file to print the page to; needs a browser of the Chromium family.
    """
    from firstsight.report import write_pdf, write_report

    print(f"The report is at {write_report(results, out, tables, figures)}")
    if pdf is not None:
        print(f"The PDF is at {write_pdf(out, pdf)}")
