import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_sylvester

from firstsight.methods import SAE
from firstsight.methods.sae import Sylvester
from tests.support.tiny import tiny_dataset, tiny_training

sizes = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "n_seen": st.integers(2, 9),
        "per_class": st.integers(1, 8),
        "v": st.integers(1, 12),
        "a": st.integers(2, 12),
    }
)
weights = st.floats(1e-2, 1e3)


def unbalanced(**size):
    """Training images with more of some classes than of others."""
    data = tiny_dataset(**size)
    keep = np.random.default_rng(0).random(len(data.trainval)) < 0.6
    keep[np.unique(data.labels[data.trainval], return_index=True)[1]] = True
    return tiny_dataset(**size, trainval=data.trainval[keep])


def fitted(data, **options):
    """The method, and X [v, n], S [a, n] of its objective, with every image's class embedding."""
    training = data.training_set()
    method = SAE(**({"scaling": "none", "class_scaling": "l2", "device": "cpu"} | options)).fit(training)
    vectors = training.classes.vectors / np.linalg.norm(training.classes.vectors, axis=1, keepdims=True)
    return method, training.features.astype(float).T, vectors[training.labels].T


@settings(max_examples=50, deadline=None)
@given(sizes, weights)
def test_gradient_is_zero_at_the_solution(size, lam):
    """Of ||X - W'S||^2 + lam ||W X - S||^2 (Eq. 4 of the paper), by automatic differentiation."""
    method, *sides = fitted(unbalanced(**size), lam=lam)
    X, S = map(torch.tensor, sides)
    W = method.weight_.clone().requires_grad_()
    objective = (X - W.T @ S).square().sum() + lam * (W @ X - S).square().sum()
    (gradient,) = torch.autograd.grad(objective, W)
    assert gradient.abs().max() <= 1e-7 * (1 + lam) * (S @ X.T).abs().max()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), weights)
def test_weights_against_solve_sylvester(seed, lam):
    method, X, S = fitted(unbalanced(seed=seed, n_seen=8, v=6, a=5), lam=lam)
    expected = solve_sylvester(S @ S.T, lam * X @ X.T, (1 + lam) * S @ X.T)
    np.testing.assert_allclose(method.weight_.numpy(), expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("lam", [0.0, 0.3, 20.0])
@pytest.mark.parametrize(("n_seen", "per_class", "v", "a"), [(3, 5, 4, 6), (4, 1, 9, 3), (3, 1, 8, 7)])
def test_without_full_rank_it_is_the_solution_of_smallest_norm(lam, n_seen, per_class, v, a):
    """Fewer seen classes than attributes, fewer images than features, or both; the pseudo-inverse of the equation."""
    method, X, S = fitted(tiny_dataset(n_seen=n_seen, per_class=per_class, v=v, a=a), lam=lam)
    equation = np.kron(S @ S.T, np.eye(v)) + lam * np.kron(np.eye(a), X @ X.T)  # of W flattened by rows
    expected = np.linalg.pinv(equation, rcond=1e-10) @ ((1 + lam) * S @ X.T).ravel()
    np.testing.assert_allclose(method.weight_.numpy(), expected.reshape(a, v), rtol=1e-6, atol=1e-8)


def test_directions_are_cosines_in_either_space():
    data = tiny_dataset()
    vectors = data.classes.vectors / np.linalg.norm(data.classes.vectors, axis=1, keepdims=True)
    features = data.features.astype(float)
    encode, *_ = fitted(data, lam=2.0, direction="v2s")
    decode, *_ = fitted(data, lam=2.0, direction="s2v")
    W = encode.weight_.numpy()
    for method, left, right in ((encode, features @ W.T, vectors), (decode, features, vectors @ W)):
        lengths = np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=1)
        np.testing.assert_allclose(method.scores(data.features, data.classes), left @ right.T / lengths, atol=1e-6)


def test_images_may_come_in_any_order():
    data = tiny_dataset()
    order = np.random.default_rng(0).permutation(len(data.trainval))
    one, other = (fitted(which)[0].weight_ for which in (data, tiny_dataset(trainval=data.trainval[order])))
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_features_that_are_all_zero_give_zero():
    method, *_ = fitted(tiny_dataset(features=np.zeros((90, 7))))
    assert not method.weight_.any()


def test_fit_each_is_fit_for_every_setting(monkeypatch):
    training, solved = tiny_training(), []
    variants = [
        SAE(lam=lam, direction=direction, scaling=scaling)
        for lam in (10.0, 0.0, 0.5)
        for direction in ("v2s", "s2v")
        for scaling in ("none", "l2")
    ]
    alone = [variant.unfitted().fit(training) for variant in variants]
    monkeypatch.setattr(Sylvester, "__init__", counted(Sylvester.__init__, solved))
    fitted_ones = list(SAE.fit_each(variants, training))
    assert sorted(map(id, fitted_ones)) == sorted(map(id, variants))
    assert len(solved) == 2  # one factorisation for each scaling
    for variant, expected in zip(variants, alone, strict=True):
        torch.testing.assert_close(variant.weight_, expected.weight_, rtol=1e-9, atol=1e-12)
        assert variant.trained_on_ == expected.trained_on_


def counted(function, calls):
    def wrapper(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return wrapper
