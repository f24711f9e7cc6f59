"""The exact seen-unseen curve, against a sweep over 100 gammas (which is not exact)."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from firstsight.evaluation.metrics import seen_unseen_curve
from speed import Case


def cases() -> Iterator[Case]:
    rng = np.random.default_rng(0)
    for name, n, c, n_seen in (("SUN size, 4,020 x 717", 4020, 717, 645), ("8,000 x 717", 8000, 717, 645)):
        labels = np.concatenate([rng.integers(0, n_seen, n // 2), rng.integers(n_seen, c, n - n // 2)])
        scores = rng.standard_normal((n, c)).astype(np.float32)
        scores[np.arange(n), labels] += 3
        is_seen = np.arange(c) < n_seen
        given = (scores, labels, is_seen)
        yield Case(name, partial(seen_unseen_curve, *given), partial(sweep, *given))


def sweep(scores: np.ndarray, labels: np.ndarray, is_seen: np.ndarray) -> list[tuple[float, float]]:
    """Compute the curve in the common way: one argmax per gamma."""
    points = []
    for gamma in np.linspace(-5, 5, 100):
        hits = (scores - np.float32(gamma) * is_seen).argmax(axis=1) == labels
        accuracy = np.array(
            [hits[labels == row].mean() if (labels == row).any() else np.nan for row in range(len(is_seen))]
        )
        points.append((np.nanmean(accuracy[~is_seen]), np.nanmean(accuracy[is_seen])))
    return points
