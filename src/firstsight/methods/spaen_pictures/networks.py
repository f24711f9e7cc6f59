"""The networks of SP-AEN on pictures: AlexNet to read them, an up-convolutional network to draw them.

    encoder             picture -> AlexNet to fc6 -> 1024 -> d               He, or AlexNet's ImageNet weights
    generator           d -> 1024 -> 4096 -> 3 x 4096 -> 256 x 4 x 4 -> picture     Dosovitskiy and Brox, NIPS 2016
    perceptual network  picture -> conv5 of AlexNet                          frozen
    backbone            picture -> features, where E is trained end to end

The sizes are those of 256 pixels. The same design at another side has as many up-convolutions as it takes to get there
from 4 x 4, and fully connected layers of 16 units a pixel of the side. Pictures are [b, 3, h, h] in 0..1; G draws them
`side` pixels large, the others read them `view_of(side)` pixels large.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from firstsight.features import torchvision
from firstsight.features.compact import SmallResNet
from firstsight.methods.scaling import unit_rows
from firstsight.methods.spaen.networks import SLOPE, Output, he_initialised
from firstsight.methods.spaen_pictures.crops import shrunk

GENERATOR_SLOPE = 0.3  # of the leaky ReLU after every layer of the published generator but the last
COMPACT = "compact"
FULL = 256  # pixels of a side, as in the paper
SIDES = (32, 64, 128, FULL)
VIEW = 224  # pixels of a side that are read, and compared, of a picture of `FULL` (authors' code)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Layers of the published generator after its fully connected ones: name, channels; `deconv` doubles the side.
UP = (
    ("deconv5", 256),
    ("conv5_1", 512),
    ("deconv4", 256),
    ("conv4_1", 256),
    ("deconv3", 128),
    ("conv3_1", 128),
    ("deconv2", 64),
    ("deconv1", 32),
    ("deconv0", 3),
)


class Normalised(nn.Module):
    """Pictures in 0..1 as networks trained on ImageNet know them: its mean colour subtracted."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        """Normalise pictures [b, 3, h, w]."""
        return (pictures - self.mean) / self.std


def alexnet_convolutions(side: int, width: float, depth: int = 13) -> nn.Sequential:
    """Return the first `depth` layers of AlexNet's convolutional part, numbered as torchvision has them.

    Pictures of 64 pixels or fewer are read in steps of 2 instead of 4, so that something is left of them at the end.
    A depth of 13 is all; 12 ends with the ReLU after the fifth convolution, phi.
    """
    c1, c2, c3, c4, c5 = (scaled(channels, width) for channels in (64, 192, 384, 256, 256))
    layers = [
        nn.Conv2d(3, c1, 11, stride=4 if side > 64 else 2, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(c1, c2, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(c2, c3, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(c3, c4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(c4, c5, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2) if side > 64 else nn.AdaptiveMaxPool2d(pooled_side(side)),
    ]
    return nn.Sequential(*layers[:depth])


def pooled_side(side: int) -> int:
    """Return how many rows AlexNet's fc6 gets of a picture: 6 where G draws 256 pixels, of the 224 that F reads."""
    return 6 if side == FULL else 3 if side > 64 else 2 if side > 32 else 1


def view_of(side: int) -> int:
    """Return the pixels of a side of what F reads where G draws `side` pixels.

    At 256 it is 224, as in the paper and the authors' code: pictures are kept at 256 pixels, F reads crops of 224, and
    these are compared with the middle 224 of what G draws, since the published generator draws 256. At smaller sides G
    has learned nothing elsewhere. It draws just what F reads, a crop that has the same share of the stored picture.
    """
    return VIEW if side == FULL else side


