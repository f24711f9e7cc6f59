"""Attribute prediction from the scores of any method (after Lampert et al., TPAMI 2014).

DAP reports the area under the ROC curve of each attribute classifier. A method without such classifiers predicts
attributes too: the expected attributes of an image are those of the candidate classes, weighted by their
probabilities. An attribute is present in a class if its value exceeds its mean over the seen classes, as in DAP.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firstsight.data import ClassEmbeddings, Floats, Indices
from firstsight.evaluation.calibration import probabilities
from firstsight.results.analyses import AttributeArea, AttributeQuality, MeanArea

NAMED = 6  # best attributes, and worst ones, that are listed


def roc_auc(values: Floats, positive: NDArray[np.bool_]) -> Floats:
    """Compute the area under the ROC curve of each column, [a]: the chance that a positive ranks above a negative.

    Computed from ranks (Mann and Whitney, 1947); ties count half. NaN for a column of positives only or negatives only.
    `values` [n, a] are higher for what is more positive; `positive` [n, a] is the truth.
    """
    from scipy.stats import rankdata  # takes a while to import

    ranks = rankdata(values, axis=0)  # [n, a] from 1, ties share their mean
    n_positive = positive.sum(axis=0)
    n_pairs = n_positive * (len(values) - n_positive)
    above = (ranks * positive).sum(axis=0) - n_positive * (n_positive + 1) / 2
    return np.divide(above, n_pairs, out=np.full(values.shape[1], np.nan), where=n_pairs > 0)


def attribute_quality(
    scores: Floats, labels: Indices, is_seen: NDArray[np.bool_], classes: ClassEmbeddings, temperature: float
) -> AttributeQuality:
    """Measure the area under the ROC curve of every attribute over unseen test images."""
    images = ~is_seen[labels]
    own = labels[images]
    present = classes.vectors > classes.vectors[is_seen].mean(axis=0)  # [c, a]
    table: dict[str, Floats] = {}
    for name, candidates in (("unseen", ~is_seen), ("all", np.ones_like(is_seen))):
        chances = probabilities(scores[np.ix_(images, candidates)], temperature)  # [m, k]
        # rounding keeps equal sums equal, which float errors would separate
        expected = (chances @ present[candidates].astype(np.float64)).round(12)  # [m, a]
        table[name] = roc_auc(expected, present[own])
    known = np.flatnonzero(~np.isnan(table["unseen"]))
    order = known[np.argsort(-table["unseen"][known], kind="stable")]
    names = classes.attributes or tuple(f"attribute {column + 1}" for column in range(present.shape[1]))
    rows = [AttributeArea(names[column], float(table["unseen"][column])) for column in order]
    n_named = min(NAMED, len(rows) // 2)
    return AttributeQuality(
        auc=[None if np.isnan(value) else float(value) for value in table["unseen"]],
        mean=MeanArea(**{name: float(auc[known].mean()) if len(known) else None for name, auc in table.items()}),
        best=rows[:n_named],
        worst=rows[::-1][:n_named],
    )
