"""The atlas: a field guide of imaginary birds, rendered on the spot, with a dial for semantic loss.

    data = atlas()                       # 40 species, 10 of them unseen
    hard = atlas(semantic_loss=1.0)      # what tells unseen species apart hardly varies among seen ones

`species.py` makes the classes, `drawing.py` the pictures (`scenery.py` what is around the bird, `shapes.py` how to
draw it), `firstsight.features.compact` the features.
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

VERSION = 2  # raise it when drawing, species or features change what they return: old cache files are then ignored
THUMBNAIL = 16


def atlas(
    n_classes: int = 40,
    n_unseen: int = 10,
    pictures_per_class: int = 30,
    size: int = 64,
    semantic_loss: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Renders the atlas and its features, or takes them from the cache.

    Features come from a network trained on the training pictures of those seen classes that are not validation
    classes. The classes that `validation_set(0)` holds out are thus as new to the features as the unseen classes are;
    otherwise they would look easier than unseen ones, and settings chosen on them would be biased. Other partitions
    hold out classes the network knows. The `test_seen` pictures of any validation set were among its training
    pictures too, so they score a little better than fresh ones.

    Args:
        n_classes: species in all.
        n_unseen: species kept out of training.
        pictures_per_class: of which a fifth, for seen classes, is kept for testing.
        size: side of the square pictures, in pixels.
        semantic_loss: in 0..1, how different the traits are that vary among seen and among unseen classes. The
            cosine between their attribute variances falls from .99 at 0 to about .5 at 1.
        seed: of everything; the same settings give the same data set.
        progress: called with (stage, done, in all, losses) while pictures are drawn and features trained.

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
        pictures=arrays["pictures"],  # type: ignore[arg-type]  # an array is sequence enough
        validation_classes=(tuple(sorted(map(str, held_out))),),
    )


def _check(n_classes: int, n_unseen: int, pictures_per_class: int, size: int, semantic_loss: float, seed: int) -> None:
    """Raises the sentence that says what is wrong with the settings."""
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
    """[n, size, size, 3] all pictures, class after class."""
    pictures = np.empty((len(species), pictures_per_class, size, size, 3), dtype=np.uint8)
    for row, one in enumerate(species):
        for number in range(pictures_per_class):
            pictures[row, number] = draw_bird(one.traits, size, np.random.default_rng([seed, 3, row, number]))
        if progress:
            progress("pictures", (row + 1) * pictures_per_class, len(species) * pictures_per_class, {})
    return pictures.reshape(-1, size, size, 3)


def _thumbnails(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[n, 768] colours in 0..1 of the pictures at 16 x 16."""
    shrunk = [Image.fromarray(picture).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX) for picture in pictures]
    return np.stack([np.asarray(picture, dtype=np.float32).ravel() for picture in shrunk]) / np.float32(255)


def _cached(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of an earlier call, or None where there are none that can be read."""
    try:
        arrays = load_file(path)
        return arrays if {"pictures", "features"} <= set(arrays) else None
    except (OSError, SafetensorError):
        return None
