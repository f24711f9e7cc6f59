"""CONSE (Norouzi et al., ICLR 2014): convex combination of semantic embeddings.

A softmax classifier of the seen classes places an image among their embeddings, and the nearest candidate wins:

    f(x) = sum_t p(y_t | x) s(y_t) / sum_t p(y_t | x)        score = cos(f(x), s(y))

y_1, y_2, .. the seen classes in order of their probability, t up to T.

Differences from the paper: the classifier is softmax regression on given features instead of a network's last layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from firstsight.methods.base import ProductMethod
from firstsight.methods.fitting import FitControls, Search, TrainingTensors, check_counts
from firstsight.methods.logistic import PENALTIES, softmax_regression
from firstsight.methods.scaling import FeatureScaling, unit_rows


@dataclass(kw_only=True)
class CONSE(ProductMethod):
    """Convex combination of semantic embeddings.

    Attributes:
        penalty: weight of the squared weights of the classifier of seen classes, 1 / C.
        n_top: most probable seen classes that are combined, T; all where there are fewer.
    """

    name = "conse"
    source = "Norouzi et al., ICLR 2014"
    is_random = False
    search = Search({"penalty": PENALTIES, "n_top": (5, 10, 20)}, shares_fits=True)

    scaling: FeatureScaling = "l2"
    penalty: float = 0.1
    n_top: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, "n_top")

    def _fit(self, training: TrainingTensors, controls: FitControls) -> None:
        """Train the classifier once for settings that differ in `n_top` alone."""
        features, labels, self.vectors_ = training.features, training.labels, training.vectors  # [n, v], [n], [s, a]
        self.weight_, self.bias_ = training.once(
            self.penalty, lambda: softmax_regression(features, labels, len(self.vectors_), self.penalty, controls)
        )

    def _project(self, features: Tensor) -> Tensor:
        posterior = torch.addmm(self.bias_, features, self.weight_).softmax(dim=1)  # [n, s]
        best, classes = posterior.topk(min(self.n_top, posterior.shape[1]))  # [n, t]
        weights = torch.zeros_like(posterior).scatter_(1, classes, best)  # [n, s]
        return unit_rows(weights @ self.vectors_)  # [n, a]

    def _describe(self, vectors: Tensor) -> Tensor:
        return unit_rows(vectors)
