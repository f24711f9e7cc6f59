import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from firstsight.analysis.attributes import attribute_quality, roc_auc
from firstsight.data import ClassEmbeddings
from firstsight.results.analyses import MeanArea

IS_SEEN = np.array([True, True, True, False, False, False, False])


def a_case(seed=0, n=150, a=9):
    rng = np.random.default_rng(seed)
    classes = ClassEmbeddings(tuple("abcdefg"), rng.normal(size=(7, a)), tuple(f"has {column}" for column in range(a)))
    labels = rng.integers(0, 7, n)
    return rng.normal(size=(n, 7)) + 2 * np.eye(7)[labels], labels, classes


@given(st.integers(0, 9999), st.integers(2, 30))
def test_roc_auc_is_that_of_scikit_learn(seed, n):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 6, (n, 4)).astype(float)  # with many ties
    positive = rng.random((n, 4)) < 0.4
    for column, found in enumerate(roc_auc(values, positive)):
        if positive[:, column].all() or not positive[:, column].any():
            assert np.isnan(found)
        else:
            assert found == pytest.approx(roc_auc_score(positive[:, column], values[:, column]))


def test_every_attribute_by_hand():
    scores, labels, classes = a_case()
    found = attribute_quality(scores, labels, IS_SEEN, classes, temperature=0.7)
    images = ~IS_SEEN[labels]
    present = classes.vectors > classes.vectors[:3].mean(axis=0)
    aucs = []
    for columns in (np.arange(3, 7), np.arange(7)):
        chances = softmax(scores[images][:, columns] / 0.7, axis=1)
        expected = np.zeros((images.sum(), 9))
        for image in range(len(expected)):
            for place, column in enumerate(columns):
                expected[image] += chances[image, place] * present[column]
        truth = present[labels[images]]
        aucs.append(
            [
                roc_auc_score(truth[:, at], expected[:, at].round(12)) if 0 < truth[:, at].mean() < 1 else None
                for at in range(9)
            ]
        )
    assert found.auc == [None if value is None else pytest.approx(value) for value in aucs[0]]
    for value, name in zip(aucs, ("unseen", "all"), strict=True):
        assert getattr(found.mean, name) == pytest.approx(np.mean([one for one in value if one is not None]))
    known = sorted(value for value in aucs[0] if value is not None)
    assert found.best[0].auc == pytest.approx(known[-1])
    assert found.worst[0].auc == pytest.approx(known[0])
    best = int(found.best[0].name.removeprefix("has "))
    assert aucs[0][best] == pytest.approx(known[-1])
    assert not {row.name for row in found.best} & {row.name for row in found.worst}


def test_attributes_that_do_not_vary_are_unknown():
    scores, labels, classes = a_case()
    vectors = classes.vectors.copy()
    vectors[:, 4] = 1  # nobody exceeds the mean
    vectors[:3, 5], vectors[3:, 5] = 0, 1  # all unseen classes do
    found = attribute_quality(scores, labels, IS_SEEN, ClassEmbeddings(classes.names, vectors), 1.0)
    assert found.auc[4] is None
    assert found.auc[5] is None
    assert all(row.name.startswith("attribute ") for row in found.best)  # no names were given


def test_sure_and_right_tells_all():
    _, labels, classes = a_case()
    found = attribute_quality(np.eye(7)[labels], labels, IS_SEEN, classes, 1e-3)
    assert {value for value in found.auc if value is not None} == {1.0}
    assert found.mean == MeanArea(unseen=1.0, all=1.0)


def test_the_order_of_the_classes_does_not_matter():
    scores, labels, classes = a_case()
    order = np.random.default_rng(5).permutation(7)
    turned = attribute_quality(scores[:, order], np.argsort(order)[labels], IS_SEEN[order], classes[order], 0.5)
    assert turned.auc == pytest.approx(attribute_quality(scores, labels, IS_SEEN, classes, 0.5).auc)
