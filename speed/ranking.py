"""One epoch of DeViSE, ALE, SJE and LATEM, against a plain loop over single images."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from firstsight.data import ClassEmbeddings, TrainingSet
from firstsight.methods import ALE, LATEM, SJE, DeViSE, FitControls
from firstsight.methods.base import TrainingTensors
from speed import Case

Rule = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def cases() -> Iterator[Case]:
    rng = np.random.default_rng(0)
    features = rng.random((7057, 2048), dtype=np.float32)
    classes = ClassEmbeddings(tuple(map(str, range(150))), rng.random((150, 312)))
    training = TrainingSet(features, rng.integers(0, 150, 7057), classes, features, (2048,))
    for kind, rule in RULES.items():
        method = kind(epochs=1, device="cpu")
        tensors = method._prepared(training)
        yield Case(
            f"{kind.__name__}, CUB size, 7,057 x 2,048, 150 classes",
            partial(method._fit, tensors, FitControls()),
            partial(one_by_one, tensors, rule, method.learning_rate, method.n_maps, method.epochs),
        )


def one_by_one(training: TrainingTensors, rule: Rule, learning_rate: float, n_maps: int, epochs: int) -> list[Tensor]:
    """Train maps [v, a] by stochastic gradient descent with one image per step and a margin of 1.

    Each part uses the faster library: torch for products and the rank-one update in place (three times as fast as
    numpy's outer product and subtraction), numpy for the few numbers per class.
    """
    rng = np.random.default_rng(0)
    features, labels, vectors = training.features, training.labels.tolist(), training.vectors
    size = features.shape[1], vectors.shape[1]
    maps = [torch.tensor(rng.normal(0, size[0] ** -0.5, size), dtype=torch.float32) for _ in range(n_maps)]
    for row in (row for _ in range(epochs) for row in rng.permutation(len(features))):
        image, right = features[row], labels[row]
        by_map = np.array([(vectors @ (image @ weight)).numpy() for weight in maps])  # [m, s]
        scores, winners = by_map.max(axis=0), by_map.argmax(axis=0)
        hinges = np.maximum(0, 1 + scores - scores[right])
        hinges[right] = 0
        slopes = rule(hinges, right, rng)
        slopes[right] = -slopes.sum()
        for winner in set(winners[slopes != 0]):
            direction = torch.from_numpy(np.where(winners == winner, slopes, np.float32(0))) @ vectors  # [a]
            maps[winner].addr_(image, direction, alpha=-learning_rate)
    return maps


def first_violator(hinges: np.ndarray, right: int, rng: np.random.Generator) -> np.ndarray:
    weights = np.zeros_like(hinges)
    first = next((y for y in rng.permutation(len(hinges)) if hinges[y] > 0), right)
    weights[first] = first != right
    return weights


def warp(hinges: np.ndarray, right: int, rng: np.random.Generator) -> np.ndarray:
    rank = np.count_nonzero(hinges)
    return (hinges > 0) * np.float32(sum(1 / place for place in range(1, rank + 1)) / max(rank, 1))


def worst_violator(hinges: np.ndarray, right: int, rng: np.random.Generator) -> np.ndarray:
    weights = np.zeros_like(hinges)
    weights[hinges.argmax()] = hinges.max() > 0
    return weights


def random_class(hinges: np.ndarray, right: int, rng: np.random.Generator) -> np.ndarray:
    weights = np.zeros_like(hinges)
    wrong = (right + rng.integers(1, len(hinges))) % len(hinges)
    weights[wrong] = hinges[wrong] > 0
    return weights


RULES = {DeViSE: first_violator, ALE: warp, SJE: worst_violator, LATEM: random_class}
