"""Files with attributes of images, as the authors of CUB and of aPY write them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def write_cub(folder: Path, names: Sequence[str], values: np.ndarray, seed: int = 0) -> Path:
    """Write `images.txt` and the attributes of images; numbers and lines come in an order of their own.

    One image more than the names is listed. Every fifth line has a field too many, as two images of CUB do.

    Args:
        folder: to which the files go, as into `CUB_200_2011`.
        names: of the n pictures, with the folder of their class.
        values: [n, a] 0 or 1.
        seed: of the order and of what is written beside the attributes.
    """
    rng = np.random.default_rng(seed)
    n, a = values.shape
    numbers = 1 + rng.permutation(n + 1)
    listed = zip(numbers.tolist(), [*names, "000.Other/Other_1.jpg"], strict=True)
    (folder / "attributes").mkdir(parents=True)
    (folder / "images.txt").write_text("".join(f"{number} {name}\n" for number, name in sorted(listed)))
    values = np.vstack([values, rng.integers(0, 2, (1, a))])
    lines = []
    for row in np.argsort(numbers):
        for column in range(a):
            beside = f"{rng.integers(1, 5)} {rng.random():.3f}"
            extra = "0 " if len(lines) % 5 == 4 else ""
            certainty, seconds = beside.split()
            lines.append(f"{numbers[row]} {column + 1} {values[row, column]} {certainty} {extra}{seconds}")
    file = folder / "attributes" / "image_attribute_labels.txt"
    file.write_text("\n".join(lines) + "\n")
    return file


def write_apy(folder: Path, names: Sequence[str], classes: Sequence[str], values: np.ndarray) -> Path:
    """Write the three files of objects with boxes and attributes, in the order of the data set picture by picture.

    Args:
        folder: to which the files go, as into `attribute_data`.
        names: of the picture of each of n objects.
        classes: of each object.
        values: [n, a] 0 or 1.
    """
    lines = [
        f"{name} {label} 1 2 30 40 {' '.join(map(str, row))}"
        for name, label, row in zip(names, classes, values.tolist(), strict=True)
    ]
    folder.mkdir(parents=True)
    for name, part in zip(("apascal_train", "apascal_test", "ayahoo_test"), np.array_split(lines, 3), strict=True):
        (folder / f"{name}.txt").write_text("\n".join(part) + "\n")
    return folder / "apascal_train.txt"
