"""Attributes of single images, which CUB and aPY have in the files of their authors.

    CUB_200_2011/images.txt                              1 001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg
    CUB_200_2011/attributes/image_attribute_labels.txt   image attribute is_present certainty seconds
    attribute_data/apascal_train.txt, ...                picture class box and 64 attributes, see `objects.py`

An attribute is 0 or 1. An image of CUB whose attribute cannot be seen has 0; how certain people were is not used. Some
lines of CUB have a field too many, after the certainty; the first three fields are right in all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from firstsight.data import Dataset
from firstsight.datasets import atlas_settings, is_own_pictures
from firstsight.datasets.gbu_files import lines_of, read_picture_names
from firstsight.datasets.gbu_pictures import distinct_depth, tail
from firstsight.datasets.objects import ANNOTATIONS, objects_of
from firstsight.errors import InputError, first_of
from firstsight.pictures.find import list_pictures, walk

CUB_FILE, CUB_IMAGES = "image_attribute_labels.txt", "images.txt"
NAMES = (CUB_FILE, *ANNOTATIONS)
MOST = 1_000_000  # the highest number of an image or of an attribute that is believed
BY_DATA: dict[str, Sequence[str]] = {"CUB": (CUB_FILE,), "APY": ANNOTATIONS}  # names of files by data set of the paper


@dataclass(frozen=True, eq=False)
class ImageAttributes:
    """Attributes of the images of a data set."""

    values: np.ndarray  # [n, a] 0 or 1 as bytes, in the order of the data set's images
    file: Path  # the file they are from, or the first of several


def find_image_attributes(place: str | Path, names: Sequence[str] = NAMES) -> Path | None:
    """Find the file with attributes of images at any depth of a folder, of aPY the first of three; None for none."""
    place = Path(place)
    found = {name: path for file in walk(place) if (name := (path := place / file.path).name) in names}
    return next((found[name] for name in names if name in found), None)


def read_image_attributes(data: Dataset, folder: str | Path, place: str | Path | None = None) -> ImageAttributes | None:
    """Read the attributes of each image of a data set.

    Args:
        data: loaded from `folder`.
        folder: what `load` was given.
        place: the file, or a folder that has it at any depth; the data set's own folder where None.

    Returns:
        The attributes; None where no `place` was given and the data set's own folder has no such file.

    Raises:
        InputError: a place without such a file, or a file that does not have every image of the data set.
    """
    if atlas_settings(folder) is not None:
        if place is not None:
            raise InputError(f"image attributes must be left out for atlas, which has none; got {str(place)!r}")
        return None
    file = Path(folder if place is None else place)
    if not file.exists():
        raise InputError(f"image attributes must be a file or a folder; got {str(place)!r}, a path where nothing is")
    if file.is_dir() and (found := find_image_attributes(file)):
        file = found
    if file.name not in NAMES:
        if place is None:
            return None
        raise InputError(f"image attributes must be in {CUB_FILE} or {ANNOTATIONS[0]}; got neither at {place}")
    names = list_pictures(folder).paths if is_own_pictures(folder) else read_picture_names(folder)
    if len(names) != len(data.labels):
        raise InputError(f"names of pictures must be one per image; got {len(names)} for {len(data.labels)} labels")
    if file.name == CUB_FILE:
        return ImageAttributes(_of_birds(names, file), file)
    return ImageAttributes(_of_objects(data, names, file.parent), file)


def _of_birds(names: Sequence[str], file: Path) -> np.ndarray:
    """Read the attributes [n, a] of the images with these names from the files of CUB."""
    lists = [folder / CUB_IMAGES for folder in file.resolve().parents[:2]]
    listing = next((path for path in lists if path.is_file()), None)
    if listing is None:
        raise InputError(f"{file.name} must have {CUB_IMAGES} beside it or a folder above; got none at {file.parent}")
    numbers = _numbers_of_pictures(listing)
    depth = max(distinct_depth(names), distinct_depth(list(numbers)))
    by_tail = {tail(name, depth): number for name, number in numbers.items()}
    if missing := [name for name in names if tail(name, depth) not in by_tail]:
        raise InputError(f"{CUB_IMAGES} must list every picture of the data set; got none for {_some(missing, names)}")
    table = _table_of_birds(file)
    chosen = [by_tail[tail(name, depth)] for name in names]
    if bare := [name for name, number in zip(names, chosen, strict=True) if number not in table]:
        raise InputError(f"{file.name} must have lines of every picture; got none for {_some(bare, names)}")
    return np.stack([table[number] for number in chosen])


def _some(missing: Sequence[str], names: Sequence[str]) -> str:
    return first_of(missing, len(names))


def _numbers_of_pictures(listing: Path) -> dict[str, int]:
    """Read the number of each picture by its name."""
    numbers = {}
    for line in lines_of(listing):
        number, _, name = line.partition(" ")
        if not number.isascii() or not number.isdigit() or not name.strip():
            raise InputError(f"lines of {listing.name} must be a number and the name of a picture; got {line[:60]!r}")
        if name.strip() in numbers:
            raise InputError(f"lines of {listing.name} must name each picture once; got {name.strip()!r} twice")
        numbers[name.strip()] = int(number)
    if len(set(numbers.values())) < len(numbers):
        twice = next(one for one, count in Counter(numbers.values()).items() if count > 1)
        raise InputError(f"lines of {listing.name} must have a number each; got {twice} twice")
    return numbers


def _table_of_birds(file: Path) -> Mapping[int, np.ndarray]:
    """Read the attributes [a] of each image by its number; each must have all a attributes once.

    The file of CUB has 3.7 million lines, so they are read one after the other, in plain steps.
    """
    images: list[int] = []
    columns: list[int] = []
    present: list[int] = []
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            words = line.split(None, 3)
            if not words:
                continue
            try:
                image, attribute, is_present = map(int, words[:3])
            except ValueError:
                image = attribute = is_present = -1
            if is_present not in (0, 1) or not (1 <= attribute <= MOST and abs(image) <= MOST):
                raise InputError(
                    f"lines of {file.name} must begin with image, attribute and 0 or 1; got {line.strip()[:60]!r}"
                )
            images.append(image)
            columns.append(attribute)
            present.append(is_present)
    if not images:
        raise InputError(f"{file.name} must have a line per image and attribute; got no line")
    numbers, rows = np.unique(np.array(images), return_inverse=True)
    a = max(columns)
    if len(numbers) * a > 2 * len(images):  # far too few lines; a table of all pairs may not fit into memory
        raise InputError(
            f"{file.name} must have one line for each image and attribute; got {len(images)} lines for "
            f"{len(numbers)} images and {a} attributes"
        )
    places = rows * a + np.array(columns) - 1
    counts = np.bincount(places, minlength=len(numbers) * a).reshape(len(numbers), a)
    if (wrong := np.argwhere(counts != 1)).size:
        row, column = wrong[0]
        raise InputError(
            f"{file.name} must have one line for each image and attribute; got {counts[row, column]} "
            f"for image {numbers[row]} and attribute {column + 1}"
        )
    values = np.zeros(len(numbers) * a, dtype=np.uint8)
    values[places] = present
    return dict(zip(numbers.tolist(), values.reshape(-1, a), strict=True))


def _of_objects(data: Dataset, names: Sequence[str], folder: Path) -> np.ndarray:
    """Read the attributes [n, a] of the objects of aPY."""
    classes = [data.classes.names[row] for row in data.labels.tolist()]
    found = objects_of(names, classes, folder)
    for one, other in pairwise(found):
        if len(one.attributes) != len(other.attributes):
            raise InputError(
                f"objects must all have as many attributes; got {len(one.attributes)} in {one.picture} "
                f"and {len(other.attributes)} in {other.picture}"
            )
    if odd := next((one for one in found if not one.attributes or set(one.attributes) - {"0", "1"}), None):
        raise InputError(f"attributes of an object must be 0 or 1; got {' '.join(odd.attributes)!r} in {odd.picture}")
    return np.array([one.attributes for one in found]).astype(np.uint8)
