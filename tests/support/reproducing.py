"""Inputs for `firstsight reproduce` as small as they can be: GBU folders, pictures, and trainings of a step or two."""

import sys
from pathlib import Path

from scipy.io import savemat

from firstsight.bench import reproduce
from tests.support.paintings import painted
from tests.support.tiny import tiny_dataset, write_gbu

TINY = {"side": 32, "width": 1 / 64, "pretrained": "none", "hidden": 8}


def inputs(folder: Path, with_features: bool = True) -> tuple[Path, Path]:
    """A GBU folder: CUB as in the zip, APY with other features, SUN with splits alone; and pictures, `cub-colours`."""
    for seed, name in enumerate(("CUB", "APY", "SUN")):
        data = tiny_dataset(seed, n_seen=7, n_unseen=4, a=8)
        place = write_gbu(folder / "gbu" / name, data)
        savemat(place / "labels.mat", {"labels": data.labels[:, None] + 1})
        if name == "APY" and with_features:
            (place / "res101.mat").rename(place / "logits.mat")
        elif name == "SUN" or not with_features:
            (place / "res101.mat").unlink()
    pictures = folder / "cub-colours"
    pictures.mkdir()
    return folder / "gbu", painted(pictures)


def shrink(patch=setattr) -> None:
    """Make quick trainings as short as they can be."""
    patch(reproduce, "QUICK", 300)
    patch(reproduce, "SMALL", TINY)


if __name__ == "__main__":
    from firstsight.cli import main

    shrink()
    main(sys.argv[1:])
