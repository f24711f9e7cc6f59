"""DeViSE (Frome et al., NIPS 2013): the first wrong class that comes too close.

    loss(x, r) = h_y,  y the first class in a random order with h_y = max(0, margin + x'Wy - x'Wr) > 0

`bilinear` has the compatibility and the training. The first violator in a random order is a random one of all
violators, which is how it is drawn here.

Differences from the paper: image features stay fixed, as in the GBU benchmark; class embeddings are whatever the data
set has instead of word vectors; and those of `bilinear`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from firstsight.methods.bilinear import Bilinear


@dataclass(kw_only=True)
class DeViSE(Bilinear):
    """Deep visual-semantic embedding."""

    name = "devise"
    title = "DeViSE"
    source = "Frome et al., NIPS 2013"

    def _weights(self, hinges: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        violates = hinges > 0  # [b, s]
        places = violates.cumsum(dim=1)  # [b, s] 1, 2, ... at the violators
        draws = torch.randint(2**31, (len(hinges), 1), generator=generator).to(hinges.device)
        chosen = draws % places[:, -1:].clamp(min=1) + 1  # [b, 1]
        return (violates & (places == chosen)).to(hinges)
