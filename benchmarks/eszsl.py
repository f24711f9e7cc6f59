"""One ESZSL fit, against the common way: two pseudo-inverses and a one-hot matrix of targets."""

from collections.abc import Callable, Iterator

import numpy as np

from firstsight.data import ClassEmbeddings, TrainingSet
from firstsight.methods import ESZSL


def cases() -> Iterator[tuple[str, Callable, Callable, int]]:
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
        yield name, lambda t=training: ESZSL(gamma=1e3, lam=0.1).fit(t), lambda t=training: with_pinv(t), 3


def with_pinv(training: TrainingSet) -> np.ndarray:
    x, y = training.features.astype(np.float64), np.eye(len(training.classes))[training.labels]
    s = training.classes.vectors
    left = np.linalg.pinv(x.T @ x + 1e3 * np.eye(x.shape[1]))
    return left @ x.T @ y @ s @ np.linalg.pinv(s.T @ s + 0.1 * np.eye(s.shape[1]))
