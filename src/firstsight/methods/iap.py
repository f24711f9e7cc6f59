"""IAP (Lampert et al., CVPR 2009): indirect attribute prediction.

A multi-class posterior over the seen classes k says how probable each attribute is in an image, and DAP's rule takes
it from there:

    p(a_m = 1 | x) = sum_k p(k | x) M_km        p(k | x) = softmax(W'x + b)_k

M [s, a] binary attributes of the seen classes, made from class embeddings as in `dap`.

Differences from the paper: the posterior is that of linear softmax regression on the given features. Attributes that
all seen classes have, or none, are treated as in DAP.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from firstsight.methods.dap import DAP, presence_thresholds, prior_logits
from firstsight.methods.fitting import FitControls, TrainingTensors
from firstsight.methods.logistic import softmax_regression


@dataclass(kw_only=True)
class IAP(DAP):
    """Indirect attribute prediction, with the settings of the direct one.

    Attributes:
        penalty: weight of the squared weights of the classifier of seen classes, 1 / C.
    """

    name = "iap"

    def _fit(self, training: TrainingTensors, controls: FitControls) -> None:
        self.threshold_ = presence_thresholds(training.vectors)  # [a]
        self.present_ = training.vectors > self.threshold_  # [s, a]
        self.weight_, self.bias_ = softmax_regression(
            training.features, training.labels, len(training.vectors), self.penalty, controls
        )

    def _project(self, features: Tensor) -> Tensor:
        return self._logits(features) - prior_logits(self.present_)  # [n, a]

    def _logits(self, features: Tensor) -> Tensor:
        """Return [n, a] logits of the probabilities that images have the attributes."""
        posterior = torch.addmm(self.bias_, features, self.weight_).softmax(dim=1)  # [n, s]
        present = self.present_.to(posterior.dtype)
        smallest = torch.finfo(posterior.dtype).tiny  # instead of a logarithm of zero
        yes, no = ((posterior @ which).clamp(min=smallest).log() for which in (present, 1 - present))  # [n, a]
        informative = self.present_.any(dim=0) & ~self.present_.all(dim=0)  # [a]
        return torch.where(informative, yes - no, 0.0)
