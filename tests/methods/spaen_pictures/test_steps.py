"""Each phase of the training of SP-AEN on pictures, against oracles of its own."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch.nn import functional

from firstsight.methods import FitControls, loop
from firstsight.methods.spaen import steps as features
from firstsight.methods.spaen.steps import loop_of
from firstsight.methods.spaen_pictures import steps, table3
from firstsight.methods.spaen_pictures.crops import random_crops, whole
from tests.structure import opened
from tests.support.tiny import flat_parameters
from tests.support.trainings import (
    DATA,
    copied,
    gradient,
    loop_of_steps,
    picture_material,
    picture_steps,
    shown_to,
    unclipped,
    with_plain_descent,
)
from tests.support.trainings import spaen_pictures as make


def test_loss_of_reconstruction_by_a_plain_loop():
    made = picture_material(make(pixel_weight=3.0, perceptual_weight=2.0))
    pictures, code = torch.rand(2, 3, 32, 32), torch.randn(2, 4)
    with torch.no_grad():
        drawn = made.networks["generator"](code)
        pairs = ((3.0, drawn, pictures), (2.0, made.phi(drawn), made.phi(pictures)))
    expected = 0.0
    for weight, one, other in pairs:
        values = zip(one.flatten().tolist(), other.flatten().tolist(), strict=True)
        expected += weight * sum((a - b) ** 2 for a, b in values) / one.numel()
    assert made.drawing_loss(pictures, code).item() == pytest.approx(expected, rel=1e-4)


def test_without_phi_pixels_count_alone():
    made = picture_material(make(perceptual_weight=0.0))
    assert made.phi is None
    pictures, code = torch.rand(2, 3, 32, 32), torch.randn(2, 4)
    expected = (made.networks["generator"](code) - pictures).square().mean()
    assert made.drawing_loss(pictures, code).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({"schedule": "two-stage"}, [{"encoder", "generator"}, {"embedder", "discriminator"}]),
        ({"schedule": "joint"}, [{"embedder", "encoder", "generator", "discriminator"}]),
        ({"alpha": 0.0, "beta": 0.0}, [{"embedder"}]),
        ({"variant": "direct-map"}, [{"embedder"}, {"generator"}]),
        ({"variant": "sae-image"}, [{"embedder", "generator"}]),
        ({"variant": "split-branch"}, [{"embedder", "generator", "merge"}]),
    ],
)
def test_who_learns_when(changes, stages):
    material = picture_material(make(**changes))
    made = material.settings.way.steps(material)
    training = loop_of(material.settings, material.networks, made.stages, made.optimisers, [])
    assert len(training.stages) == len(stages)
    assert set(material.networks) == set().union(*stages)
    for stage, expected in zip(training.stages, stages, strict=True):
        before = copied(material.networks)
        training.skip_to(stage.name)
        training.advance(FitControls())
        after = copied(material.networks)
        assert {name for name in before if not torch.equal(after[name], before[name])} == expected


@pytest.mark.parametrize("accumulate", [1, 4])
def test_gradients_of_a_joint_step(accumulate, monkeypatch):
    """Of F and G: alpha L_rec, norm and F's side of beta L_adv, over the whole batch, however it is cut."""
    unclipped(monkeypatch)
    method = make(schedule="joint", accumulate=accumulate, autoencoder_batch=7, alpha=2.0, beta=0.5, norm_weight=3.0)
    made = with_plain_descent(picture_steps(method))
    monkeypatch.setattr(made.critic, "learn", lambda: torch.zeros(()))
    taken, before = shown_to(made, monkeypatch), copied(made.networks)
    networks = deepcopy(made.networks)
    shown = made.embedder_step()
    assert [len(rows) for _, rows in taken] == ([7] if accumulate == 1 else [2, 2, 2, 1])
    x = torch.cat([pictures for pictures, _ in taken])
    encoded = networks["encoder"](x)
    drawn = networks["generator"](encoded)
    rebuilt = (drawn - x).square().mean() + (made.material.phi(drawn) - made.material.phi(x)).square().mean()
    norm = (encoded.norm(dim=1) - 1).square().mean()
    loss = 2.0 * rebuilt + 3.0 * norm + 0.5 * networks["discriminator"](encoded).mean()
    for name in ("generator", "encoder"):
        step = before[name] - flat_parameters(made.networks[name])
        torch.testing.assert_close(step, gradient(loss, networks[name]), rtol=1e-3, atol=1e-4)
    assert shown["reconstruction"].item() == pytest.approx(rebuilt.item(), rel=1e-4)
    assert shown["norm"].item() == pytest.approx(norm.item(), rel=1e-4)


def test_rates_and_betas_of_each_network():
    made = picture_steps(make(schedule="joint", learning_rate=0.01, autoencoder_rate=0.002))
    of = dict(zip(("embedder", "encoder", "generator"), made.optimisers["embedder"].param_groups, strict=True))
    assert {name: (group["lr"], group["betas"]) for name, group in of.items()} == {
        "embedder": (0.01, (0.5, 0.999)),
        "encoder": (0.002, (0.9, 0.999)),
        "generator": (0.002, (0.9, 0.999)),
    }


