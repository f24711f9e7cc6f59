"""Scores as probabilities: a softmax with one temperature (Guo et al., ICML 2017).

A method's scores have a scale of their own: dot products, cosines, log odds. Dividing them by a temperature that was
fitted on images whose class is known makes the probabilities of different methods comparable, and changes no answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from firstsight.data import Floats, Indices, as_indices, as_matrix
from firstsight.errors import InputError

KEPT = 95  # percent of the images of offered classes that are not to be refused
THIRDS = 3
REACH = 1e4  # the temperature is sought between the spread of the scores over this and times this


def probabilities(scores: Floats, temperature: float) -> Floats:
    """[n, k] softmax of the scores [n, k] over the temperature; every row sums to 1."""
    return np.exp(log_probabilities(scores, temperature))


def log_probabilities(scores: Floats, temperature: float) -> Floats:
    """[n, k] logarithms of `probabilities`, exact where those round to 0 or 1."""
    if not (temperature > 0 and math.isfinite(temperature)):
        raise InputError(f"temperature must be a number above 0; got {temperature}")
    scores = np.asarray(scores, dtype=np.float64)
    gaps = (scores - scores.max(axis=1, keepdims=True)) / temperature
    others = np.exp(gaps)
    np.put_along_axis(others, gaps.argmax(axis=1)[:, None], 0, axis=1)
    return gaps - np.log1p(others.sum(axis=1, keepdims=True))  # log1p, as the best class's own term is 1


def fit_temperature(scores: Floats, labels: ArrayLike) -> float:
    """The temperature with the least mean negative log likelihood of the right classes.

    That is convex in 1 / T, so it has one valley in log T, which a bounded search finds. Where all images are right,
    or no better than chance, the valley has no floor, and the temperature is as extreme as `REACH` lets it be.

    Args:
        scores: [n, k] scores, with gamma already subtracted where it is to be.
        labels: [n] column of each image's class.

    Returns:
        the temperature, in the scale of the scores; 1 where every image fits all classes alike.
    """
    from scipy.optimize import minimize_scalar  # takes a while to import

    scores = as_matrix(scores, "scores", rows="images").astype(np.float64)
    rows = as_indices(labels, "labels", scores.shape[1], "class")
    if len(rows) != len(scores):
        raise InputError(f"labels must be one for each row of scores; got {len(rows)} for {len(scores)} rows")
    centred = scores - scores.mean(axis=1, keepdims=True)
    spread = math.sqrt(np.mean(centred**2))
    if spread == 0:
        return 1.0
    gaps = scores - scores.max(axis=1, keepdims=True)  # [n, k]
    own = _own(gaps, rows).mean()

    def loss(log_temperature: float) -> float:
        beta = math.exp(-log_temperature)
        return float(np.log(np.exp(gaps * beta).sum(axis=1)).mean() - own * beta)

    middle, reach = math.log(spread), math.log(REACH)
    found = minimize_scalar(loss, bounds=(middle - reach, middle + reach), method="bounded", options={"xatol": 1e-5})
    return float(math.exp(found.x))


@dataclass(frozen=True)
class Rejection:
    """When an answer is refused as "none of these".

    Attributes:
        threshold: answers with a lower score, gamma subtracted, are refused.
        kept: percent of the images of offered classes whose answers are not refused; about `KEPT` by construction.
        caught: percent of the images of classes that were not offered whose answers are.
    """

    threshold: float
    kept: float
    caught: float


def fit_rejection(scores: Floats, labels: ArrayLike) -> Rejection:
    """The threshold on the highest score that keeps 95 % of the images whose class is offered.

    The score, not its probability: that compares candidates with each other, and says little of whether any fits
    (docs/recogniser.md). A third of the classes is taken out of the candidates, three times, so that each is out once:
    only then are there images for which "none of these" is right, and images of all classes for which it is wrong.

    Args:
        scores: [n, k] scores, with gamma already subtracted where it is to be; 3 classes or more.
        labels: [n] column of each image's class.
    """
    scores = as_matrix(scores, "scores", rows="images")
    rows = as_indices(labels, "labels", scores.shape[1], "class")
    if scores.shape[1] < THIRDS:
        raise InputError(f"scores must be for {THIRDS} classes or more to leave some out; got {scores.shape[1]}")
    third = np.random.default_rng(0).permutation(np.arange(scores.shape[1]) % THIRDS)  # [k]
    highest = np.stack([scores[:, third != out].max(axis=1) for out in range(THIRDS)])
    is_out = third[rows] == np.arange(THIRDS)[:, None]  # [3, n]
    threshold = float(np.quantile(highest[~is_out], 1 - KEPT / 100, method="lower"))
    refused = highest < threshold
    return Rejection(threshold, 100 * float(np.mean(~refused[~is_out])), 100 * float(np.mean(refused[is_out])))


def negative_log_likelihood(scores: Floats, labels: Indices, temperature: float) -> float:
    """Mean over images of minus the log probability of the right class, in nats."""
    return float(-_own(log_probabilities(scores, temperature), labels).mean())


def _own(table: Floats, rows: Indices) -> Floats:
    """[n] the entry of each row in its own class's column."""
    return np.take_along_axis(table, rows[:, None], axis=1)[:, 0]
