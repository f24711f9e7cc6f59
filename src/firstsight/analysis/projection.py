"""Maps of the test images by all attributes and by those that vary in training (Fig. 1a of SP-AEN, CVPR 2018).

The figure shows a t-SNE (van der Maaten and Hinton, JMLR 2008) of the test images "represented by all attributes and
only the high-variance ones". The paper does not say which attributes an image has, nor where its cut-off lies. CUB and
aPY have attributes of each image (`firstsight.datasets.image_attributes`); then a point is an image. Otherwise images
have the attributes of their class, which every method is given. Images of a class then coincide, so a point stands for
a class and has a number of images.

High-variance attributes are the upper half by the variance of class embeddings over training images, in both cases: it
is what a classifier sees in training, and it is the variance of the figure's heat map and of Table 1.

A picture proves little, so the distance from a point to the nearest one of another class is measured in both spaces.
The distance that a class loses from all attributes to the high-variance ones is information that training may discard.
"""

from __future__ import annotations

import numpy as np

from firstsight.analysis.variance import attribute_variance, unit_rows
from firstsight.data import Dataset, Floats
from firstsight.errors import InputError
from firstsight.results.analyses import Lost, Nearest, Projection, SideMeans

NAMED = 3  # unseen classes that are listed
FEWEST = 4  # test classes, and attributes, that a map needs at least
BLOCK = 1024  # rows whose distances to all others are in memory at a time


def projection(data: Dataset, seed: int = 0, attributes: np.ndarray | None = None) -> Projection:
    """Map the test images with t-SNE, and measure how far apart the unseen classes are; features are not used.

    Args:
        data: the data set.
        seed: of t-SNE.
        attributes: [n, a] of all n images, in the columns of the class embeddings. Where None, images have those of
            their class, and the map has a point for each class.
    """
    high = high_variance(data)
    counts = np.bincount(data.labels[data.test_images], minlength=len(data.classes))
    tested = np.flatnonzero(counts)
    if len(tested) < FEWEST or len(high) < FEWEST:
        raise InputError(
            f"a map must have {FEWEST} test classes and {FEWEST} attributes or more; "
            f"got {len(tested)} and {len(high)}; choose other data"
        )
    if attributes is not None and attributes.shape != (len(data.labels), len(high)):
        raise InputError(
            f"attributes of images must be [{len(data.labels)} images, {len(high)} attributes of the class "
            f"embeddings]; got {list(attributes.shape)}"
        )
    if attributes is None:
        rows, vectors = tested, unit_rows(data.classes.vectors[tested])  # [p], [p, a]
    else:
        rows, vectors = data.labels[data.test_images], unit_rows(attributes[data.test_images])
    is_unseen = ~data.is_seen[rows]
    spaces = {"all": vectors, "high": vectors[:, high]}
    nearest = {name: nearest_of_others(space, rows) for name, space in spaces.items()}
    means = {
        name: SideMeans(*(float(distance[of].mean()) if of.any() else None for of in (~is_unseen, is_unseen)))
        for name, (distance, _) in nearest.items()
    }
    return Projection(
        **{name: list(map(tuple, _map(space, seed).round(2).tolist())) for name, space in spaces.items()},
        class_=rows.tolist(),
        images=counts[rows].tolist() if attributes is None else [],
        nearest=Nearest(**means),
        lost=_lost(data, rows, nearest["all"][0], *nearest["high"]),
        of=None if attributes is None else "images",
    )


def _lost(data: Dataset, rows: np.ndarray, by_all: Floats, by_high: Floats, neighbours: np.ndarray) -> list[Lost]:
    """List the unseen classes whose points lose most distance, with the class that is most often nearest in the end."""
    found = []
    for row in np.intersect1d(rows, data.unseen).tolist():
        own = rows == row
        neighbour = np.bincount(rows[neighbours[own]]).argmax()
        names = (data.classes.names[row], data.classes.names[neighbour])
        found.append(Lost(*names, float(by_all[own].mean()), float(by_high[own].mean())))
    found.sort(key=lambda one: one.high - one.all)
    return [one for one in found[:NAMED] if one.high < one.all]


def high_variance(data: Dataset) -> np.ndarray:
    """Tell which attributes [a] are in the upper half by variance over training images."""
    variance = attribute_variance(data).trainval
    chosen = np.zeros(len(variance), dtype=bool)
    chosen[np.argsort(variance, kind="stable")[len(variance) // 2 :]] = True
    return chosen


def nearest_of_others(vectors: Floats, classes: np.ndarray) -> tuple[Floats, np.ndarray]:
    """Find the nearest row of another class: one minus cosine to it [p], and its place [p].

    Args:
        vectors: [p, a].
        classes: [p] of the rows, of two classes at least.
    """
    unit = unit_rows(vectors)
    distances, places = np.empty(len(unit)), np.empty(len(unit), dtype=np.int64)
    for start in range(0, len(unit), BLOCK):
        block = slice(start, start + BLOCK)
        found = 1 - unit[block] @ unit.T
        found[classes[block, None] == classes] = np.inf
        distances[block], places[block] = found.min(axis=1), found.argmin(axis=1)
    return distances, places


def _map(vectors: Floats, seed: int) -> Floats:
    """Compute the t-SNE [p, 2] of the rows."""
    from sklearn.manifold import TSNE  # slow to import

    perplexity = min(30.0, (len(vectors) - 1) / 3)
    return TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(vectors).astype(np.float64)
