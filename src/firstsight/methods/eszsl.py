"""ESZSL (Romera-Paredes and Torr, ICML 2015): bilinear ridge regression, closed form.

    W = (X'X + gamma I)^-1 X' Y S (S'S + lam I)^-1        score = x' W y

X [n, v] features, Y [n, s] one-hot labels, S [s, a] unit-length class embeddings. In float64, block by block (`gram`).
One eigendecomposition of each Gram matrix serves many gammas and lams.

Differences from the paper: targets are {0, 1}, as in the GBU benchmark, not {-1, 1}.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from firstsight.errors import InputError
from firstsight.methods.base import ProductMethod
from firstsight.methods.fitting import FitControls, Search, TrainingTensors
from firstsight.methods.gram import class_sums, gram

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
    search = Search(
        {"gamma": POWERS, "lam": POWERS, "scaling": ("none", "l2"), "class_scaling": ("l2", "centred")},
        shares_fits=True,
    )
    dtype = torch.float64
    widens = True

    gamma: float = 1e3
    lam: float = 1.0

    def _fit(self, training: TrainingTensors, controls: FitControls) -> None:
        features, vectors, once = training.features, training.vectors, training.once  # [n, v], [s, a]
        product = once("product", lambda: class_sums(features, training.labels, len(vectors)).T @ vectors)  # [v, a]
        if training.n_settings < 3:  # 1 or 2 solves cost less: a Cholesky factor takes a third of an eigendecomposition
            half = cholesky_solve(gram(features), product, self.gamma, "gamma")  # [v, a]
            self.weight_ = cholesky_solve(vectors.T @ vectors, half.T, self.lam, "lam").T.contiguous()  # [v, a]
            return
        left = once("left", lambda: torch.linalg.eigh(gram(features)))
        right = once("right", lambda: torch.linalg.eigh(vectors.T @ vectors))
        half = once(("half", self.gamma), lambda: spectral_solve(left, product, self.gamma, "gamma"))
        self.weight_ = spectral_solve(right, half.T, self.lam, "lam").T.contiguous()

    def _project(self, features: Tensor) -> Tensor:
        return features @ self.weight_  # [n, a]


def spectral_solve(spectrum: tuple[Tensor, Tensor], matrix: Tensor, penalty: float, setting: str) -> Tensor:
    """Multiply a matrix by (gram + penalty I)^-1, from the eigenvalues and eigenvectors of gram."""
    values, basis = spectrum
    if values[0] + penalty <= values[-1] * torch.finfo(values.dtype).eps:
        raise ill_posed(penalty, setting)
    return basis @ ((basis.T @ matrix) / (values + penalty)[:, None])


def cholesky_solve(gram: Tensor, matrix: Tensor, penalty: float, setting: str) -> Tensor:
    """Multiply a matrix by (gram + penalty I)^-1."""
    factor, info = torch.linalg.cholesky_ex(gram + penalty * torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
    if info != 0:
        raise ill_posed(penalty, setting)
    return torch.cholesky_solve(matrix, factor)


def ill_posed(penalty: float, setting: str) -> InputError:
    """Return the error for a penalty that is too small."""
    return InputError(f"{setting} must be large enough to make the problem well-posed; got {penalty:g}")
