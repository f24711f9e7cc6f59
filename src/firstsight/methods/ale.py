"""ALE (Akata et al., TPAMI 2016): attribute label embedding, ranked with WARP weights.

    loss(x, r) = beta_k / k  sum_y h_y,    h_y = max(0, margin + x'Wy - x'Wr),    beta_k = 1 + 1/2 + ... + 1/k

with k the number of wrong classes with h_y > 0, an upper bound of the right class's rank. beta_k grows ever slower, so
leaving rank 2 gains more than leaving rank 100: the top of the list is what counts. `bilinear` has the compatibility
and the training.

Differences from the paper: the authors train by sampling wrong classes until one violates, which estimates k; all
classes are scored here, so k is exact and every violator takes part; and those of `bilinear`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from firstsight.methods.bilinear import Bilinear


@dataclass(kw_only=True)
class ALE(Bilinear):
    """Attribute label embedding."""

    name = "ale"
    source = "Akata et al., TPAMI 2016"

    def _weights(self, hinges: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        violates = hinges > 0  # [b, s]
        ranks = torch.arange(1, hinges.shape[1] + 1, dtype=hinges.dtype, device=hinges.device)
        shares = (1 / ranks).cumsum(dim=0) / ranks  # [s] beta_k / k
        n_violators = violates.sum(dim=1, keepdim=True)  # [b, 1]
        return violates * shares[(n_violators - 1).clamp(min=0)]
