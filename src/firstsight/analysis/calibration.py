"""Calibration of probabilities: reliability and expected calibration error (Guo et al., ICML 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstsight.data import Floats, Indices
from firstsight.evaluation.calibration import negative_log_likelihood, probabilities

BINS = 15  # of equal width, as in the paper


def reliability(confidence: Floats, right: NDArray[np.bool_], bins: int = BINS) -> dict[str, list[float]]:
    """Return mean `confidence`, `accuracy` and number of `images` of each nonempty bin (i / bins, (i + 1) / bins].

    Args:
        confidence: [n] probability of the prediction.
        right: [n] whether it is correct.
        bins: number of bins.
    """
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    counts, confident, correct = (
        np.bincount(place, weights=weights, minlength=bins) for weights in (None, confidence, right)
    )
    full = counts > 0
    return {
        "confidence": (confident[full] / counts[full]).tolist(),
        "accuracy": (correct[full] / counts[full]).tolist(),
        "images": counts[full].tolist(),
    }


def calibration_error(table: dict[str, list[float]]) -> float:
    """Compute the ECE: the gap between confidence and accuracy of the bins, averaged over images."""
    confidence, accuracy, counts = (np.array(table[name]) for name in ("confidence", "accuracy", "images"))
    return float(np.abs(confidence - accuracy) @ counts / counts.sum())


def calibration(
    scores: Floats, labels: Indices, is_seen: NDArray[np.bool_], temperature: float | None
) -> dict[str, Any]:
    """Measure calibration over all test images, among all classes; means are over images, not classes.

    Args:
        scores: [n, c] of all test images against all classes, gamma subtracted.
        labels: [n] rows of the right classes.
        is_seen: [c] whether a class was trained on.
        temperature: fitted elsewhere, or None.

    Returns:
        `fitted` (None without a temperature) and `raw` (temperature 1, scores unchanged), each with
        `temperature`, `ece`, `ece_seen` and `ece_unseen` (over images of those classes), `nll` in nats and `bins`.
    """
    answers = scores.argmax(axis=1)
    right = answers == labels
    report: dict[str, Any] = {}
    for name, value in (("fitted", temperature), ("raw", 1.0)):
        if value is None:
            report[name] = None
            continue
        confidence = np.take_along_axis(probabilities(scores, value), answers[:, None], axis=1)[:, 0]
        bins = reliability(confidence, right)
        report[name] = {"temperature": value, "ece": calibration_error(bins)}
        for side, images in (("seen", is_seen[labels]), ("unseen", ~is_seen[labels])):
            some = reliability(confidence[images], right[images]) if images.any() else None
            report[name][f"ece_{side}"] = None if some is None else calibration_error(some)
        report[name] |= {"nll": negative_log_likelihood(scores, labels, value), "bins": bins}
    return report
