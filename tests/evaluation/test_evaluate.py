import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from firstsight.data import ClassEmbeddings, Dataset
from firstsight.errors import InputError
from firstsight.evaluation.evaluate import calibrated, class_accuracies, evaluate, harmonic_mean, seen_unseen_curve
from firstsight.evaluation.probability import fit_rejection
from firstsight.methods import ESZSL, METHODS
from tests.support.tiny import FAST, painted, tiny_dataset


def make_case(seed: int, n: int = 60, c: int = 7, n_seen: int = 4, kind: str = "random"):
    """Scores, labels that give both sides images, and which classes are seen."""
    rng = np.random.default_rng(seed)
    is_seen = rng.permutation(np.arange(c) < n_seen)
    labels = np.concatenate([np.flatnonzero(is_seen)[:1], np.flatnonzero(~is_seen)[:1], rng.integers(0, c, n - 2)])
    scores = rng.normal(size=(n, c))
    scores[np.arange(n), labels] += 1
    scores[:, is_seen] += 0.7  # the bias that calibration is for
    return (np.round(scores) if kind == "ties" else scores), labels, is_seen


def accuracies(scores, labels, is_seen, gamma, per_class):
    """(u, s) by argmax of calibrated scores, measured by scikit-learn."""
    predicted = np.where(is_seen, scores - gamma, scores).argmax(axis=1)
    measure = balanced_accuracy_score if per_class else accuracy_score
    found = []
    for side in (~is_seen[labels], is_seen[labels]):
        truth = labels[side]
        # scikit-learn warns of predictions outside the truth's classes; one stand-in for all of them is as wrong
        chosen = np.where(np.isin(predicted[side], truth), predicted[side], -1)
        found.append(100 * np.mean([np.mean(chosen[truth == k] == k) for k in np.unique(truth)]))
        if (chosen >= 0).all():
            assert found[-1] == pytest.approx(100 * balanced_accuracy_score(truth, chosen))
        if not per_class:
            found[-1] = 100 * measure(truth, chosen)
    return tuple(found)


def sweep(scores, labels, is_seen, per_class):
    """Every gamma at which an image could change sides, and (u, s) between each two."""
    gammas = np.unique(scores[:, is_seen].max(axis=1) - scores[:, ~is_seen].max(axis=1))
    between = np.concatenate([gammas[:1] - 1, (gammas[1:] + gammas[:-1]) / 2, gammas[-1:] + 1])
    return between, np.array([accuracies(scores, labels, is_seen, gamma, per_class) for gamma in between])


@pytest.mark.parametrize("seed", range(5))
def test_class_accuracies_against_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(6), rng.integers(0, 6, 200)])
    predicted = np.where(rng.random(206) < 0.6, labels, rng.integers(0, 6, 206))
    per_class = class_accuracies(predicted, labels, 8)
    assert np.nanmean(per_class) == pytest.approx(100 * balanced_accuracy_score(labels, predicted))
    assert np.isnan(per_class[6:]).all()


@pytest.mark.parametrize("per_class", [True, False])
@pytest.mark.parametrize("kind", ["random", "ties"])
@pytest.mark.parametrize("seed", range(6))
def test_curve_against_brute_force(seed, kind, per_class):
    scores, labels, is_seen = make_case(seed, kind=kind)
    curve = seen_unseen_curve(scores, labels, is_seen, per_class)
    gammas, expected = sweep(scores, labels, is_seen, per_class)
    np.testing.assert_allclose([curve.at(gamma) for gamma in gammas], expected, atol=1e-9)
    changes = np.concatenate([[True], (np.diff(expected, axis=0) != 0).any(axis=1)])
    np.testing.assert_allclose(np.column_stack([curve.u, curve.s]), expected[changes], atol=1e-9)
    assert curve.area == pytest.approx(np.trapezoid(expected[:, 1], expected[:, 0]) / 1e4)


@pytest.mark.parametrize("per_class", [True, False])
@pytest.mark.parametrize("kind", ["random", "ties"])
@pytest.mark.parametrize("seed", range(6))
def test_best_gamma_attains_its_h(seed, kind, per_class):
    scores, labels, is_seen = make_case(seed, kind=kind)
    curve = seen_unseen_curve(scores, labels, is_seen, per_class)
    gamma, h = curve.best
    _, expected = sweep(scores, labels, is_seen, per_class)
    assert h == pytest.approx(harmonic_mean(*expected.T).max())
    assert harmonic_mean(*curve.at(gamma)) == pytest.approx(h)
    assert harmonic_mean(*accuracies(scores, labels, is_seen, gamma, per_class)) == pytest.approx(h)


