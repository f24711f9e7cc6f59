"""What a trained SP-AEN on pictures draws."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from firstsight.methods import SPAENPictures, load_method, spaen_pictures
from firstsight.methods.spaen_pictures.crops import whole
from firstsight.methods.spaen_pictures.steps import as_bytes
from firstsight.pictures.decode import stored_side
from tests.support.tiny import flat_parameters, painted, tiny_dataset
from tests.support.trainings import DATA, picture_material, says
from tests.support.trainings import spaen_pictures as make


@pytest.fixture(scope="module")
def method() -> SPAENPictures:
    return make().fit(DATA.training_set())


def test_reconstructed(method, monkeypatch):
    pictures = painted(5, 32)
    drawn = method.reconstructed(pictures)
    assert (drawn.shape, drawn.dtype) == ((5, 32, 32, 3), np.uint8)
    with torch.no_grad():
        x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
        expected = method.networks_["generator"](method.networks_["encoder"](x)).clamp(0, 1) * 255
    assert np.abs(drawn - expected.permute(0, 2, 3, 1).numpy()).max() <= 0.51
    np.testing.assert_array_equal(method.reconstructed(pictures), drawn)
    np.testing.assert_array_equal(method.reconstructed(pictures[:0]), drawn[:0])
    monkeypatch.setattr(spaen_pictures, "DRAWN", 2)
    assert np.abs(method.reconstructed(pictures).astype(int) - drawn).max() <= 1


def test_larger_pictures_are_shrunk(method):
    large = painted(3, 32).repeat(4, axis=1).repeat(4, axis=2)
    small = (whole(torch.from_numpy(large), 32) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert np.abs(method.reconstructed(large).astype(int) - method.reconstructed(small)).max() <= 2


def test_imagined(method):
    drawn = method.imagined(DATA.classes)
    assert (drawn.shape, drawn.dtype) == ((9, 32, 32, 3), np.uint8)
    with torch.no_grad():
        expected = method.networks_["generator"](method.describe(DATA.classes)).clamp(0, 1) * 255
    assert np.abs(drawn - expected.permute(0, 2, 3, 1).numpy()).max() <= 0.51
    np.testing.assert_array_equal(method.imagined(DATA.classes), drawn)


@pytest.mark.parametrize("variant", get_args(spaen_pictures.Variant))
def test_a_loaded_model_draws_the_same(variant, tmp_path):
    method = make(variant=variant).fit(DATA.training_set())
    loaded = load_method(method.save(tmp_path / "model.safetensors"), "cpu")
    features = None if variant == "spaen" else DATA.features[:5]
    for network, other in zip(method.networks_.values(), loaded.networks_.values(), strict=True):
        assert torch.equal(flat_parameters(network), flat_parameters(other))
    pictures = painted(5, 32)
    np.testing.assert_array_equal(loaded.reconstructed(pictures, features), method.reconstructed(pictures, features))
    assert loaded.draws == method.draws == (variant == "spaen")
    assert loaded.view == 32
    if variant != "split-branch":
        np.testing.assert_array_equal(loaded.imagined(DATA.classes), method.imagined(DATA.classes))


def test_what_cannot_be_drawn(method):
    picture = painted(1, 32)
    says(
        "spaen-pictures must be fitted before it draws; got one without training; call fit",
        make().reconstructed,
        picture,
    )
    for call, given in ((method.reconstructed, picture[0]), (method.reconstructed, picture / 255)):
        says(f"pictures must be [n, h, h, 3] bytes; got {list(given.shape)} of {given.dtype}", call, given)
    blind = make(alpha=0.0, beta=0.0).fit(DATA.training_set())
    assert not blind.draws
    sentence = "alpha must be above 0 for a model that draws; got one trained with 0"
    says(sentence, blind.reconstructed, picture)
    says(sentence, blind.imagined, DATA.classes)
    split = make(variant="split-branch").fit(DATA.training_set())
    says("features must be given for split-branch, which draws from E(x); got none", split.reconstructed, picture)
    says("variant must draw from class embeddings to imagine one; got split-branch", split.imagined, DATA.classes)
    wide = tiny_dataset(a=5).classes
    says("candidates must have 4 columns, as in training; got 5", method.imagined, wide)


def test_the_second_half_of_a_split_code_draws_and_does_not_classify():
    method = make(variant="split-branch").fit(DATA.training_set())
    pictures, features = painted(5, 32), DATA.features[:5]
    scores, drawn = method.scores(features, DATA.classes), method.reconstructed(pictures, features)
    with torch.no_grad():
        method.networks_["embedder"][4].bias[4:] += 3.0
    np.testing.assert_array_equal(method.scores(features, DATA.classes), scores)
    assert not np.array_equal(method.reconstructed(pictures, features), drawn)


def test_at_the_size_of_the_paper_the_middle_224_of_256_count():
    """Pictures are kept at 256 pixels, F reads 224 of them, G draws 256, and its middle 224 are compared."""
    method = make(side=256, width=1 / 64, alpha=1.0, beta=0.0)
    assert (method.view, stored_side(method.view)) == (224, 256)
    assert [(make(side=side).view, stored_side(side)) for side in (32, 64, 128)] == [(32, 37), (64, 73), (128, 146)]
    material = picture_material(replace(method, perceptual_weight=0.0))
    read, code = torch.rand(2, 3, 224, 224), torch.randn(2, 4)
    assert material.networks["encoder"](read).shape == (2, 4)
    drawn = material.networks["generator"](code)
    assert drawn.shape == (2, 3, 256, 256)
    expected = (drawn[:, :, 16:240, 16:240] - read).square().mean()
    assert material.drawing_loss(read, code).item() == pytest.approx(expected.item(), rel=1e-5)
    data = tiny_dataset(side=256, n_seen=3, n_unseen=1, per_class=2)
    fitted = make(side=256, width=1 / 64, steps=1, autoencoder_steps=1).fit(data.training_set())
    found = fitted.reconstructed(data.pictures[:2])
    with torch.no_grad():
        code = fitted.networks_["encoder"](whole(torch.from_numpy(data.pictures[:2]), 224))
        expected = fitted.networks_["generator"](code)[:, :, 16:240, 16:240]
    np.testing.assert_array_equal(found, as_bytes(expected))
