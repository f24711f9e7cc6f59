"""The numbers of an evaluation against scikit-learn, and the inputs that are refused."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from firstsight.data import ClassEmbeddings, Dataset
from firstsight.errors import InputError
from firstsight.evaluation.calibration import fit_calibration
from firstsight.evaluation.evaluate import evaluate
from firstsight.evaluation.metrics import harmonic_mean, seen_unseen_curve
from firstsight.methods import ESZSL, METHODS
from tests.evaluation.test_metrics import accuracies
from tests.support.tiny import FAST, painted, tiny_dataset


@pytest.fixture(scope="module")
def data():
    return tiny_dataset(seed=4, n_seen=9, n_unseen=4, per_class=15, noise=1.2)


@pytest.fixture(scope="module")
def method(data):
    return ESZSL(gamma=1.0, lam=1.0).fit(data.training_set())


def test_evaluate_against_scikit_learn(data, method):
    result = evaluate(method, data)
    seen_side, unseen_side = data.test_seen, data.test_unseen
    chosen = data.unseen[method.predict(data.features[unseen_side], data.classes[data.unseen])]
    assert result.t1 == pytest.approx(100 * balanced_accuracy_score(data.labels[unseen_side], chosen))
    images = np.concatenate([seen_side, unseen_side])
    scores = method.scores(data.features[images], data.classes)
    is_seen = data.is_seen
    u, s = accuracies(scores, data.labels[images], is_seen, 0.0, per_class=True)
    assert (result.u, result.s) == (pytest.approx(u), pytest.approx(s))
    assert result.h == pytest.approx(2 * u * s / (u + s))
    calibrated = accuracies(scores, data.labels[images], is_seen, np.float32(result.gamma), per_class=True)
    assert (result.u_cal, result.s_cal) == (pytest.approx(calibrated[0]), pytest.approx(calibrated[1]))
    assert result.h_cal == pytest.approx(harmonic_mean(*calibrated))
    assert result.ausuc == seen_unseen_curve(scores, data.labels[images], is_seen).area
    assert result.ausuc_per_sample == seen_unseen_curve(scores, data.labels[images], is_seen, per_class=False).area
    assert (result.u, result.s) == pytest.approx(result.curve.at(0.0))
    assert (result.data, result.method, result.settings) == ("tiny", "eszsl", method.settings())
    assert result.seconds_score > 0


def test_evaluate_by_class(data, method):
    result = evaluate(method, data)
    of = {row.name: row for row in result.classes}
    assert list(of) == list(data.classes.names)
    seen_names = {data.classes.names[row] for row in data.seen}
    assert {name for name, row in of.items() if row.seen} == seen_names
    for accuracy, name in (("accuracy", "u"), ("accuracy_calibrated", "u_cal"), ("t1", "t1")):
        mean = np.mean([getattr(row, accuracy) for row in result.classes if not row.seen])
        assert mean == pytest.approx(getattr(result, name))
    assert all(row.t1 is None for row in result.classes if row.seen)
    assert sum(row.images for row in result.classes) == len(data.test_seen) + len(data.test_unseen)
    assert repr(result).startswith("Result(eszsl on tiny: t1=")


def test_evaluate_without_calibration_fits_nothing(data, method, monkeypatch):
    monkeypatch.setattr(ESZSL, "fit", lambda *_: pytest.fail("fitted again"))
    result = evaluate(method, data, calibrate=False)
    assert (result.gamma, result.u_cal, result.s_cal, result.h_cal) == (None, None, None, None)
    assert all(row.accuracy_calibrated is None for row in result.classes)
    assert list(result.metrics()) == [
        "t1",
        "u",
        "s",
        "h",
        "ausuc",
        "ausuc_per_sample",
        "gamma",
        "u_cal",
        "s_cal",
        "h_cal",
    ]


def test_evaluate_leaves_the_method_as_it_was(data, method):
    before = method.scores(data.features, data.classes)
    evaluate(method, data)
    np.testing.assert_array_equal(method.scores(data.features, data.classes), before)


def test_a_method_that_needs_seen_classes_to_choose_from_has_no_t1(data):
    result = evaluate(METHODS["cmt_star"](**FAST["cmt_star"]).fit(data.training_set()), data)
    assert result.t1 is None
    assert {row.t1 for row in result.classes} == {None}
    assert np.isfinite([result.u, result.s, result.h, result.h_cal]).all()
    assert "t1" not in repr(result)


def test_a_class_without_test_images_has_no_row(data, method):
    absent = data.unseen[0]
    fewer = dataclasses.replace(data, test_unseen=data.test_unseen[data.labels[data.test_unseen] != absent])
    result = evaluate(method, fewer, calibrate=False)
    assert data.classes.names[absent] not in [row.name for row in result.classes]
    assert np.isfinite([result.t1, result.u, result.s]).all()


@dataclasses.dataclass(kw_only=True)
class Louder(ESZSL):
    """ESZSL whose scores are multiplied."""

    factor: float = 1000.0

    def _scores(self, features, vectors):
        return self.factor * super()._scores(features, vectors)


def test_gamma_has_the_scale_of_the_scores(data, method):
    plain = evaluate(method, data)
    loud = evaluate(Louder(gamma=1.0, lam=1.0).fit(data.training_set()), data)
    assert plain.gamma != 0
    assert loud.gamma == pytest.approx(1000 * plain.gamma, rel=1e-4)
    for name in ("t1", "u", "s", "h", "ausuc", "u_cal", "s_cal", "h_cal"):
        assert getattr(loud, name) == pytest.approx(getattr(plain, name)), name


def test_gamma_is_the_best_of_validation_in_the_scale_of_the_full_fit(data, method):
    validation = data.validation_set()
    trial = method.unfitted().fit(validation.training_set())
    images = validation.test_images
    scores = trial.scores(validation.features[images], validation.classes)
    is_seen = validation.is_seen
    gamma, h = seen_unseen_curve(scores, validation.labels[images], is_seen).best
    assert harmonic_mean(*accuracies(scores, validation.labels[images], is_seen, gamma, True)) == pytest.approx(h)
    full, half = (
        np.mean(
            fit.scores(of.features[of.trainval], of.classes[of.seen]).max(axis=1).astype(float)
            - fit.scores(of.features[of.trainval], of.classes[of.unseen]).max(axis=1)
        )
        for fit, of in ((method, data), (trial, validation))
    )
    assert full != half
    assert min(full, half) > 0
    assert evaluate(method, data).gamma == pytest.approx(gamma * full / half, rel=1e-5)


def test_test_images_never_influence_gamma(data, method):
    rng = np.random.default_rng(0)
    labels, features = data.labels.copy(), data.features.copy()
    for images in (data.test_seen, data.test_unseen):
        labels[images] = rng.permutation(labels[images])
        features[images] = rng.normal(size=features[images].shape)
    disturbed = dataclasses.replace(data, labels=labels, features=features)
    before, after = evaluate(method, data), evaluate(method, disturbed)
    assert before.gamma == after.gamma
    assert before.h != after.h


def test_constant_scores_have_a_gamma_too():
    blank = tiny_dataset(features=np.zeros((90, 5)))
    method = ESZSL().fit(blank.training_set())
    assert np.isfinite(fit_calibration(method, blank).gamma)
    assert np.isfinite(evaluate(method, blank).h_cal)


def test_gamma_and_temperature_have_the_scale_of_the_scores(data, monkeypatch):
    """Scores times four: gamma and temperature times four, the same accuracies."""
    method = ESZSL(scaling="l2").fit(data.training_set())
    before = evaluate(method, data)
    real = ESZSL._scores
    monkeypatch.setattr(ESZSL, "_scores", lambda *given: 4 * real(*given))
    after = evaluate(method, data)
    assert after.gamma == pytest.approx(4 * before.gamma)
    assert after.temperature == pytest.approx(4 * before.temperature, rel=1e-3)
    assert (after.h_cal, after.ausuc) == (before.h_cal, before.ausuc)


@pytest.mark.parametrize("split", ["test_seen", "test_unseen"])
def test_evaluate_needs_both_test_splits(split, data, method):
    with pytest.raises(InputError) as caught:
        evaluate(method, dataclasses.replace(data, **{split: []}))
    assert str(caught.value) == f"{split} must have images to evaluate on; got none in 'tiny'"


def test_evaluate_needs_a_fitted_method(data):
    with pytest.raises(InputError) as caught:
        evaluate(ESZSL(), data)
    assert str(caught.value) == "eszsl must be fitted before it scores; got one without training; call fit"


def test_evaluate_refuses_a_method_that_has_seen_the_unseen(data):
    swapped = dataclasses.replace(
        data, trainval=np.concatenate([data.trainval, data.test_unseen]), test_unseen=np.zeros(0, int)
    )
    cheat = ESZSL().fit(swapped.training_set())
    stranger = data.classes.names[data.unseen[0]]
    with pytest.raises(InputError) as caught:
        evaluate(cheat, data)
    assert str(caught.value) == (
        f"method must be trained on seen classes of 'tiny'; got one trained on {stranger!r}, "
        "which has no training images there"
    )


def test_evaluate_needs_features(data, method):
    pictures = dataclasses.replace(data, features=None, feature_widths=(), pictures=painted(len(data.labels), 4))
    with pytest.raises(InputError) as caught:
        evaluate(method, pictures)
    assert str(caught.value) == "features must be given for data set 'tiny'; got pictures only; name a feature file"


def test_evaluate_refuses_features_of_another_width(data, method):
    with pytest.raises(InputError) as caught:
        evaluate(method, dataclasses.replace(data, features=data.features[:, :5], feature_widths=()))
    assert str(caught.value) == "inputs must have 7 columns, as in training; got 5"


def test_two_seen_classes_can_be_evaluated_without_calibration():
    data = tiny_dataset(n_seen=2, n_unseen=2)
    assert isinstance(data, Dataset)
    assert isinstance(data.classes, ClassEmbeddings)
    method = ESZSL().fit(data.training_set())
    assert evaluate(method, data, calibrate=False).gamma is None
    with pytest.raises(InputError, match=r"^validation must have 3 seen classes"):
        evaluate(method, data)
