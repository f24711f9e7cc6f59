"""Which attributes decided."""

import numpy as np
import pytest

from firstsight.errors import InputError
from firstsight.evaluation.explanation import attribute_weights, strongest
from firstsight.methods import ESZSL, METHODS
from tests.support.tiny import FAST, tiny_dataset, widths


def test_of_a_bilinear_score_by_hand():
    """score = x' W y: replacing y_j by its mean loses (x' W)_j (y_j - mean_j)."""
    data = tiny_dataset()
    method = ESZSL(class_scaling="none").fit(data.training_set())
    inputs, classes = data.inputs(data.test_unseen[:5]), data.classes
    answers, others = np.array([0, 3, 3, 1, 8]), np.array([2, 0, 8, 1, 3])
    found = attribute_weights(method, inputs, classes, answers, others)
    projected = inputs.astype(float) @ method.weight_.numpy()
    gaps = classes.vectors - classes.vectors.mean(axis=0)
    np.testing.assert_allclose(found, projected * (gaps[answers] - gaps[others]), rtol=1e-3, atol=1e-4)
    assert not found[3].any()  # a class against itself


@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if not kind.generalized_only])
def test_of_every_method(name):
    data = tiny_dataset(**widths(name))
    method = METHODS[name](**FAST.get(name, {})).fit(data.training_set())
    inputs = data.inputs(data.test_unseen[:3])
    scores = method.scores(inputs, data.classes)
    best, second = np.argsort(-scores)[:, :2].T
    found = attribute_weights(method, inputs, data.classes, best, second)
    assert found.shape == (3, data.classes.vectors.shape[1])
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, -attribute_weights(method, inputs, data.classes, second, best), atol=1e-5)


def test_a_method_that_asks_whether_a_class_was_seen():
    data = tiny_dataset()
    method = METHODS["cmt_star"](**FAST["cmt_star"]).fit(data.training_set())
    with pytest.raises(InputError) as caught:
        attribute_weights(method, data.inputs(data.test_unseen[:1]), data.classes, np.array([0]), np.array([1]))
    assert str(caught.value) == "method must score classes one by one to be explained; got cmt_star"


def test_strongest():
    speak_for, against = strongest(np.array([0.5, -2.0, 0.0, 3.0, -1.0]), tuple("abcde"), 2)
    assert speak_for == [["d", 3.0], ["a", 0.5]]
    assert against == [["b", -2.0], ["e", -1.0]]
    assert strongest(np.zeros(2), ("a", "b")) == ([], [])
