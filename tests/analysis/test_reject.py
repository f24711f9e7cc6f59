from itertools import pairwise, permutations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from firstsight.analysis.reject import POINTS, rejection, risk_coverage


def test_risk_by_brute_force():
    rng = np.random.default_rng(0)
    confidence, right = rng.random(40), rng.random(40) < 0.6
    order = sorted(range(40), key=lambda image: -confidence[image])
    expected = [np.mean([not right[image] for image in order[:count]]) for count in range(1, 41)]
    np.testing.assert_allclose(risk_coverage(confidence, right), expected)


def test_ties_are_the_mean_over_all_orders():
    confidence = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    right = np.array([True, False, True, False, True])
    falling = [
        list(order)
        for order in permutations(range(5))
        if all(confidence[a] >= confidence[b] for a, b in pairwise(order))
    ]
    risks = [[np.mean(~right[order[:count]]) for count in range(1, 6)] for order in falling]
    np.testing.assert_allclose(risk_coverage(confidence, right), np.mean(risks, axis=0))


def a_case(n=400, c=8):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, c, n)
    return rng.normal(size=(n, c)) + 2 * np.eye(c)[labels], labels, np.arange(c) < 5


def test_the_numbers():
    scores, labels, is_seen = a_case()
    found = rejection(scores, labels, is_seen, 0.5)
    chances = softmax(scores / 0.5, axis=1)
    wrong = chances.argmax(axis=1) != labels
    risk = risk_coverage(chances.max(axis=1), ~wrong)
    assert found.aurc == pytest.approx(np.mean(risk))
    assert found.risk == pytest.approx(np.mean(wrong))
    n_right, n = (~wrong).sum(), len(wrong)
    assert found.least == pytest.approx(sum((count - n_right) / count for count in range(n_right + 1, n + 1)) / n)
    assert found.least < found.aurc < found.risk
    assert len(found.curve.coverage) == len(found.curve.risk) == POINTS
    assert found.curve.coverage[0] == 1 / n
    assert found.curve.coverage[-1] == 1
    assert found.curve.risk[-1] == pytest.approx(found.risk)


def test_novelty_whatever_gamma():
    scores, labels, is_seen = a_case()
    lead = scores[:, ~is_seen].max(axis=1) - scores[:, is_seen].max(axis=1)
    expected = roc_auc_score(~is_seen[labels], lead)
    for gamma in (0.0, 3.0):
        assert rejection(scores - gamma * is_seen, labels, is_seen, None).auroc == pytest.approx(expected)


def test_without_a_temperature():
    found = rejection(*a_case(), None)
    assert [key for key, value in vars(found).items() if value is None] == ["aurc", "least", "risk", "curve"]


def test_few_images_give_few_points():
    found = rejection(np.eye(8), np.arange(8), np.arange(8) < 5, 1.0)
    assert found.curve.coverage == [step / 8 for step in range(1, 9)]
    assert found.aurc == 0
