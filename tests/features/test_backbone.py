"""Backbones: pictures are prepared as in each network's own training, and weights that are missing are named."""

import hashlib
import itertools
import urllib.error

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models
from torchvision.transforms import functional as tv

from firstsight.errors import InputError
from firstsight.features.backbone import Backbone, Preparation, crops_of
from firstsight.features.load import load_backbone
from firstsight.methods.spaen_pictures.crops import random_crops
from firstsight.pictures.decode import squared, stored_side

SMALL = Preparation(resize=20, crop=16, interpolation="bilinear", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
SIZES = [(40, 30), (30, 40), (16, 16), (400, 21), (21, 400), (1, 1), (3, 500), (20, 20), (333, 250)]


class Flat(nn.Module):
    """A network whose features are its input, so that what it is given can be looked at."""

    def forward(self, x):
        return x.flatten(1)


def noise(size, seed=0) -> Image.Image:
    """Smooth enough for levels to be compared."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def flat(preparation=SMALL, **options) -> Backbone:
    return Backbone("flat", Flat(), preparation, torch.device("cpu"), **options)


def says(sentence, function, *arguments, **options):
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    assert str(caught.value) == sentence


# preparation


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("squash", [False, True])
def test_one_crop_is_that_of_torchvision(size, interpolation, squash):
    preparation = Preparation(20, 16, interpolation, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), squash)
    picture = noise(size)
    resized = tv.resize(picture, [20, 20] if squash else [20], tv.InterpolationMode(interpolation), antialias=True)
    expected = np.asarray(tv.center_crop(resized, [16])).astype(int)
    (found,) = preparation.crops(picture, 1)
    assert np.abs(found - expected).max() <= 2  # levels of 255: ties that are rounded the other way
    assert np.abs(found - expected).mean() < 0.2


@pytest.mark.parametrize("size", SIZES)
def test_ten_crops_are_those_of_torchvision(size):
    picture = noise(size)
    expected = tv.ten_crop(tv.resize(picture, [20], antialias=True), [16])[:5]
    found = SMALL.crops(picture, 10)
    assert found.shape == (5, 16, 16, 3)
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - np.asarray(other).astype(int)).max() <= 1


def test_a_strip_of_pixels_does_not_fill_memory():
    strip = Image.new("RGB", (60_000, 1), "red")  # 15,360,000 x 256 when enlarged
    preparation = Preparation(256, 224, "bilinear", (0.5,) * 3, (0.5,) * 3)
    for crops in (1, 10):
        assert (preparation.crops(strip, crops) == [255, 0, 0]).all()


@pytest.mark.parametrize("weights", ["ResNet18_Weights.IMAGENET1K_V1", "ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1"])
def test_features_of_one_crop_are_those_of_the_weights_own_transform(weights):
    from firstsight.features.torchvision import preparation

    transform = models.get_weight(weights).transforms()
    backbone = flat(preparation(transform))
    pictures = [noise((500, 375)), noise((300, 420), 1)]
    expected = torch.stack([transform(picture) for picture in pictures]).flatten(1).numpy()
    found = backbone.features(pictures)
    assert np.abs(found - expected).max() < 2.01 / 255 / 0.224  # two levels
    assert np.abs(found - expected).mean() < 1e-3


def test_ten_crops_are_averaged():
    pictures = [noise((40, 30), seed) for seed in range(3)]
    found = flat().features(pictures, crops=10)
    for row, picture in zip(found, pictures, strict=True):
        crops = tv.ten_crop(tv.resize(picture, [20], antialias=True), [16])
        tensors = [tv.normalize(tv.to_tensor(crop), SMALL.mean, SMALL.std) for crop in crops]
        expected = torch.stack(tensors).mean(dim=0).flatten().numpy()
        np.testing.assert_allclose(row, expected, atol=0.03)


def test_transform_is_in_words():
    assert flat().transform == "shorter side 20 bilinear, crop 16, mean 0.5 0.4 0.3, std 0.2 0.3 0.4"
    squashed = Preparation(224, 224, "bicubic", (0.5,) * 3, (0.5,) * 3, squash=True)
    assert str(squashed) == "both sides 224 bicubic, crop 224, mean 0.5 0.5 0.5, std 0.5 0.5 0.5"


# features


def test_features_come_in_order_whatever_the_batch(tmp_path):
    pictures = [noise((30 + seed, 40), seed) for seed in range(11)]
    for seed, picture in enumerate(pictures):
        picture.save(tmp_path / f"{seed}.png")
    files = [tmp_path / f"{seed}.png" for seed in range(11)]
    expected = flat().features(pictures)
    assert expected.shape == (11, 3 * 16 * 16)
    assert expected.dtype == np.float32
    for batch in (1, 4, 11, 100):
        np.testing.assert_array_equal(flat(batch=batch).features(files), expected)
    alone = np.concatenate([flat().features([picture]) for picture in pictures])
    np.testing.assert_array_equal(alone, expected)
    ten = flat().features(pictures, crops=10)
    for batch in (1, 7, 10, 100):
        np.testing.assert_array_equal(flat(batch=batch).features(iter(files), crops=10), ten)


def test_no_pictures():
    assert flat().features([]).shape == (0, 3 * 16 * 16)


def test_progress():
    told = []
    flat(batch=2).features([noise((20, 20))] * 5, progress=lambda *report: told.append(report))
    assert told == [(2, 5, {}), (4, 5, {}), (5, 5, {})]


def test_a_file_that_is_no_picture(tmp_path):
    (tmp_path / "a.jpg").write_text("no")
    says(
        f"{tmp_path}/a.jpg must be a picture (JPEG, PNG, WebP, BMP, TIFF or GIF); got something else",
        flat().features,
        [noise((20, 20)), tmp_path / "a.jpg"],
    )


def test_crops_are_one_or_ten():
    says("crops must be 1 or 10; got 5", flat().features, [], crops=5)


class Hungry(Flat):
    """Has memory for a few pictures only."""

    def __init__(self, most, error):
        super().__init__()
        self.most, self.error, self.given = most, error, []

    def forward(self, x):
        self.given.append(len(x))
        if len(x) > self.most:
            raise self.error
        return super().forward(x)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_the_batch_is_halved_until_it_fits(error):
    network = Hungry(3, error)
    backbone = Backbone("hungry", network, SMALL, torch.device("cpu"), batch=16)
    pictures = [noise((20, 20), seed) for seed in range(20)]
    np.testing.assert_array_equal(backbone.features(pictures), flat().features(pictures))
    assert backbone.batch == 2
    assert network.given[1:5] == [16, 8, 4, 2]
    assert set(network.given[5:]) == {2}


def test_not_even_one_fits():
    backbone = Backbone("hungry", Hungry(1, OUT_OF_MEMORY[0]), SMALL, torch.device("cpu"), batch=4)
    backbone.network.most = 0
    says(
        "device cpu must have memory for one crop; got hungry, which needs more",
        backbone.features,
        [noise((20, 20))] * 4,
    )


def test_other_errors_of_the_network_are_not_hidden():
    backbone = Backbone("hungry", Hungry(1, RuntimeError("sizes differ")), SMALL, torch.device("cpu"), batch=4)
    with pytest.raises(RuntimeError, match="sizes differ"):
        backbone.features([noise((20, 20))] * 4)


def test_half_the_digits_are_nearly_the_same():
    pictures = [noise((60, 50), seed) for seed in range(3)]
    whole, half = (load_backbone("random:resnet18", "cpu", precision) for precision in ("float32", "bf16"))
    expected, found = whole.features(pictures), half.features(pictures)
    assert found.dtype == np.float32
    assert not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())


# names and weights


def test_random_is_the_same_every_time_and_says_so():
    state = torch.get_rng_state()
    first, again = (load_backbone("random:resnet18", "cpu") for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert (first.name, first.width) == ("random:torchvision:resnet18", 512)
    assert load_backbone(first.name, "cpu").name == first.name
    pictures = [noise((60, 50))]
    np.testing.assert_array_equal(first.features(pictures), again.features(pictures))
    assert first.features(pictures).std() > 0


@pytest.mark.parametrize(
    ("name", "width"),
    [("mobilenet_v3_small", 1024), ("shufflenet_v2_x0_5", 1024), ("googlenet", 1024), ("swin_t", 768)],
)
def test_features_are_what_the_classifier_would_get(name, width):
    backbone = load_backbone(f"random:{name}", "cpu")
    whole = models.get_model(name, weights=None, **({"init_weights": False} if name == "googlenet" else {})).eval()
    last = [module for module in whole.modules() if isinstance(module, nn.Linear)][-1]
    assert backbone.width == width == last.in_features
    assert backbone.features([noise((300, 240))]).shape == (1, width)


def test_weights_that_are_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(3)
    theirs = models.resnet18().eval()
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    torch.save(theirs.state_dict(), checkpoints / "made.pth")
    name = f"resnet18-{hashlib.sha256((checkpoints / 'made.pth').read_bytes()).hexdigest()[:8]}.pth"
    (checkpoints / "made.pth").rename(checkpoints / name)
    monkeypatch.setattr(models.ResNet18_Weights.IMAGENET1K_V1.value, "url", f"https://nowhere.invalid/models/{name}")
    picture = noise((300, 240))
    with torch.inference_mode():
        theirs.fc = nn.Identity()
        expected = theirs(models.ResNet18_Weights.IMAGENET1K_V1.transforms()(picture)[None]).numpy()
    for name in ("resnet18", "torchvision:resnet18", "resnet18/IMAGENET1K_V1"):
        backbone = load_backbone(name, "cpu")
        assert backbone.name == "torchvision:resnet18/IMAGENET1K_V1"
        assert backbone.transform == (
            "shorter side 256 bilinear, crop 224, mean 0.485 0.456 0.406, std 0.229 0.224 0.225"
        )
        np.testing.assert_allclose(backbone.features([picture]), expected, atol=2e-2 * np.abs(expected).max())


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refuse(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    return tmp_path


def test_missing_weights_are_named(no_network):
    says(
        f"weights of torchvision:resnet18 must be in {no_network}/hub/checkpoints or within reach of the network; "
        "got <urlopen error no route to host>; put resnet18-f37072fd.pth there",
        load_backbone,
        "resnet18",
    )


def test_damaged_weights_are_named(no_network):
    file = no_network / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"half a file")
    found = hashlib.sha256(b"half a file").hexdigest()[:8]
    says(
        f"weights of torchvision:resnet18 must have a sha256 that begins with f37072fd; got {found} "
        f"from {file}, which is damaged; delete it and run again",
        load_backbone,
        "resnet18",
    )


def test_names_that_are_none():
    forms = (
        "backbone must be NAME or torchvision:NAME, timm:NAME or openclip:MODEL/WEIGHTS, "
        "or random: and one of these; got {!r}"
    )
    for name in ("keras:resnet50", "", "timm:", "random:", "random:random:resnet18", ":resnet18"):
        says(forms.format(name), load_backbone, name, "cpu")
    says("unknown backbone 'resnet5O'; did you mean 'resnet50'?", load_backbone, "resnet5O", "cpu")
    says(
        "unknown weights of resnet18 'IMAGENET1K_V3'; did you mean 'IMAGENET1K_V1'?",
        load_backbone,
        "resnet18/IMAGENET1K_V3",
        "cpu",
    )
    says(
        "backbone must end in a linear classifier; got squeezenet1_0, which does not",
        load_backbone,
        "random:squeezenet1_0",
        "cpu",
    )


def test_options_that_are_none():
    says("precision must be float32 or bf16; got 'int8'", load_backbone, "random:resnet18", "cpu", "int8")
    says("batch must be 1 or more; got 0", load_backbone, "random:resnet18", "cpu", batch=0)
    says("device must be auto, cpu or a device torch finds here; got 'gpu'", load_backbone, "random:resnet18", "gpu")


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("timm:resnet18", "timm", "timm"), ("openclip:ViT-B-32/openai", "open_clip", "openclip")],
)
def test_a_package_that_is_not_installed(name, module, extra, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    says(
        f"backbone {name} must have the package {module}; got an installation without it; "
        f"pip install 'firstsight[{extra}]'",
        load_backbone,
        name,
        "cpu",
    )


# crops that are kept


def asymmetric(size: tuple[int, int]) -> Image.Image:
    """A picture in which every pixel differs: red grows to the right, green downwards."""
    width, height = size
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([red, green, np.full_like(red, 90)], axis=2).astype(np.uint8))


@pytest.mark.parametrize("size", [(64, 64), (100, 64), (64, 90)])
def test_crops_that_are_kept_are_those_of_stored_pictures(size):
    """One order and one geometry: the features of crop k are of what F sees as crop k."""
    preparation = Preparation(20, 16, "bicubic", (0.0,) * 3, (1.0,) * 3)
    picture = asymmetric(size)
    found = flat(preparation).features([picture], "kept").reshape(11, 3, 16, 16)
    stored = torch.tensor(squared(picture, stored_side(16)))[None].expand(10, -1, -1, -1)
    expected = random_crops(stored.contiguous(), 16, torch.arange(10)).numpy()
    assert np.abs(found[1:] - expected).max() < 2.5 / 255  # levels, as pictures are shrunk before they are cut
    assert np.abs(found[0] - squared(picture, 16).transpose(2, 0, 1) / 255).max() < 2.5 / 255
    for one, other in itertools.combinations(range(11), 2):  # they can be told from each other
        assert np.abs(found[one] - found[other]).max() > 4 / 255
    alone = flat(preparation).features([picture], "whole").reshape(3, 16, 16)
    np.testing.assert_array_equal(alone, found[0])


@pytest.mark.parametrize(("said", "crops"), [({}, 1), ({"crops": "10"}, 10), ({"crops": "whole"}, "whole"), (None, 1)])
def test_crops_by_what_a_file_says(said, crops):
    assert crops_of(said) == crops
    says("crops must be 1 or 10; got '7'", crops_of, {"crops": "7"})
