"""Accuracies in percent, their harmonic mean, and the seen-unseen curve with its area.

Accuracies are means of per-class top-1 accuracies (Xian et al., CVPR 2017). Calibrated stacking (Chao et al., ECCV
2016) subtracts gamma from the scores of seen classes; the seen-unseen curve follows (u, s) as gamma runs over all
values. The curve is a staircase. Its steps lie where an image's best seen and best unseen score are equal, so sorting
these gammas gives the curve exactly, in O(n log n), without a grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstsight.data import Floats, Indices
from firstsight.results.records import Curve

CURVE_POINTS = 400  # of a curve in a file; areas are computed on all points


@dataclass(frozen=True, eq=False)
class SeenUnseenCurve:
    """Seen-unseen accuracy curve, exact.

    Attributes:
        gamma: [m] gammas at which u or s changes, ascending. Point i is valid between gamma[i-1] and gamma[i]. When
            gamma grows, s falls and u rises.
        u: [m + 1] accuracy of unseen test images in percent.
        s: [m + 1] accuracy of seen test images in percent.
    """

    gamma: Floats
    u: Floats
    s: Floats

    @property
    def area(self) -> float:
        """Return AUSUC, in [0, 1]: the area under s as a function of u."""
        return float(np.trapezoid(self.s, self.u) / 1e4)

    @cached_property
    def best(self) -> tuple[float, float]:
        """Return the gamma with the highest h, in the middle of its step, and that h."""
        if not len(self.gamma):  # no image is ever right
            return 0.0, 0.0
        h = harmonic_mean(self.u, self.s)
        step = int(np.argmax(h))
        edges = np.concatenate([self.gamma[:1], self.gamma, self.gamma[-1:]])
        return float((edges[step] + edges[step + 1]) / 2), float(h[step])

    def at(self, gamma: float) -> tuple[float, float]:
        """Return (u, s) where gamma is subtracted from seen scores; a tie counts as unseen."""
        step = np.searchsorted(self.gamma, gamma, side="right")
        return float(self.u[step]), float(self.s[step])

    def thinned(self) -> Curve:
        """Return about CURVE_POINTS points, the first and the last among them."""
        keep = np.unique(np.linspace(0, len(self.u) - 1, CURVE_POINTS).round().astype(int))
        gamma = self.gamma[np.minimum(keep[:-1], len(self.gamma) - 1)] if len(self.gamma) else self.gamma
        return Curve(gamma=gamma.tolist(), u=self.u[keep].round(3).tolist(), s=self.s[keep].round(3).tolist())


def class_accuracies(predictions: Indices, labels: Indices, n_classes: int) -> Floats:
    """Return [c] percent of each class's images predicted right; NaN for a class without images."""
    counts = np.bincount(labels, minlength=n_classes)
    hits = np.bincount(labels[predictions == labels], minlength=n_classes)
    return np.divide(100.0 * hits, counts, out=np.full(n_classes, np.nan), where=counts > 0)


def harmonic_mean(u: Any, s: Any) -> Any:
    """Return 2us / (u + s), 0 where both are 0 (Eq. 7)."""
    total = np.asarray(u, dtype=np.float64) + s
    return np.divide(2.0 * np.asarray(u) * s, total, out=np.zeros_like(total), where=total > 0)


def seen_unseen_curve(
    scores: Floats, labels: Indices, is_seen: NDArray[np.bool_], per_class: bool = True
) -> SeenUnseenCurve:
    """Compute the exact curve of (u, s) over all gammas from scores [n, c] of test images with labels [n].

    Gamma is subtracted from the classes where `is_seen` [c]. Accuracies are means over classes, or over images.
    """
    return curve_of(*leads(scores, labels, is_seen), labels, is_seen, per_class)


def leads(scores: Floats, labels: Indices, is_seen: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Reduce scores to two facts about each image, from which all accuracies follow, at any gamma.

    Returns:
        [n] lead, best seen minus best unseen score: a seen class is predicted where it is above gamma;
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
    """Compute the curve from what `leads` returns; the rest as in `seen_unseen_curve`."""
    of_seen = is_seen[labels]  # [n]
    counts = np.bincount(labels, minlength=len(is_seen))
    weight = np.zeros(len(labels))
    for side in (of_seen, ~of_seen):
        n_groups = len(np.unique(labels[side]))
        weight[side] = 1 / (counts[labels[side]] * n_groups) if per_class else 1 / max(1, side.sum())
    order = np.argsort(lead, kind="stable")
    order = order[right[order]]  # an image that is wrong on its own side does not change u or s
    gamma, first = np.unique(lead[order], return_index=True)
    steps = {}
    for name, side in (("s", of_seen), ("u", ~of_seen)):
        moved = np.where(side[order], weight[order], 0.0)
        steps[name] = 100 * np.concatenate([[0.0], np.add.reduceat(moved, first) if len(first) else []]).cumsum()
    return SeenUnseenCurve(gamma=gamma, u=steps["u"], s=steps["s"][-1] - steps["s"])


def _best(scores: Floats, columns: NDArray[np.bool_]) -> tuple[Floats, Indices]:
    """Return [n] highest score among these columns, and [n] its column."""
    where = np.flatnonzero(columns)
    part = scores[:, where]
    at = part.argmax(axis=1)
    return np.take_along_axis(part, at[:, None], axis=1)[:, 0].astype(np.float64), where[at]
