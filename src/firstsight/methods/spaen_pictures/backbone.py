"""A network that learns with E to make features of pictures, where E is trained end to end."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from firstsight.features import torchvision
from firstsight.features.compact import SmallResNet
from firstsight.methods.scaling import unit_rows
from firstsight.methods.spaen_pictures.crops import shrunk
from firstsight.methods.spaen_pictures.networks import Normalised

COMPACT = "compact"


class Pooled(nn.Module):
    """The small residual network of `firstsight.features.compact` up to its pooled activations."""

    def __init__(self) -> None:
        super().__init__()
        self.network = SmallResNet(1)
        self.network.head = nn.Identity()  # type: ignore[assignment]  # nobody classifies with it

    def forward(self, x: Tensor) -> Tensor:
        """Return [b, v] pooled activations of normalised pictures [b, 3, h, w]."""
        return self.network.pooled(x)


class UnitLength(nn.Module):
    """Features of unit length, as E has them from a file."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [b, v] unit rows of features [b, v, ...]."""
        return unit_rows(x.flatten(1).float())


class Shrinking(nn.Module):
    """A network that sees pictures in one size."""

    def __init__(self, network: nn.Module, side: int) -> None:
        super().__init__()
        self.network, self.side = network, side

    def forward(self, pictures: Tensor) -> Tensor:
        """Return [b, v] features of pictures [b, 3, h, h] in 0..1."""
        return self.network(shrunk(pictures, self.side))


def backbone(name: str, is_trained: bool) -> nn.Module:
    """Return a network from pictures [b, 3, h, w] in 0..1 to features [b, v] of unit length.

    Args:
        name: of a torchvision network, or `compact`.
        is_trained: start from the weights that torchvision has for it; `compact` has none.

    Raises:
        InputError: an unknown name, or weights that are not there.
    """
    network: nn.Module = Pooled() if name == COMPACT else torchvision.find(name, is_trained).network
    return nn.Sequential(OrderedDict(normalised=Normalised(), network=network, unit=UnitLength()))


def feature_width(network: nn.Module, side: int) -> int:
    """Count the features that a network makes of a picture."""
    network.eval()
    with torch.no_grad():
        probe = next(network.parameters())
        return network(torch.zeros(1, 3, side, side, device=probe.device)).shape[1]
