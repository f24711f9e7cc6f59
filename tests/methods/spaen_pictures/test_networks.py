"""F, G and phi of SP-AEN on pictures: their sizes, and what others have learned that they start from."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torchvision.models import alexnet
from torchvision.transforms import Normalize

from firstsight.methods import SPAENPictures, spaen_pictures
from firstsight.methods.spaen.networks import SLOPE
from firstsight.methods.spaen_pictures import pretrained
from firstsight.methods.spaen_pictures.networks import SIDES, encoder, generator, perceptual_network
from firstsight.methods.spaen_pictures.pretrained import SHAPES, phi_of, start_from_published
from tests.support.trainings import DATA
from tests.support.trainings import spaen_pictures as make

NORMALIZE = Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@pytest.fixture(scope="module")
def torchvision_alexnet() -> nn.Module:
    """AlexNet with random weights in the layers that F and phi take."""
    with torch.device("meta"):
        network = alexnet(weights=None)
    generator = torch.Generator().manual_seed(0)
    for layer in (*network.features, network.classifier[1]):
        for name, parameter in list(layer.named_parameters()):
            value = torch.empty(parameter.shape).uniform_(-0.05, 0.05, generator=generator)
            setattr(layer, name, nn.Parameter(value, requires_grad=False))
    return network.eval()


@pytest.mark.parametrize("side", SIDES)
def test_shapes(side):
    with torch.device("meta"):
        pictures, codes = torch.empty(2, 3, side, side), torch.empty(2, 312)
        assert encoder(side, 312)(pictures).shape == (2, 312)
        assert generator(side, 312)(codes).shape == (2, 3, side, side)
        read = perceptual_network(side)(pictures)
    assert read.shape[:2] == (2, 256)
    assert min(read.shape[2:]) >= 2


@pytest.mark.parametrize("width", [0.0, 1 / 64, 0.5, 2.0])
def test_widths(width):
    with torch.device("meta"):
        read, drawn = encoder(32, 10, width), generator(32, 10, width)
        assert drawn(read(torch.empty(2, 3, 32, 32))).shape == (2, 3, 32, 32)
    channels = max(1, round(256 * width))
    assert read.convolutions[10].out_channels == drawn.deconv5.in_channels == channels
    assert drawn.fc.out_features == max(1, round(512 * width))


def test_sizes_of_the_paper():
    with torch.device("meta"):
        read, drawn = encoder(256, 312), generator(256, 312)
    linear = [layer.weight.shape[::-1] for layer in read if isinstance(layer, nn.Linear)]
    assert linear == [(9216, 4096), (4096, 1024), (1024, 312)]
    layers = {name: layer for name, layer in drawn.named_children() if hasattr(layer, "weight")}
    assert {name: tuple(layers.pop(name).weight.shape) for name in SHAPES} == SHAPES
    assert {name: layer.weight.shape[::-1] for name, layer in layers.items()} == {
        "hidden": (312, 1024),
        "fc": (1024, 4096),
    }


def test_order_of_the_generator():
    with torch.device("meta"):
        layers = list(generator(256, 312).named_children())
    assert [name for name, layer in layers if hasattr(layer, "weight")] == ["hidden", "fc", *SHAPES]
    for (name, layer), (_, after) in pairwise(layers):
        if name in SHAPES:
            assert after.negative_slope == 0.3
        if name.startswith("deconv"):
            assert (layer.kernel_size, layer.stride, layer.padding) == ((4, 4), (2, 2), (1, 1))
    assert layers[-1][0] == "deconv0"  # the last is linear


@pytest.mark.parametrize(
    ("side", "names"),
    [
        (32, "deconv5 conv5_1 deconv4 conv4_1 deconv0"),
        (64, "deconv5 conv5_1 deconv4 conv4_1 deconv3 conv3_1 deconv0"),
        (128, "deconv5 conv5_1 deconv4 conv4_1 deconv3 conv3_1 deconv2 deconv0"),
    ],
)
def test_smaller_generators_leave_out_the_last_doublings(side, names):
    with torch.device("meta"):
        layers = dict(generator(side, 8).named_children())
    assert [name for name in layers if "conv" in name and "relu" not in name] == names.split()


def test_codes_of_unit_length_come_out_at_the_size_they_should():
    torch.manual_seed(0)
    codes = nn.functional.normalize(torch.randn(100, 40))
    made = generator(32, 40).hidden(codes)
    assert made.var().item() == pytest.approx(2 / (1 + SLOPE**2), rel=0.1)


def test_phi_is_alexnet_to_its_fifth_convolution(torchvision_alexnet):
    phi = perceptual_network(256)
    assert not phi.training
    assert not any(parameter.requires_grad for parameter in phi.parameters())
    phi.convolutions.load_state_dict(torchvision_alexnet.features[:12].state_dict())
    picture = torch.rand(2, 3, 256, 256)
    with torch.no_grad():
        found, expected = phi(picture), torchvision_alexnet.features[:12](NORMALIZE(picture))
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected)


def test_the_encoder_starts_as_alexnet(torchvision_alexnet, monkeypatch):
    """At 256 pixels its fc6 says what torchvision's does."""
    monkeypatch.setattr(pretrained, "alexnet_weights", torchvision_alexnet.state_dict)
    read = encoder(256, 4)
    start_from_published(SPAENPictures(side=256), nn.ModuleDict({"encoder": read}), None)
    picture = torch.rand(2, 3, 256, 256)
    with torch.no_grad():
        found = read[: list(dict(read.named_children())).index("fc6") + 1](picture)
        pooled = torchvision_alexnet.avgpool(torchvision_alexnet.features(NORMALIZE(picture)))
        expected = torchvision_alexnet.classifier[1](pooled.flatten(1))
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [64, 128])
def test_smaller_encoders_start_from_its_convolutions(side, torchvision_alexnet, monkeypatch):
    monkeypatch.setattr(pretrained, "alexnet_weights", torchvision_alexnet.state_dict)
    read, phi = encoder(side, 4, width=1.0), perceptual_network(side)
    start_from_published(SPAENPictures(side=side), nn.ModuleDict({"encoder": read}), phi)
    for network in (read, phi):
        for name, value in network.convolutions.state_dict().items():
            assert torch.equal(value, torchvision_alexnet.features.state_dict()[name])


