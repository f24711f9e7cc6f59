"""The softmax with a temperature, the threshold of rejection, and both chosen on validation classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from firstsight.errors import InputError
from firstsight.evaluation.calibration import (
    KEPT,
    fit_calibration,
    fit_rejection,
    fit_temperature,
    log_probabilities,
    negative_log_likelihood,
    probabilities,
)
from firstsight.evaluation.metrics import seen_unseen_curve
from firstsight.methods import ESZSL
from tests.support.tiny import tiny_dataset


@pytest.fixture(scope="module")
def data():
    return tiny_dataset(seed=4, n_seen=9, n_unseen=4, per_class=15, noise=1.2)


def noisy_scores(seed=0, n=200, k=7, scale=1.0):
    """Scores whose softmax at this scale gave the labels, so that the scale is their true temperature."""
    rng = np.random.default_rng(seed)
    scores = 3 * rng.normal(size=(n, k))
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = (rng.random((n, 1)) > chances.cumsum(axis=1)).sum(axis=1)
    return scores * scale, labels


@given(st.integers(0, 999), st.floats(1e-3, 1e3), st.floats(-50, 50))
def test_probabilities(seed, temperature, shift):
    scores = np.random.default_rng(seed).normal(size=(4, 5))
    found = probabilities(scores, temperature)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found >= 0).all()
    np.testing.assert_array_equal(found.argmax(axis=1), scores.argmax(axis=1))
    np.testing.assert_allclose(probabilities(scores + shift, temperature), found, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(probabilities(scores[:, ::-1], temperature)[:, ::-1], found)


def test_the_logarithm_stays_exact_where_probabilities_round():
    logs = log_probabilities(np.array([[0.0, -1000.0], [0.0, -50.0]]), 1.0)
    assert logs[0, 1] == -1000
    assert logs[1, 0] == pytest.approx(-np.exp(-50.0), rel=1e-9, abs=0)


def test_large_float32_scores_do_not_overflow():
    scores = np.array([[1e30, -1e30, 0]], dtype=np.float32)
    np.testing.assert_array_equal(probabilities(scores, 1e-3), [[1, 0, 0]])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_temperature_is_that_of_the_labels_and_the_minimum(scale):
    scores, labels = noisy_scores(n=5000, scale=scale)
    temperature = fit_temperature(scores, labels)
    assert temperature == pytest.approx(scale, rel=0.05)
    best = log_loss(labels, probabilities(scores, temperature), labels=range(7))
    assert negative_log_likelihood(scores, labels, temperature) == pytest.approx(best)
    for other in temperature * np.geomspace(0.01, 100, 41):
        assert best <= log_loss(labels, probabilities(scores, other), labels=range(7)) + 1e-9


def test_the_temperature_moves_with_the_scale_and_not_with_a_shift():
    scores, labels = noisy_scores()
    temperature = fit_temperature(scores, labels)
    assert fit_temperature(1e-4 * scores, labels) == pytest.approx(1e-4 * temperature, rel=1e-4)
    shift = np.random.default_rng(1).normal(size=(len(scores), 1))
    assert fit_temperature(scores + 100 * shift, labels) == pytest.approx(temperature, rel=1e-4)


def test_where_the_valley_has_no_floor():
    scores, _ = noisy_scores()
    sure = fit_temperature(scores, scores.argmax(axis=1))
    unsure = fit_temperature(scores, scores.argmin(axis=1))
    assert 0 < sure < 1 < unsure < np.inf
    assert np.isfinite(negative_log_likelihood(scores, scores.argmin(axis=1), sure))


def test_scores_that_say_nothing():
    assert fit_temperature(np.full((3, 2), 5.0), [0, 1, 1]) == 1.0


@pytest.mark.parametrize(
    ("scores", "labels", "sentence"),
    [
        ([[1.0, 2.0]], [2], "labels must name one of 2 class rows, 0 to 1; got 2"),
        ([[1.0, 2.0]], [0, 1], "labels must be one for each row of scores; got 2 for 1 rows"),
        ([1.0, 2.0], [0], "scores must be a table of [images, columns]; got shape [2]"),
        ([[1.0, np.nan]], [0], "scores must be finite; 1 of 1 rows contain NaN or inf"),
    ],
)
def test_bad_scores_and_labels(scores, labels, sentence):
    with pytest.raises(InputError) as caught:
        fit_temperature(np.array(scores), labels)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
def test_bad_temperature(temperature):
    with pytest.raises(InputError) as caught:
        probabilities(np.eye(2), temperature)
    assert str(caught.value) == f"temperature must be a number above 0; got {temperature}"


def some_images(seed, n=600, k=9, lead=3.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    scores = rng.normal(size=(n, k))
    scores[np.arange(n), labels] += lead
    return scores, labels


@given(st.integers(0, 50), st.floats(-9, 9))
def test_the_threshold_keeps_what_it_says(seed, offset):
    scores, labels = some_images(seed)
    found, moved = fit_rejection(scores, labels), fit_rejection(3 * scores + offset, labels)
    assert KEPT <= found.kept <= KEPT + 0.2  # two of three times 600 images: steps of 1 / 1200
    assert moved.threshold == pytest.approx(3 * found.threshold + offset)
    assert (moved.kept, moved.caught) == (found.kept, found.caught)


def test_the_threshold_by_hand():
    """Classes taken out one at a time, as the thirds of three classes are single ones."""
    scores, labels = some_images(0, n=200, k=3)
    kept, out = [], []
    for left_out in range(3):
        highest = scores[:, [column for column in range(3) if column != left_out]].max(axis=1)
        kept.append(highest[labels != left_out])
        out.append(highest[labels == left_out])
    kept, out = np.sort(np.concatenate(kept)), np.concatenate(out)
    found = fit_rejection(scores, labels)
    assert found.threshold == pytest.approx(kept[int(0.05 * (len(kept) - 1))])
    assert found.caught == pytest.approx(100 * np.mean(out < found.threshold))


def test_better_scores_catch_more():
    weak, strong = (fit_rejection(*some_images(0, lead=lead)).caught for lead in (0.5, 6.0))
    assert weak < 15 < 50 < strong


def test_rejection_needs_three_classes():
    with pytest.raises(InputError) as caught:
        fit_rejection(np.zeros((4, 2)), [0, 1, 0, 1])
    assert str(caught.value) == "scores must be for 3 classes or more to leave some out; got 2"


def test_the_threshold_goes_with_the_best_scores_of_training_images(data):
    method = ESZSL(scaling="l2", class_scaling="centred").fit(data.training_set())
    found = fit_calibration(method, data)
    validation = data.validation_set(0)
    trial = method.unfitted().fit(validation.training_set())
    tests = validation.test_images

    def stacked(fitted, of, images, gamma):
        return fitted.scores(of.inputs(images), of.classes) - gamma * of.is_seen

    tested = trial.scores(validation.inputs(tests), validation.classes)
    is_seen = validation.is_seen
    trial_gamma, _ = seen_unseen_curve(tested, validation.labels[tests], is_seen).best
    before = fit_rejection(tested - trial_gamma * is_seen, validation.labels[tests])
    now = stacked(method, data, data.trainval, found.gamma).max(axis=1).mean()
    then = stacked(trial, validation, validation.trainval, trial_gamma).max(axis=1).mean()
    assert found.rejection.threshold == pytest.approx(before.threshold * now / then, rel=1e-4)
    assert (found.rejection.kept, found.rejection.caught) == (before.kept, before.caught)
    assert abs(now / then - 1) > 0.01


def test_the_temperature_is_fitted_on_validation_classes(data, monkeypatch):
    """By a plain search over temperatures, where both fits have the same lead."""
    monkeypatch.setattr("firstsight.evaluation.calibration._ratio", lambda *_: 1.0)
    method = ESZSL(scaling="l2").fit(data.training_set())
    found = fit_calibration(method, data)
    validation = data.validation_set(0)
    trial = ESZSL(scaling="l2").fit(validation.training_set())
    tests = validation.test_images
    is_seen = validation.is_seen
    scores = trial.scores(validation.inputs(tests), validation.classes) - found.gamma * is_seen

    def loss(temperature):
        return -np.mean(
            [
                np.log(np.exp(row[label] / temperature) / np.exp(row / temperature).sum())
                for row, label in zip(scores.astype(float), validation.labels[tests], strict=True)
            ]
        )

    assert loss(found.temperature) <= min(loss(found.temperature * factor) for factor in (0.5, 0.9, 1.1, 2.0))