def encoder(
    side: int, n_embedding: int, width: float = 1.0, slope: float = SLOPE, output: Output = "linear"
) -> nn.Sequential:
    """Return F: AlexNet to fc6, then two fully connected layers."""
    n_fc6, n_hidden = scaled(16 * side, width), scaled(1024, width)
    n_pooled = scaled(256, width) * pooled_side(side) ** 2
    network = nn.Sequential(
        OrderedDict(
            normalised=Normalised(),
            convolutions=alexnet_convolutions(side, width),
            average=nn.AdaptiveAvgPool2d(pooled_side(side)),
            flat=nn.Flatten(),
            fc6=nn.Linear(n_pooled, n_fc6),
            relu6=nn.ReLU(),
            hidden=nn.Linear(n_fc6, n_hidden),
            leaky=nn.LeakyReLU(slope),
            out=nn.Linear(n_hidden, n_embedding),
        )
    )
    if output == "leaky":
        network.add_module("leaky_out", nn.LeakyReLU(slope))
    return he_initialised(network, slope)


def generator(
    side: int, n_embedding: int, width: float = 1.0, slope: float = SLOPE, output: Output = "leaky"
) -> nn.Sequential:
    """Return G: two fully connected layers, then the generator of Dosovitskiy and Brox, with its names of layers."""
    n_hidden, n_fc = scaled(1024, width), scaled(16 * side, width)
    n_first = scaled(256, width)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        hidden=nn.Linear(n_embedding, n_hidden),
        leaky=nn.LeakyReLU(slope),
        fc=nn.Linear(n_hidden, n_fc),
        leaky_fc=nn.LeakyReLU(slope) if output == "leaky" else nn.Identity(),
    )
    for name, n_out in (("defc7", n_fc), ("defc6", n_fc), ("defc5", 16 * n_first)):
        layers[name] = nn.Linear(n_fc, n_out)
        layers[f"relu_{name}"] = nn.LeakyReLU(GENERATOR_SLOPE)
    layers["grid"] = nn.Unflatten(1, (n_first, 4, 4))
    n_in = n_first
    for name, channels in ups(side):
        n_out = channels if name == "deconv0" else scaled(channels, width)
        is_up = name.startswith("deconv")
        layers[name] = nn.ConvTranspose2d(n_in, n_out, 4, 2, 1) if is_up else nn.Conv2d(n_in, n_out, 3, padding=1)
        layers[f"relu_{name}"] = nn.LeakyReLU(GENERATOR_SLOPE)
        n_in = n_out
    layers.popitem()  # the last layer is linear
    network = he_initialised(nn.Sequential(layers), slope)
    with torch.no_grad():  # He's initialisation is for inputs of variance 1; codes are of length 1
        network.get_parameter("hidden.weight").mul_(math.sqrt(n_embedding))
    return network


class Merge(nn.Module):
    """Merge a code in two halves, as SplitBranch does: a fully connected layer for each, then both beside each other.

    G's first layer, which reads both, has the weights that merge them.
    """

    def __init__(self, n_embedding: int, slope: float) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(n_embedding, n_embedding), nn.Linear(n_embedding, n_embedding)
        self.leaky = nn.LeakyReLU(slope)
        he_initialised(self, slope)

    def forward(self, code: Tensor) -> Tensor:
        """Return [b, 2 a] of codes [b, 2 a]."""
        first, second = code.chunk(2, dim=1)
        return torch.cat([self.leaky(self.first(first)), self.leaky(self.second(second))], dim=1)


def ups(side: int) -> tuple[tuple[str, int], ...]:
    """Return the layers of `UP` that draw a picture of this side: the first ones, and the last."""
    n_doublings = round(math.log2(side / 4))
    doublings = [at for at, (name, _) in enumerate(UP) if name.startswith("deconv")]
    return UP[: doublings[n_doublings - 1]] + UP[-1:]


def perceptual_network(side: int, width: float = 1.0) -> nn.Sequential:
    """Return phi: AlexNet up to the ReLU after its fifth convolution, which does not learn."""
    layers = OrderedDict(normalised=Normalised(), convolutions=alexnet_convolutions(side, width, depth=12))
    return he_initialised(nn.Sequential(layers)).requires_grad_(False).eval()


def scaled(channels: int, width: float) -> int:
    """Return the channels of a layer in a network of this width, 1 at least."""
    return max(1, round(channels * width))


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
    """Return a network, by torchvision's name or `compact`, from pictures in 0..1 to features [b, v] of unit length.

    Where it is trained, it has torchvision's weights, and `compact` has none.

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
