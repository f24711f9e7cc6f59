import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from firstsight.analysis.confusion import confused_pairs, confusion, sides
from firstsight.results.analyses import Pair

NAMES = tuple("abcdef")
IS_SEEN = np.array([True, False, True, True, False, True])


def answers_and_labels(seed=0, n=200):
    rng = np.random.default_rng(seed)
    labels = rng.choice(6, n, p=[0.05, 0.3, 0.1, 0.2, 0.15, 0.2])
    return np.where(rng.random(n) < 0.5, labels, rng.integers(0, 6, n)), labels


def test_sides_are_means_over_classes():
    answers, labels = answers_and_labels()
    for table, side in zip(sides(answers, labels, IS_SEEN), (IS_SEEN, ~IS_SEEN), strict=True):
        shares = [100 * np.mean(IS_SEEN[answers[labels == row]]) for row in np.flatnonzero(side)]
        assert table == pytest.approx([np.mean(shares), 100 - np.mean(shares)])


def test_a_side_without_images():
    seen_only = np.flatnonzero(IS_SEEN)
    assert sides(seen_only, seen_only, IS_SEEN) == [[100, 0], [None, None]]


def test_pairs_are_the_largest_off_the_diagonal():
    answers, labels = answers_and_labels()
    table = 100 * confusion_matrix(labels, answers, normalize="true")
    np.fill_diagonal(table, 0)
    pairs = confused_pairs(answers, labels, NAMES, most=4)
    assert [pair.share for pair in pairs] == pytest.approx(np.sort(table, axis=None)[::-1][:4])
    for pair in pairs:
        assert pair.share == pytest.approx(table[NAMES.index(pair.truth), NAMES.index(pair.answer)])


def test_no_mistakes_no_pairs():
    assert confused_pairs(np.arange(6), np.arange(6), NAMES) == []


def test_gamma_moves_images_to_unseen_answers():
    _, labels = answers_and_labels()
    scores = np.random.default_rng(1).normal(size=(len(labels), 6))
    plain = confusion(scores, labels, IS_SEEN, NAMES, None)
    assert plain.calibrated is None
    found = confusion(scores, labels, IS_SEEN, NAMES, 100.0)
    assert found.plain == plain.plain
    assert found.calibrated == [[0, 100], [0, 100]]
    assert {pair.answer for pair in found.pairs} <= {"b", "e"}
    assert found.unseen_pairs == plain.unseen_pairs
    unseen_images = ~IS_SEEN[labels]
    among = np.array([1, 4])[scores[unseen_images][:, [1, 4]].argmax(axis=1)]
    taken = 100 * np.mean(among[labels[unseen_images] == 1] == 4)
    assert Pair("b", "e", pytest.approx(taken)) in found.unseen_pairs
    assert {pair.truth for pair in found.unseen_pairs} == {"b", "e"}
