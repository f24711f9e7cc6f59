"""Attributes that favour a prediction: the margin lost when both classes get an attribute's mean.

A class is data, so the question can be put to any method: give the class the mean value of one attribute, leave all
else as it is, and score the image again (occlusion; Zeiler and Fergus, ECCV 2014, for attributes instead of patches).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from firstsight.data import ClassEmbeddings, Floats, Indices
from firstsight.errors import InputError
from firstsight.methods import Method

Explanation = tuple[list[list[Any]], list[list[Any]]]  # attributes for and against, [name, weight] each


def attribute_weights(
    method: Method, inputs: Floats, candidates: ClassEmbeddings, answers: Indices, others: Indices
) -> Floats:
    """Return [n, a] how much each attribute favours an answer over another class, in the scale of the scores.

    Args:
        method: fitted.
        inputs: [n, v] features of images.
        candidates: k classes; an attribute's average is over them.
        answers: [n] rows of the classes that are to be explained.
        others: [n] rows of the classes that they are compared with.

    Raises:
        InputError: the method treats seen and unseen classes differently, and a changed class would count as unseen.
    """
    if method.generalized_only:
        raise InputError(f"method must score classes one by one to be explained; got {method.name}")
    n_attributes = candidates.vectors.shape[1]
    asked = np.unique(np.concatenate([answers, others]))  # [d]
    vectors = np.repeat(candidates.vectors[asked], n_attributes + 1, axis=0).reshape(len(asked), n_attributes + 1, -1)
    columns = np.arange(n_attributes)
    vectors[:, columns + 1, columns] = candidates.vectors.mean(axis=0)  # the first of each class stays as it is
    names = tuple(f"{row} without {column}" for row in asked for column in range(-1, n_attributes))
    variants = ClassEmbeddings(names, vectors.reshape(-1, n_attributes))
    scores = method.scores(inputs, variants).reshape(len(inputs), len(asked), -1)
    losses = scores[:, :, :1] - scores[:, :, 1:]  # [n, d, a]
    images = np.arange(len(inputs))
    return losses[images, np.searchsorted(asked, answers)] - losses[images, np.searchsorted(asked, others)]


def strongest(weights: Floats, attributes: tuple[str, ...], n: int = 3) -> Explanation:
    """Pick from weights [a] the n attributes that speak most for an answer, and the n that speak most against it."""
    order = np.argsort(-weights)
    speak_for = [[attributes[row], float(weights[row])] for row in order[:n] if weights[row] > 0]
    against = [[attributes[row], float(weights[row])] for row in order[::-1][:n] if weights[row] < 0]
    return speak_for, against
