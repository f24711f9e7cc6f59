"""The three rivals of Table 3: whom each phase teaches, and from what."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from firstsight import checkpoint
from firstsight.methods import load_method
from firstsight.methods.spaen_pictures.crops import random_crops, whole
from firstsight.methods.spaen_pictures.steps import Material
from tests.support.tiny import flat_parameters
from tests.support.trainings import (
    DATA,
    copied,
    gradient,
    picture_material,
    picture_steps,
    shown_to,
    unclipped,
    with_plain_descent,
)
from tests.support.trainings import spaen_pictures as make


@pytest.mark.parametrize("variant", ["sae-image", "split-branch"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_gradients_through_a_bottleneck(variant, accumulate, monkeypatch):
    """Of E: L_cls of what classifies, the first half in split-branch, and alpha L_rec of the whole code."""
    unclipped(monkeypatch)
    method = make(variant=variant, accumulate=accumulate, alpha=2.0, temperature=3.0)
    material = picture_material(method)
    made, phi, images = with_plain_descent(method.way.steps(material)), material.phi, material.images
    taken, before, networks = shown_to(made, monkeypatch), copied(material.networks), deepcopy(material.networks)
    made.stages[0].step()
    x, rows = (torch.cat(parts) for parts in zip(*taken, strict=True))
    code = networks["embedder"](images.features[rows])
    assert code.shape == (6, 8 if variant == "split-branch" else 4)
    first = nn.functional.normalize(code[:, :4])
    merged = torch.cat([first, code[:, 4:]], dim=1)
    if variant == "split-branch":  # a layer for each half, then both beside each other (paper, section 5.5)
        halves = zip((networks["merge"].first, networks["merge"].second), (first, code[:, 4:]), strict=True)
        merged = torch.cat([nn.functional.leaky_relu(layer(half), 0.2) for layer, half in halves], dim=1)
    drawn = networks["generator"](merged)
    rebuilt = (drawn - x).square().mean() + (phi(drawn) - phi(x)).square().mean()
    loss = nn.functional.cross_entropy(3.0 * first @ images.vectors.T, images.labels[rows]) + 2.0 * rebuilt
    for name in before:
        step = before[name] - flat_parameters(material.networks[name])
        torch.testing.assert_close(step, gradient(loss, networks[name]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_direct_map_draws_from_an_embedder_that_stands_still(dropout, monkeypatch):
    """G learns from E(x), with E's dropout as noise, in pieces too."""
    made = picture_steps(make(variant="direct-map", dropout=dropout, accumulate=2))
    taken, codes, draw = shown_to(made, monkeypatch), [], Material.drawing_loss
    monkeypatch.setattr(Material, "drawing_loss", lambda *given: (codes.append(given[2]), draw(*given))[1])
    made.embedder.network.train()
    made.stages[1].step()
    made.embedder.network.eval()
    assert len(codes) == 2
    for (_, rows), code in zip(taken, codes, strict=True):
        expected = made.embedder.embed(rows).detach()
        assert torch.allclose(code, expected, atol=1e-6) == (not dropout)


# one view


WAYS = ("spaen", "direct-map", "sae-image", "split-branch")


class Seen:
    """What E, F and the loss of G are given in the steps of a training, as long as it notes."""

    def __init__(self, made, monkeypatch, embeds: str) -> None:
        self.of_embedder, self.of_encoder, self.targets = [], [], []
        networks = made.material.networks
        networks[embeds].register_forward_hook(lambda _, given, __: self.of_embedder.append(given[0].detach()))
        if "encoder" in networks:
            networks["encoder"].register_forward_hook(lambda _, given, __: self.of_encoder.append(given[0]))
        draw = Material.drawing_loss

        def noted(material, pictures, code):
            self.targets.append(pictures)
            return draw(material, pictures, code)

        monkeypatch.setattr(Material, "drawing_loss", noted)

    def clear(self) -> None:
        for values in (self.of_embedder, self.of_encoder, self.targets):
            values.clear()


