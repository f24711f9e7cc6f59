import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from firstsight.errors import InputError
from firstsight.methods import SSE
from firstsight.methods.sse import (
    first_weights,
    hinge_loss,
    nearest_mixtures,
    simplex_projection,
    weighted_intersection,
)
from tests.support.tiny import tiny_dataset, tiny_training

shapes = st.fixed_dictionaries(
    {"seed": st.integers(0, 10**6), "k": st.integers(1, 6), "s": st.integers(1, 8), "a": st.integers(1, 6)}
)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def evidence(transform, features, references, weights):
    """pi_s(x) of the paper, entry by entry."""
    found = np.zeros((len(features), len(references)))
    for i, x in enumerate(features):
        for s, v in enumerate(references):
            for d, w in enumerate(weights):
                found[i, s] += w * (min(x[d], v[d]) if transform == "intersection" else max(0, x[d] - v[d]))
    return found


@settings(max_examples=60, deadline=None)
@given(shapes, st.floats(0.01, 100))
def test_projection_is_nearer_than_any_other_point(shape, size):
    """<p - P(p), q - P(p)> <= 0 for every q of the simplex; its corners are enough."""
    points = size * np.random.default_rng(shape["seed"]).normal(size=(shape["k"], shape["s"]))
    nearest = simplex_projection(torch.tensor(points)).numpy()
    assert nearest.min() >= 0
    np.testing.assert_allclose(nearest.sum(axis=1), 1)
    for corner in np.eye(shape["s"]):
        assert (((points - nearest) * (corner - nearest)).sum(axis=1) <= 1e-9 * size).all()


@settings(max_examples=60, deadline=None)
@given(shapes, st.floats(0, 30))
def test_mixtures_are_optimal(shape, gamma):
    """At the minimum no corner of the simplex lies downhill."""
    rng = np.random.default_rng(shape["seed"])
    targets, atoms = rng.normal(size=(shape["k"], shape["a"])), rng.normal(size=(shape["s"], shape["a"]))
    mixtures = nearest_mixtures(torch.tensor(targets), torch.tensor(atoms), gamma).numpy()
    gradient = (mixtures @ atoms - targets) @ atoms.T + gamma * mixtures
    slope = gradient.min(axis=1) - (gradient * mixtures).sum(axis=1)
    assert slope.min() >= -1e-6 * (1 + np.abs(gradient).max())


@pytest.mark.parametrize("gamma", [0.1, 3.0])
def test_mixtures_against_a_quadratic_program(gamma):
    rng = np.random.default_rng(0)
    targets, atoms = rng.normal(size=(4, 3)), rng.normal(size=(6, 3))
    mixtures = nearest_mixtures(torch.tensor(targets), torch.tensor(atoms), gamma).numpy()
    for target, mixture in zip(targets, mixtures, strict=True):
        solution = minimize(
            lambda z, target=target: ((target - z @ atoms) ** 2).sum() + gamma * (z**2).sum(),
            np.full(6, 1 / 6),
            bounds=[(0, 1)] * 6,
            constraints={"type": "eq", "fun": lambda z: z.sum() - 1},
            method="SLSQP",
            options={"ftol": 1e-12},
        )
        np.testing.assert_allclose(mixture, solution.x, atol=1e-5)


def test_without_penalty_a_seen_class_is_itself():
    seen = torch.tensor(np.random.default_rng(0).normal(size=(5, 7)))
    np.testing.assert_allclose(nearest_mixtures(seen, seen, 0.0), np.eye(5), atol=1e-6)


def test_a_large_penalty_mixes_evenly():
    rng = np.random.default_rng(0)
    mixtures = nearest_mixtures(torch.tensor(rng.normal(size=(3, 4))), torch.tensor(rng.normal(size=(5, 4))), 1e6)
    np.testing.assert_allclose(mixtures, np.full((3, 5), 0.2), atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(shapes, st.sampled_from(["mixed", "positive", "negative", "with zeros"]))
def test_intersection_against_a_plain_loop(shape, signs):
    rng = np.random.default_rng(shape["seed"])
    x, v, w = rng.normal(size=(shape["k"], 4)), rng.normal(size=(shape["s"], 4)), rng.normal(size=4)
    w = {"positive": np.abs(w), "negative": -np.abs(w), "with zeros": w * [1, 0, 0, 1]}.get(signs, w)
    found = weighted_intersection(*map(torch.tensor, (x, v, w)))
    np.testing.assert_allclose(found, evidence("intersection", x, v, w), atol=1e-9)


def test_gradients_of_intersection():
    rng = torch.Generator().manual_seed(0)
    x, v, w = (torch.randn(size, generator=rng, dtype=torch.float64) for size in ((3, 5), (4, 5), (5,)))
    mask = (torch.minimum(x[:, None], v) == v).double()  # [3, 4, 5] d min(x, v) / d v
    chosen = torch.randn(3, 4, generator=rng, dtype=torch.float64)
    v.requires_grad_(), w.requires_grad_()
    (weighted_intersection(x, v, w) * chosen).sum().backward()
    torch.testing.assert_close(v.grad, (chosen[:, :, None] * mask * w.detach()).sum(dim=0))
    torch.testing.assert_close(w.grad, (chosen[:, :, None] * torch.minimum(x[:, None], v.detach())).sum(dim=(0, 1)))


def test_hinge_against_a_plain_loop():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(30, 4)), rng.integers(0, 4, 30)
    expected = np.mean(
        [max((c != y) + row[c] - row[y] for c in range(4)) for row, y in zip(scores, labels, strict=True)]
    )
    assert hinge_loss(torch.tensor(scores), torch.tensor(labels)).item() == pytest.approx(expected)


