"""SAE (Kodirov, Xiang and Gong, CVPR 2017): a linear semantic autoencoder, closed form.

    minimise ||X - W'S||^2 + lam ||W X - S||^2        over W [a, v]

X [v, n] features, S [a, n] the class embedding of each image. W encodes an image and W' decodes a class, and either
serves to compare the two. The gradient is zero where W solves the Sylvester equation

    S S' W + lam W X X' = (1 + lam) S X'

Both Gram matrices are symmetric: with S S' = U diag(alpha) U' and X X' = V diag(beta) V' the equation falls apart,

    (U' W V)_ij = (1 + lam) (U' S X' V)_ij / (alpha_i + lam beta_j)

so one eigendecomposition of each serves every lam. In float64, block by block (`gram`).

Differences from the paper: where features or class embeddings lack full rank the equation has many solutions, and
ours is the one of smallest norm, which maps directions that no image or no seen class has to zero. Features are
standardised and class embeddings centred, as validation prefers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from firstsight.methods.base import ProductMethod
from firstsight.methods.fitting import FitControls, Search, TrainingTensors
from firstsight.methods.gram import class_sums, gram
from firstsight.methods.scaling import ClassScaling, FeatureScaling, unit_rows

POWERS = tuple(10.0 ** (power / 2) for power in range(-8, 7))


@dataclass(kw_only=True)
class SAE(ProductMethod):
    """Semantic autoencoder.

    Attributes:
        lam: weight of encoding an image into its class embedding, against decoding it back.
        direction: compare W x with the class embedding (v2s), or x with the decoded class W'y (s2v).
    """

    name = "sae"
    source = "Kodirov et al., CVPR 2017"
    is_random = False
    search = Search(
        {
            "lam": POWERS,
            "direction": ("v2s", "s2v"),
            "scaling": ("standard", "l2"),
            "class_scaling": ("l2", "centred"),
        },
        shares_fits=True,
    )
    dtype = torch.float64
    widens = True

    lam: float = 1e-2
    direction: Literal["v2s", "s2v"] = "s2v"
    scaling: FeatureScaling = "standard"
    class_scaling: ClassScaling = "centred"

    def _fit(self, training: TrainingTensors, controls: FitControls) -> None:
        equation = training.once("equation", lambda: Sylvester(training))
        self.weight_ = training.once(self.lam, lambda: equation.solution(self.lam))  # serves both directions

    # in float32, as scores are: a value beyond it shows as infinite, where its unit vector would silently be 0
    def _project(self, features: Tensor) -> Tensor:
        return unit_rows((features @ self.weight_.T if self.direction == "v2s" else features).float())  # [n, a or v]

    def _describe(self, vectors: Tensor) -> Tensor:
        return unit_rows((vectors if self.direction == "v2s" else vectors @ self.weight_).float())  # [k, a or v]


class Sylvester:
    """The equation of one training set in the eigenvectors of its Gram matrices, of those in their range only."""

    def __init__(self, training: TrainingTensors) -> None:
        features, vectors = training.features, training.vectors  # [n, v], [s, a]
        counts = torch.bincount(training.labels, minlength=len(vectors))  # [s]
        self.alpha, self.left = spectrum(vectors.T @ (counts[:, None] * vectors))  # [p], [a, p]
        self.beta, self.right = spectrum(gram(features))  # [q], [v, q]
        self.product = (
            (vectors @ self.left).T @ class_sums(features, training.labels, len(vectors)) @ self.right
        )  # [p, q] U' S X' V

    def solution(self, lam: float) -> Tensor:
        """Return W [a, v]."""
        quotient = (1 + lam) * self.product / (self.alpha[:, None] + lam * self.beta)  # [p, q]
        return self.left @ (quotient @ self.right.T)


def spectrum(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return [r] eigenvalues of a Gram matrix that are not zero up to rounding, and [m, r] their eigenvectors."""
    values, basis = torch.linalg.eigh(matrix)
    kept = values > len(matrix) * torch.finfo(matrix.dtype).eps * values[-1]
    return values[kept], basis[:, kept]
