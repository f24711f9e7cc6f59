"""Losses of SP-AEN, against oracles of their own."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from firstsight.methods.spaen import losses
from firstsight.methods.spaen.networks import discriminator


def possible_ranking_terms(compatibility, labels, margin, negatives):
    """For each image, the terms that a draw of its wrong class may give."""
    terms = []
    for row, label in zip(compatibility.tolist(), labels.tolist(), strict=True):
        hinges = [max(0.0, margin - row[label] + score) for wrong, score in enumerate(row) if wrong != label]
        if negatives == "violating":
            hinges = [hinge for hinge in hinges if hinge > 0] or [0.0]
        terms.append(hinges)
    return terms


@pytest.mark.parametrize("negatives", ["random", "violating"])
@pytest.mark.parametrize("margin", [0.0, 0.2, 1.0])
def test_ranking_loss_by_a_double_loop(negatives, margin):
    torch.manual_seed(0)
    compatibility, labels = torch.randn(6, 5), torch.tensor([0, 1, 2, 3, 4, 2])
    terms = possible_ranking_terms(compatibility, labels, margin, negatives)
    n_draws = 4000
    for image in range(6):
        rows = compatibility[[image]].expand(n_draws, -1)
        drawn = [losses.ranking_loss(row[None], labels[[image]], margin, negatives).item() for row in rows[:60]]
        for value in drawn:  # only what may be drawn
            assert min(abs(value - term) for term in terms[image]) < 1e-5
        mean = losses.ranking_loss(rows, labels[[image]].expand(n_draws), margin, negatives).item()
        spread = np.std(terms[image]) / math.sqrt(n_draws)  # each of them equally often
        assert mean == pytest.approx(np.mean(terms[image]), abs=5 * spread + 1e-5)


def test_ranking_loss_draws_every_wrong_class_and_never_the_right_one():
    compatibility = torch.tensor([[0.0, 1.0, 2.0, 4.0]]).expand(400, -1)
    values = {losses.ranking_loss(row[None], torch.tensor([2]), 5.0, "random").item() for row in compatibility}
    assert values == {3.0, 4.0, 7.0}  # 5 would be the right class itself


@pytest.mark.parametrize("negatives", ["random", "violating"])
def test_ranking_loss_is_zero_where_the_right_class_leads(negatives):
    compatibility = (5 * torch.eye(4)).requires_grad_()
    loss = losses.ranking_loss(compatibility, torch.arange(4), 0.2, negatives)
    loss.backward()
    assert loss.item() == 0
    assert not compatibility.grad.any()


def test_ranking_loss_pulls_right_and_wrong_apart():
    compatibility = torch.zeros(3, 4, requires_grad=True)
    losses.ranking_loss(compatibility, torch.tensor([0, 1, 2]), 0.2, "violating").backward()
    assert torch.allclose(compatibility.grad.gather(1, torch.tensor([[0], [1], [2]])), torch.tensor(-1 / 3))
    assert torch.allclose(compatibility.grad.sum(dim=1), torch.zeros(3), atol=1e-7)


def test_softmax_loss_by_hand():
    compatibility, labels = torch.randn(6, 5).double(), torch.tensor([0, 1, 2, 3, 4, 2])
    exps = np.exp(compatibility.numpy())
    expected = -np.log(exps[np.arange(6), labels.numpy()] / exps.sum(axis=1)).mean()
    assert losses.softmax_loss(compatibility, labels).item() == pytest.approx(expected)


def test_reconstruction_loss_by_hand():
    made, real = np.random.default_rng(0).normal(size=(2, 5, 3))
    expected = sum((a - b) ** 2 for x, y in zip(made, real, strict=True) for a, b in zip(x, y, strict=True)) / 5
    assert losses.reconstruction_loss(torch.tensor(made), torch.tensor(real)).item() == pytest.approx(expected)


def test_norm_loss_by_hand():
    embeddings = torch.tensor([[3.0, 4.0], [0.0, 0.5], [1.0, 0.0]])
    assert losses.norm_loss(embeddings).item() == pytest.approx((16 + 0.25 + 0) / 3)


def test_reconstruction_loss_as_a_mean_over_features():
    made, real = torch.randn(2, 5, 3)
    expected = losses.reconstruction_loss(made, real).item() / 3
    assert losses.reconstruction_loss(made, real, "mean").item() == pytest.approx(expected)


@pytest.mark.parametrize("output", ["linear", "sigmoid", "log"])
def test_adversarial_loss_by_hand(output):
    encoded, embedded = torch.randn(7, 3), torch.randn(5, 3)
    critic = nn.Linear(3, 1)
    real, fake = critic(encoded).detach().numpy(), critic(embedded).detach().numpy()
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    expected = {
        "linear": real.mean() - fake.mean(),
        "sigmoid": sigmoid(real).mean() - sigmoid(fake).mean(),
        "log": np.log(sigmoid(real)).mean() + np.log(1 - sigmoid(fake)).mean(),  # Eq. 4
    }[output]
    assert losses.adversarial_loss(critic, encoded, embedded, output).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("output", ["linear", "sigmoid", "log"])
def test_sides_of_the_adversarial_loss(output):
    """E descends its term: D(E(x)) rises. F descends its own: D(F(x)) falls. The log form has no limit in value."""
    logits = torch.tensor([[-2.0], [0.5], [3.0]], requires_grad=True)
    (of_e,) = torch.autograd.grad(losses.of_embedded(logits, output), logits)
    (of_f,) = torch.autograd.grad(losses.of_encoded(logits, output), logits)
    assert (of_e < 0).all()
    assert (of_f > 0).all()
    largest = {"linear": 1.0, "sigmoid": 0.25, "log": 1.0}[output]
    assert 3 * of_f.max() <= largest


@pytest.mark.parametrize("length", [0.0, 0.5, 1.0, 3.0])
def test_gradient_penalty_of_a_linear_critic(length):
    weight = length * nn.functional.normalize(torch.randn(4), dim=0)
    critic = lambda x: x @ weight[:, None]  # noqa: E731
    penalty = losses.gradient_penalty(critic, torch.randn(9, 4), torch.randn(9, 4), torch.rand(9, 1))
    assert penalty.item() == pytest.approx((length - 1) ** 2, abs=1e-5)


def test_gradient_penalty_of_a_quadratic_critic():
    """Of |x|^2 / 2 the gradient is x, so a point m of the way from 6e to 2e, for a direction e, gives (5 - 4 m)^2."""
    direction = nn.functional.normalize(torch.randn(1, 4))
    quadratic = lambda x: x.square().sum(dim=1, keepdim=True) / 2  # noqa: E731
    mix = torch.tensor([[0.0], [0.25], [0.9], [1.0]])
    encoded, embedded = (2 * direction).expand(4, -1), (6 * direction).expand(4, -1)
    expected = np.mean([(5 - 4 * m) ** 2 for m in mix.flatten().tolist()])
    assert losses.gradient_penalty(quadratic, encoded, embedded, mix).item() == pytest.approx(expected, rel=1e-5)


def test_gradient_penalty_reaches_the_critic_and_nothing_else():
    critic, encoded = discriminator(4), torch.randn(6, 4)
    losses.gradient_penalty(critic, encoded, torch.randn(6, 4), torch.rand(6, 1)).backward()
    assert encoded.grad is None
    assert all(parameter.grad is not None for parameter in list(critic.parameters())[:-1] if parameter.ndim == 2)
