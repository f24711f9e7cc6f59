"""The atlas: a field guide of imaginary birds, rendered when needed, with a setting for semantic loss.

    data = atlas()                       # 40 species, 10 of them unseen
    hard = atlas(semantic_loss=1.0)      # traits that separate unseen species hardly vary among seen ones

`species.py` makes the classes, `drawing.py` the pictures (`scenery.py` the background, `shapes.py` the drawing
primitives), `firstsight.features.compact` the features.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from firstsight.data import Dataset
from firstsight.datasets.atlas.drawing import draw_bird
from firstsight.datasets.atlas.species import MOST_VALUES, Species, embed, make_species
from firstsight.errors import InputError
from firstsight.features.compact import compact_features
from firstsight.files import cache_folder, replacing
from firstsight.progress import Progress

__all__ = ["atlas"]

VERSION = 2  # raise it when the output of drawing, species or features changes, so that old cache files are ignored
THUMBNAIL = 16  # pixels of a side


def atlas(
    n_classes: int = 40,
    n_unseen: int = 10,
    pictures_per_class: int = 30,
    size: int = 64,
    semantic_loss: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Render the atlas and compute its features, or read both from the cache.

    Features come from a network trained on the training pictures of the seen classes, without the classes that
    `validation_set(0)` holds out. So those are as new to the network as the unseen classes; otherwise they would look
    easier than unseen ones, and settings chosen on them would be biased. Other partitions hold out classes that the
    network knows. The `test_seen` pictures of any validation set are among its training pictures, so they score a
    little better than new ones.

    Args:
        n_classes: number of all species.
        n_unseen: number of species without training pictures.
        pictures_per_class: a fifth of them, for seen classes, is kept for testing.
        size: side of the square pictures, in pixels.
        semantic_loss: 0 to 1; how different the traits are that vary among seen and among unseen classes. The cosine
            between their attribute variances falls from .99 at 0 to about .5 at 1.
        seed: of everything; the same settings give the same data set.
        progress: called with (stage, done, total, losses) while pictures are drawn and features trained.

    Returns:
        Pictures, features, and 16 x 16 thumbnails as reconstruction features, with one validation partition.
    """
    _check(n_classes, n_unseen, pictures_per_class, size, semantic_loss, seed)
    semantic_loss = float(semantic_loss)
    species = make_species(n_classes, n_unseen, semantic_loss, seed)
    labels = np.repeat(np.arange(n_classes), pictures_per_class)
    is_test = np.tile(np.arange(pictures_per_class) >= pictures_per_class - pictures_per_class // 5, n_classes)
    is_unseen = np.array([one.is_unseen for one in species])[labels]
    seen = [one.name for one in species if not one.is_unseen]
    held_out = np.random.default_rng([seed, 2]).choice(seen, round(len(seen) / 3), replace=False)
    is_held_out = np.isin([one.name for one in species], held_out)[labels]

    settings = (n_classes, n_unseen, pictures_per_class, size, semantic_loss, seed)
    path = cache_folder() / f"atlas-v{VERSION}-{'-'.join(map(str, settings))}.safetensors"
    arrays = _cached(path)
    if arrays is None:
        pictures = _render(species, pictures_per_class, size, seed, progress)
        train = np.flatnonzero(~is_unseen & ~is_test & ~is_held_out)
        arrays = {"pictures": pictures, "features": compact_features(pictures, train, labels, seed, progress)}
        with replacing(path) as unfinished:
            save_file(arrays, unfinished)
    return Dataset(
        name="atlas" if semantic_loss == 0 else f"atlas {semantic_loss:g}",
        description=(
            f"rendered field guide {seed}, {size} px, semantic loss {semantic_loss:g}; features from a small network "
            "trained on seen classes"
        ),
        classes=embed(species, seed),
        labels=labels,
        trainval=np.flatnonzero(~is_unseen & ~is_test),
        test_seen=np.flatnonzero(~is_unseen & is_test),
        test_unseen=np.flatnonzero(is_unseen),
        features=arrays["features"],
        reconstruction_features=_thumbnails(arrays["pictures"]),
        pictures=arrays["pictures"],  # type: ignore[arg-type]  # an array works as a sequence
        validation_classes=(tuple(sorted(map(str, held_out))),),
    )


def _check(n_classes: int, n_unseen: int, pictures_per_class: int, size: int, semantic_loss: float, seed: int) -> None:
    """Raise InputError for the first setting that is out of range."""
    least_seen = MOST_VALUES + 1
    for name, value, low, high in (
        ("n_classes", n_classes, least_seen + 1, 400),
        ("n_unseen", n_unseen, 1, 400),
        ("pictures_per_class", pictures_per_class, 5, 2000),
        ("size", size, 16, 256),
        ("seed", seed, 0, 2**32 - 1),
    ):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise InputError(f"{name} must be a whole number; got {value!r}")
        if not low <= value <= high:
            raise InputError(f"{name} must be {low} to {high}; got {value}")
    if n_classes - n_unseen < least_seen:
        raise InputError(
            f"n_unseen must leave {least_seen} seen classes or more; got {n_unseen} of {n_classes} classes"
        )
    if isinstance(semantic_loss, bool) or not isinstance(semantic_loss, (int, float, np.number)):
        raise InputError(f"semantic_loss must be a number; got {semantic_loss!r}")
    if not 0 <= semantic_loss <= 1:
        raise InputError(f"semantic_loss must be 0 to 1; got {semantic_loss}")


def _render(
    species: list[Species], pictures_per_class: int, size: int, seed: int, progress: Progress | None
) -> NDArray[np.uint8]:
    """Draw all pictures [n, size, size, 3], class after class."""
    pictures = np.empty((len(species), pictures_per_class, size, size, 3), dtype=np.uint8)
    for row, one in enumerate(species):
        for number in range(pictures_per_class):
            pictures[row, number] = draw_bird(one.traits, size, np.random.default_rng([seed, 3, row, number]))
        if progress:
            progress("pictures", (row + 1) * pictures_per_class, len(species) * pictures_per_class, {})
    return pictures.reshape(-1, size, size, 3)


def _thumbnails(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Shrink pictures to 16 x 16; return their colours in 0..1, [n, 768]."""
    shrunk = [Image.fromarray(picture).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX) for picture in pictures]
    return np.stack([np.asarray(picture, dtype=np.float32).ravel() for picture in shrunk]) / np.float32(255)


def _cached(path: Path) -> dict[str, np.ndarray] | None:
    """Read the arrays of an earlier call; None if there are none or they cannot be read."""
    try:
        arrays = load_file(path)
        return arrays if {"pictures", "features"} <= set(arrays) else None
    except (OSError, SafetensorError):
        return None
