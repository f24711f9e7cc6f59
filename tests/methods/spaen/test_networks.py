"""The four networks of SP-AEN on features: which there are, their sizes and how they start."""

import math

import pytest
import torch
from torch import nn

from firstsight.methods.spaen.networks import SLOPE, discriminator, perceptron
from tests.support.trainings import spaen


def linear_layers(network):
    return [tuple(layer.weight.shape[::-1]) for layer in network.modules() if isinstance(layer, nn.Linear)]


def test_sizes_of_the_networks():
    networks = spaen(hidden=1024)._networks(2048, 4096, 312)
    assert {name: linear_layers(network) for name, network in networks.items()} == {
        "embedder": [(2048, 1024), (1024, 312)],
        "encoder": [(4096, 1024), (1024, 312)],
        "generator": [(312, 1024), (1024, 4096)],
        "discriminator": [(312, 312), (312, 1)],
    }


def test_a_critic_has_no_sigmoid():
    torch.manual_seed(0)
    critic = discriminator(8)
    assert not [layer for layer in critic if isinstance(layer, nn.Sigmoid)]
    assert critic(100 * torch.randn(200, 8)).abs().max() > 1


@pytest.mark.parametrize("output", ["linear", "leaky"])
def test_output_of_the_embedder(output):
    torch.manual_seed(0)
    embeddings = perceptron(5, 8, 6, output, 0.5).eval()(torch.randn(200, 5))
    ratio = -embeddings.min() / embeddings.max()
    assert (ratio < 0.5) == (output == "leaky")


def test_dropout_is_on_the_inputs_of_both_layers_of_the_embedder_only():
    networks = spaen(dropout=0.4)._networks(7, 9, 4)
    rates = {
        name: [layer.p for layer in part.modules() if isinstance(layer, nn.Dropout)] for name, part in networks.items()
    }
    assert rates["embedder"] == [0.4, 0.4]
    assert not any(sum(rates[name]) for name in ("encoder", "generator", "discriminator"))


@pytest.mark.parametrize("n_in", [50, 400])
def test_he_initialisation(n_in):
    torch.manual_seed(0)
    for network in (perceptron(n_in, 300, 200, "linear", 0.0), discriminator(n_in)):
        for layer in network.modules():
            if isinstance(layer, nn.Linear) and layer.weight.numel() > 2000:
                expected = 2 / ((1 + SLOPE**2) * layer.in_features)
                assert layer.weight.var().item() == pytest.approx(expected, rel=0.1)
                assert layer.weight.mean().item() == pytest.approx(0, abs=0.1 * math.sqrt(expected))
                assert not layer.bias.any()


def test_which_networks_are_built():
    def parts(**changes):
        return set(spaen(**changes)._networks(7, 9, 4))

    assert parts(alpha=0.0, beta=0.0) == {"embedder"}
    assert parts(alpha=1.0, beta=0.0) == {"embedder", "encoder", "generator"}
    assert parts(alpha=1.0, beta=1.0) == {"embedder", "encoder", "generator", "discriminator"}
    assert "discriminator" in parts(alpha=0.0, beta=1.0)


def test_the_slope_is_that_of_every_leaky_relu():
    networks = spaen(slope=0.35, output="leaky", encoder_output="leaky", generator_output="leaky")._networks(7, 9, 4)
    slopes = {
        name: [layer.negative_slope for layer in part.modules() if isinstance(layer, nn.LeakyReLU)]
        for name, part in networks.items()
    }
    both = [0.35, 0.35]
    assert slopes == {"embedder": both, "encoder": both, "generator": both, "discriminator": [0.35]}
