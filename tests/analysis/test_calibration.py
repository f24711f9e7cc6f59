import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from firstsight.analysis.calibration import calibration, calibration_error, reliability


def certain_and_right(seed=0, n=500):
    rng = np.random.default_rng(seed)
    confidence = rng.beta(2, 2, n)
    return confidence, rng.random(n) < confidence**2


def test_bins_are_those_of_scikit_learn():
    confidence, right = certain_and_right()
    bins = reliability(confidence, right, bins=10)
    accuracy, mean = calibration_curve(right, confidence, n_bins=10)
    np.testing.assert_allclose(bins.accuracy, accuracy)
    np.testing.assert_allclose(bins.confidence, mean)
    assert sum(bins.images) == 500


def test_the_error_by_a_plain_loop():
    confidence, right = certain_and_right()
    total = 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert calibration_error(reliability(confidence, right)) == pytest.approx(total)


def test_edges_belong_to_a_bin():
    bins = reliability(np.array([0.0, 0.2, 0.2000001, 1.0]), np.array([False, True, True, True]), bins=5)
    assert bins.images == [2, 1, 1]


def test_both_temperatures():
    rng = np.random.default_rng(2)
    scores, labels = rng.normal(size=(90, 6)), rng.integers(0, 6, 90)
    is_seen = np.arange(6) < 4
    report = calibration(scores, labels, is_seen, 0.25)
    for kind, temperature in (("fitted", 0.25), ("raw", 1.0)):
        chances = softmax(scores / temperature, axis=1)
        confidence, right = chances.max(axis=1), chances.argmax(axis=1) == labels
        found = getattr(report, kind)
        assert found.temperature == temperature
        assert found.nll == pytest.approx(log_loss(labels, chances, labels=range(6)))
        assert found.ece == pytest.approx(calibration_error(reliability(confidence, right)))
        unseen = labels >= 4
        assert found.ece_unseen == pytest.approx(calibration_error(reliability(confidence[unseen], right[unseen])))
    assert calibration(scores, labels, is_seen, None).fitted is None
    assert calibration(scores, labels, is_seen, None).raw == report.raw
