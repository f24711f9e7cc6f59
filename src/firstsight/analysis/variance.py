"""Attribute variances of a data set, which need class embeddings only and no training."""

from __future__ import annotations

import numpy as np

from firstsight.data import Dataset, Floats
from firstsight.errors import InputError
from firstsight.results.records import Variance


def attribute_variance(data: Dataset) -> Variance:
    """Compute the attribute variances of the head of Table 1 of SP-AEN (Chen et al., CVPR 2018).

    Every image has the class embedding of its class, scaled to unit length; no features are needed. A classifier
    learns to ignore an attribute that hardly varies in training. If it varies among the unseen classes, the ignored
    attribute is what would separate them (semantic loss).
    """
    vectors = unit_rows(data.classes.vectors)
    trainval, test_unseen = (
        _variance(vectors, data.labels[getattr(data, split)], split) for split in ("trainval", "test_unseen")
    )
    lengths = np.linalg.norm(trainval) * np.linalg.norm(test_unseen)
    cosine = float(trainval @ test_unseen / lengths)
    return Variance(list(data.classes.attributes), trainval.tolist(), test_unseen.tolist(), cosine)


def unit_rows(vectors: Floats) -> Floats:
    """Scale the rows of [n, a] to unit length, in double precision; a row of zeros stays."""
    vectors = vectors.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def _variance(vectors: Floats, labels: np.ndarray, split: str) -> Floats:
    """Compute the variance over images [a] from the share of images of each class, without an [n, a] table."""
    shares = np.bincount(labels, minlength=len(vectors)) / max(1, len(labels))  # [c]
    variance = shares @ (vectors - shares @ vectors) ** 2
    if not variance.any():
        raise InputError(f"{split} must hold images of classes that differ; got {np.count_nonzero(shares)} classes")
    return variance
