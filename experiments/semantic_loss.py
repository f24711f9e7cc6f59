"""Does SP-AEN's advantage grow with semantic loss? The atlas at three settings of it (docs/atlas.md).

    python experiments/semantic_loss.py --out runs/semantic_loss

Several field guides with different seeds are drawn for each setting; the standard deviation is over them. Prints the
table, draws docs/semantic-loss.png. Settings are those of the demo; `longer` is a training length that suits Cls. only
better on validation classes, a control that a gain of SP-AEN must exceed. Finished runs are kept.
"""

import argparse
import dataclasses
from pathlib import Path

import matplotlib
import numpy as np

from firstsight.analysis import attribute_variance
from firstsight.bench.bench import Bench, make_method
from firstsight.bench.demo import SPAEN_SETTINGS
from firstsight.datasets.atlas import atlas
from firstsight.progress import Display
from firstsight.results.numbers import METRICS

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DIALS = (0.0, 0.5, 1.0)
METHODS = {
    "eszsl": ("ESZSL", "#8a8f98"),
    "spaen:cls-only": ("SP-AEN Cls. only", "#d9822b"),
    "spaen:cls-only, longer": ("SP-AEN Cls. only, longer", "#e3b04b"),
    "spaen": ("SP-AEN", "#2b6cb0"),
}
PANELS = {"t1": "t1, percent", "ausuc": "AUSUC", "h_cal": "calibrated h, percent"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/semantic_loss"))
    parser.add_argument("--seeds", type=int, default=2, help="of the methods")
    parser.add_argument("--worlds", type=int, default=3, help="field guides for each setting")
    parser.add_argument("--figure", type=Path, default=Path("docs/semantic-loss.png"))
    options = parser.parse_args()

    methods = {
        "eszsl": make_method("eszsl", scaling="l2"),
        "spaen:cls-only": make_method("spaen:cls-only"),
        "spaen:cls-only, longer": make_method("spaen:cls-only", epochs=72.0),
        "spaen": make_method("spaen", **SPAEN_SETTINGS),
    }
    reached: dict[tuple[float, str, str], list[float]] = {}  # one mean over seeds for each field guide
    cosines: dict[float, list[float]] = {}
    with Display() as display:
        for dial in DIALS:
            for world in range(options.worlds):
                data = atlas(semantic_loss=dial, seed=world, progress=display)
                data = dataclasses.replace(data, name=f"atlas {dial}, guide {world}", pictures=())
                cosines.setdefault(dial, []).append(attribute_variance(data).cosine)
                runs = Bench([data], methods, range(options.seeds)).run(options.out, display)
                for spec in methods:
                    for metric in PANELS:
                        mean = np.mean([run.number(metric) for run in runs if run.method == spec])
                        reached.setdefault((dial, spec, metric), []).append(float(mean))
    print_table(reached, cosines)
    draw(reached, cosines, options.figure)


def print_table(reached: dict[tuple[float, str, str], list[float]], cosines: dict[float, list[float]]) -> None:
    print(
        "| semantic loss | variance cosine | metric | "
        + " | ".join(name for name, _ in METHODS.values())
        + " | SP-AEN - Cls. only, paired |\n|"
        + "---|" * (4 + len(METHODS))
    )
    for dial in DIALS:
        for metric in PANELS:
            digits = METRICS[metric].digits
            cells = [spread(reached[dial, spec, metric], digits) for spec in METHODS]
            gain = np.subtract(reached[dial, "spaen", metric], reached[dial, "spaen:cls-only", metric])
            head = (f"{dial}", f"{np.mean(cosines[dial]):.2f}", metric)
            print("| " + " | ".join((*head, *cells, spread(gain, digits + 1))) + " |")


def spread(values: list[float] | np.ndarray, digits: int) -> str:
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=len(values) > 1):.{digits}f}"


def draw(reached: dict[tuple[float, str, str], list[float]], cosines: dict[float, list[float]], figure: Path) -> None:
    plt.rcParams.update({"font.family": "DejaVu Sans", "axes.spines.top": False, "axes.spines.right": False})
    drawing, axes = plt.subplots(1, len(PANELS), figsize=(11, 3.6), layout="constrained")
    for axis, (metric, title) in zip(axes, PANELS.items(), strict=True):
        for at, (spec, (name, colour)) in enumerate(METHODS.items()):
            values = [reached[dial, spec, metric] for dial in DIALS]
            x = np.array(DIALS) + (at - 1) * 0.03
            axis.errorbar(
                x,
                [np.mean(v) for v in values],
                [np.std(v, ddof=len(v) > 1) for v in values],
                color=colour,
                marker="o",
                capsize=3,
                label=name,
                linewidth=1.6,
            )
        axis.set_title(title, loc="left", fontsize=11)
        axis.set_xticks(DIALS, [f"{dial}\ncosine {np.mean(cosines[dial]):.2f}" for dial in DIALS])
        axis.set_xlabel("semantic loss")
        axis.grid(axis="y", alpha=0.25)
    axes[0].legend(frameon=False, fontsize=9)
    figure.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(figure, dpi=150)


if __name__ == "__main__":
    main()