def test_a_tie_counts_as_unseen():
    curve = seen_unseen_curve(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]), np.array([True, False]))
    assert curve.gamma.tolist() == [1.0]
    assert curve.at(np.nextafter(1.0, 0)) == (0.0, 100.0)
    assert curve.at(1.0) == (100.0, 0.0)


def exact(scores):
    """Scores with which floating point makes no error, so that a tie stays one."""
    return np.round(scores * 64) / 64


cases = st.builds(make_case, st.integers(0, 10**6), st.integers(2, 40), st.integers(4, 8), st.integers(1, 3))


@settings(max_examples=60, deadline=None)
@given(cases, st.booleans())
def test_curve_is_a_staircase(case, per_class):
    curve = seen_unseen_curve(*case, per_class)
    assert len(curve.u) == len(curve.s) == len(curve.gamma) + 1
    assert (np.diff(curve.gamma) > 0).all()
    assert (np.diff(curve.u) >= 0).all()
    assert (np.diff(curve.s) <= 0).all()
    assert curve.u[0] == 0
    assert curve.s[-1] == 0
    assert 0 <= curve.area <= 1


@settings(max_examples=60, deadline=None)
@given(cases, st.integers(-40, 40), st.booleans())
def test_area_ignores_a_shift_of_all_seen_scores(case, shift, per_class):
    scores, labels, is_seen = case
    scores = exact(scores)
    curve = seen_unseen_curve(scores, labels, is_seen, per_class)
    shifted = seen_unseen_curve(np.where(is_seen, scores + shift / 4, scores), labels, is_seen, per_class)
    assert shifted.area == pytest.approx(curve.area)
    np.testing.assert_allclose(shifted.gamma, curve.gamma + shift / 4, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(cases, st.randoms(use_true_random=False), st.booleans())
def test_area_ignores_the_order_of_classes_and_images(case, random, per_class):
    scores, labels, is_seen = case
    classes = np.array(random.sample(range(len(is_seen)), len(is_seen)))
    images = np.array(random.sample(range(len(labels)), len(labels)))
    row_of = np.argsort(classes)
    permuted = seen_unseen_curve(scores[images][:, classes], row_of[labels[images]], is_seen[classes], per_class)
    curve = seen_unseen_curve(scores, labels, is_seen, per_class)
    np.testing.assert_allclose(permuted.u, curve.u)
    np.testing.assert_allclose(permuted.s, curve.s, atol=1e-9)
    assert permuted.area == pytest.approx(curve.area)


@settings(max_examples=60, deadline=None)
@given(cases, st.integers(-10, 10), st.integers(-50, 50), st.booleans())
def test_area_ignores_an_affine_map_of_all_scores(case, power, offset, per_class):
    scores, labels, is_seen = case
    scores = exact(scores)
    curve = seen_unseen_curve(scores, labels, is_seen, per_class)
    scaled = seen_unseen_curve(scores * 2.0**power, labels, is_seen, per_class)  # exact in floating point
    assert scaled.area == pytest.approx(curve.area)
    np.testing.assert_allclose(scaled.gamma, curve.gamma * 2.0**power)
    assert scaled.best[0] == pytest.approx(curve.best[0] * 2.0**power)
    moved = seen_unseen_curve(scores + offset, labels, is_seen, per_class)
    assert moved.area == pytest.approx(curve.area)


def test_no_image_ever_right():
    scores = np.array([[1.0, 0, 1, 0], [1, 0, 1, 0]])
    curve = seen_unseen_curve(scores, np.array([1, 3]), np.array([True, True, False, False]))
    assert curve.area == 0
    assert curve.best == (0.0, 0.0)
    assert curve.at(0.0) == (0.0, 0.0)


def test_one_class_on_each_side_is_always_right_on_its_own():
    scores = np.array([[3.0, 1], [2, 1], [1, 1], [2, 0]])
    curve = seen_unseen_curve(scores, np.array([0, 0, 1, 1]), np.array([True, False]))
    np.testing.assert_allclose(curve.gamma, [0, 1, 2])
    np.testing.assert_allclose(curve.u, [0, 50, 50, 100])
    np.testing.assert_allclose(curve.s, [100, 100, 50, 0])
    assert curve.best == (0.5, pytest.approx(200 / 3))


@pytest.mark.parametrize("per_class", [True, False])
def test_all_scores_equal(per_class):
    curve = seen_unseen_curve(np.zeros((4, 3)), np.array([0, 1, 2, 2]), np.array([True, True, False]), per_class)
    assert curve.gamma.tolist() == [0.0]
    np.testing.assert_allclose(curve.u, [0, 100])
    np.testing.assert_allclose(curve.s, [50, 0])
    assert curve.area == 0.25


@pytest.mark.parametrize("per_class", [True, False])
@pytest.mark.parametrize("label", [0, 2])
def test_images_of_one_side_only(label, per_class):
    labels = np.full(3, label)
    curve = seen_unseen_curve(np.eye(3), labels, np.array([True, True, False]), per_class)
    assert np.isfinite(curve.u).all()
    assert np.isfinite(curve.s).all()
    assert curve.area == 0
    assert curve.best[1] == 0


def test_a_benchmark_sized_curve():
    rng = np.random.default_rng(0)
    scores = rng.random((8000, 717), dtype=np.float32)
    labels = rng.integers(0, 717, 8000)
    scores[np.arange(8000), labels] += 0.9
    is_seen = np.arange(717) < 645
    curve = seen_unseen_curve(scores, labels, is_seen)
    gamma, h = curve.best
    assert harmonic_mean(*curve.at(gamma)) == pytest.approx(h)
    assert len(curve.gamma) > 1000


@pytest.mark.parametrize(("u", "s", "h"), [(0, 0, 0), (0, 50, 0), (50, 50, 50), (20, 80, 32)])
def test_harmonic_mean(u, s, h):
    assert harmonic_mean(u, s) == h


def test_harmonic_mean_of_many():
    np.testing.assert_array_equal(harmonic_mean(np.array([0, 20]), np.array([0.0, 80])), [0, 32])


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
    assert np.isfinite(calibrated(method, blank).gamma)
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


def test_the_threshold_goes_with_the_best_scores_of_training_images(data):
    method = ESZSL(scaling="l2", class_scaling="centred").fit(data.training_set())
    found = calibrated(method, data)
    validation = data.validation_set(0)
    trial = method.unfitted().fit(validation.training_set())
    tests = validation.test_images

    def stacked(fitted, of, images, gamma):
        return fitted.scores(of.inputs(images), of.classes) - gamma * of.is_seen

    tested = trial.scores(validation.inputs(tests), validation.classes)
    is_seen = validation.is_seen
    trial_gamma, _ = seen_unseen_curve(tested, validation.labels[tests], is_seen).best
    before = fit_rejection(tested - trial_gamma * is_seen, validation.labels[tests])
    now = stacked(method, data, data.trainval, found.gamma).max(axis=1).mean()
    then = stacked(trial, validation, validation.trainval, trial_gamma).max(axis=1).mean()
    assert found.rejection.threshold == pytest.approx(before.threshold * now / then, rel=1e-4)
    assert (found.rejection.kept, found.rejection.caught) == (before.kept, before.caught)
    assert abs(now / then - 1) > 0.01


def test_the_temperature_is_fitted_on_validation_classes(data, monkeypatch):
    """By a plain search over temperatures, where both fits have the same lead."""
    monkeypatch.setattr("firstsight.evaluation.evaluate._ratio", lambda *_: 1.0)
    method = ESZSL(scaling="l2").fit(data.training_set())
    found = calibrated(method, data)
    validation = data.validation_set(0)
    trial = ESZSL(scaling="l2").fit(validation.training_set())
    tests = validation.test_images
    is_seen = validation.is_seen
    scores = trial.scores(validation.inputs(tests), validation.classes) - found.gamma * is_seen

    def loss(temperature):
        return -np.mean(
            [
                np.log(np.exp(row[label] / temperature) / np.exp(row / temperature).sum())
                for row, label in zip(scores.astype(float), validation.labels[tests], strict=True)
            ]
        )

    assert loss(found.temperature) <= min(loss(found.temperature * factor) for factor in (0.5, 0.9, 1.1, 2.0))


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
