import importlib

import numpy as np
import pytest

from firstsight.errors import InputError
from firstsight.evaluation.evaluate import evaluate
from firstsight.methods import ESZSL, METHODS, Span
from firstsight.methods.loop import Loop
from firstsight.tuning.tune import Search, combinations, is_finite, tune
from tests.support.tiny import FAST, tiny_dataset

tune_module = importlib.import_module("firstsight.tuning.tune")
GRID = {"gamma": (0.1, 10.0), "lam": (0.01, 1.0, 100.0)}


@pytest.fixture
def data():
    return tiny_dataset(n_seen=9, w=5).without_test()


def test_without_test_nothing_of_the_test_images_is_left():
    data = tiny_dataset(w=5)
    left = data.without_test()
    assert len(left.test_seen) == len(left.test_unseen) == 0
    assert left.classes.names == data.classes[data.seen].names
    np.testing.assert_array_equal(left.features, data.features[data.trainval])
    np.testing.assert_array_equal(left.reconstruction_features, data.reconstruction_features[data.trainval])
    names = [data.classes.names[row] for row in data.labels[data.trainval]]
    assert [left.classes.names[row] for row in left.labels] == names
    before, after = data.training_set(), left.training_set()
    np.testing.assert_array_equal(before.features, after.features)
    np.testing.assert_array_equal(before.labels, after.labels)


def test_every_setting_is_tried_on_every_partition(data):
    trials = tune(ESZSL(scaling="l2"), data, GRID, "h", partitions=2)
    assert len(trials) == 6
    for trial in trials:
        expected = [
            evaluate(ESZSL(**trial.settings).fit(part.training_set()), part, calibrate=False).h
            for part in (data.validation_set(0), data.validation_set(1))
        ]
        assert trial.values == pytest.approx(expected)
        assert trial.settings["scaling"] == "l2"
    means = [trial.mean for trial in trials]
    assert means == sorted(means, reverse=True)
    assert means[0] > means[-1]


@pytest.mark.parametrize("objective", ["ausuc", "h", "h_cal", "t1"])
def test_objectives_are_the_numbers_of_evaluate(objective, data):
    for part in (data.validation_set(0), data.validation_set(1)):
        fitted = ESZSL(scaling="l2").fit(part.training_set())
        result = evaluate(fitted, part, calibrate=False)
        expected = result.curve.best[1] if objective == "h_cal" else getattr(result, objective)
        assert tune_module._value(fitted, part, objective) == pytest.approx(expected)


def test_the_best_value_is_the_mean_over_partitions(data):
    trials = tune(ESZSL(), data, GRID, partitions=3)
    for trial in trials:
        assert trial.mean == pytest.approx(np.mean(trial.values))


def test_a_data_set_with_test_images_is_refused():
    data = tiny_dataset()
    count = len(data.test_seen) + len(data.test_unseen)
    with pytest.raises(InputError) as caught:
        tune(ESZSL(), data)
    assert str(caught.value) == (f"data must be without test images for tuning; got {count}; call without_test()")


def test_progress_counts_fits(data):
    seen = []
    tune(ESZSL(), data, GRID, partitions=2, progress=lambda *given: seen.append(given))
    assert [done for done, _, _ in seen] == list(range(1, 13))
    assert {total for _, total, _ in seen} == {12}
    assert set(seen[-1][2]) == {"best ausuc"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"objective": "H"}, "objective must be one of ausuc, h, h_cal, t1; got 'H'"),
        ({"partitions": 0}, "partitions must be 1 or more; got 0"),
        ({"space": {"gama": [1.0]}}, "space must name settings of eszsl; got 'gama'"),
        ({"trials": 0}, "trials must be 1 or more; got 0"),
    ],
)
def test_bad_arguments(changes, sentence, data):
    with pytest.raises(InputError) as caught:
        tune(ESZSL(), data, **({"space": GRID} | changes))
    assert str(caught.value) == sentence


def test_each_method_has_an_objective_of_its_own(data):
    cmt_star = METHODS["cmt_star"](**FAST["cmt_star"], outliers=0.2)
    (trial,) = tune(cmt_star, data, {"outliers": [0.2]}, partitions=1)
    part = data.validation_set(0)
    assert trial.values == (evaluate(cmt_star.fit(part.training_set()), part, calibrate=False).h,)
    with pytest.raises(InputError) as caught:
        tune(cmt_star, data, objective="t1")
    assert str(caught.value) == "objective must be ausuc, h or h_cal for cmt_star, which has no t1; got 't1'"


