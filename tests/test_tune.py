import dataclasses

import numpy as np
import pytest
from tiny import FAST, tiny_dataset

from firstsight.errors import InputError
from firstsight.evaluation import evaluate
from firstsight.methods import ESZSL, METHODS
from firstsight.tune import combinations, read_settings, tune, write_settings

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
        ({"objective": "H"}, "objective must be one of ausuc, h, t1; got 'H'"),
        ({"partitions": 0}, "partitions must be 1 or more; got 0"),
        ({"grid": {"gama": [1.0]}}, "grid must name settings of eszsl; got 'gama'"),
    ],
)
def test_bad_arguments(changes, sentence, data):
    with pytest.raises(InputError) as caught:
        tune(ESZSL(), data, **({"grid": GRID} | changes))
    assert str(caught.value) == sentence


def test_each_method_has_an_objective_of_its_own(data):
    cmt_star = METHODS["cmt_star"](**FAST["cmt_star"], outliers=0.2)
    (trial,) = tune(cmt_star, data, {"outliers": [0.2]}, partitions=1)
    part = data.validation_set(0)
    assert trial.values == (evaluate(cmt_star.fit(part.training_set()), part, calibrate=False).h,)
    with pytest.raises(InputError) as caught:
        tune(cmt_star, data, objective="t1")
    assert str(caught.value) == "objective must be ausuc or h for cmt_star, which has no t1; got 't1'"


@pytest.mark.parametrize("name", METHODS)
def test_grids_are_made_of_valid_settings(name):
    kind = METHODS[name]
    variants = list(combinations(kind(), kind.grid))
    assert len({str(variant.settings()) for variant in variants}) == len(variants) >= 1
    if kind.grid:
        defaults = dataclasses.asdict(kind())
        assert all(defaults[field] in values for field, values in kind.grid.items()), "a default tuning cannot find"


def test_settings_file_keeps_other_tables_and_comments(tmp_path):
    path = tmp_path / "tuned.toml"
    spaen = METHODS["spaen"](margin=0.5, output="leaky")
    write_settings(path, "CUB", spaen, spaen.settings(), "from here")
    write_settings(path, "CUB sent", ESZSL(), ESZSL(gamma=3.0).settings(), "from there")
    write_settings(path, "CUB", ESZSL(), ESZSL(gamma=3.0).settings(), "from nowhere")
    write_settings(path, "CUB", ESZSL(), ESZSL(gamma=1e-5).settings(), "from elsewhere")
    assert read_settings(path) == {
        "CUB": {"eszsl": {"gamma": 1e-5}, "spaen": {"margin": 0.5, "output": "leaky"}},
        "CUB sent": {"eszsl": {"gamma": 3.0}},
    }
    text = path.read_text()
    assert '# from here\n["CUB".spaen]\n' in text
    assert '# from there\n["CUB sent".eszsl]\n' in text
    assert '# from elsewhere\n["CUB".eszsl]\n' in text
    assert "from nowhere" not in text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[CUB.eszzl]\n", "unknown method 'eszzl'; did you mean 'eszsl'?"),
        ("[CUB.eszsl]\ngama = 1\n", "settings of eszsl must be its own; got 'gama' in {path}"),
        ("[CUB.eszsl]\ngamma = -1\n", "gamma must be a number of 0 or more; got -1"),
        ("gamma = 3\n", """settings must be in tables like ["CUB".eszsl]; got 'gamma' = 3 in {path}"""),
        (
            "[CUB]\ngamma = 3\n",
            """settings must be in tables like ["CUB".eszsl]; got 'CUB' = {{'gamma': 3}} in {path}""",
        ),
    ],
)
def test_a_wrong_settings_file(text, sentence, tmp_path):
    path = tmp_path / "tuned.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_settings(path)
    assert str(caught.value) == sentence.format(path=path)


@pytest.mark.parametrize("content", [None, b"[eszsl", b"\xff"])
def test_no_settings_file(content, tmp_path):
    path = tmp_path / "tuned.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"settings must be a TOML file; got .*tuned.toml"):
        read_settings(path)
