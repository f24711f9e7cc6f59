import numpy as np
import pytest
from scipy.stats import skew

from firstsight.analysis.hubness import hubness, occurrences, skewness
from firstsight.results.analyses import Hub

NAMES = tuple("abcdefgh")


def scores_and_labels(seed=0, n=60, c=8):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, c)) + np.linspace(0, 2, c), rng.integers(0, c, n)


@pytest.mark.parametrize("k", [1, 3, 7])
def test_occurrences_by_counting(k):
    scores, _ = scores_and_labels()
    expected = np.zeros(8, dtype=int)
    for row in scores:
        for column in sorted(range(8), key=lambda column: -row[column])[:k]:
            expected[column] += 1
    np.testing.assert_array_equal(occurrences(scores, k), expected)


def test_skewness_is_the_textbook_one():
    counts = np.array([40, 9, 5, 3, 2, 1, 0, 0])
    assert skewness(counts) == pytest.approx(skew(counts))
    assert skewness(np.full(5, 3)) is None


def test_more_neighbours_than_classes_are_all_of_them():
    scores, labels = scores_and_labels()
    report = hubness(scores, labels, NAMES)  # k = 10 of 8
    assert report.skewness[1] is None
    assert report.counts[1] == [60] * 8


def test_a_hub_is_named():
    scores, labels = scores_and_labels()
    scores[:, 2] += 10
    report = hubness(scores, labels, NAMES, k=3)
    assert report.k == [1, 3]
    assert report.hubs[0] == Hub("c", 60, int((labels == 2).sum()))
    assert report.counts[0] == [60, 0, 0, 0, 0, 0, 0, 0]
    assert report.skewness[0] == pytest.approx(skew(report.counts[0]))
    assert report.perfect == pytest.approx(skew(np.bincount(labels, minlength=8)))


def test_the_order_of_the_classes_does_not_matter():
    scores, labels = scores_and_labels()
    order = np.random.default_rng(3).permutation(8)
    turned = hubness(scores[:, order], np.argsort(order)[labels], tuple(NAMES[column] for column in order), k=3)
    own = hubness(scores, labels, NAMES, k=3)
    assert turned.counts == own.counts
    assert turned.hubs[0] == own.hubs[0]
    assert turned.perfect == pytest.approx(own.perfect)
