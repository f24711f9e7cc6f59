"""`firstsight demo`: all steps on the atlas."""

from __future__ import annotations

from pathlib import Path


def demo(out: Path = Path("demo"), quick: bool = False) -> None:
    """Train on some birds of an imaginary field guide, recognise the others, write a report.

    Draws the pictures, trains ESZSL, SP-AEN with its classification loss only, and SP-AEN, and tests them on species
    without training pictures. Finished runs are kept, so a second call is fast.

    Args:
        out: folder for results and report.
        quick: use a smaller field guide and one seed, for a first impression.
    """
    from firstsight.bench.demo import run_demo
    from firstsight.progress import Display

    with Display() as display:
        report = run_demo(out, quick, display)
    print(f"The report is at {report}")
