"""Honest generalized zero-shot evaluation of a fitted method.

Accuracies are means of per-class top-1 accuracies in percent (Xian et al., CVPR 2017). Calibrated stacking
(Chao et al., ECCV 2016) subtracts gamma from the scores of seen classes; the seen-unseen curve follows (u, s) as
gamma runs over all values. The curve is a staircase whose steps lie where an image's best seen and best unseen
score tie, so sorting those ties gives it exactly, in O(n log n), without a grid.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstsight.data import Dataset, Floats, Indices
from firstsight.errors import InputError
from firstsight.evaluation.probability import Rejection, fit_rejection, fit_temperature
from firstsight.methods.abilities import with_own_features
from firstsight.methods.base import Method
from firstsight.methods.fitting import FitControls


@dataclass(frozen=True, eq=False)
class SeenUnseenCurve:
    """Seen-unseen accuracy curve, exact.

    Attributes:
        gamma: [m] ascending ties; point i holds for gammas between gamma[i-1] and gamma[i], as gamma grows seen
            images are lost and unseen ones won.
        u: [m + 1] accuracy of unseen test images in percent.
        s: [m + 1] accuracy of seen test images in percent.
    """

    gamma: Floats
    u: Floats
    s: Floats

    @property
    def area(self) -> float:
        """AUSUC, in [0, 1]: the area under s as a function of u."""
        return float(np.trapezoid(self.s, self.u) / 1e4)

    @cached_property
    def best(self) -> tuple[float, float]:
        """The gamma with the highest h, in the middle of its step, and that h."""
        if not len(self.gamma):  # no image is ever right
            return 0.0, 0.0
        h = harmonic_mean(self.u, self.s)
        step = int(np.argmax(h))
        edges = np.concatenate([self.gamma[:1], self.gamma, self.gamma[-1:]])
        return float((edges[step] + edges[step + 1]) / 2), float(h[step])

    def at(self, gamma: float) -> tuple[float, float]:
        """(u, s) where gamma is subtracted from seen scores; a tie counts as unseen."""
        step = np.searchsorted(self.gamma, gamma, side="right")
        return float(self.u[step]), float(self.s[step])


@dataclass(frozen=True)
class ClassResult:
    """Accuracy on one class's test images among all classes, and among unseen ones where it is unseen; percent."""

    name: str
    seen: bool
    images: int
    accuracy: float
    accuracy_calibrated: float | None
    t1: float | None


