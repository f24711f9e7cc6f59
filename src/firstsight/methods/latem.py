"""LATEM (Xian et al., CVPR 2016): latent embeddings, several bilinear maps of which the best scores.

    score(x, y) = max_i x' W_i y        loss(x, r) = max(0, margin + score(x, y) - score(x, r)),  y a random wrong class

Where the loss is positive, the map that won for the wrong class moves away from it and the map that won for the right
class towards it; all others stay. With one map it is bilinear. `bilinear` has the training.

Differences from the paper: the number of maps is tuned like any setting, without the variant that prunes maps as
training goes on; and those of `bilinear`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from firstsight.methods.bilinear import Bilinear
from firstsight.methods.fitting import Search, Span


@dataclass(kw_only=True)
class LATEM(Bilinear):
    """Latent embeddings.

    Attributes:
        n_maps: bilinear maps.
    """

    name = "latem"
    source = "Xian et al., CVPR 2016"

    search = Search({"learning_rate": Span(0.1, 3.0), "n_maps": (2, 4, 8)})

    learning_rate: float = 1.0
    batch: int = 128
    epochs: int = 100
    n_maps: int = 4

    def _weights(self, hinges: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        s = hinges.shape[1]
        offsets = torch.randint(1, max(s, 2), labels.shape, generator=generator).to(labels.device)
        wrong = ((labels + offsets) % s)[:, None]  # [b, 1]
        return torch.zeros_like(hinges).scatter(1, wrong, (hinges.gather(1, wrong) > 0).to(hinges))