@pytest.mark.parametrize("name", METHODS)
def test_spaces_are_made_of_valid_settings(name):
    kind = METHODS[name]
    ends = {
        field: (values.low, values.high) if isinstance(values, Span) else tuple(values)
        for field, values in kind.search.space.items()
    }
    variants = list(combinations(kind(), ends))
    assert len({str(variant.settings()) for variant in variants}) == len(variants) >= 1
    assert len(variants) > 1 or not kind.search.space
    for field, values in kind.search.space.items():
        default = getattr(kind(), field)
        reached = values.low <= default <= values.high if isinstance(values, Span) else default in values
        assert reached, f"{field} = {default}, the default, cannot be found by tuning"


def test_methods_that_share_their_work_try_their_whole_space(data):
    assert {name for name, kind in METHODS.items() if kind.search.space and kind.search.shares_fits} == {
        *("eszsl", "sae", "conse", "sync", "cmt_star", "spaen-pictures")
    }
    assert all(is_finite(kind.search.space) for kind in METHODS.values() if kind.search.shares_fits)
    assert len(tune(METHODS["sae"](), data, partitions=1, trials=2)) == 120


DRAWING = {"alpha": (0.1, 1.0), "beta": (0.005, 0.05, 0.5)}


@pytest.fixture
def pictured():
    """Training images with pictures, of a size that SP-AEN on pictures reads at once."""
    return tiny_dataset(n_seen=9, side=37).without_test()


def drawing(**changes):
    return METHODS["spaen-pictures"](**(FAST["spaen-pictures"] | {"device": "cpu", "hidden": 8} | changes))


def test_pictures_are_tuned_with_one_f_and_g_for_each_alpha(pictured, monkeypatch):
    """All trials of a partition whose F and G are alike share them, and score as if each was trained alone."""
    skipped = []
    skip = Loop.skip_to
    monkeypatch.setattr(Loop, "skip_to", lambda self, name: skipped.append(name) or skip(self, name))
    trials = tune(drawing(epochs=6.0, learning_rate=0.05), pictured, DRAWING, partitions=2)
    assert len(trials) == 6
    assert skipped == ["embedder"] * 2 * (6 - 2)
    one = trials[2]
    for partition, value in enumerate(one.values):
        part = pictured.validation_set(partition)
        alone = METHODS["spaen-pictures"](**one.settings).fit(part.training_set())
        assert value == evaluate(alone, part, calibrate=False).ausuc
    assert len({trial.values for trial in trials}) > 1


def test_joint_trainings_share_nothing_so_they_are_proposed(pictured):
    trials = tune(drawing(schedule="joint"), pictured, DRAWING, partitions=1, trials=2)
    assert len(trials) == 2
    assert {drawing().shares_fits, drawing(schedule="joint").shares_fits} == {True, False}


def test_features_of_ones_own_are_made_on_validation_sets_too(pictured):
    (trial,) = tune(drawing(end_to_end="compact"), pictured, {"alpha": (1.0,)}, partitions=1)
    assert 0 <= trial.mean <= 1


def test_shared_fits_that_were_made_are_not_made_again(data, tmp_path, monkeypatch):
    storage = f"sqlite:///{tmp_path}/study.db"
    monkeypatch.setattr(tune_module, "KEEP_EVERY", 0.0)
    whole = tune(ESZSL(), data, GRID, partitions=2)
    values = []

    def stopping(fitted, *rest, value=tune_module._value):
        if len(values) == 4:
            raise KeyboardInterrupt
        values.append(value(fitted, *rest))
        return values[-1]

    with monkeypatch.context() as patch:
        patch.setattr(tune_module, "_value", stopping)
        with pytest.raises(KeyboardInterrupt):
            tune(ESZSL(), data, GRID, partitions=2, storage=storage)
    fitted = []
    real = tune_module._value
    monkeypatch.setattr(tune_module, "_value", lambda *given: fitted.append(1) or real(*given))
    assert tune(ESZSL(), data, GRID, partitions=2, storage=storage) == whole
    assert len(fitted) == 12 - 4
    assert tune(ESZSL(), data, GRID, partitions=2, storage=storage) == whole
    assert len(fitted) == 8


SPACE = {"epochs": (1, 2, 3, 4), "learning_rate": Span(0.001, 1.0)}


def make(**changes):
    return METHODS["ale"](**(FAST["ale"] | changes))