@dataclass(frozen=True, eq=False)
class Result:
    """What one fitted method reached on one data set.

    Attributes:
        t1: U->U, unseen images among unseen classes; None for a method that needs seen classes to choose from.
        u: U->T, unseen images among all classes.
        s: S->T, seen test images among all classes.
        h: harmonic mean of u and s.
        ausuc: area under the seen-unseen curve of per-class accuracies, in [0, 1] (as the SynC authors).
        ausuc_per_sample: the same with per-sample accuracies (another definition in use).
        gamma: what calibrated stacking subtracts from seen scores, chosen on validation classes; None without.
        temperature: of the softmax that turns scores, less gamma, into probabilities; chosen with gamma.
        u_cal: u at gamma; `s_cal`, `h_cal` likewise.
        classes: one row per class with test images.
        curve: per-class seen-unseen curve.
        lead: [n] of each test image, those of seen classes first, best seen minus best unseen score.
        right: [n] whether the best class on the image's own side is its own; with `lead` it gives all numbers above.
        scores: [n, c] of the same images against all classes.
        seconds_score: for all test images against all classes.
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
    gamma: float | None
    temperature: float | None
    u_cal: float | None
    s_cal: float | None
    h_cal: float | None
    classes: tuple[ClassResult, ...]
    curve: SeenUnseenCurve
    lead: Floats
    right: NDArray[np.bool_]
    scores: Floats
    seconds_score: float

    def metrics(self) -> dict[str, float | None]:
        """The numbers by name, without tables and curve."""
        names = ("t1", "u", "s", "h", "ausuc", "ausuc_per_sample", "gamma", "u_cal", "s_cal", "h_cal")
        return {name: getattr(self, name) for name in names}

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
    tests = data.test_images
    is_seen = data.is_seen  # [c]
    start = time.perf_counter()
    scores = method.scores(data.inputs(tests), data.classes)  # [n, c]
    seconds = time.perf_counter() - start
    labels = data.labels[tests]
    lead, right = leads(scores, labels, is_seen)
    curve = curve_of(lead, right, labels, is_seen)
    per_sample = curve_of(lead, right, labels, is_seen, per_class=False)

    t1 = None if method.generalized_only else _unseen_alone(method, data)
    plain = class_accuracies(scores.argmax(axis=1), labels, len(data.classes))
    u, s = float(np.nanmean(plain[~is_seen])), float(np.nanmean(plain[is_seen]))
    gamma = temperature = u_cal = s_cal = h_cal = stacked_accuracies = None
    if calibrate:
        chosen = _calibrated(method, data, controls)
        gamma, temperature = chosen.gamma, chosen.temperature
        stacked = np.where(is_seen, scores - np.float32(gamma), scores).argmax(axis=1)
        stacked_accuracies = class_accuracies(stacked, labels, len(data.classes))
        u_cal, s_cal = float(np.nanmean(stacked_accuracies[~is_seen])), float(np.nanmean(stacked_accuracies[is_seen]))
        h_cal = float(harmonic_mean(u_cal, s_cal))
    counts = np.bincount(labels, minlength=len(data.classes))
    t1_of = {} if t1 is None else dict(zip(data.unseen, t1, strict=True))
    classes = tuple(
        ClassResult(
            name=data.classes.names[row],
            seen=bool(is_seen[row]),
            images=int(counts[row]),
            accuracy=float(plain[row]),
            accuracy_calibrated=None if stacked_accuracies is None else float(stacked_accuracies[row]),
            t1=float(t1_of[row]) if row in t1_of else None,
        )
        for row in np.flatnonzero(counts)
    )
    return Result(
        data=data.name,
        method=method.name,
        settings=method.settings(),
        t1=None if t1 is None else float(np.nanmean(t1)),
        u=u,
        s=s,
        h=float(harmonic_mean(u, s)),
        ausuc=curve.area,
        ausuc_per_sample=per_sample.area,
        gamma=gamma,
        temperature=temperature,
        u_cal=u_cal,
        s_cal=s_cal,
        h_cal=h_cal,
        classes=classes,
        curve=curve,
        lead=lead,
        right=right,
        scores=scores,
        seconds_score=seconds,
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
    """[u] accuracy of each unseen class among the unseen classes."""
    labels = np.searchsorted(data.unseen, data.labels[data.test_unseen])
    chosen = method.predict(data.inputs(data.test_unseen), data.classes[data.unseen])
    return class_accuracies(chosen, labels, len(data.unseen))


def class_accuracies(predictions: Indices, labels: Indices, n_classes: int) -> Floats:
    """[c] percent of each class's images predicted right; NaN for a class without images."""
    counts = np.bincount(labels, minlength=n_classes)
    hits = np.bincount(labels[predictions == labels], minlength=n_classes)
    return np.divide(100.0 * hits, counts, out=np.full(n_classes, np.nan), where=counts > 0)


def harmonic_mean(u: Any, s: Any) -> Any:
    """2us / (u + s), 0 where both are 0 (Eq. 7)."""
    total = np.asarray(u, dtype=np.float64) + s
    return np.divide(2.0 * np.asarray(u) * s, total, out=np.zeros_like(total), where=total > 0)


def seen_unseen_curve(
    scores: Floats, labels: Indices, is_seen: NDArray[np.bool_], per_class: bool = True
) -> SeenUnseenCurve:
    """The exact curve of (u, s) over all gammas.

    Args:
        scores: [n, c] of test images against all classes.
        labels: [n] rows of the classes.
        is_seen: [c] whether gamma is subtracted from the class.
        per_class: average accuracies over classes; otherwise over images.
    """
    return curve_of(*leads(scores, labels, is_seen), labels, is_seen, per_class)


