"""Abilities of a few methods: drawing pictures, and making features of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from firstsight.data import ClassEmbeddings, Dataset
from firstsight.errors import InputError
from firstsight.methods.base import Method

if TYPE_CHECKING:
    from firstsight.features.backbone import Backbone


@runtime_checkable
class DrawsPictures(Protocol):
    """A method that draws pictures; whether one does can depend on its settings and on its training."""

    @property
    def draws(self) -> bool:
        """Tell whether it has learned to reconstruct a picture."""

    @property
    def view(self) -> int:
        """Return the pixels of a side of the square pictures that it returns and that it is shown."""

    def reconstructed(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Reconstruct pictures: G(F(x)), [n, view, view, 3] colours in 0..255 of [n, h, h, 3]."""

    def imagined(self, classes: ClassEmbeddings) -> NDArray[np.uint8]:
        """Draw classes from their embeddings alone: G(y), [k, view, view, 3] colours in 0..255."""


@runtime_checkable
class MakesFeatures(Protocol):
    """A method that learns from pictures, and where its settings say so learns to make their features too."""

    def makes_features(self) -> bool:
        """Tell whether its settings say so, so that a data set needs no features."""

    def with_features(self, data: Dataset) -> Dataset:
        """Return the data set with the features that this method scores: those it has learned to make, if any."""

    def own_backbone(self) -> Backbone:
        """Return the backbone that it has learned."""


def needs_pictures(kind: type[Method]) -> bool:
    """Tell whether methods of this kind learn from the pictures themselves, beside their features."""
    return issubclass(kind, MakesFeatures)


def own_backbone(method: Method) -> Backbone | None:
    """Return the backbone that a fitted method has learned; None where it works on the features of a data set."""
    return method.own_backbone() if isinstance(method, MakesFeatures) and method.makes_features() else None


def with_own_features(method: Method, data: Dataset) -> Dataset:
    """Return the data set with the features that a fitted method scores: those it has learned to make, if any."""
    return method.with_features(data) if isinstance(method, MakesFeatures) else data


def drawing(method: Method, purpose: str) -> DrawsPictures:
    """Return the method as one that draws, or raise an InputError that names the purpose, as `imagine a class`."""
    if not isinstance(method, DrawsPictures):
        raise InputError(f"method must draw pictures to {purpose}; got {method.name}; spaen-pictures does")
    return method


def can_draw(method: object) -> TypeGuard[DrawsPictures]:
    """Tell whether a fitted method draws pictures."""
    return isinstance(method, DrawsPictures) and method.draws
