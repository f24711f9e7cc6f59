"""Analyses beyond accuracy, of a data set and of the scores of a method; docs/analyses.md explains each.

`variance` and `projection` need class embeddings only and no training, `gain` needs the per-class accuracies of two
methods. All others need test scores, and `analyse` runs them together. Nothing here trains.

The functions that need test scores take them as `analyse` has checked them: scores [n, c] of all test images against
all classes, from which gamma is subtracted, labels [n], rows of the right classes, and is_seen [c], whether a class was
trained on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from firstsight.analysis.attributes import attribute_quality
from firstsight.analysis.calibration import calibration
from firstsight.analysis.confusion import confusion
from firstsight.analysis.hubness import hubness
from firstsight.analysis.projection import projection
from firstsight.analysis.reject import rejection
from firstsight.analysis.variance import attribute_variance
from firstsight.data import ClassEmbeddings, Floats, as_indices, as_matrix
from firstsight.errors import InputError
from firstsight.results.analyses import Analyses, Hubness
from firstsight.results.document import document, parsed

__all__ = ["analyse", "attribute_variance", "projection"]


def analyse(
    scores: Floats,
    labels: ArrayLike,
    is_seen: ArrayLike,
    classes: ClassEmbeddings,
    gamma: float | None = None,
    temperature: float | None = None,
    k: int = 10,
) -> Analyses:
    """Run all analyses of test scores; numbers have four significant digits, so that files stay small.

    Args:
        scores: [n, c] of all test images against all classes.
        labels: [n] rows of the right classes.
        is_seen: [c] whether a class was trained on.
        classes: all c classes.
        gamma: subtracted from seen scores, chosen on validation classes; 0 if None.
        temperature: probabilities are softmax((scores - gamma is_seen) / temperature), fitted on validation classes;
            without it, analyses of probabilities are None.
        k: second number of neighbours in hubness; the first is 1.
    """
    scores = as_matrix(scores, "scores", rows="images").astype(np.float64)
    rows = as_indices(labels, "labels", len(classes), "class")
    names = classes.names
    seen = np.asarray(is_seen).astype(bool)
    if scores.shape != (len(rows), len(classes)) or len(seen) != len(classes):
        raise InputError(
            f"scores must be [{len(rows)} labels, {len(classes)} classes]; "
            f"got {list(scores.shape)} with is_seen of {len(seen)}"
        )
    for side, columns in (("seen", seen), ("unseen", ~seen)):
        if not columns[rows].any():
            raise InputError(f"labels must have images of {side} classes; got none")
    images, unseen = ~seen[rows], np.flatnonzero(~seen)
    own = rows[images]
    stacked = scores if gamma is None else scores - gamma * seen
    found = Analyses(
        hubness=Hubness(
            uu=hubness(scores[np.ix_(images, unseen)], np.searchsorted(unseen, own), [names[row] for row in unseen], k),
            ut=hubness(scores[images], own, names, k),
        ),
        confusion=confusion(scores, rows, seen, names, gamma),
        attributes=None if temperature is None else attribute_quality(stacked, rows, seen, classes, temperature),
        probability=calibration(stacked, rows, seen, temperature),
        reject=rejection(stacked, rows, seen, temperature),
    )
    rounded: Analyses = parsed(Analyses, _rounded(document(found)))
    return rounded


def _rounded(value: Any) -> Any:
    """Round every float in nested dicts and lists to four significant digits."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
