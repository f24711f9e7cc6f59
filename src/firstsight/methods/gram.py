"""Sums over images for the closed forms: in float64, block by block, so that the features are never copied whole.

Gram matrices are worse conditioned than float32 resolves, whatever precision the features come in.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 4096  # images


def gram(features: Tensor) -> Tensor:
    """Return [v, v] X'X of features [n, v]."""
    total = features.new_zeros(features.shape[1], features.shape[1], dtype=torch.float64)
    for block in features.split(BLOCK):
        wide = block.double()
        total.addmm_(wide.T, wide)
    return total


def class_sums(features: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """Return [s, v] Y'X, the sum of each class's features, without making the one-hot Y."""
    total = features.new_zeros(n_classes, features.shape[1], dtype=torch.float64)
    for block, rows in zip(features.split(BLOCK), labels.split(BLOCK), strict=True):
        total.index_add_(0, rows, block.double())
    return total
