"""The seen-unseen curve against brute force, and the laws that it keeps; accuracies against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from firstsight.evaluation.metrics import (
    CURVE_POINTS,
    SeenUnseenCurve,
    class_accuracies,
    harmonic_mean,
    seen_unseen_curve,
)


def make_case(seed: int, n: int = 60, c: int = 7, n_seen: int = 4, kind: str = "random"):
    """Scores, labels that give both sides images, and which classes are seen."""
    rng = np.random.default_rng(seed)
    is_seen = rng.permutation(np.arange(c) < n_seen)
    labels = np.concatenate([np.flatnonzero(is_seen)[:1], np.flatnonzero(~is_seen)[:1], rng.integers(0, c, n - 2)])
    scores = rng.normal(size=(n, c))
    scores[np.arange(n), labels] += 1
    scores[:, is_seen] += 0.7  # the bias that calibration is for
    return (np.round(scores) if kind == "ties" else scores), labels, is_seen


def accuracies(scores, labels, is_seen, gamma, per_class):
    """(u, s) by argmax of calibrated scores, measured by scikit-learn."""
    predicted = np.where(is_seen, scores - gamma, scores).argmax(axis=1)
    measure = balanced_accuracy_score if per_class else accuracy_score
    found = []
    for side in (~is_seen[labels], is_seen[labels]):
        truth = labels[side]
        # scikit-learn warns of predictions outside the truth's classes; one stand-in for all of them is as wrong
        chosen = np.where(np.isin(predicted[side], truth), predicted[side], -1)
        found.append(100 * np.mean([np.mean(chosen[truth == k] == k) for k in np.unique(truth)]))
        if (chosen >= 0).all():
            assert found[-1] == pytest.approx(100 * balanced_accuracy_score(truth, chosen))
        if not per_class:
            found[-1] = 100 * measure(truth, chosen)
    return tuple(found)


def sweep(scores, labels, is_seen, per_class):
    """Every gamma at which an image could change sides, and (u, s) between each two."""
    gammas = np.unique(scores[:, is_seen].max(axis=1) - scores[:, ~is_seen].max(axis=1))
    between = np.concatenate([gammas[:1] - 1, (gammas[1:] + gammas[:-1]) / 2, gammas[-1:] + 1])
    return between, np.array([accuracies(scores, labels, is_seen, gamma, per_class) for gamma in between])


@pytest.mark.parametrize("seed", range(5))
def test_class_accuracies_against_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(6), rng.integers(0, 6, 200)])
    predicted = np.where(rng.random(206) < 0.6, labels, rng.integers(0, 6, 206))
    per_class = class_accuracies(predicted, labels, 8)
    assert np.nanmean(per_class) == pytest.approx(100 * balanced_accuracy_score(labels, predicted))
    assert np.isnan(per_class[6:]).all()


@pytest.mark.parametrize("per_class", [True, False])
@pytest.mark.parametrize("kind", ["random", "ties"])
@pytest.mark.parametrize("seed", range(6))
def test_curve_against_brute_force(seed, kind, per_class):
    scores, labels, is_seen = make_case(seed, kind=kind)
    curve = seen_unseen_curve(scores, labels, is_seen, per_class)
    gammas, expected = sweep(scores, labels, is_seen, per_class)
    np.testing.assert_allclose([curve.at(gamma) for gamma in gammas], expected, atol=1e-9)
    changes = np.concatenate([[True], (np.diff(expected, axis=0) != 0).any(axis=1)])
    np.testing.assert_allclose(np.column_stack([curve.u, curve.s]), expected[changes], atol=1e-9)
    assert curve.area == pytest.approx(np.trapezoid(expected[:, 1], expected[:, 0]) / 1e4)


@pytest.mark.parametrize("per_class", [True, False])
@pytest.mark.parametrize("kind", ["random", "ties"])
@pytest.mark.parametrize("seed", range(6))
def test_best_gamma_attains_its_h(seed, kind, per_class):
    scores, labels, is_seen = make_case(seed, kind=kind)
    curve = seen_unseen_curve(scores, labels, is_seen, per_class)
    gamma, h = curve.best
    _, expected = sweep(scores, labels, is_seen, per_class)
    assert h == pytest.approx(harmonic_mean(*expected.T).max())
    assert harmonic_mean(*curve.at(gamma)) == pytest.approx(h)
    assert harmonic_mean(*accuracies(scores, labels, is_seen, gamma, per_class)) == pytest.approx(h)


def test_a_tie_counts_as_unseen():
    curve = seen_unseen_curve(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]), np.array([True, False]))
    assert curve.gamma.tolist() == [1.0]
    assert curve.at(np.nextafter(1.0, 0)) == (0.0, 100.0)
    assert curve.at(1.0) == (100.0, 0.0)


def exact(scores):
    """Scores with which floating point makes no error, so that a tie stays one."""
    return np.round(scores * 64) / 64


cases = st.builds(make_case, st.integers(0, 10**6), st.integers(2, 40), st.integers(4, 8), st.integers(1, 3))


@settings(max_examples=60, deadline=None)
@given(cases, st.booleans())
def test_curve_is_a_staircase(case, per_class):
    curve = seen_unseen_curve(*case, per_class)
    assert len(curve.u) == len(curve.s) == len(curve.gamma) + 1
    assert (np.diff(curve.gamma) > 0).all()
    assert (np.diff(curve.u) >= 0).all()
    assert (np.diff(curve.s) <= 0).all()
    assert curve.u[0] == 0
    assert curve.s[-1] == 0
    assert 0 <= curve.area <= 1


@settings(max_examples=60, deadline=None)
@given(cases, st.integers(-40, 40), st.booleans())
def test_area_ignores_a_shift_of_all_seen_scores(case, shift, per_class):
    scores, labels, is_seen = case
    scores = exact(scores)
    curve = seen_unseen_curve(scores, labels, is_seen, per_class)
    shifted = seen_unseen_curve(np.where(is_seen, scores + shift / 4, scores), labels, is_seen, per_class)
    assert shifted.area == pytest.approx(curve.area)
    np.testing.assert_allclose(shifted.gamma, curve.gamma + shift / 4, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(cases, st.randoms(use_true_random=False), st.booleans())
def test_area_ignores_the_order_of_classes_and_images(case, random, per_class):
    scores, labels, is_seen = case
    classes = np.array(random.sample(range(len(is_seen)), len(is_seen)))
    images = np.array(random.sample(range(len(labels)), len(labels)))
    row_of = np.argsort(classes)
    permuted = seen_unseen_curve(scores[images][:, classes], row_of[labels[images]], is_seen[classes], per_class)
    curve = seen_unseen_curve(scores, labels, is_seen, per_class)
    np.testing.assert_allclose(permuted.u, curve.u)
    np.testing.assert_allclose(permuted.s, curve.s, atol=1e-9)
    assert permuted.area == pytest.approx(curve.area)


@settings(max_examples=60, deadline=None)
@given(cases, st.integers(-10, 10), st.integers(-50, 50), st.booleans())
def test_area_ignores_an_affine_map_of_all_scores(case, power, offset, per_class):
    scores, labels, is_seen = case
    scores = exact(scores)
    curve = seen_unseen_curve(scores, labels, is_seen, per_class)
    scaled = seen_unseen_curve(scores * 2.0**power, labels, is_seen, per_class)  # exact in floating point
    assert scaled.area == pytest.approx(curve.area)
    np.testing.assert_allclose(scaled.gamma, curve.gamma * 2.0**power)
    assert scaled.best[0] == pytest.approx(curve.best[0] * 2.0**power)
    moved = seen_unseen_curve(scores + offset, labels, is_seen, per_class)
    assert moved.area == pytest.approx(curve.area)


def test_no_image_ever_right():
    scores = np.array([[1.0, 0, 1, 0], [1, 0, 1, 0]])
    curve = seen_unseen_curve(scores, np.array([1, 3]), np.array([True, True, False, False]))
    assert curve.area == 0
    assert curve.best == (0.0, 0.0)
    assert curve.at(0.0) == (0.0, 0.0)


def test_one_class_on_each_side_is_always_right_on_its_own():
    scores = np.array([[3.0, 1], [2, 1], [1, 1], [2, 0]])
    curve = seen_unseen_curve(scores, np.array([0, 0, 1, 1]), np.array([True, False]))
    np.testing.assert_allclose(curve.gamma, [0, 1, 2])
    np.testing.assert_allclose(curve.u, [0, 50, 50, 100])
    np.testing.assert_allclose(curve.s, [100, 100, 50, 0])
    assert curve.best == (0.5, pytest.approx(200 / 3))


@pytest.mark.parametrize("per_class", [True, False])
def test_all_scores_equal(per_class):
    curve = seen_unseen_curve(np.zeros((4, 3)), np.array([0, 1, 2, 2]), np.array([True, True, False]), per_class)
    assert curve.gamma.tolist() == [0.0]
    np.testing.assert_allclose(curve.u, [0, 100])
    np.testing.assert_allclose(curve.s, [50, 0])
    assert curve.area == 0.25


@pytest.mark.parametrize("per_class", [True, False])
@pytest.mark.parametrize("label", [0, 2])
def test_images_of_one_side_only(label, per_class):
    labels = np.full(3, label)
    curve = seen_unseen_curve(np.eye(3), labels, np.array([True, True, False]), per_class)
    assert np.isfinite(curve.u).all()
    assert np.isfinite(curve.s).all()
    assert curve.area == 0
    assert curve.best[1] == 0


def test_a_benchmark_sized_curve():
    rng = np.random.default_rng(0)
    scores = rng.random((8000, 717), dtype=np.float32)
    labels = rng.integers(0, 717, 8000)
    scores[np.arange(8000), labels] += 0.9
    is_seen = np.arange(717) < 645
    curve = seen_unseen_curve(scores, labels, is_seen)
    gamma, h = curve.best
    assert harmonic_mean(*curve.at(gamma)) == pytest.approx(h)
    assert len(curve.gamma) > 1000


@pytest.mark.parametrize(("u", "s", "h"), [(0, 0, 0), (0, 50, 0), (50, 50, 50), (20, 80, 32)])
def test_harmonic_mean(u, s, h):
    assert harmonic_mean(u, s) == h


def test_harmonic_mean_of_many():
    np.testing.assert_array_equal(harmonic_mean(np.array([0, 20]), np.array([0.0, 80])), [0, 32])


@pytest.mark.parametrize("n", [0, 5, 1000])
def test_a_thinned_curve_keeps_both_ends(n):
    exact = SeenUnseenCurve(np.arange(n) / 10, np.linspace(0, 60, n + 1), np.linspace(70, 0, n + 1))
    curve = exact.thinned()
    assert len(curve.u) == len(curve.s) == len(curve.gamma) + 1 == min(n + 1, CURVE_POINTS)
    assert curve.points[0] == (0, 70)
    assert curve.points[-1][0] == (60 if n else 0)
