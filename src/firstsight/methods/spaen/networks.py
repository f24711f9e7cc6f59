"""The four networks of SP-AEN at the level of features; sizes from the authors' experiments.

E embedder       x -> embedding     classifies; the only one used to predict
F encoder        x -> embedding     keeps the semantics, with
G generator      embedding -> x     which reconstructs x from F(x)
D discriminator  embedding -> 1     Wasserstein critic that tells F(x) from E(x)
"""

from __future__ import annotations

from typing import Literal, TypeVar

from torch import nn

SLOPE = 0.2  # of the leaky ReLU; the customary value for adversarial networks (Radford et al., ICLR 2016)

Built = TypeVar("Built", bound=nn.Module)
Output = Literal["linear", "leaky"]


def perceptron(n_in: int, n_hidden: int, n_out: int, output: Output, dropout: float, slope: float = SLOPE) -> nn.Module:
    """Return E, F or G: dropout and two layers with a leaky ReLU between them."""
    layers = [
        nn.Dropout(dropout),
        nn.Linear(n_in, n_hidden),
        nn.LeakyReLU(slope),
        nn.Dropout(dropout),
        nn.Linear(n_hidden, n_out),
    ]
    return he_initialised(nn.Sequential(*layers, *([nn.LeakyReLU(slope)] if output == "leaky" else [])), slope)


def discriminator(n_embedding: int, slope: float = SLOPE) -> nn.Module:
    """Return D: two layers with a leaky ReLU between them; its output is a logit, which `losses.adversarial` takes."""
    layers = [nn.Linear(n_embedding, n_embedding), nn.LeakyReLU(slope), nn.Linear(n_embedding, 1)]
    return he_initialised(nn.Sequential(*layers), slope)


def he_initialised(network: Built, slope: float = SLOPE) -> Built:
    """Initialise all linear layers and convolutions as He et al. (ICCV 2015) do; biases are 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, a=slope)
            assert layer.bias is not None  # as all of ours have one
            nn.init.zeros_(layer.bias)
    return network
