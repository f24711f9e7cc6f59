"""ESZSL, one fit and a grid of 49, against the common way: pseudo-inverses and a one-hot matrix for each fit."""

from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np

from firstsight.data import ClassEmbeddings, TrainingSet
from firstsight.methods import ESZSL
from speed import Case

GRID = list(product([10.0**power for power in range(-3, 4)], repeat=2))


def cases() -> Iterator[Case]:
    rng = np.random.default_rng(0)
    for name, n, s, a in (
        ("CUB size, 7,057 x 2,048, 150 classes", 7057, 150, 312),
        ("AWA2 size, 23,527 x 2,048", 23527, 40, 85),
    ):
        features = rng.random((n, 2048), dtype=np.float32)
        labels = rng.integers(0, s, n)
        vectors = rng.standard_normal((s, a))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        training = TrainingSet(features, labels, ClassEmbeddings(tuple(map(str, range(s))), vectors), features, (2048,))
        other = partial(with_pinv, training)
        yield Case(f"{name}, one fit", partial(fit, training, GRID[:1]), other)
        yield Case(f"{name}, 49 settings", partial(fit, training, GRID), other, 1, len(GRID))


def fit(training: TrainingSet, settings: list[tuple[float, float]]) -> None:
    for _ in ESZSL.fit_each([ESZSL(gamma=gamma, lam=lam) for gamma, lam in settings], training):
        pass


def with_pinv(training: TrainingSet) -> np.ndarray:
    x, y = training.features.astype(np.float64), np.eye(len(training.classes))[training.labels]
    s = training.classes.vectors
    left = np.linalg.pinv(x.T @ x + 1e3 * np.eye(x.shape[1]))
    return left @ x.T @ y @ s @ np.linalg.pinv(s.T @ s + 0.1 * np.eye(s.shape[1]))