def test_a_study_starts_with_the_settings_it_is_given(data):
    trials = tune(make(), data, SPACE, trials=6, partitions=2)
    assert len(trials) == 6
    assert sum(trial.settings == make().settings() for trial in trials) == 1
    assert len({str(trial.settings) for trial in trials}) == 6
    for trial in trials:
        assert trial.settings["epochs"] in (1, 2, 3, 4)
        assert 0.001 <= trial.settings["learning_rate"] <= 1.0
        method = METHODS["ale"](**trial.settings)
        expected = [
            evaluate(method.unfitted().fit(part.training_set()), part, calibrate=False).ausuc
            for part in map(data.validation_set, range(len(trial.values)))
        ]
        assert trial.values == pytest.approx(expected)
    finished = [trial.mean for trial in trials if not trial.given_up]
    assert finished == sorted(finished, reverse=True)
    assert [trial.given_up for trial in trials] == sorted(trial.given_up for trial in trials)


def test_the_start_counts_even_where_the_space_leaves_it_out(data):
    trials = tune(make(learning_rate=3.0, epochs=7), data, SPACE, trials=1, partitions=1)
    assert [trial.settings for trial in trials] == [make(learning_rate=3.0, epochs=7).settings()]


def test_a_finite_space_is_tried_once_each(data):
    space = {"epochs": (1, 2, 3), "learning_rate": (0.1, 0.3)}
    trials = tune(make(), data, space, trials=50, partitions=1)
    points = [(trial.settings["epochs"], trial.settings["learning_rate"]) for trial in trials]
    assert sorted(points) == [(1, 0.1), (1, 0.3), (2, 0.1), (2, 0.3), (3, 0.1), (3, 0.3)]


def test_the_same_seed_proposes_the_same(data):
    one, other = (tune(make(), data, SPACE, trials=5, partitions=1) for _ in range(2))
    assert one == other


def test_a_trial_that_lags_behind_is_given_up(data, monkeypatch):
    """Values by trial and partition; after two trials, only the best quarter goes on."""
    values = iter([0.5, 0.5, 0.5, 0.6, 0.6, 0.6, 0.1, 0.9, 0.8, 0.7, 0.2])
    monkeypatch.setattr(tune_module, "_value", lambda *_: next(values))
    trials = tune(make(), data, SPACE, trials=5, partitions=3)
    assert [(trial.values, trial.given_up) for trial in trials] == [
        ((0.9, 0.8, 0.7), False),
        ((0.6, 0.6, 0.6), False),
        ((0.5, 0.5, 0.5), False),
        ((0.2,), True),
        ((0.1,), True),
    ]


def test_a_study_is_continued(data, tmp_path, monkeypatch):
    storage = f"sqlite:///{tmp_path}/study.db"
    whole = tune(make(), data, SPACE, trials=4, partitions=2)
    real, fits = tune_module._value, []

    def interrupted(*given):
        fits.append(given)
        if len(fits) == 4:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(tune_module, "_value", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tune(make(), data, SPACE, trials=4, partitions=2, storage=storage)
    first = [str(call[0].settings()) for call in fits]
    trials = tune(make(), data, SPACE, trials=4, partitions=2, storage=storage)
    assert len(trials) == len(whole) == 4
    assert first[0] == str(make().settings())
    again = [str(call[0].settings()) for call in fits[4:]]
    assert first[0] not in again  # finished before the interruption
    n_fits = len(fits)
    assert tune(make(), data, SPACE, trials=4, partitions=2, storage=storage) == trials
    assert len(fits) == n_fits
    tune(make(), data, SPACE, trials=1, partitions=1, storage=storage)  # another question, another study
    assert len(fits) == n_fits + 1


def test_a_killed_trial_of_a_finite_space_is_made_again(data, tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    space = {"epochs": (1, 2)}
    study = tune_module._open_study(Search(make(epochs=1), data, space, "ausuc", 1, print), storage)
    study.enqueue_trial({"epochs": 1})
    study.ask({"epochs": tune_module._distribution((1, 2))})  # and nothing more: the process was killed
    trials = tune(make(epochs=1), data, space, trials=2, partitions=1, storage=storage)
    assert sorted(trial.settings["epochs"] for trial in trials) == [1, 2]


def test_a_training_that_blows_up_is_given_up_and_the_others_go_on(data):
    method = METHODS["spaen"](**FAST["spaen"])
    trials = tune(method, data, {"learning_rate": (2e-3, 1e30)}, trials=2, partitions=1)
    assert [trial.given_up for trial in trials] == [False, True]
    assert trials[1].values == ()
    assert trials[1].mean == -np.inf
    with pytest.raises(InputError, match="training must stay finite"):
        tune(METHODS["spaen"](**FAST["spaen"], learning_rate=1e30), data, {"learning_rate": (1e30,)}, partitions=1)


@pytest.mark.parametrize("storage", ["nonsense", "sqlite:////nowhere/at/all.db", "nosuch://host/study"])
def test_a_wrong_storage(storage, data):
    with pytest.raises(InputError, match="storage must be the URL of a database; got '" + storage):
        tune(make(), data, SPACE, storage=storage)
