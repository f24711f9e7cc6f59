import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from firstsight.methods import IAP, logistic
from tests.methods.test_dap import lead, log_products, unbalanced, with_vectors
from tests.support.tiny import tiny_dataset


@pytest.mark.parametrize("penalty", [0.2, 0.5])
def test_scores_against_scikit_learn_and_the_product(penalty, monkeypatch):
    monkeypatch.setattr(logistic, "TOLERANCE", 1e-6)
    data = unbalanced(n_seen=7)
    training, images = data.training_set(), 3 * data.features
    threshold = training.classes.vectors.mean(axis=0)
    present = training.classes.vectors > threshold
    classifier = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000)
    classifier.fit(training.features.astype(float), training.labels)
    posterior = classifier.predict_proba(images.astype(float))
    yes = np.array([[sum(row[k] for k, M in enumerate(present) if M[m]) for m in range(4)] for row in posterior])
    no = np.array([[sum(row[k] for k, M in enumerate(present) if not M[m]) for m in range(4)] for row in posterior])
    assert min(yes.min(), no.min()) < 1e-8  # where 1 - p has no digits left in float32
    expected = log_products(yes, no, present.mean(axis=0), data.classes.vectors > threshold)
    method = IAP(penalty=penalty, scaling="none", device="cpu").fit(training)
    np.testing.assert_allclose(lead(method.scores(images, data.classes)), lead(expected), rtol=1e-3, atol=0.05)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_an_attribute_of_all_seen_classes_says_nothing(value):
    plain = tiny_dataset()
    vectors = np.insert(plain.classes.vectors, 2, value, axis=1)
    vectors[plain.unseen, 2] = [0.0, 0.5, 1.0]
    data = with_vectors(plain, vectors)
    with_it, without = (IAP(device="cpu").fit(which.training_set()) for which in (data, plain))
    np.testing.assert_allclose(
        with_it.scores(data.features, data.classes), without.scores(plain.features, plain.classes), atol=1e-5
    )


def test_a_posterior_without_doubt():
    """Probabilities that underflow rank below those that do not, and stay finite."""
    data = tiny_dataset()
    method = IAP(scaling="none", penalty=1e-3, device="cpu").fit(data.training_set())
    images = data.features[data.test_seen] * np.float32(1e4)
    scores = method.scores(images, data.classes)
    assert np.isfinite(scores).all()
    posterior = images @ method.weight_.numpy() + method.bias_.numpy()
    best = method.present_.numpy()[posterior.argmax(axis=1)]  # [n, a]
    same = data.classes.vectors > method.threshold_.numpy()  # [c, a]
    of_the_best = (best[:, None] == same).all(axis=2)  # [n, c]
    assert of_the_best.any(axis=1).all()
    assert of_the_best[np.arange(len(images)), scores.argmax(axis=1)].all()
