"""ESZSL (Romera-Paredes and Torr, ICML 2015): bilinear ridge regression, closed form.

    W = (X'X + gamma I)^-1 X' Y S (S'S + lam I)^-1        score = x' W y

X [n, v] features, Y [n, s] one-hot labels, S [s, a] unit-length class embeddings. In float64, block by block (`gram`).

Differences from the paper: targets are {0, 1}, as in the GBU benchmark, not {-1, 1}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from firstsight.errors import InputError
from firstsight.methods.fitting import FitControls, TrainingTensors
from firstsight.methods.gram import class_sums, gram
from firstsight.methods.product import ProductMethod
from firstsight.methods.settings import Search

POWERS = tuple(10.0**power for power in range(-3, 4))


@dataclass(kw_only=True)
class ESZSL(ProductMethod):
    """Embarrassingly simple zero-shot learning.

    Attributes:
        gamma: weight of the penalty in visual space.
        lam: weight of the penalty in semantic space.
    """

    name = "eszsl"
    source = "Romera-Paredes and Torr, ICML 2015"
    is_random = False
    search = Search({"gamma": POWERS, "lam": POWERS, "scaling": ("none", "l2"), "class_scaling": ("l2", "centred")})
    shares_fits = True
    dtype = torch.float64
    widens = True

    gamma: float = 1e3
    lam: float = 1.0

    def _fit(self, training: TrainingTensors, controls: FitControls) -> None:
        features, vectors = training.features, training.vectors  # [n, v], [s, a]
        left = cholesky(gram(features), self.gamma, "gamma")
        right = cholesky(vectors.T @ vectors, self.lam, "lam")
        half = torch.cholesky_solve(class_sums(features, training.labels, len(vectors)).T @ vectors, left)  # [v, a]
        self.weight_ = torch.cholesky_solve(half.T, right).T.contiguous()  # [v, a]

    @classmethod
    def _fit_group(cls, variants: Sequence[ESZSL], training: TrainingTensors, controls: FitControls) -> Iterator[ESZSL]:
        """Solve for every gamma and lam with one eigendecomposition of each Gram matrix."""
        if len(variants) < 3:  # a Cholesky factor costs a third of an eigendecomposition
            yield from super()._fit_group(variants, training, controls)
            return
        features, vectors = training.features, training.vectors  # [n, v], [s, a]
        left = inverses(gram(features), {variant.gamma for variant in variants}, "gamma")
        right = inverses(vectors.T @ vectors, {variant.lam for variant in variants}, "lam")
        product = class_sums(features, training.labels, len(vectors)).T @ vectors  # [v, a]
        lefts = {gamma: inverse(product) for gamma, inverse in left.items()}  # [v, a]
        for variant in variants:
            variant.weight_ = right[variant.lam](lefts[variant.gamma].T).T.contiguous()
            yield variant

    def _project(self, features: Tensor) -> Tensor:
        return features @ self.weight_  # [n, a]


def inverses(gram: Tensor, penalties: set[float], setting: str) -> dict[float, Callable[[Tensor], Tensor]]:
    """Return for each penalty a function that multiplies by (gram + penalty I)^-1, from one eigendecomposition."""
    values, basis = torch.linalg.eigh(gram)
    smallest = min(penalties)
    if values[0] + smallest <= values[-1] * torch.finfo(gram.dtype).eps:
        raise InputError(f"{setting} must be large enough to make the problem well-posed; got {smallest:g}")
    return {penalty: partial(spectral_solve, basis, values + penalty) for penalty in penalties}


def spectral_solve(basis: Tensor, values: Tensor, matrix: Tensor) -> Tensor:
    """Multiply a matrix by the inverse of the symmetric one with these eigenvectors and eigenvalues."""
    return basis @ ((basis.T @ matrix) / values[:, None])


def cholesky(gram: Tensor, penalty: float, setting: str) -> Tensor:
    """Factor gram + penalty I."""
    factor, info = torch.linalg.cholesky_ex(gram + penalty * torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
    if info != 0:
        raise InputError(f"{setting} must be large enough to make the problem well-posed; got {penalty:g}")
    return factor
