"""The pictures that a report shows, and why their answers came out as they did."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from firstsight.bench.samples import N_EACH, SIDE, explained, guesses, has_pictures, samples, shown
from firstsight.methods import ESZSL, METHODS
from firstsight.results.records import RunRecord
from tests.support.tiny import FAST, tiny_dataset

PICTURES = list(np.random.default_rng(0).integers(0, 256, (90, 4, 4, 3), dtype=np.uint8))


@pytest.fixture
def data():
    return tiny_dataset(noise=1.5, pictures=PICTURES)


@pytest.fixture
def method(data):
    return ESZSL(scaling="l2").fit(data.training_set())


def a_run(label, guessed):
    return RunRecord(data="tiny", method=label, guesses=guessed)


def test_one_image_of_each_class_seen_ones_first(data):
    labels = data.labels[shown(data)]
    assert len(set(labels)) == len(labels)
    is_seen = np.isin(labels, data.seen)
    assert is_seen[: is_seen.sum()].all()
    assert is_seen.sum() <= N_EACH


def test_guesses_are_the_three_best_with_gamma(data, method):
    for of_image, image in zip(guesses(method, data, 0.3), shown(data), strict=True):
        scores = method.scores(data.inputs([image]), data.classes)[0]
        scores[data.seen] -= 0.3
        best = [data.classes.names[row] for row in np.argsort(-scores)[:3]]
        assert [guess.name for guess in of_image] == best


def test_samples_hold_pictures_and_every_methods_guesses(data, method):
    found = samples(data, [a_run("one", guesses(method, data, None)), a_run("two", guesses(method, data, 9.0))])
    assert [set(one.predictions) for one in found.samples] == [{"one", "two"}] * len(shown(data))
    picture = Image.open(io.BytesIO(base64.b64decode(found.samples[0].picture)))
    np.testing.assert_array_equal(np.asarray(picture), data.pictures[shown(data)[0]])


@pytest.mark.parametrize("gamma", [None, 0.2])
def test_explained_are_the_best_and_the_worst_unseen_classes(data, method, gamma):
    found = explained(method, data, gamma)
    scores = method.scores(data.inputs(data.test_unseen), data.classes)
    scores[:, data.seen] -= gamma or 0.0
    answers, labels = scores.argmax(axis=1), data.labels[data.test_unseen]
    accuracy = {row: np.mean(answers[labels == row] == row) for row in data.unseen}
    names = data.classes.names
    told = [names.index(one.truth) for one in found]
    assert len(set(told)) == len(told) == 3  # of three classes: the two best, and the worst
    assert sorted(accuracy[row] for row in told[:2])[0] >= accuracy[told[2]]
    for one, row in zip(found, told, strict=True):
        is_right = one.predicted == one.truth
        assert is_right or one.other == one.truth
        image = np.flatnonzero((labels == row) & ((answers == row) == is_right))[0]
        assert one.predicted == names[answers[image]]
        assert [weight for _, weight in one.for_] == sorted((weight for _, weight in one.for_), reverse=True)
        assert all(weight > 0 for _, weight in one.for_)
        assert all(weight < 0 for _, weight in one.against)
    assert found[2].predicted != found[2].truth


def test_nothing_to_explain(data):
    star = METHODS["cmt_star"](**FAST["cmt_star"]).fit(data.training_set())
    assert explained(star, data, None) == []
    perfect = tiny_dataset(noise=0.0, pictures=data.pictures)
    found = explained(ESZSL(scaling="l2").fit(perfect.training_set()), perfect, 1e9)
    assert all(one.predicted == one.truth or one.other == one.truth for one in found)


@pytest.fixture
def in_files(tmp_path):
    """Images in files: wide, of one colour each; of those shown, one is missing and one is no picture."""
    paths = [f"birds/{number}.jpg" for number in range(90)]
    data = tiny_dataset(noise=1.5, paths=paths, root=str(tmp_path))
    (tmp_path / "birds").mkdir()
    for number, path in enumerate(paths):
        Image.new("RGB", (1200, 600), (number, 2 * number, 200)).save(tmp_path / path)
    gone, broken = shown(data)[[1, 3]]
    (tmp_path / paths[gone]).unlink()
    (tmp_path / paths[broken]).write_bytes(b"not a picture")
    return data


def test_thumbnails_of_files_without_those_that_cannot_be_read(in_files):
    method = ESZSL(scaling="l2").fit(in_files.training_set())
    found = samples(in_files, [a_run("one", guesses(method, in_files, None))]).samples
    readable = np.delete(shown(in_files), [1, 3])
    assert [one.truth for one in found] == [in_files.classes.names[row] for row in in_files.labels[readable]]
    for one, image in zip(found, readable, strict=True):
        content = base64.b64decode(one.picture)
        picture = Image.open(io.BytesIO(content))
        assert (picture.format, picture.size) == ("JPEG", (SIDE, SIDE // 2))
        assert len(content) < 5000
        np.testing.assert_allclose(picture.getpixel((9, 9)), (image, 2 * image, 200), atol=5)
        scores = method.scores(in_files.inputs([image]), in_files.classes)[0]
        assert one.predictions["one"][0].name == in_files.classes.names[scores.argmax()]


def test_an_answer_is_explained_without_its_file(in_files, tmp_path):
    method = ESZSL(scaling="l2").fit(in_files.training_set())
    assert all(one.picture for one in explained(method, tiny_dataset(noise=1.5, pictures=PICTURES), None))
    for path in tmp_path.rglob("*.jpg"):
        path.unlink()
    found = explained(method, in_files, None)
    assert found
    assert not any(one.picture for one in found)


def test_pictures_are_there_as_arrays_or_files(data, in_files):
    assert has_pictures(data)
    assert has_pictures(in_files)
    assert not has_pictures(tiny_dataset())
