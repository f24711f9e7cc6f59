"""The picture of the atlas in the README: some species with their names, unseen ones in the last row.

python experiments/plate.py
"""

from pathlib import Path

import matplotlib
import numpy as np

from firstsight.datasets.atlas.drawing import draw_bird
from firstsight.datasets.atlas.species import Species, make_species

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLUMNS, SEED, SIZE = 6, 0, 256


def main(figure: Path = Path("docs/atlas.jpg")) -> None:
    species = make_species(40, 10, 0.0, SEED)
    rows = [one for one in enumerate(species) if not one[1].is_unseen][: 2 * COLUMNS]
    rows += [one for one in enumerate(species) if one[1].is_unseen][:COLUMNS]
    plt.rcParams["font.family"] = "DejaVu Serif"
    drawing, axes = plt.subplots(3, COLUMNS, figsize=(12, 6.9), facecolor="#faf8f3", layout="constrained")
    for axis, (row, one) in zip(axes.flat, rows, strict=True):
        axis.imshow(draw_bird(one.traits, SIZE, np.random.default_rng([SEED, 3, row, 0])))
        axis.set_title(caption(one), fontsize=8.5, color="#a5371a" if one.is_unseen else "#1f1d1a", y=-0.05, va="top")
        axis.axis("off")
    drawing.savefig(figure, dpi=110, pil_kwargs={"quality": 86})


def caption(one: Species) -> str:
    return one.name + ("\nunseen" if one.is_unseen else "\n")


if __name__ == "__main__":
    main()
