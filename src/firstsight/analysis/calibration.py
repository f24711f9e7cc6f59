"""Calibration of probabilities: reliability and expected calibration error (Guo et al., ICML 2017)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firstsight.data import Floats, Indices
from firstsight.evaluation.calibration import negative_log_likelihood, probabilities
from firstsight.results.analyses import Bins, Probability, Reliability

BINS = 15  # of equal width, as in the paper


def reliability(confidence: Floats, right: NDArray[np.bool_], bins: int = BINS) -> Bins:
    """Return mean confidence, accuracy and number of images of each bin (i / bins, (i + 1) / bins] that holds any.

    `confidence` [n] is the probability of the prediction, `right` [n] whether it is correct.
    """
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    counts, confident, correct = (
        np.bincount(place, weights=weights, minlength=bins) for weights in (None, confidence, right)
    )
    full = counts > 0
    return Bins(
        confidence=(confident[full] / counts[full]).tolist(),
        accuracy=(correct[full] / counts[full]).tolist(),
        images=counts[full].tolist(),
    )


def calibration_error(bins: Bins) -> float:
    """Return the expected calibration error (ECE): mean over images of the gap between confidence and accuracy."""
    confidence, accuracy, counts = (np.array(values) for values in (bins.confidence, bins.accuracy, bins.images))
    return float(np.abs(confidence - accuracy) @ counts / counts.sum())


def calibration(scores: Floats, labels: Indices, is_seen: NDArray[np.bool_], temperature: float | None) -> Probability:
    """Measure calibration over all test images, among all classes; means are over images, not classes."""
    answers = scores.argmax(axis=1)
    right = answers == labels

    def at(temperature: float) -> Reliability:
        """Measure the softmax with one temperature."""
        chances = probabilities(scores, temperature)
        confidence = np.take_along_axis(chances, answers[:, None], axis=1)[:, 0]

        def error(images: NDArray[np.bool_]) -> float | None:
            """Return the calibration error over these images, None without any."""
            return calibration_error(reliability(confidence[images], right[images])) if images.any() else None

        bins = reliability(confidence, right)
        of_seen = is_seen[labels]
        likelihood = negative_log_likelihood(scores, labels, temperature)
        return Reliability(temperature, calibration_error(bins), error(of_seen), error(~of_seen), likelihood, bins)

    return Probability(fitted=None if temperature is None else at(temperature), raw=at(1.0))