def test_the_rate_of_a_backbone():
    made = picture_steps(make(end_to_end="compact", backbone_rate=0.003, learning_rate=0.01, alpha=0.0, beta=0.0))
    rates = [group["lr"] for group in made.optimisers["embedder"].param_groups]
    assert rates == [0.01, 0.003]
    still = picture_steps(make(end_to_end="compact", backbone_rate=0.0, alpha=0.0, beta=0.0))
    for one, moves in ((made, True), (still, False)):
        before = copied(one.networks)["backbone"]
        one.embedder_step()
        assert torch.equal(copied(one.networks)["backbone"], before) is not moves


@pytest.mark.parametrize("schedule", ["two-stage", "joint"])
def test_the_norm_of_f_does_not_cut_the_rate(schedule):
    """The plateau rule watches what is classified and drawn (paper: the error), not a term that is ours."""
    training = loop_of_steps(picture_steps(make(schedule=schedule, decay="plateau", patience=1)))
    training.rate.begin()
    training.rate.watch({"classification": 1.0, "reconstruction": 1.0, "norm": 1.0, "critic gap": 3.0})
    training.rate.watch({"classification": 1.0, "reconstruction": 1.0, "norm": 0.1, "critic gap": 0.0})
    assert training.rate.factor(0.5) == 0.1  # less of the norm is no progress
    training.rate.begin()
    training.rate.watch({"classification": 1.0, "reconstruction": 1.0, "norm": 0.1})
    training.rate.watch({"classification": 0.9, "reconstruction": 0.9, "norm": 9.0})
    assert training.rate.factor(0.5) == 1.0  # more of it is no standstill


def test_every_crop_of_every_picture_is_drawn(monkeypatch):
    made = picture_steps(make(alpha=1.0, beta=0.0, autoencoder_batch=48, autoencoder_steps=12), with_crops=True)
    taken = shown_to(made, monkeypatch)
    training = loop_of_steps(made)
    while training.step < 12:
        training.advance(FitControls())
    views = {view for _, rows in taken for view in rows.tolist()}
    assert len(views) > 300  # of 480, in 576 draws
    assert {view % 10 for view in views} == set(range(10))
    assert {view // 10 for view in views} == set(range(48))


def test_a_frozen_encoder_reads_whole_pictures_once(monkeypatch):
    monkeypatch.setattr("firstsight.methods.spaen_pictures.steps.AT_ONCE", 7)
    made = picture_steps(make())
    with torch.no_grad():
        expected = made.networks["encoder"](whole(torch.from_numpy(made.pictures.pictures[:]), 32))
    rows = torch.tensor([5, 40, 5])
    with torch.no_grad():
        torch.testing.assert_close(made.critic.encode(rows), expected[rows])
    monkeypatch.setattr(made, "read", None)
    torch.testing.assert_close(made.critic.encode(rows), expected[rows])


@pytest.mark.parametrize("schedule", ["two-stage", "joint"])
def test_the_critic_compares_crops_where_features_are_of_crops(schedule):
    made = picture_steps(make(schedule=schedule), with_crops=True)
    rows = torch.tensor([31, 470, 31])
    stored = torch.from_numpy(made.pictures.pictures[[3, 47, 3]])
    with torch.no_grad():
        expected = made.networks["encoder"](random_crops(stored, 32, torch.tensor([1, 0, 1])))
        torch.testing.assert_close(made.critic.encode(rows), expected)
        features = made.pictures.images.features[[3, 47, 3]] + torch.tensor([[1], [0], [1]])
        torch.testing.assert_close(made.critic.embed(rows), functional.normalize(made.embedder.network(features)))


def test_whole_pictures_are_seen_where_features_are_of_the_whole():
    made = picture_steps(make(schedule="joint"))
    rows = torch.tensor([5, 40, 5])
    with torch.no_grad():
        expected = made.networks["encoder"](whole(torch.from_numpy(made.pictures.pictures[rows.numpy()]), 32))
        torch.testing.assert_close(made.critic.encode(rows), expected)


def test_what_a_training_shows(monkeypatch):
    monkeypatch.setattr(loop, "PERIOD", 2)
    shown = []
    method = make().fit(DATA.training_set(), FitControls(draw=lambda step, pictures: shown.append((step, pictures))))
    assert [step for step, _ in shown] == [2, 3, 5, 7]  # ends of periods and stages
    everything = DATA.training_set().pictures
    pictures = everything[np.linspace(0, len(everything) - 1, 16).astype(int)]  # from all over, so of many classes
    for _, (real, drawn) in shown:
        assert real.shape == drawn.shape == (16, 32, 32, 3)
        seen = whole(torch.from_numpy(pictures), 32).permute(0, 2, 3, 1).numpy() * 255
        assert np.abs(real - seen).max() <= 0.51
    np.testing.assert_array_equal(shown[-1][1][1], method.reconstructed(pictures))
    assert not np.array_equal(shown[0][1][1], shown[-1][1][1])
    quiet = make().fit(DATA.training_set())
    assert torch.equal(flat_parameters(quiet.networks_), flat_parameters(method.networks_))


def test_a_step_is_read_in_six_files():
    made = picture_steps(make(schedule="joint"))
    training = loop_of_steps(made)
    assert opened(lambda: training.advance(FitControls())) == {
        "methods/loop.py",
        "methods/distributed.py",
        "methods/spaen/losses.py",
        "methods/spaen/steps.py",
        "methods/spaen_pictures/crops.py",
        "methods/spaen_pictures/steps.py",
    }


def test_no_class_of_steps_inherits_from_another():
    for module in (steps, table3, features):
        for kind in vars(module).values():
            if isinstance(kind, type) and kind.__module__ == module.__name__:
                assert kind.__bases__ == (object,), kind
