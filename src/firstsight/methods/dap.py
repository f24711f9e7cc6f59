"""DAP (Lampert et al., CVPR 2009): direct attribute prediction.

A classifier per binary attribute says how probable the attribute is in an image; a class is as probable as the
conjunction of its attributes, each against its prior:

    p(y | x)  proportional to  prod_m p(a_m = y_m | x) / p(a_m = y_m)

In logs, a_m in {0, 1} and up to a term that all classes of an image share, this is bilinear:

    score = sum_m y_m (logit p(a_m = 1 | x) - logit p(a_m = 1))

with p(a_m = 1 | x) = sigmoid(w_m'x + b_m), and priors that are the share of seen classes with the attribute.

Attributes that are binary already, 0 and 1 or rows of them at unit length, are taken as they are. Continuous ones
count as present where they exceed their mean over the seen classes.

Differences from the paper: logistic regression, whose outputs are probabilities, instead of a kernel SVM with Platt
scaling. An attribute that all seen classes have, or none, gets the prior 1/2 as in the paper, and the probability 1/2
too, as there is nothing to learn it from; so it says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from firstsight.methods.base import ProductMethod
from firstsight.methods.fitting import FitControls, Search, TrainingTensors
from firstsight.methods.logistic import PENALTIES, logistic_regressions
from firstsight.methods.scaling import ClassScaling, FeatureScaling, unit_rows


@dataclass(kw_only=True)
class DAP(ProductMethod):
    """Direct attribute prediction.

    Attributes:
        class_scaling: none, so that attributes which are binary already stay as they are.
        penalty: weight of the squared weights of each attribute's classifier, 1 / C.
    """

    name = "dap"
    source = "Lampert et al., CVPR 2009"
    is_random = False
    search = Search({"penalty": PENALTIES})

    scaling: FeatureScaling = "l2"
    class_scaling: ClassScaling = "none"
    penalty: float = 0.1

    def _fit(self, training: TrainingTensors, controls: FitControls) -> None:
        self.threshold_ = presence_thresholds(training.vectors)  # [a]
        present = training.vectors > self.threshold_  # [s, a]
        self.prior_logit_ = prior_logits(present)
        self.weight_ = training.features.new_zeros(training.features.shape[1], present.shape[1])  # [v, a]
        self.bias_ = torch.zeros_like(self.threshold_)  # [a]
        varies = present.any(dim=0) & ~present.all(dim=0)
        self.weight_[:, varies], self.bias_[varies] = logistic_regressions(
            training.features, training.labels, present[:, varies], self.penalty, controls
        )

    def _project(self, features: Tensor) -> Tensor:
        return torch.addmm(self.bias_, features, self.weight_) - self.prior_logit_  # [n, a]

    def _describe(self, vectors: Tensor) -> Tensor:
        return (vectors > self.threshold_).to(self.dtype)  # [k, a]


def presence_thresholds(vectors: Tensor) -> Tensor:
    """Return [a] values above which an attribute of a class is present: 0 where class embeddings [s, a] are binary.

    Binary rows may come at unit length, where 1 / sqrt(2) and 1 / sqrt(9) both mean yes. They are recognised by their
    values, as the mean over classes could lie between the two.
    """
    has = (vectors > 0).to(vectors)
    is_binary = torch.equal(vectors, has) or torch.allclose(vectors, unit_rows(has), rtol=0, atol=1e-6)
    return torch.zeros_like(vectors[0]) if is_binary else vectors.mean(dim=0)


def prior_logits(present: Tensor) -> Tensor:
    """Return [a] logits of the share of classes [s, a] with each attribute; of 1/2 where all have it, or none."""
    share = present.double().mean(dim=0)
    return torch.where((share > 0) & (share < 1), share, 0.5).logit().float()
