"""ESZSL (Romera-Paredes and Torr, ICML 2015): bilinear ridge regression, closed form.

    W = (X'X + gamma I)^-1 X' Y S (S'S + lam I)^-1        score = x' W y

X [n, v] features, Y [n, s] one-hot labels, S [s, a] unit-length class embeddings. In float64, since the Gram
matrices are worse conditioned than float32 resolves.

Differences from the paper: targets are {0, 1}, as in the GBU benchmark, not {-1, 1}.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from firstsight.errors import InputError
from firstsight.methods.base import Method, Run, TrainingTensors


@dataclass(kw_only=True)
class ESZSL(Method):
    """Embarrassingly simple zero-shot learning.

    Attributes:
        gamma: weight of the penalty in visual space.
        lam: weight of the penalty in semantic space.
    """

    name = "eszsl"
    source = "Romera-Paredes and Torr, ICML 2015"
    dtype = torch.float64

    gamma: float = 1e3
    lam: float = 1.0

    def _fit(self, training: TrainingTensors, run: Run) -> None:
        features, vectors = training.features, training.vectors  # [n, v], [s, a]
        sums = features.new_zeros(len(vectors), features.shape[1])
        sums.index_add_(0, training.labels, features)  # [s, v] Y'X, without making Y
        left = cholesky(features.T @ features, self.gamma, "gamma")
        right = cholesky(vectors.T @ vectors, self.lam, "lam")
        half = torch.cholesky_solve(sums.T @ vectors, left)  # [v, a]
        self.weight_ = torch.cholesky_solve(half.T, right).T.contiguous()  # [v, a]

    def _scores(self, features: Tensor, vectors: Tensor) -> Tensor:
        return features @ (self.weight_ @ vectors.T)  # [n, k]


def cholesky(gram: Tensor, penalty: float, setting: str) -> Tensor:
    """The factor of gram + penalty I."""
    factor, info = torch.linalg.cholesky_ex(gram + penalty * torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
    if info != 0:
        raise InputError(f"{setting} must be large enough to make the problem well-posed; got {penalty:g}")
    return factor
