"""Hubness: a few classes are predicted for very many images (Radovanovic et al., JMLR 2010).

In spaces of many dimensions some points are among the nearest neighbours of very many others. In zero-shot
recognition such a hub is a class that is predicted again and again (Dinu et al., ICLR workshop 2015). N_k counts the
test images that have a class among their k highest scores. The skewness of N_k over classes measures hubness.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from firstsight.data import Floats, Indices
from firstsight.results.analyses import Hub, Hubs

WORST = 5  # hubs that are listed


def occurrences(scores: Floats, k: int) -> Indices:
    """Count N_k [c]: the images that have each class among their k highest scores; ties go to the lower column."""
    n, c = scores.shape
    if k >= c:
        return np.full(c, n)
    nearest = scores.argmax(axis=1) if k == 1 else np.argsort(-scores, axis=1, kind="stable")[:, :k]  # [n, k]
    return np.bincount(nearest.ravel(), minlength=c)


def skewness(counts: Indices) -> float | None:
    """Compute the third standardised moment, E (N - mean)^3 / deviation^3; None if all counts are equal."""
    centred = counts - counts.mean()
    deviation = np.sqrt(np.mean(centred**2))
    return float(np.mean(centred**3) / deviation**3) if deviation > 0 else None


def hubness(scores: Floats, labels: Indices, names: Sequence[str], k: int = 10) -> Hubs:
    """Measure the hubness of candidate classes over test images; `labels` [n] are columns of the scores."""
    own = np.bincount(labels, minlength=len(names))
    counts = [occurrences(scores, size) for size in (1, k)]
    worst = np.argsort(-counts[0], kind="stable")[:WORST]
    return Hubs(
        k=[1, k],
        skewness=[skewness(each) for each in counts],
        perfect=skewness(own),
        counts=[np.sort(each)[::-1].tolist() for each in counts],
        hubs=[Hub(names[row], int(counts[0][row]), int(own[row])) for row in worst],
    )
