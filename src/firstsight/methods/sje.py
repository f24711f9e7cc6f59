"""SJE (Akata et al., CVPR 2015): structured joint embedding, the worst violator.

    loss(x, r) = max_y h_y,    h_y = max(0, margin + x'Wy - x'Wr)

the structured hinge of a multi-class SVM: one update against the wrong class with the highest score. `bilinear` has
the compatibility and the training.

Differences from the paper: one class embedding instead of a sum over several (join them beforehand); and those of
`bilinear`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from firstsight.methods.bilinear import Bilinear


@dataclass(kw_only=True)
class SJE(Bilinear):
    """Structured joint embedding."""

    name = "sje"
    source = "Akata et al., CVPR 2015"

    def _weights(self, hinges: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        most, worst = hinges.max(dim=1, keepdim=True)  # [b, 1]
        return torch.zeros_like(hinges).scatter(1, worst, (most > 0).to(hinges))
