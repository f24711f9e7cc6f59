"""Scaling of features and of class embeddings, learned on the training set only."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

FeatureScaling = Literal["none", "l2", "standard", "standard-l2"]
ClassScaling = Literal["none", "l2", "centred"]
SMALLEST = 1e-12  # length that is divided by; a row of zeros stays one


def scale_features(
    kind: FeatureScaling, features: Tensor, widths: tuple[int, ...], mean: Tensor, deviation: Tensor
) -> Tensor:
    """Scale features [n, v] in place: a second copy of a large table may not fit.

    `l2` makes every row of each joined feature set unit length, so that a wide set does not drown a narrow one;
    `standard` gives every column zero mean and unit variance; `standard-l2` does the second, then the first. `widths`
    are the columns of each joined set, `mean` [v] and `deviation` [v] those of the training images.
    """
    if kind.startswith("standard"):
        features.sub_(mean).div_(torch.where(deviation > 0, deviation, 1.0))
    if kind.endswith("l2"):
        for part in features.split(widths, dim=1):
            part.div_(part.norm(dim=1, keepdim=True).clamp(min=SMALLEST))
    return features


def scale_classes(kind: ClassScaling, vectors: Tensor, mean: Tensor) -> Tensor:
    """Scale class embeddings [k, a].

    `l2` makes every row unit length, as the benchmarks do. `centred` then subtracts the mean of the seen classes and
    makes rows unit length again: what nearly all classes share dominates raw dot products, and the difference from
    the average class is what tells classes apart. `mean` [a] is that of the unit-length embeddings of seen classes.
    """
    if kind != "none":
        vectors = unit_rows(vectors)
    return unit_rows(vectors - mean) if kind == "centred" else vectors


def unit_rows(matrix: Tensor) -> Tensor:
    """Divide every row by its length; a row of zeros stays."""
    return torch.nn.functional.normalize(matrix, dim=-1, eps=SMALLEST)
