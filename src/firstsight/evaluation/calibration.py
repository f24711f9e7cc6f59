"""Scores as probabilities, and numbers chosen on validation classes: gamma, temperature, threshold of rejection.

A method's scores have a scale of their own: dot products, cosines, log odds. Dividing them by a temperature that was
fitted on images whose class is known makes the probabilities of different methods comparable, and changes no
prediction (Guo et al., ICML 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstsight.data import Dataset, Floats, Indices, as_indices, as_matrix
from firstsight.errors import InputError
from firstsight.evaluation.metrics import seen_unseen_curve
from firstsight.methods.abilities import with_own_features
from firstsight.methods.base import Method
from firstsight.methods.fitting import FitControls

KEPT = 95  # percent of the images whose class is a candidate that are not to be rejected
THIRDS = 3
REACH = 1e4  # the temperature is sought between the spread of the scores over this and times this


def probabilities(scores: Floats, temperature: float) -> Floats:
    """Return [n, k] softmax of the scores [n, k] over the temperature; every row sums to 1."""
    return np.exp(log_probabilities(scores, temperature))


def log_probabilities(scores: Floats, temperature: float) -> Floats:
    """Return [n, k] logarithms of `probabilities`, exact where those round to 0 or 1."""
    if not (temperature > 0 and math.isfinite(temperature)):
        raise InputError(f"temperature must be a number above 0; got {temperature}")
    scores = np.asarray(scores, dtype=np.float64)
    gaps = (scores - scores.max(axis=1, keepdims=True)) / temperature
    others = np.exp(gaps)
    np.put_along_axis(others, gaps.argmax(axis=1)[:, None], 0, axis=1)
    return gaps - np.log1p(others.sum(axis=1, keepdims=True))  # log1p, as the best class's own term is 1


def fit_temperature(scores: Floats, labels: ArrayLike) -> float:
    """Find the temperature with the least mean negative log likelihood of the right classes.

    That is convex in 1 / T, so it has one valley in log T, which a bounded search finds. Where all images are right,
    or no better than chance, the valley has no floor, and the temperature is as extreme as `REACH` lets it be.

    It is 1 where every image fits all classes alike.

    Args:
        scores: [n, k] scores, with gamma already subtracted where it is to be.
        labels: [n] column of each image's class.
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
    """Rejection of an answer as "none of these"."""

    threshold: float  # answers with a lower score, gamma subtracted, are rejected
    kept: float  # percent of images whose class is a candidate that are not rejected; about `KEPT`
    caught: float  # percent of images whose class is no candidate that are rejected


def fit_rejection(scores: Floats, labels: ArrayLike) -> Rejection:
    """Find the threshold on the highest score that keeps 95 % of the images whose class is a candidate.

    The threshold is on the score. A probability only compares candidates, and says little of whether any fits
    (docs/recogniser.md). A third of the classes is left out of the candidates, three times, so each class is left out
    exactly once. So every class has images for which "none of these" is right, and images for which it is wrong.
    Scores [n, k], of 3 classes or more, and labels [n] are as in `fit_temperature`.
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
    """Return the mean over images of minus the log probability of the right class, in nats."""
    return float(-_own(log_probabilities(scores, temperature), labels).mean())


def _own(table: Floats, rows: Indices) -> Floats:
    """Return [n] the entry of each row in its own class's column."""
    return np.take_along_axis(table, rows[:, None], axis=1)[:, 0]


@dataclass(frozen=True)
class Calibration:
    """Numbers that validation classes give for a method's scores."""

    gamma: float  # to subtract from seen scores
    temperature: float  # softmax((scores - gamma is_seen) / temperature) are probabilities
    rejection: Rejection


def fit_calibration(method: Method, data: Dataset, controls: FitControls | None = None) -> Calibration:
    """Choose gamma, temperature and threshold on validation classes, in the scale of this fitted method's scores.

    The same settings are fitted again on trainval without the validation classes. For this second fit, gamma is the one
    with the best h, and the temperature is then the one with the least negative log likelihood. Both are multiplied by
    (mean lead of the full fit) / (mean lead of the second fit). An image's lead is its best seen minus its best unseen
    score, and each mean is over the fit's own training images. It shows how strongly a fit prefers its training classes
    and needs no image of an unseen class. Unlike the standard deviation of scores, it allows for other numbers of seen
    and unseen classes in validation than in the test (docs/evaluation.md). The threshold depends on the height of
    scores, not on leads: it is multiplied by the ratio of the mean best scores, gamma subtracted (docs/recogniser.md).
    `data` is the data set that the method was fitted on, with the features that it scores.
    """
    validation = data.validation_set(0)
    trial = method.unfitted().fit(validation.training_set(), controls)
    validation = with_own_features(trial, validation)
    tests, is_seen = validation.test_images, validation.is_seen
    labels = validation.labels[tests]
    scores = trial.scores(validation.inputs(tests), validation.classes)
    gamma, _ = seen_unseen_curve(scores, labels, is_seen).best
    stacked = scores - np.float32(gamma) * is_seen
    temperature = fit_temperature(stacked, labels)
    seen_best, unseen_best = _training_bests(method, data)
    trial_seen_best, trial_unseen_best = _training_bests(trial, validation)
    lead, trial_lead = (seen_best - unseen_best).mean(), (trial_seen_best - trial_unseen_best).mean()
    scale = _ratio(lead, trial_lead) if lead > 0 else 1.0
    rejection = fit_rejection(stacked, labels)
    best = np.maximum(seen_best - gamma * scale, unseen_best).mean()
    height = _ratio(best, np.maximum(trial_seen_best - gamma, trial_unseen_best).mean())
    return Calibration(gamma * scale, temperature * scale, replace(rejection, threshold=rejection.threshold * height))


def _training_bests(method: Method, data: Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return [n] best seen and best unseen score of each training image; minus infinity where no class is unseen."""
    is_seen = data.is_seen
    scores = method.scores(data.inputs(data.trainval), data.classes)
    seen, unseen = (scores[:, side].max(axis=1, initial=-np.inf).astype(np.float64) for side in (is_seen, ~is_seen))
    return seen, unseen


def _ratio(size: float, trial_size: float) -> float:
    """Return how many times as large a size is, where both have the same sign and are finite; else 1."""
    return float(size / trial_size) if np.isfinite(size) and size * trial_size > 0 else 1.0
