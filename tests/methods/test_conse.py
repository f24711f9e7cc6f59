import numpy as np
import pytest
from scipy.special import softmax

from firstsight.errors import InputError
from firstsight.methods import CONSE, conse
from tests.support.tiny import tiny_dataset, tiny_training


def combined(method, features, seen_vectors, candidates, n_top):
    """[n, k] scores by a plain loop over images."""
    posterior = softmax(features.astype(float) @ method.weight_.numpy() + method.bias_.numpy(), axis=1)
    scores = np.empty((len(features), len(candidates)))
    for i, p in enumerate(posterior):
        top = sorted(range(len(p)), key=lambda k, p=p: -p[k])[:n_top]
        f = sum(p[k] * seen_vectors[k] for k in top) / sum(p[k] for k in top)
        for j, y in enumerate(candidates):
            scores[i, j] = f @ y / np.linalg.norm(f) / np.linalg.norm(y)
    return scores


@pytest.mark.parametrize("n_top", [1, 2, 4, 6])
@pytest.mark.parametrize("class_scaling", ["none", "l2"])
def test_scores_against_a_plain_loop(n_top, class_scaling):
    data = tiny_dataset()
    method = CONSE(n_top=n_top, scaling="none", class_scaling=class_scaling, device="cpu").fit(data.training_set())
    vectors = data.classes.vectors
    if class_scaling == "l2":
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = combined(method, data.features, vectors[data.seen], vectors, n_top)
    np.testing.assert_allclose(method.scores(data.features, data.classes), expected, atol=1e-5)


def test_more_than_all_is_all():
    data = tiny_dataset(n_seen=5)
    everything, more = (
        CONSE(n_top=n_top, device="cpu").fit(data.training_set()).scores(data.features, data.classes)
        for n_top in (5, 2**63 - 1)
    )
    np.testing.assert_array_equal(more, everything)


def test_one_class_alone_lies_where_it_is():
    data = tiny_dataset()
    method = CONSE(n_top=1, device="cpu").fit(data.training_set())
    scores = method.scores(data.features, data.classes)
    np.testing.assert_allclose(scores.max(axis=1), 1, rtol=1e-6)
    assert np.isin(scores.argmax(axis=1), data.seen).all()


def test_settings_of_equal_penalty_share_the_classifier(monkeypatch):
    training = tiny_training()
    fits = []

    def counted(*arguments):
        fits.append(arguments)
        return softmax_regression(*arguments)

    softmax_regression = conse.softmax_regression
    monkeypatch.setattr(conse, "softmax_regression", counted)
    variants = [
        CONSE(penalty=penalty, n_top=n_top, scaling=scaling, device="cpu")
        for n_top in (1, 3)
        for penalty in (0.1, 2.0)
        for scaling in ("none", "l2")
    ]
    assert sorted(map(id, CONSE.fit_each(variants, training))) == sorted(map(id, variants))
    assert len(fits) == 4
    data = tiny_dataset()
    for variant in variants:
        alone = variant.unfitted().fit(training)
        assert variant.trained_on_ == alone.trained_on_
        np.testing.assert_array_equal(
            variant.scores(data.features, data.classes), alone.scores(data.features, data.classes)
        )


def test_no_class_to_combine():
    with pytest.raises(InputError) as caught:
        CONSE(n_top=0)
    assert str(caught.value) == "n_top must be 1 or more; got 0"