def leads(scores: Floats, labels: Indices, is_seen: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The two facts about each image from which all accuracies follow, at any gamma.

    Returns:
        [n] lead, best seen minus best unseen score: the image is taken for a seen class where it is above gamma;
        [n] whether the best class on the image's own side, seen or unseen, is its own.
    """
    best_seen, seen_class = _best(scores, is_seen)
    best_unseen, unseen_class = _best(scores, ~is_seen)
    return best_seen - best_unseen, np.where(is_seen[labels], seen_class, unseen_class) == labels


def curve_of(
    lead: Floats,
    right: NDArray[np.bool_],
    labels: Indices,
    is_seen: NDArray[np.bool_],
    per_class: bool = True,
) -> SeenUnseenCurve:
    """The curve from what `leads` returns; the rest as in `seen_unseen_curve`."""
    of_seen = is_seen[labels]  # [n]
    counts = np.bincount(labels, minlength=len(is_seen))
    weight = np.zeros(len(labels))
    for side in (of_seen, ~of_seen):
        n_groups = len(np.unique(labels[side]))
        weight[side] = 1 / (counts[labels[side]] * n_groups) if per_class else 1 / max(1, side.sum())
    order = np.argsort(lead, kind="stable")
    order = order[right[order]]  # an image that is wrong on its own side never moves the curve
    gamma, first = np.unique(lead[order], return_index=True)
    steps = {}
    for name, side in (("s", of_seen), ("u", ~of_seen)):
        moved = np.where(side[order], weight[order], 0.0)
        steps[name] = 100 * np.concatenate([[0.0], np.add.reduceat(moved, first) if len(first) else []]).cumsum()
    return SeenUnseenCurve(gamma=gamma, u=steps["u"], s=steps["s"][-1] - steps["s"])


def _best(scores: Floats, columns: NDArray[np.bool_]) -> tuple[Floats, Indices]:
    """[n] highest score among these columns, and its column."""
    where = np.flatnonzero(columns)
    part = scores[:, where]
    at = part.argmax(axis=1)
    return np.take_along_axis(part, at[:, None], axis=1)[:, 0].astype(np.float64), where[at]


@dataclass(frozen=True)
class Calibration:
    """What validation classes say about a method's scores.

    Attributes:
        gamma: to subtract from seen scores.
        temperature: softmax((scores - gamma is_seen) / temperature) are probabilities.
        rejection: when the best score, gamma subtracted, is too low for an answer.
    """

    gamma: float
    temperature: float
    rejection: Rejection


def calibrated(method: Method, data: Dataset, controls: FitControls | None = None) -> Calibration:
    """Gamma, temperature and threshold chosen on validation classes, in the scale of this method's scores.

    The same settings are fitted again on trainval without the validation classes. There the gamma with the best h is
    found, and with it the temperature with the least negative log likelihood. Both are carried over in units of the
    mean lead that training images give seen classes over unseen ones: how strongly a fit prefers what it was trained
    on. The lead needs the unseen classes' embeddings, which are known, and none of their images. Unlike the standard
    deviation of scores, it allows for validation having other numbers of seen and unseen classes than the test
    (docs/evaluation.md). The threshold of a score is about its height, not about leads, so its unit is the mean best
    score of training images (docs/recogniser.md).
    """
    return _calibrated(method, with_own_features(method, data), controls)


def _calibrated(method: Method, data: Dataset, controls: FitControls | None) -> Calibration:
    validation = data.validation_set(0)
    trial = method.unfitted().fit(validation.training_set(), controls)
    validation = with_own_features(trial, validation)
    tests = validation.test_images
    labels = validation.labels[tests]
    is_seen = validation.is_seen
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
    """[n] best seen and best unseen score of each training image; minus infinity where no class is unseen."""
    is_seen = data.is_seen
    scores = method.scores(data.inputs(data.trainval), data.classes)
    seen, unseen = (scores[:, side].max(axis=1, initial=-np.inf).astype(np.float64) for side in (is_seen, ~is_seen))
    return seen, unseen


def _ratio(size: float, trial_size: float) -> float:
    """How many times as large, where both have the same sign and are finite; else 1, nothing being known."""
    return float(size / trial_size) if np.isfinite(size) and size * trial_size > 0 else 1.0
