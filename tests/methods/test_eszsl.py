import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firstsight.data import ClassEmbeddings
from firstsight.errors import InputError
from firstsight.evaluation.evaluate import evaluate
from firstsight.methods import ESZSL
from tests.support.tiny import tiny_dataset, tiny_training

sizes = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "n_seen": st.integers(2, 9),
        "per_class": st.integers(1, 12),
        "v": st.integers(1, 15),
        "a": st.integers(2, 12),
    }
)
weights = st.floats(1e-2, 1e3)


def fitted(data, gamma, lam, class_scaling="l2"):
    """The method, and X [n, v], Y [n, s], S [s, a] of its objective."""
    training = data.training_set()
    method = ESZSL(gamma=gamma, lam=lam, scaling="none", class_scaling=class_scaling, device="cpu").fit(training)
    vectors = training.classes.vectors
    if class_scaling == "l2":
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return method, training.features.astype(float), np.eye(len(vectors))[training.labels], vectors


@settings(max_examples=50, deadline=None)
@given(sizes, weights, weights)
def test_gradient_is_zero_at_the_solution(size, gamma, lam):
    """Of ||X W S' - Y||^2 + gamma ||W S'||^2 + lam ||X W||^2 + gamma lam ||W||^2 (Eq. 2 to 4 of the paper)."""
    method, X, Y, S = fitted(tiny_dataset(**size), gamma, lam)
    W = method.weight_.numpy()
    gradient = X.T @ (X @ W @ S.T - Y) @ S + gamma * W @ S.T @ S + lam * X.T @ X @ W + gamma * lam * W
    assert np.abs(gradient).max() <= 1e-9 * np.abs(X.T @ Y @ S).max()


@settings(max_examples=50, deadline=None)
@given(sizes, weights, weights)
def test_weights_against_solve(size, gamma, lam):
    method, X, Y, S = fitted(tiny_dataset(**size), gamma, lam)
    left = np.linalg.solve(X.T @ X + gamma * np.eye(X.shape[1]), X.T @ Y @ S)
    expected = np.linalg.solve(S.T @ S + lam * np.eye(S.shape[1]), left.T).T
    np.testing.assert_allclose(method.weight_.numpy(), expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max())


def test_without_penalties_it_is_the_pseudo_inverse():
    data = tiny_dataset(n_seen=6, v=5, a=3)
    method, X, Y, S = fitted(data, 0.0, 0.0)
    expected = np.linalg.pinv(X) @ Y @ np.linalg.pinv(S.T)
    np.testing.assert_allclose(method.weight_.numpy(), expected, rtol=1e-8)


def test_scores_are_bilinear():
    data = tiny_dataset()
    method, *_ = fitted(data, 2.0, 3.0)
    vectors = data.classes.vectors / np.linalg.norm(data.classes.vectors, axis=1, keepdims=True)
    expected = data.features.astype(float) @ method.weight_.numpy() @ vectors.T
    np.testing.assert_allclose(method.scores(data.features, data.classes), expected, rtol=1e-5, atol=1e-7)


def test_images_may_come_in_any_order():
    data = tiny_dataset()
    order = np.random.default_rng(0).permutation(len(data.trainval))
    shuffled = tiny_dataset(trainval=data.trainval[order])
    one, other = (fitted(which, 1.0, 1.0)[0].weight_.numpy() for which in (data, shuffled))
    np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.parametrize("rank", ["zeros", "few images"])
def test_problems_that_have_no_one_solution(rank):
    data = tiny_dataset(features=np.zeros((90, 7))) if rank == "zeros" else tiny_dataset(per_class=1, v=20, noise=0.0)
    with pytest.raises(InputError) as caught:
        fitted(data, 0.0, 1.0)
    assert str(caught.value) == "gamma must be large enough to make the problem well-posed; got 0"


def test_class_embeddings_without_full_rank():
    plain = tiny_dataset(a=4)
    vectors = plain.classes.vectors.copy()
    vectors[:, 3] = 0
    data = tiny_dataset(a=4, classes=ClassEmbeddings(plain.classes.names, vectors))
    with pytest.raises(InputError) as caught:
        fitted(data, 1.0, 0.0)
    assert str(caught.value) == "lam must be large enough to make the problem well-posed; got 0"
    assert np.isfinite(fitted(data, 1.0, 1e-6)[0].weight_.numpy()).all()


@pytest.mark.real_data
def test_cub_on_resnet_logits(gbu_root):
    """The values that every implementation reaches on this file."""
    from firstsight.datasets import load

    data = load(gbu_root / "CUB", features="resnet_logits.mat")
    method = ESZSL(gamma=1e3, lam=0.1, scaling="none", class_scaling="l2").fit(data.training_set())
    result = evaluate(method, data, calibrate=False)
    found = {name: getattr(result, name) for name in ("t1", "u", "s", "h")}
    assert found == pytest.approx({"t1": 56.6, "u": 15.0, "s": 67.2, "h": 24.6}, abs=0.2)
    assert [len(split) for split in (data.trainval, data.test_seen, data.test_unseen)] == [7057, 1764, 2967]


def test_fit_each_is_fit_for_every_setting():
    training = tiny_training()
    variants = [
        ESZSL(gamma=gamma, lam=lam, scaling=scaling)
        for gamma in (0.5, 10.0)
        for lam in (0.1, 3.0)
        for scaling in ("none", "l2")
    ]
    fitted = list(ESZSL.fit_each(variants, training))
    assert sorted(map(id, fitted)) == sorted(map(id, variants))
    for variant in fitted:
        alone = variant.unfitted().fit(training)
        torch.testing.assert_close(variant.weight_, alone.weight_, rtol=1e-9, atol=1e-12)
        assert variant.trained_on_ == alone.trained_on_
