import dataclasses

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from firstsight.data import ClassEmbeddings
from firstsight.datasets import load
from firstsight.methods import DAP, IAP, logistic
from firstsight.methods.dap import presence_thresholds, prior_logits
from tests.support.matlab import toy_variables
from tests.support.tiny import tiny_dataset


def lead(scores):
    """Scores against the first candidate's, which rids them of what all candidates share."""
    return scores - scores[:, :1]


def log_products(yes, no, priors, present):
    """[n, k] log prod_m p(a_m = y_m | x) / p(a_m = y_m), as the paper writes it; `no` is 1 - `yes`."""
    scores = np.zeros((len(yes), len(present)))
    for i in range(len(yes)):
        for k, y in enumerate(present):
            for m, has in enumerate(y):
                scores[i, k] += np.log((yes if has else no)[i, m]) - np.log(priors[m] if has else 1 - priors[m])
    return scores


def unbalanced(**options):
    """Two seen classes have two images each, so that means over classes and over images differ."""
    data = tiny_dataset(**options)
    labels = data.labels[data.trainval]
    surplus = [np.flatnonzero(labels == data.seen[row])[2:] for row in (0, 3)]
    return dataclasses.replace(data, trainval=np.delete(data.trainval, np.concatenate(surplus)))


def with_vectors(data, vectors):
    return dataclasses.replace(data, classes=ClassEmbeddings(data.classes.names, vectors))


def conjunction(logits, priors, present):
    """Return [n, k] DAP's scores of images whose attributes have these logits [n, a], for classes that have [k, a]."""
    method = DAP(device="cpu")
    method.dtype = torch.float64
    method.weight_, method.bias_ = torch.eye(logits.shape[1]).double(), torch.zeros(logits.shape[1]).double()
    method.prior_logit_, method.threshold_ = priors, torch.full((logits.shape[1],), 0.5)
    return method._scores(logits, present.double())


def test_conjunction_against_the_product():
    rng = np.random.default_rng(0)
    p, priors, present = rng.random((6, 5)), rng.random(5), rng.random((4, 5)) < 0.5
    found = conjunction(torch.tensor(logit(p)), torch.tensor(logit(priors)), torch.tensor(present)).numpy()
    np.testing.assert_allclose(lead(found), lead(log_products(p, 1 - p, priors, present)), rtol=1e-9, atol=1e-12)


def test_priors_are_the_shares_of_the_classes():
    present = torch.tensor([[1, 0, 1, 0], [1, 0, 0, 0], [1, 0, 1, 1], [1, 0, 1, 0]], dtype=torch.bool)
    expected = [0.5, 0.5, 0.75, 0.25]  # 1/2 where all have it, or none
    np.testing.assert_allclose(prior_logits(present).sigmoid(), expected, rtol=1e-6)


@pytest.mark.parametrize("penalty", [0.1, 3.0])
def test_scores_against_scikit_learn_and_the_product(penalty, monkeypatch):
    monkeypatch.setattr(logistic, "TOLERANCE", 1e-6)
    data = unbalanced()
    training = data.training_set()
    threshold = training.classes.vectors.mean(axis=0)
    present = training.classes.vectors > threshold
    p = np.empty((len(data.features), present.shape[1]))
    for column in range(present.shape[1]):
        one = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000)
        one.fit(training.features.astype(float), present[training.labels, column])
        p[:, column] = one.predict_proba(data.features.astype(float))[:, 1]
    expected = log_products(p, 1 - p, present.mean(axis=0), data.classes.vectors > threshold)
    method = DAP(penalty=penalty, scaling="none", device="cpu").fit(training)
    np.testing.assert_allclose(lead(method.scores(data.features, data.classes)), lead(expected), rtol=1e-3, atol=0.02)


def test_binary_attributes_stay_as_they_are():
    """Any two numbers for absent and present give what 0 and 1 give."""
    plain = tiny_dataset()
    binary = (plain.classes.vectors > 0.1).astype(float)
    binary[plain.seen[0]], binary[plain.seen[1]] = 1, 0
    scores = [
        DAP(device="cpu").fit(data.training_set()).scores(data.features, data.classes)
        for data in (with_vectors(plain, vectors) for vectors in (binary, 5 * binary - 3))
    ]
    np.testing.assert_array_equal(*scores)
    method = DAP(device="cpu").fit(with_vectors(plain, binary).training_set())
    logits = torch.tensor(np.log(expit([[1.0, 2.0, 3.0, 4.0]])))
    kept = conjunction(logits, torch.zeros(4), torch.tensor(binary) > method.threshold_).numpy()
    np.testing.assert_allclose(kept, logits.numpy() @ binary.T)


