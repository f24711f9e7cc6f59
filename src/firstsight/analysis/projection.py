"""Maps of the test classes by all attributes and by those that vary in training (Fig. 1a of SP-AEN, CVPR 2018).

The figure shows a t-SNE (van der Maaten and Hinton, JMLR 2008) of the test images "represented by all attributes and
only the high-variance ones". The paper does not say which attributes an image has, nor where its cut-off lies. Here
they are those of its class, which every method is given. Images of a class then coincide, so a point stands for a class
and has a number of images. High-variance attributes are the upper half by variance over training images.

A picture proves little, so the distance from a class to its nearest neighbour is measured in both spaces. The distance
that it loses from all attributes to the high-variance ones is information that training may discard.
"""

from __future__ import annotations

import numpy as np

from firstsight.analysis.variance import attribute_variance, unit_rows
from firstsight.data import Dataset, Floats
from firstsight.errors import InputError
from firstsight.results.analyses import Lost, Nearest, Projection, SideMeans

NAMED = 3  # unseen classes that are listed
FEWEST = 4  # test classes, and attributes, that a map needs at least


def projection(data: Dataset, seed: int = 0) -> Projection:
    """Map the test classes with t-SNE, and measure how far apart the unseen ones are; features are not used."""
    high = high_variance(data)
    counts = np.bincount(data.labels[data.test_images], minlength=len(data.classes))
    rows = np.flatnonzero(counts)  # [p]
    if len(rows) < FEWEST or len(high) < FEWEST:
        raise InputError(
            f"a map must have {FEWEST} test classes and {FEWEST} attributes or more; "
            f"got {len(rows)} and {len(high)}; choose other data"
        )
    vectors = unit_rows(data.classes.vectors[rows])
    is_unseen = ~data.is_seen[rows]
    spaces = {"all": vectors, "high": vectors[:, high]}
    distances = {name: cosine_distances(space) for name, space in spaces.items()}
    nearest = {name: distance.min(axis=1) for name, distance in distances.items()}
    loss = np.where(is_unseen, nearest["all"] - nearest["high"], -np.inf)
    names = [data.classes.names[row] for row in rows]
    means = {
        name: SideMeans(*(float(distance[of].mean()) if of.any() else None for of in (~is_unseen, is_unseen)))
        for name, distance in nearest.items()
    }
    return Projection(
        **{name: list(map(tuple, _map(space, seed).round(2).tolist())) for name, space in spaces.items()},
        class_=rows.tolist(),
        images=counts[rows].tolist(),
        nearest=Nearest(**means),
        lost=[
            Lost(names[at], names[distances["high"][at].argmin()], *(float(of[at]) for of in nearest.values()))
            for at in np.argsort(-loss, kind="stable")[:NAMED]
            if loss[at] > 0
        ],
    )


def high_variance(data: Dataset) -> np.ndarray:
    """Tell which attributes [a] are in the upper half by variance over training images."""
    variance = attribute_variance(data).trainval
    chosen = np.zeros(len(variance), dtype=bool)
    chosen[np.argsort(variance, kind="stable")[len(variance) // 2 :]] = True
    return chosen


def cosine_distances(vectors: Floats) -> Floats:
    """Compute one minus cosine between rows, [p, p]; infinite from a row to itself."""
    unit = unit_rows(vectors)
    distances = 1 - unit @ unit.T
    np.fill_diagonal(distances, np.inf)
    return distances


def _map(vectors: Floats, seed: int) -> Floats:
    """Compute the t-SNE [p, 2] of the rows."""
    from sklearn.manifold import TSNE  # slow to import

    perplexity = min(30.0, (len(vectors) - 1) / 3)
    return TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(vectors).astype(np.float64)
