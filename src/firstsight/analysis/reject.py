"""Selective prediction and novelty detection.

The risk-coverage curve predicts for the most certain images alone (Geifman and El-Yaniv, NeurIPS 2017). To separate
unseen from seen images is novelty detection (Socher et al., NeurIPS 2013), here by the lead of the best unseen class
over the best seen one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firstsight.analysis.attributes import roc_auc
from firstsight.data import Floats, Indices
from firstsight.evaluation.calibration import log_probabilities
from firstsight.results.analyses import RiskCurve, Selection

POINTS = 60  # points of the curve that are kept; its area uses all


def risk_coverage(confidence: Floats, right: NDArray[np.bool_]) -> Floats:
    """Compute the share of errors among the 1, 2, ..., n most certain images, [n].

    The order of equally certain images is arbitrary: the risk among them is the mean over their orders. `confidence`
    [n] is higher for the more certain, `right` [n] whether the prediction is correct.
    """
    _, group = np.unique(-confidence, return_inverse=True)  # [n] 0 for the most certain
    answered = np.bincount(group).cumsum()
    wrong = np.bincount(group, weights=~right).cumsum()
    counts = np.arange(1, len(right) + 1)
    return np.interp(counts, np.append(0, answered), np.append(0, wrong)) / counts


def rejection(scores: Floats, labels: Indices, is_seen: NDArray[np.bool_], temperature: float | None) -> Selection:
    """Measure risk and coverage of all test images among all classes, and novelty detection; over images, not classes.

    The highest probability of the softmax at this temperature says how certain a prediction is.
    """
    lead = scores[:, ~is_seen].max(axis=1) - scores[:, is_seen].max(axis=1)
    auroc = float(roc_auc(lead[:, None], ~is_seen[labels][:, None])[0])
    novelty = None if np.isnan(auroc) else auroc
    if temperature is None:
        return Selection(None, None, None, None, novelty)
    right = scores.argmax(axis=1) == labels
    risk = risk_coverage(log_probabilities(scores, temperature).max(axis=1), right)
    keep = np.unique(np.linspace(0, len(risk) - 1, POINTS).round().astype(int))
    return Selection(
        aurc=float(risk.mean()),
        least=float(risk_coverage(right.astype(float), right).mean()),
        risk=float(risk[-1]),
        curve=RiskCurve(((keep + 1) / len(risk)).tolist(), risk[keep].tolist()),
        auroc=novelty,
    )
