"""Methods whose scores are products: an image and a class become vectors, and a score is their inner product.

The vectors of very many classes can then be made once, block by block, or kept in an index.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from firstsight.data import ClassEmbeddings, Floats
from firstsight.errors import InputError
from firstsight.methods.base import Method, writer

PARTS = ("_scores", "_project", "_describe")


class ProductMethod(Method):
    """A method that writes `_project`, and `_describe` where class embeddings do not stay as they are.

    The base makes `_scores` of them. A class that writes `_scores` itself is ranked by these scores everywhere: it is
    no product any more, unless it writes all three and so vouches that they agree up to rounding.
    """

    _splits = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        scores, *parts = (writer(cls, name) for name in PARTS)
        cls._splits = scores is ProductMethod or parts == [scores, scores]

    @property
    def product(self) -> ProductMethod | None:
        """Return this method where its scores are products of images and classes, else None."""
        return self if self._splits else None

    @abstractmethod
    def _project(self, features: Tensor) -> Tensor:
        """Return [n, d] vectors of scaled features [n, v]."""

    def _describe(self, vectors: Tensor) -> Tensor:
        """Return [k, d] vectors of scaled class embeddings [k, a]; each row depends on its own class alone."""
        return vectors

    def _scores(self, features: Tensor, vectors: Tensor) -> Tensor:
        return self._project(features) @ self._describe(vectors).T  # [n, k]

    def project(self, inputs: Floats) -> Tensor:
        """Return [n, d] vectors of images [n, v], whose inner products with `describe` are `scores`."""
        self._check_product()
        with torch.inference_mode():
            return self._project(self._scaled(self._tensor(self._checked_inputs(inputs))))

    def describe(self, candidates: ClassEmbeddings) -> Tensor:
        """Return [k, d] vectors of classes."""
        self._check_product()
        with torch.inference_mode():
            return self._describe(self._scaled_classes(self._checked_vectors(candidates)))

    def _check_product(self) -> None:
        if self.product is None:
            raise InputError(f"method must score by a product of image and class to be split; got {self.name}")
