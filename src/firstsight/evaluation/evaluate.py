"""Honest generalized zero-shot evaluation of a fitted method: `evaluate` returns a `Result`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstsight.data import Dataset, Floats, Indices
from firstsight.errors import InputError
from firstsight.evaluation.calibration import fit_calibration
from firstsight.evaluation.metrics import SeenUnseenCurve, class_accuracies, curve_of, harmonic_mean, leads
from firstsight.methods.abilities import with_own_features
from firstsight.methods.base import Method
from firstsight.methods.fitting import FitControls
from firstsight.results.numbers import METRICS, ClassResult


@dataclass(frozen=True, eq=False, kw_only=True)
class Result:
    """The numbers that one fitted method reached on one data set.

    Attributes:
        t1: U->U, images of unseen classes; candidates: unseen classes; None for a method that needs seen candidates.
        u: U->T, images of unseen classes; candidates: all classes.
        s: S->T, test images of seen classes; candidates: all classes.
        h: harmonic mean of u and s.
        ausuc: area under the seen-unseen curve of per-class accuracies, in [0, 1].
        ausuc_per_sample: the same where u and s are shares of images, not means over classes.
        gamma: subtracted from seen scores by calibrated stacking, chosen on validation classes; None without.
        temperature: of the softmax that turns scores, less gamma, into probabilities; chosen with gamma.
        u_cal: u at gamma; `s_cal`, `h_cal` likewise.
        classes: one row per class with test images.
        curve: per-class seen-unseen curve.
        lead: [n] best seen minus best unseen score of each test image; images of seen classes come first.
        right: [n] whether the best class on the image's own side is its own; with `lead` it gives all numbers above.
        scores: [n, c] scores of the same images against all classes.
        seconds_score: seconds to score all test images against all classes.
    """

    data: str
    method: str
    settings: dict[str, Any]
    t1: float | None
    u: float
    s: float
    h: float
    ausuc: float
    ausuc_per_sample: float
    gamma: float | None = None
    temperature: float | None = None
    u_cal: float | None = None
    s_cal: float | None = None
    h_cal: float | None = None
    classes: tuple[ClassResult, ...]
    curve: SeenUnseenCurve
    lead: Floats
    right: NDArray[np.bool_]
    scores: Floats
    seconds_score: float

    def metrics(self) -> dict[str, float | None]:
        """Return the numbers of METRICS by key."""
        return {key: getattr(self, key) for key in METRICS}

    def __repr__(self) -> str:
        shown = {name: round(value, 3) for name, value in self.metrics().items() if value is not None}
        return f"Result({self.method} on {self.data}: " + ", ".join(f"{k}={v}" for k, v in shown.items()) + ")"


def evaluate(method: Method, data: Dataset, calibrate: bool = True, controls: FitControls | None = None) -> Result:
    """Test a fitted method on a data set.

    Args:
        method: fitted on `data.training_set()`.
        data: with features, and test images of seen and unseen classes.
        calibrate: choose gamma on validation classes, for which the same settings are fitted a second time on
            trainval without those classes; without it `gamma` and the `_cal` numbers are None.
        controls: progress of that second fit.
    """
    for split in ("test_seen", "test_unseen"):
        if not len(getattr(data, split)):
            raise InputError(f"{split} must have images to evaluate on; got none in {data.name!r}")
    check_trained_on(method, data)
    data = with_own_features(method, data)
    tests, is_seen = data.test_images, data.is_seen
    start = time.perf_counter()
    scores = method.scores(data.inputs(tests), data.classes)  # [n, c]
    seconds = time.perf_counter() - start
    labels = data.labels[tests]
    lead, right = leads(scores, labels, is_seen)
    curve = curve_of(lead, right, labels, is_seen)
    t1 = None if method.generalized_only else _unseen_alone(method, data)  # [u]
    plain = class_accuracies(scores.argmax(axis=1), labels, len(data.classes))  # [c]
    u, s, h = _means(plain, is_seen)
    stacked, calibrated = None, {}
    if calibrate:
        chosen = fit_calibration(method, data, controls)
        predictions = np.where(is_seen, scores - np.float32(chosen.gamma), scores).argmax(axis=1)
        stacked = class_accuracies(predictions, labels, len(data.classes))  # [c]
        calibrated = dict(zip(("u_cal", "s_cal", "h_cal"), _means(stacked, is_seen), strict=True))
        calibrated |= {"gamma": chosen.gamma, "temperature": chosen.temperature}
    return Result(
        data=data.name,
        method=method.name,
        settings=method.settings(),
        t1=None if t1 is None else float(np.nanmean(t1)),
        u=u,
        s=s,
        h=h,
        ausuc=curve.area,
        ausuc_per_sample=curve_of(lead, right, labels, is_seen, per_class=False).area,
        classes=_class_results(data, labels, plain, stacked, t1),
        curve=curve,
        lead=lead,
        right=right,
        scores=scores,
        seconds_score=seconds,
        **calibrated,
    )


def check_trained_on(method: Method, data: Dataset) -> None:
    """Refuse a method that was trained on a class which is not one of the data set's seen ones."""
    seen_names = {data.classes.names[row] for row in data.seen}
    stranger = next((name for name in getattr(method, "trained_on_", ()) if name not in seen_names), None)
    if stranger is not None:
        raise InputError(
            f"method must be trained on seen classes of {data.name!r}; got one trained on {stranger!r}, "
            "which has no training images there"
        )


def _unseen_alone(method: Method, data: Dataset) -> Floats:
    """Return [u] accuracy of each unseen class among the unseen classes."""
    labels = np.searchsorted(data.unseen, data.labels[data.test_unseen])
    chosen = method.predict(data.inputs(data.test_unseen), data.classes[data.unseen])
    return class_accuracies(chosen, labels, len(data.unseen))


def _means(accuracies: Floats, is_seen: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return u, s and h of the accuracies [c] of all classes."""
    u, s = (float(np.nanmean(accuracies[side])) for side in (~is_seen, is_seen))
    return u, s, float(harmonic_mean(u, s))


def _class_results(
    data: Dataset, labels: Indices, plain: Floats, stacked: Floats | None, t1: Floats | None
) -> tuple[ClassResult, ...]:
    """Return a row for each class with test images, of accuracies [c], [c] and [u]."""
    counts = np.bincount(labels, minlength=len(data.classes))
    t1_of = {} if t1 is None else dict(zip(data.unseen, t1, strict=True))
    return tuple(
        ClassResult(
            name=data.classes.names[row],
            seen=bool(data.is_seen[row]),
            images=int(counts[row]),
            accuracy=float(plain[row]),
            accuracy_calibrated=None if stacked is None else float(stacked[row]),
            t1=float(t1_of[row]) if row in t1_of else None,
        )
        for row in np.flatnonzero(counts)
    )
