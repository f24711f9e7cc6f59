import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax, logsumexp, softmax
from sklearn.linear_model import LogisticRegression

from firstsight.methods import FitControls, logistic
from firstsight.methods.logistic import logistic_regressions, softmax_regression

QUIET = FitControls()
problems = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "n": st.integers(12, 60),
        "v": st.integers(1, 20),
        "n_classes": st.integers(3, 6),
        "size": st.sampled_from([0.01, 1.0, 100.0]),
    }
)
penalties = st.floats(1e-2, 1e3)  # for features of size 1


@pytest.fixture
def exact(monkeypatch):
    monkeypatch.setattr(logistic, "TOLERANCE", 1e-6)


def problem(seed=0, n=60, v=5, n_classes=4, n_attributes=3, size=1.0):
    """X [n, v] far from centred, labels [n], presence [s, m] with both kinds of class for each attribute."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % n_classes)
    X = size * (rng.normal(size=(n, v)) + 0.7 * rng.normal(size=(n_classes, v))[labels] + 2 * rng.normal(size=v))
    present = rng.random((n_classes, n_attributes)) < 0.5
    present[0], present[1] = True, False
    return X.astype(np.float32), labels, present


def softmax_fit(X, labels, penalty, run=QUIET):
    W, b = softmax_regression(torch.tensor(X), torch.tensor(labels), labels.max() + 1, penalty, run)
    return W.double().numpy(), b.double().numpy()


def binary_fit(X, labels, present, penalty, run=QUIET):
    W, b = logistic_regressions(torch.tensor(X), torch.tensor(labels), torch.tensor(present), penalty, run)
    return W.double().numpy(), b.double().numpy()


def asked_for(X, residual, W, penalty, curvature):
    """Root-mean-square change of a logit that a Newton step from zero weights would make of this gradient."""
    centred = X.astype(float) - X.mean(axis=0, dtype=float)
    hessian = curvature * centred.T @ centred + penalty * np.eye(X.shape[1])
    gradient = X.T.astype(float) @ residual + penalty * W - X.mean(axis=0, dtype=float)[:, None] * residual.sum(axis=0)
    square = (gradient * np.linalg.solve(hessian, gradient)).sum(axis=0)
    return np.sqrt((square + residual.sum(axis=0) ** 2 / (curvature * len(X))) / (curvature * len(X)))


def limit(size):
    """What the tolerance of every coordinate allows together, and rounding."""
    return 1.5 * logistic.TOLERANCE * (size["v"] + 1) ** 0.5


@settings(max_examples=40, deadline=None)
@given(problems, penalties)
def test_gradient_of_softmax_is_zero_at_the_solution(size, penalty):
    X, labels, _ = problem(**size)
    penalty *= size["size"] ** 2
    Y, W = np.eye(size["n_classes"])[labels], np.zeros((size["v"], size["n_classes"]))
    assume(asked_for(X, 1 / size["n_classes"] - Y, W, penalty, 1 / size["n_classes"]).max() > 0.02)  # not solved yet
    W, b = softmax_fit(X, labels, penalty)
    found = asked_for(X, softmax(X @ W + b, axis=1) - Y, W, penalty, 1 / size["n_classes"])
    assert found.max() <= limit(size)


@settings(max_examples=40, deadline=None)
@given(problems, penalties)
def test_gradient_of_logistic_is_zero_at_the_solution(size, penalty):
    X, labels, present = problem(**size)
    penalty *= size["size"] ** 2
    W, b = binary_fit(X, labels, present, penalty)
    found = asked_for(X, expit(X @ W + b) - present[labels], W, penalty, 1 / 4)
    assert found.max() <= limit(size)


@pytest.mark.parametrize("penalty", [0.05, 1.0, 30.0])
def test_softmax_against_scikit_learn(penalty, exact):
    X, labels, _ = problem()
    W, b = softmax_fit(X, labels, penalty)
    other = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(X.astype(float), labels)
    np.testing.assert_allclose(W, other.coef_.T, atol=2e-4 * np.abs(other.coef_).max())
    np.testing.assert_allclose(softmax(X @ W + b, axis=1), other.predict_proba(X.astype(float)), atol=1e-4)


@pytest.mark.parametrize("penalty", [0.05, 1.0, 30.0])
def test_logistic_against_scikit_learn(penalty, exact):
    X, labels, present = problem()
    W, b = binary_fit(X, labels, present, penalty)
    for column in range(present.shape[1]):
        other = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000)
        other.fit(X.astype(float), present[labels, column])
        np.testing.assert_allclose(W[:, column], other.coef_[0], atol=2e-4 * np.abs(other.coef_).max())
        np.testing.assert_allclose(b[column], other.intercept_[0], rtol=2e-4, atol=2e-4)


def test_softmax_of_two_classes_is_one_logistic_regression_of_half_the_penalty(exact):
    X, labels, _ = problem(n_classes=2)
    W, b = softmax_fit(X, labels, 1.0)
    w, c = binary_fit(X, labels, np.array([[0], [1]]), 0.5)
    np.testing.assert_allclose(W[:, 1] - W[:, 0], w[:, 0], atol=2e-4)
    np.testing.assert_allclose(b[1] - b[0], c[0], rtol=2e-4)


def test_a_heavy_penalty_leaves_the_shares_of_the_classes():
    X, labels, present = problem()
    keep = (labels < 2) | (np.arange(len(labels)) % 3 == 0)
    X, labels = X[keep], labels[keep]
    W, b = softmax_fit(X, labels, 1e9)
    assert np.abs(W).max() < 1e-6
    np.testing.assert_allclose(softmax(b), np.bincount(labels) / len(labels), atol=1e-4)
    W, b = binary_fit(X, labels, present, 1e9)
    assert np.abs(W).max() < 1e-6
    np.testing.assert_allclose(expit(b), present[labels].mean(axis=0), atol=1e-4)


@pytest.mark.parametrize("columns", [1, 2])
def test_attributes_do_not_depend_on_each_other(columns, monkeypatch):
    X, labels, present = problem(n_attributes=5)
    W, b = binary_fit(X, labels, present, 0.5)
    monkeypatch.setattr(logistic, "COLUMNS", columns)
    others = binary_fit(X, labels, present, 0.5)
    np.testing.assert_allclose(others[0], W, atol=2e-3 * np.abs(W).max())
    np.testing.assert_allclose(others[1], b, atol=2e-3 * np.abs(b).max())
    alone = binary_fit(X, labels, present[:, [3]], 0.5)[0]
    np.testing.assert_allclose(alone, W[:, [3]], atol=2e-3 * np.abs(W).max())


def test_blocks_of_images_add_up(exact, monkeypatch):
    X, labels, present = problem()
    whole = softmax_fit(X, labels, 0.5), binary_fit(X, labels, present, 0.5)
    monkeypatch.setattr(logistic, "BLOCK", 7)
    parts = softmax_fit(X, labels, 0.5), binary_fit(X, labels, present, 0.5)
    for one, other in zip(sum(whole, ()), sum(parts, ()), strict=True):
        np.testing.assert_allclose(other, one, atol=2e-4 * max(1, np.abs(one).max()))


def test_the_loss_reported_last_is_the_least():
    X, labels, present = problem()
    told = []
    run = FitControls(progress=lambda done, total, losses: told.append((done, total, losses["loss"])))
    W, b = softmax_fit(X, labels, 0.7, run)
    loss = -log_softmax(X @ W + b, axis=1)[np.arange(len(X)), labels].mean() + 0.35 * np.square(W).sum() / len(X)
    assert told[-1] == (100, 100, pytest.approx(loss, rel=1e-5))
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert loss == pytest.approx(min(loss for _, _, loss in told), rel=1e-5)
    told.clear()
    W, b = binary_fit(X, labels, present, 0.7, run)
    logits, targets = X @ W + b, present[labels]
    losses = logsumexp([np.zeros_like(logits), logits], axis=0) - targets * logits
    assert told[-1] == (100, 100, pytest.approx((losses.sum() + 0.35 * np.square(W).sum()) / len(X), rel=1e-5))


@pytest.mark.parametrize("penalty", [0.0, 1e-30, 1e-6])
def test_separable_classes_with_hardly_a_penalty(penalty, monkeypatch):
    monkeypatch.setattr(logistic, "STEPS", 60)
    X, labels, present = problem(n=12, v=30)
    W, b = softmax_fit(X, labels, penalty)
    np.testing.assert_array_equal((X @ W + b).argmax(axis=1), labels)
    W, b = binary_fit(X, labels, present, penalty)
    np.testing.assert_array_equal(X @ W + b > 0, present[labels])


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_features_that_say_nothing(penalty):
    _, labels, present = problem()
    X = np.zeros((len(labels), 3), np.float32)
    W, b = softmax_fit(X, labels, penalty)
    np.testing.assert_allclose(W, 0)
    np.testing.assert_allclose(softmax(b), np.bincount(labels) / len(labels), atol=1e-4)
    W, b = binary_fit(X, labels, present, penalty)
    np.testing.assert_allclose(W, 0)
    np.testing.assert_allclose(expit(b), present[labels].mean(axis=0), atol=1e-4)


def test_nothing_to_tell_apart():
    X, labels, present = problem()
    W, b = softmax_fit(X, labels * 0, 1.0)
    assert np.isfinite(W).all()
    assert np.isfinite(b).all()
    W, b = binary_fit(X, labels, present[:, :0], 1.0)
    assert W.shape == (5, 0)
    assert b.shape == (0,)
