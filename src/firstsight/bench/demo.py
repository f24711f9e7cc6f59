"""The main job on the embedded data: render, train, evaluate, report."""

from __future__ import annotations

from pathlib import Path

from firstsight.bench.bench import Bench, make_method
from firstsight.datasets.atlas import atlas
from firstsight.progress import Display
from firstsight.report import write_report

# The default fails on so few pictures; how these came about, with all that was seen, is in docs/atlas.md.
SPAEN_SETTINGS = {"alpha": 1.0}


def run_demo(out: Path, quick: bool, display: Display) -> Path:
    """Run three methods on the atlas, and return the path of the report.

    Args:
        out: folder for results and report.
        quick: fewer and smaller pictures, one seed instead of three, results in a folder of their own.
        display: shows progress.
    """
    if quick:
        out = out / "quick"
        data = atlas(n_classes=24, n_unseen=6, pictures_per_class=20, size=48, progress=display)
    else:
        data = atlas(progress=display)
    methods = {
        "eszsl": make_method("eszsl", scaling="l2"),
        "spaen:cls-only": make_method("spaen:cls-only"),
        "spaen": make_method("spaen", **SPAEN_SETTINGS),
    }
    Bench([data], methods, range(1 if quick else 3)).run(out, display)
    return write_report(out, out / "report.html")
