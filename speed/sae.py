"""SAE at 20 lambdas in one fit, against `solve_sylvester` at each."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy.linalg import solve_sylvester

from firstsight.data import ClassEmbeddings, TrainingSet
from firstsight.methods import SAE
from speed import Case

LAMBDAS = np.logspace(-3, 3, 20)
SOLVED = LAMBDAS[:2]  # the others take as long, minutes in all


def cases() -> Iterator[Case]:
    rng = np.random.default_rng(0)
    n, s, a = 7057, 150, 312
    features = rng.random((n, 2048), dtype=np.float32)
    vectors = rng.standard_normal((s, a))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    classes = ClassEmbeddings(tuple(map(str, range(s))), vectors)
    training = TrainingSet(features, rng.integers(0, s, n), classes, features, (2048,))
    times = len(LAMBDAS) / len(SOLVED)
    yield Case("CUB size, 7,057 x 2,048, 20 lambdas", partial(path, training), partial(schur, training), 1, times)


def path(training: TrainingSet) -> list[np.ndarray]:
    variants = [SAE(lam=lam, scaling="none", class_scaling="none") for lam in LAMBDAS]
    return [variant.weight_.numpy() for variant in SAE.fit_each(variants, training)]


def schur(training: TrainingSet) -> list[np.ndarray]:
    x, s = training.features.T.astype(np.float64), training.classes.vectors[training.labels].T
    return [solve_sylvester(s @ s.T, lam * (x @ x.T), (1 + lam) * (s @ x.T)) for lam in SOLVED]