def views_of(made, features: torch.Tensor) -> torch.Tensor:
    """Return the pictures of the views whose features these are, found by the features alone."""
    images, stored = made.pictures.images, made.pictures.pictures
    number = torch.arange(10)[:, None] if made.pictures.batches.n_crops > 1 else torch.zeros(1, 1)
    every = (images.features[:, None] + number).flatten(0, 1)  # [views, v]; crop k has features of the whole plus k
    views = torch.cdist(features, every).argmin(dim=1)
    torch.testing.assert_close(every[views], features)
    if made.pictures.batches.n_crops == 1:
        return whole(torch.from_numpy(stored[views.numpy()]), 32)
    return random_crops(torch.from_numpy(stored[(views // 10).numpy()]), 32, views % 10)


@pytest.mark.parametrize("variant", WAYS)
@pytest.mark.parametrize("with_crops", [False, True])
def test_one_view_for_e_f_and_the_target(variant, with_crops, monkeypatch):
    """Whichever way draws, G's target is the view of which E has the features, or which F reads."""
    made = picture_steps(make(variant=variant, accumulate=2, beta=0.0, dropout=0.0), with_crops)
    seen = Seen(made, monkeypatch, "embedder")
    drawing = {"spaen": 0, "direct-map": 1}.get(variant, 0)
    made.stages[drawing].step()
    assert len(seen.targets) == 2
    read = seen.of_encoder if variant == "spaen" else [views_of(made, features) for features in seen.of_embedder]
    torch.testing.assert_close(torch.cat(read), torch.cat(seen.targets), rtol=0, atol=0)
    if with_crops:
        assert not torch.equal(torch.cat(seen.targets), whole_of(made, seen.targets))


def whole_of(made, targets) -> torch.Tensor:
    """Return for each target the whole picture that is most like it."""
    every = made.pictures.whole(torch.arange(48))
    nearest = torch.cdist(torch.cat(targets).flatten(1), every.flatten(1)).argmin(dim=1)
    return every[nearest]


def test_e_of_sp_aen_sees_the_kind_of_views_that_f_sees(monkeypatch):
    """In the critic's steps and its own: wholes where features are of wholes, all ten crops where they are of crops."""
    for with_crops in (False, True):
        made = picture_steps(make(schedule="joint", batch=64, autoencoder_batch=64), with_crops)
        seen = Seen(made, monkeypatch, "embedder")
        made.stages[0].step()
        for pictures in (torch.cat([views_of(made, part) for part in seen.of_embedder]), torch.cat(seen.of_encoder)):
            wholes = made.pictures.whole(torch.arange(48))
            apart = (pictures[:, None] - wholes).abs().amax(dim=(2, 3, 4))  # [views, 48]
            is_whole = apart.amin(dim=1) < 1e-6
            assert is_whole.all() if not with_crops else not is_whole.any()


@pytest.mark.parametrize("variant", WAYS[1:])
def test_one_view_end_to_end(variant, monkeypatch):
    """The network that makes E's features reads the crop that G is to draw."""
    made = picture_steps(make(variant=variant, accumulate=2, end_to_end="compact", perceptual_weight=0.0))
    seen = Seen(made, monkeypatch, "backbone")
    made.stages[-1].step()
    torch.testing.assert_close(torch.cat(seen.of_embedder), torch.cat(seen.targets), rtol=0, atol=0)
    assert not torch.equal(torch.cat(seen.targets), whole_of(made, seen.targets))


def test_a_direct_map_leaves_its_backbone_alone():
    """E is fixed, statistics of batches in its backbone too."""
    made = picture_steps(make(variant="direct-map", end_to_end="compact", perceptual_weight=0.0))
    made.material.networks.train()
    before = {name: value.clone() for name, value in made.material.networks["backbone"].state_dict().items()}
    made.stages[1].step()
    for name, value in made.material.networks["backbone"].state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_a_split_branch_of_an_older_file_has_no_layers_that_merge(tmp_path):
    method = make(variant="split-branch").fit(DATA.training_set())
    state, metadata = method.as_file()
    older = {name: value for name, value in state.items() if "merge" not in name}
    loaded = load_method(checkpoint.write(tmp_path / "older", older, metadata))
    assert "merge" not in loaded.networks_
    drawn = loaded.reconstructed(DATA.pictures[:3], DATA.features[:3])
    assert not np.array_equal(drawn, method.reconstructed(DATA.pictures[:3], DATA.features[:3]))
    newer = load_method(method.save(tmp_path / "newer"))
    np.testing.assert_array_equal(
        newer.reconstructed(DATA.pictures[:3], DATA.features[:3]),
        method.reconstructed(DATA.pictures[:3], DATA.features[:3]),
    )