def test_attributes_are_binary_by_the_mean_over_seen_classes():
    data = unbalanced()
    method = DAP(device="cpu").fit(data.training_set())
    mean = data.classes.vectors[data.seen].mean(axis=0)
    just = ClassEmbeddings(("above", "far above", "below", "far below"), mean + np.array([[1e-3], [9], [-1e-3], [-9]]))
    scores = method.scores(data.features, just)
    np.testing.assert_array_equal(scores[:, 0], scores[:, 1])
    np.testing.assert_array_equal(scores[:, 2], 0)  # absent attributes are what scores are measured from
    np.testing.assert_array_equal(scores[:, 3], 0)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_an_attribute_of_all_seen_classes_says_nothing(value):
    plain = tiny_dataset()
    vectors = np.insert(plain.classes.vectors, 2, value, axis=1)
    vectors[plain.unseen, 2] = [0.0, 0.5, 1.0]
    data = with_vectors(plain, vectors)
    with_it, without = (DAP(device="cpu").fit(which.training_set()) for which in (data, plain))
    np.testing.assert_allclose(
        with_it.scores(data.features, data.classes), without.scores(plain.features, plain.classes), atol=1e-5
    )


def test_classes_that_share_everything():
    plain = tiny_dataset()
    data = with_vectors(plain, np.ones_like(plain.classes.vectors))
    scores = DAP(device="cpu").fit(data.training_set()).scores(data.features, data.classes)
    np.testing.assert_array_equal(scores, 0)


SEEN = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1], [1, 0, 0, 1]])
UNSEEN = np.array([[0, 1, 1, 0], [1, 0, 0, 0]])  # the first lacks what all seen classes have


@pytest.mark.parametrize("kind", [DAP, IAP])
@pytest.mark.parametrize("stored", ["f8", "u1", "bool", "unit length"])
def test_binary_attributes_of_a_gbu_folder(make_gbu, kind, stored, monkeypatch):
    """They are used as they are, however they are stored, and the predictions are those of the paper's product."""
    monkeypatch.setattr(logistic, "TOLERANCE", 1e-6)
    matrix = np.concatenate([SEEN, UNSEEN])
    att = matrix / np.linalg.norm(matrix, axis=1, keepdims=True) if stored == "unit length" else matrix.astype(stored)
    files = {"binaryAtt_splits.mat": toy_variables()[1] | {"att": att.T}}
    data = load(make_gbu(files=files), semantics="binaryAtt")
    np.testing.assert_allclose(data.classes.vectors, att)
    images = data.features.astype(float)
    X, labels = images[data.trainval], data.labels[data.trainval]
    classifier = LogisticRegression(C=10, tol=1e-10, max_iter=10_000)  # of the default penalty
    if kind is DAP:
        columns = [classifier.fit(X, SEEN[labels, m]).predict_proba(images)[:, 1] for m in (1, 2, 3)]
        yes = np.stack([np.full(len(images), 0.5), *columns], axis=1)  # nothing to learn the first from
    else:
        yes = classifier.fit(X, labels).predict_proba(images) @ SEEN
        yes[:, 0] = 0.5
    priors = np.array([0.5, 0.5, 0.5, 0.5])
    expected = log_products(yes, 1 - yes, priors, matrix)
    method = kind(scaling="none", device="cpu").fit(data.training_set())
    np.testing.assert_allclose(lead(method.scores(data.features, data.classes)), lead(expected), rtol=1e-3, atol=0.01)
    np.testing.assert_array_equal(method.predict(data.features, data.classes), expected.argmax(axis=1))


def test_the_mean_over_classes_would_part_binary_attributes_of_unit_length():
    """A class with many attributes has smaller entries than the mean of those with few."""
    rows = np.array([[1, 1, 1, 1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0, 0]])
    unit = torch.tensor(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=torch.float32)
    assert not ((unit > unit.mean(dim=0)).numpy() == (rows > 0)).all()
    np.testing.assert_array_equal(unit > presence_thresholds(unit), rows > 0)
    np.testing.assert_array_equal(presence_thresholds(torch.tensor(rows, dtype=torch.float32)), 0)


def test_attributes_of_two_other_numbers_are_parted_by_their_mean():
    vectors = torch.tensor([[1.0, 2.0], [2.0, 2.0], [2.0, 1.0]])
    np.testing.assert_array_equal(vectors > presence_thresholds(vectors), vectors == 2)
    continuous = torch.tensor([[0.2, 0.9], [1.0, 0.0], [0.4, 0.3]])
    np.testing.assert_array_equal(presence_thresholds(continuous), continuous.mean(dim=0))