def test_there_is_no_phi_that_has_learned_nothing():
    assert phi_of(make(pretrained="none"), torch.device("cpu")) is None
    assert phi_of(make(pretrained="imagenet", width=1.0), torch.device("cpu")) is not None
    assert phi_of(make(pretrained="imagenet", width=1.0, alpha=0.0), torch.device("cpu")) is None


@pytest.mark.parametrize("schedule", ["two-stage", "joint"])
def test_the_published_generator_stays_as_it_is(schedule, monkeypatch):
    """Its layers stand still while those before them learn; here with a small one."""
    made = {name: value for name, value in generator(32, 4, 1.0).state_dict().items() if name.split(".")[0] in SHAPES}
    given = {name: torch.full_like(value, 0.01) for name, value in made.items()}
    monkeypatch.setattr(spaen_pictures, "FULL", 32)
    monkeypatch.setattr(pretrained, "published_generator", lambda path: {"file": given}[path])
    settings = {"generator_file": "file", "width": 1.0, "weight_decay": 0.5, "schedule": schedule}
    settings |= {"steps": 2, "autoencoder_steps": 1, "autoencoder_batch": 2, "perceptual_weight": 0.0}
    method = make(**settings).fit(DATA.training_set())
    learned = method.networks_["generator"].state_dict()
    for name, value in given.items():
        assert torch.equal(learned[name], value), name
    torch.manual_seed(0)
    start = method._networks(7, 0, 4)["generator"].state_dict()
    assert set(start) - set(given) == {"hidden.weight", "hidden.bias", "fc.weight", "fc.bias"}
    assert not torch.equal(learned["fc.weight"], start["fc.weight"])