@pytest.mark.parametrize("transform", ["intersection", "relu"])
def test_scores_against_a_plain_loop(transform):
    data = tiny_dataset()
    method = SSE(transform=transform, scaling="none", gamma=0.5, device="cpu").fit(data.training_set())
    seen, candidates = unit(data.classes.vectors[data.seen]), unit(data.classes.vectors)
    mixtures = nearest_mixtures(torch.tensor(candidates), torch.tensor(seen), 0.5).numpy()
    found = evidence(transform, data.features[:20], method.references_.numpy(), method.weights_.numpy())
    expected = [[sum(z * pi for z, pi in zip(mixture, row, strict=True)) for mixture in mixtures] for row in found]
    np.testing.assert_allclose(method.scores(data.features[:20], data.classes), expected, rtol=1e-3, atol=1e-3)


def test_both_transforms_rank_alike():
    data = tiny_dataset()
    one, other = (
        SSE(transform=transform, gamma=0.5, device="cpu").fit(data.training_set())
        for transform in ("intersection", "relu")
    )
    difference = one.scores(data.features, data.classes) - other.scores(data.features, data.classes)
    assert np.ptp(difference, axis=1).max() <= 1e-3 * np.abs(difference).max()
    assert difference.std() > 0.1


def test_without_training_it_scores_by_class_means():
    training = tiny_training()
    method = SSE(epochs=0, scaling="none", device="cpu").fit(training)
    means = [training.features[training.labels == label].mean(axis=0) for label in range(len(training.classes))]
    np.testing.assert_allclose(method.references_, means, rtol=1e-4, atol=1e-5)


def test_first_weights_win_by_one():
    rng = np.random.default_rng(0)
    references, mixtures = rng.normal(size=(5, 6)), 0.5 * np.eye(5) + 0.1
    weights = first_weights(torch.tensor(references), torch.tensor(mixtures)).numpy()
    scores = evidence("intersection", references, references, weights) @ mixtures.T
    assert np.mean(scores.diagonal() - scores.mean(axis=1)) == pytest.approx(1)
    assert np.ptp(weights) == 0


def loss_of(method, training):
    """The objective without its penalty, on all training images."""
    return hinge_loss(
        torch.tensor(method.scores(training.features, training.classes)), torch.tensor(training.labels)
    ).item()


@pytest.mark.parametrize("transform", ["intersection", "relu"])
def test_training_lowers_the_objective(transform):
    training = tiny_training(n_seen=8, noise=1.0, per_class=20)
    settings = {"gamma": 0.5, "lam": 0.0, "transform": transform, "device": "cpu", "batch": 16}
    losses = [loss_of(SSE(epochs=epochs, **settings).fit(training), training) for epochs in (0, 5, 40)]
    assert losses[0] > 1.2 * losses[1] > 1.4 * losses[2]


def test_the_penalty_keeps_weights_and_references_small():
    training = tiny_training(n_seen=8)
    loose, tight = (SSE(lam=lam, gamma=0.5, epochs=30, batch=16, device="cpu").fit(training) for lam in (0.0, 1.0))
    assert tight.weights_.norm() < 0.7 * loose.weights_.norm()
    assert tight.references_.norm() < 0.9 * loose.references_.norm()


def test_units_of_the_features_do_not_matter():
    data = tiny_dataset()
    louder = tiny_dataset(features=64 * data.features)
    one, other = (
        SSE(scaling="none", device="cpu").fit(each.training_set()).scores(each.features, each.classes)
        for each in (data, louder)
    )
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_a_batch_of_nothing():
    with pytest.raises(InputError) as caught:
        SSE(batch=0)
    assert str(caught.value) == "batch must be 1 or more; got 0"
