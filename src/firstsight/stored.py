"""Rows of large stores, in memory or mapped from a file: pictures of images, and features of their crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstsight.errors import InputError


@dataclass(frozen=True, eq=False)
class Stored:
    """Some of the rows of a store, read where they are used; nothing is copied before."""

    store: NDArray[Any]
    rows: NDArray[np.int64]  # [n] which of them

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: Any) -> NDArray[Any]:
        """Read the rows at these places, one or several."""
        return self.store[self.rows[at]]

    def take(self, at: ArrayLike) -> Self:
        """Return the rows at these places, still not read."""
        return type(self)(self.store, self.rows[np.asarray(at)])


class Pictures(Stored):
    """Some of the pictures [m, h, w, 3] of a store, colours in 0..255."""

    store: NDArray[np.uint8]

    @property
    def side(self) -> int:
        """Return the pixels of the longer side."""
        return max(self.store.shape[1:3])


class Crops(Stored):
    """The features of the crops of some images: a store [m, k, v], k crops of each image."""

    store: NDArray[np.floating]

    @property
    def n_crops(self) -> int:
        """Return k, the number of crops of an image."""
        return self.store.shape[1]

    def of(self, images: NDArray[np.int64], which: NDArray[np.int64]) -> NDArray[np.floating]:
        """Read [b, v] features of one crop of each of b images: `which` [b] in 0..k-1."""
        return self.store[self.rows[images], which]


def as_pictures(values: Sequence[NDArray[np.uint8]]) -> Pictures:
    """Store pictures of one size together; raise an InputError about other sizes and other numbers than bytes."""
    sizes = {np.shape(picture) for picture in values}
    first = np.asarray(values[0])
    if len(sizes) != 1 or first.ndim != 3 or first.shape[2] != 3 or first.dtype != np.uint8:
        raise InputError(
            f"pictures must be [h, w, 3] bytes, all of one size; got {len(sizes)} sizes, the first {list(first.shape)} "
            f"of {first.dtype}"
        )
    return Pictures(np.asarray(values), np.arange(len(values)))
