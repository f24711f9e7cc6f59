"""`firstsight demo`: the whole job on the atlas."""

from __future__ import annotations

from pathlib import Path


def demo(out: Path = Path("demo"), quick: bool = False) -> None:
    """Learn some of the birds of an imaginary field guide, recognise the others, write a report.

    Renders the pictures, trains ESZSL, SP-AEN with its classification loss only, and SP-AEN, and evaluates them on
    species they never saw. Finished runs are kept, so a second call is quick.

    Args:
        out: folder for results and report.
        quick: a smaller field guide and one seed; a look, not a result.
    """
    from firstsight.bench.demo import run_demo
    from firstsight.progress import Display

    with Display() as display:
        report = run_demo(out, quick, display)
    print(f"The report is at {report}")
