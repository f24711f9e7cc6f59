"""Confusion of classes, and images predicted on the wrong side, seen or unseen (Chao et al., ECCV 2016)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firstsight.data import Floats, Indices
from firstsight.results.analyses import Confusion, Pair, Shares

PAIRS = 10  # pairs of classes that are listed


def sides(answers: Indices, labels: Indices, is_seen: NDArray[np.bool_]) -> Shares:
    """Return the percent of images by truth (rows: seen, unseen) and answer (columns: seen, unseen), mean per class.

    A row sums to 100; it is None if no class of that side has images.
    """
    counts = np.bincount(labels, minlength=len(is_seen))
    as_seen = np.bincount(labels[is_seen[answers]], minlength=len(is_seen))
    table: Shares = []
    for side in (is_seen, ~is_seen):
        there = side & (counts > 0)
        share = float(np.mean(100 * as_seen[there] / counts[there])) if there.any() else None
        table.append([None, None] if share is None else [share, 100 - share])
    return table


def confused_pairs(answers: Indices, labels: Indices, names: tuple[str, ...], most: int = PAIRS) -> list[Pair]:
    """List the most frequent errors, the worst first; `answers` and `labels` [n] are numbers of the `names`."""
    c = len(names)
    table = np.bincount(labels * c + answers, minlength=c * c).reshape(c, c)  # right class by answer
    share = 100 * table / np.maximum(1, table.sum(axis=1, keepdims=True))
    np.fill_diagonal(share, 0)
    worst = np.argsort(-share, axis=None, kind="stable")[:most]
    return [
        Pair(names[row], names[column], float(share[row, column]))
        for row, column in zip(*np.unravel_index(worst, share.shape), strict=True)
        if share[row, column] > 0
    ]


def confusion(
    scores: Floats, labels: Indices, is_seen: NDArray[np.bool_], names: tuple[str, ...], gamma: float | None
) -> Confusion:
    """Count the errors between the sides and list the most confused pairs; gamma is not subtracted from scores yet."""
    plain = scores.argmax(axis=1)
    answers = plain if gamma is None else (scores - gamma * is_seen).argmax(axis=1)
    unseen = np.flatnonzero(~is_seen)
    images = ~is_seen[labels]
    among = scores[np.ix_(images, unseen)].argmax(axis=1)
    unseen_names = tuple(names[row] for row in unseen)
    return Confusion(
        plain=sides(plain, labels, is_seen),
        calibrated=None if gamma is None else sides(answers, labels, is_seen),
        pairs=confused_pairs(answers, labels, names),
        unseen_pairs=confused_pairs(among, np.searchsorted(unseen, labels[images]), unseen_names),
    )
