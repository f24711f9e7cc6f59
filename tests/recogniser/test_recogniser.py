"""A method with its classes: probabilities, new classes, refusals, explanations, and one file for it all."""

import contextlib
import json
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from firstsight import checkpoint
from firstsight.data import ClassEmbeddings
from firstsight.errors import InputError
from firstsight.evaluation.calibration import fit_calibration
from firstsight.evaluation.explanation import attribute_weights
from firstsight.methods import ESZSL, METHODS, load_method
from firstsight.recogniser import recogniser, topk
from firstsight.recogniser.recogniser import Recogniser
from tests.support.tiny import FAST, tiny_dataset, widths

DATA = tiny_dataset()
METHOD = ESZSL(gamma=1.0, lam=1.0, device="cpu").fit(DATA.training_set())
FEATURES = DATA.features[DATA.test_unseen]
SOURCE = {"backbone": "fake", "crops": "1", "transform": "as it is"}


@pytest.fixture(scope="module")
def known() -> Recogniser:
    return Recogniser.of(METHOD, DATA)


@pytest.fixture(scope="module")
def saved(known, tmp_path_factory):
    return replace(known, feature_source=SOURCE).save(tmp_path_factory.mktemp("saved") / "birds.safetensors")


@pytest.fixture
def fake_backbone(monkeypatch):
    """A backbone whose features are the mean colour of a picture and zeros."""
    loaded = []

    class Backbone:
        name, transform, width = "fake", "as it is", 7

        def features(self, pictures, crops=1, progress=None):
            rows = []
            for picture in pictures:
                if not isinstance(picture, Image.Image):
                    try:
                        picture = Image.open(picture)
                        picture.load()
                    except OSError as error:
                        raise InputError(f"picture must be readable; got {error}") from error
                rows.append(np.append(np.asarray(picture.convert("RGB")).mean(axis=(0, 1)) / 255, np.zeros(4)))
            return np.array(rows, dtype=np.float32)

    def load_backbone(name, device="auto"):
        loaded.append((name, device))
        return Backbone()

    module = types.ModuleType("firstsight.features.load")
    module.load_backbone = load_backbone
    monkeypatch.setitem(sys.modules, "firstsight.features.load", module)
    return loaded


def says(sentence, work, *given, **named):
    with pytest.raises(InputError) as caught:
        work(*given, **named)
    assert str(caught.value) == sentence


def test_probabilities_are_the_calibrated_softmax(known):
    chosen = fit_calibration(METHOD, DATA)
    is_seen = DATA.is_seen
    scores = METHOD.scores(FEATURES, DATA.classes).astype(np.float64) - chosen.gamma * is_seen
    expected = np.exp(scores / chosen.temperature)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(known.probabilities(FEATURES), expected, rtol=1e-4)
    np.testing.assert_array_equal(known.is_seen, is_seen)
    assert known.threshold == chosen.rejection.threshold


def test_top_is_the_order_of_probabilities(known):
    top = known.top(FEATURES, 4)
    chances = known.probabilities(FEATURES)
    np.testing.assert_array_equal(top.rows, np.argsort(-chances, axis=1)[:, :4])
    np.testing.assert_allclose(top.probabilities, -np.sort(-chances, axis=1)[:, :4], rtol=1e-5)


def test_without_calibration():
    plain = Recogniser.of(METHOD, DATA, calibrate=False)
    assert (plain.gamma, plain.temperature, plain.threshold) == (0.0, 1.0, None)
    np.testing.assert_allclose(
        np.log(plain.probabilities(FEATURES)[:, 0] / plain.probabilities(FEATURES)[:, 1]),
        np.diff(METHOD.scores(FEATURES, DATA.classes)[:, :2])[:, 0] * -1,
        atol=1e-5,
    )
    says(
        "recogniser must be calibrated to refuse answers; got one without a threshold",
        plain.rejects,
        plain.top(FEATURES).scores[:, 0],
    )
    assert plain.answers(FEATURES[:1], ["x"])[0].rejected is None


def test_no_test_image_is_looked_at():
    noise = np.random.default_rng(0).normal(size=DATA.features.shape).astype(np.float32)
    noise[DATA.trainval] = DATA.features[DATA.trainval]
    changed = tiny_dataset(features=noise)
    ours, theirs = Recogniser.of(METHOD, DATA), Recogniser.of(METHOD, changed)
    assert (ours.gamma, ours.temperature, ours.threshold) == (theirs.gamma, theirs.temperature, theirs.threshold)


def test_data_without_unseen_classes():
    seen = DATA.without_test()
    known = Recogniser.of(ESZSL(gamma=1.0, lam=1.0).fit(seen.training_set()), seen)
    assert known.is_seen.all()
    assert np.isfinite(known.threshold)
    more = DATA.classes[DATA.unseen]
    np.testing.assert_allclose(known.with_classes(more).probabilities(FEATURES).sum(axis=1), 1)


def test_a_method_of_other_data():
    other = tiny_dataset(classes=ClassEmbeddings(tuple("qwertzuio"), DATA.classes.vectors))
    with pytest.raises(InputError, match="method must be trained on seen classes of 'tiny'; got one trained on 'class"):
        Recogniser.of(METHOD, other)
    with pytest.raises(InputError, match="eszsl must be fitted before it recognises"):
        Recogniser.of(ESZSL(), DATA)


def test_new_classes_need_no_training(known):
    """A class taken out and added again is recognised as before: nothing about it was learned."""
    rows = DATA.unseen
    without = replace(known, classes=DATA.classes[DATA.seen], is_seen=np.ones(len(DATA.seen), dtype=bool))
    again = without.with_classes(DATA.classes[rows])
    order = [again.classes.names.index(name) for name in DATA.classes.names]
    np.testing.assert_allclose(again.probabilities(FEATURES)[:, order], known.probabilities(FEATURES), rtol=1e-5)
    np.testing.assert_array_equal(again.is_seen[order], known.is_seen)
    assert again.classes.attributes == DATA.classes.attributes
    assert (again.gamma, again.threshold) == (known.gamma, known.threshold)


def test_new_classes_must_fit(known):
    vectors, names = np.ones((1, 4)), DATA.classes.attributes
    says(
        "more classes must have new names; got 'class b', which is known",
        known.with_classes,
        ClassEmbeddings(("class b",), vectors, names),
    )
    says(
        "more classes must have 4 columns, as in training; got 3",
        known.with_classes,
        ClassEmbeddings(("yeti",), np.ones((1, 3))),
    )
    says(
        "more classes must have the same attributes in the same order; got 'attribute 1' for 'attribute 0'",
        known.with_classes,
        ClassEmbeddings(("yeti",), vectors, (names[1], names[0], *names[2:])),
    )
    assert len(known.with_classes(ClassEmbeddings(("yeti",), vectors)).classes) == 10


def test_only_some(known):
    unseen = known.only("unseen")
    assert unseen.classes.names == DATA.classes[DATA.unseen].names
    assert not unseen.is_seen.any()
    assert known.only("seen").classes.names == DATA.classes[DATA.seen].names
    says("recogniser must know unseen classes to keep to them; got none", known.only("seen").only, "unseen")
    says("only must be seen or unseen; got 'new'", known.only, "new")


def test_a_method_that_needs_seen_classes_cannot_choose_among_unseen_ones():
    star = METHODS["cmt_star"](**FAST["cmt_star"], device="cpu").fit(DATA.training_set())
    known = Recogniser.of(star, DATA, calibrate=False)
    says("method must choose among unseen classes alone; got cmt_star, which cannot", known.only, "unseen")


def test_what_is_refused(known):
    top = known.top(DATA.features)
    best = (METHOD.scores(DATA.features, DATA.classes) - known.gamma * known.is_seen).max(axis=1)
    np.testing.assert_array_equal(known.rejects(top.scores[:, 0]), best < known.threshold)
    assert replace(known, threshold=best.max() + 0.1).rejects(top.scores[:, 0]).all()
    assert not replace(known, threshold=best.min() - 0.1).rejects(top.scores[:, 0]).any()


def test_more_classes_never_refuse_more(known):
    more = ClassEmbeddings(tuple("xyz"), DATA.classes.vectors[:3] + 0.1)
    refused, then = (each.rejects(each.top(DATA.features).scores[:, 0]) for each in (known, known.with_classes(more)))
    assert refused.any()
    assert not (then & ~refused).any()


def test_explanations_compare_with_the_next_best(known):
    best = known.top(FEATURES, 2).rows
    found = known.explain(FEATURES, best, n=2)
    weights = attribute_weights(METHOD, FEATURES, DATA.classes, best[:, 0], best[:, 1])
    for (speak_for, against), row in zip(found, weights, strict=True):
        assert len(speak_for) <= 2
        assert all(weight > 0 for _, weight in speak_for)
        assert all(weight < 0 for _, weight in against)
        if (row > 0).any():
            assert speak_for[0] == [DATA.classes.attributes[row.argmax()], pytest.approx(row.max())]
    runner_up = known.explain(FEATURES, best[:, ::-1], n=2)
    reverse = attribute_weights(METHOD, FEATURES, DATA.classes, best[:, 1], best[:, 0])
    for (speak_for, _), row in zip(runner_up, reverse, strict=True):
        assert [weight for _, weight in speak_for] == pytest.approx(sorted(row[row > 0], reverse=True)[:2])


@pytest.mark.parametrize("k", [1, 4])
def test_an_answer_scores_once(known, k, monkeypatch):
    asked = []
    real = topk.top_classes
    monkeypatch.setattr(recogniser, "top_classes", lambda *given: asked.append(given[3]) or real(*given))
    scored = []
    monkeypatch.setattr(ESZSL, "scores", lambda method, inputs, classes: scored.append(len(classes)) or 1 / 0)
    monkeypatch.setattr(recogniser, "attribute_weights", lambda method, features, *_: np.ones((len(features), 4)))
    answers = known.answers(FEATURES[:3], "abc", k, explain=True)
    assert (asked, scored) == ([max(k, 2)], [])
    assert [len(answer.classes) for answer in answers] == [k] * 3
    assert [len(answer.probabilities) for answer in answers] == [k] * 3
    assert all(answer.because[0] and answer.rejected is not None for answer in answers)


def test_one_scoring_answers_every_question(known, monkeypatch):
    best = (METHOD.scores(FEATURES, DATA.classes) - known.handicap).max(axis=1)
    known = replace(known, threshold=float(np.median(best)))
    asked = []
    real = ESZSL.scores
    monkeypatch.setattr(ESZSL, "scores", lambda *given: asked.append(given[2]) or real(*given))
    scored = known.score(FEATURES)
    assert asked == [known.classes]
    top = known.top(FEATURES, len(DATA.classes))
    np.testing.assert_array_equal(scored.rows, top.rows)
    np.testing.assert_array_equal(scored.probabilities, known.probabilities(FEATURES))
    np.testing.assert_array_equal(scored.rejected, known.rejects(top.scores[:, 0]))
    assert 0 < scored.rejected.sum() < len(FEATURES)
    asked.clear()
    assert scored.explain(2) == known.explain(FEATURES, top.rows, 2)
    assert asked
    assert all(" without " in classes.names[0] for classes in asked)  # variants of the two best classes alone


def test_explanations_need_names(known):
    best = known.top(FEATURES, 2).rows
    nameless = replace(known, classes=ClassEmbeddings(DATA.classes.names, DATA.classes.vectors))
    says("recogniser must have named attributes to explain its answers; got none", nameless.explain, FEATURES, best)
    says(
        "recogniser must know 2 classes or more to explain its answers; got 1",
        replace(known, classes=DATA.classes[[0]], is_seen=np.array([True])).explain,
        FEATURES,
        best[:, :1],
    )


@pytest.mark.parametrize("name", METHODS)
def test_every_method_in_one_file(name, tmp_path):
    data = tiny_dataset(**widths(name))
    features = data.features[data.test_unseen]
    method = METHODS[name](**(FAST.get(name, {}) | {"device": "cpu"})).fit(data.training_set())
    known = replace(Recogniser.of(method, data), feature_source=SOURCE)
    path = known.save(tmp_path / "known.safetensors")
    loaded = Recogniser.load(path, device="cpu")
    np.testing.assert_array_equal(loaded.probabilities(features), known.probabilities(features))
    assert loaded.classes.names == known.classes.names
    assert loaded.classes.attributes == known.classes.attributes
    np.testing.assert_array_equal(loaded.classes.vectors, known.classes.vectors)
    np.testing.assert_array_equal(loaded.is_seen, known.is_seen)
    for number in ("gamma", "temperature", "threshold", "caught"):
        assert getattr(loaded, number) == getattr(known, number)
    assert loaded.feature_source == SOURCE
    np.testing.assert_array_equal(
        load_method(path).scores(features, data.classes), method.scores(features, data.classes)
    )


def test_a_plain_method_file_says_what_to_do(tmp_path):
    path = METHOD.save(tmp_path / "plain.safetensors")
    says(
        f"{path} must be a recogniser; got a method without classes to choose from; "
        f"make one with `firstsight recogniser {path} --data PATH --out FILE`",
        Recogniser.load, path,
    )  # fmt: skip


def changed(saved, path, tensors=None, **extras):
    """The saved file with other extras."""
    with open(saved, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        document = json.loads(json.loads(file.read(length))["__metadata__"][checkpoint.KEY])
    document["recogniser"] = {k: v for k, v in (document["recogniser"] | extras).items() if v != "left out"}
    content = load_file(saved) | (tensors or {})
    save_file(content, path, {checkpoint.KEY: json.dumps(document)})
    return path


@pytest.mark.parametrize(
    "key", ["names", "attributes", "is_seen", "gamma", "temperature", "least_score", "caught", "backbone"]
)
@pytest.mark.parametrize(
    "value",
    [
        "left out",
        3,
        True,
        [],
        {},
        [[1]],
        ["a"],
        [True],
        float("nan"),
        float("inf"),
        -1,
        pytest.param(10**400, id="huge"),
    ],
)
def test_hostile_extras(key, value, saved, tmp_path):
    odd = [("gamma", 3), ("gamma", -1), ("temperature", 3), ("attributes", []), ("caught", 3)]
    if (key, value) in [*odd, ("least_score", 3), ("least_score", -1), ("least_score", "left out")]:
        return  # odd, not wrong
    path = changed(saved, tmp_path / "model.safetensors", **{key: value})
    with pytest.raises(InputError) as caught:
        Recogniser.load(path)
    assert str(caught.value).startswith(f"{path} must ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        3,
        [],
        {},
        "model",
        {"model": 3},
        {"model": "m", "weight": 0.5},
        {"model": "m", "attributes": ["a"]},
        {"model": "m", "weight": "much", "attributes": ["a"]},
        {"model": "m", "weight": float("nan"), "attributes": ["a"]},
        {"model": "m", "weight": 0.5, "attributes": [1]},
    ],
)
def test_a_hostile_text_model(text, saved, tmp_path):
    path = changed(saved, tmp_path / "model.safetensors", text=text)
    with pytest.raises(InputError, match="must hold a recogniser; got "):
        Recogniser.load(path)


@pytest.mark.parametrize("source", [{"model": "m"}, {"model": "m", "weight": 0.3, "attributes": ["a", "b"]}, None])
def test_the_text_model_is_kept(source, known, tmp_path):
    path = replace(known, text_source=source).save(tmp_path / "model.safetensors")
    assert Recogniser.load(path).text_source == source


def test_a_file_from_before_text_models(saved, tmp_path):
    assert Recogniser.load(changed(saved, tmp_path / "model.safetensors", text="left out")).text_source is None


def test_a_file_whose_threshold_is_a_probability_refuses_nothing(saved, tmp_path):
    old = Recogniser.load(changed(saved, tmp_path / "old.safetensors", least_score="left out", threshold=0.1))
    assert old.threshold is None
    assert old.gamma == Recogniser.load(saved).gamma


@pytest.mark.parametrize("extras", [None, [], 3, "text"])
def test_extras_that_are_no_table(extras, saved, tmp_path):
    _, metadata = checkpoint.read(saved)
    path = checkpoint.write(tmp_path / "model.safetensors", load_file(saved), metadata | {"recogniser": extras})
    with pytest.raises(InputError, match="must hold a recogniser; got "):
        Recogniser.load(path)


@pytest.mark.parametrize(
    "vectors",
    [
        torch.zeros(9),
        torch.zeros(9, 3),
        torch.zeros(8, 4),
        torch.zeros(0, 4),
        torch.full((9, 4), float("nan")),
        torch.zeros(9, 4, dtype=torch.complex64),
        torch.zeros(9, 4, dtype=torch.bfloat16),
    ],
)
def test_vectors_that_do_not_fit(vectors, saved, tmp_path):
    path = changed(saved, tmp_path / "model.safetensors", {"recogniser.vectors": vectors})
    with pytest.raises(InputError, match="must hold a recogniser; got "):
        Recogniser.load(path)


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes(data, saved, tmp_path):
    content = bytearray(saved.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with contextlib.suppress(InputError):  # any other error is a failure
        Recogniser.load(path)


def test_pictures(known, fake_backbone, tmp_path):
    known = replace(known, feature_source=SOURCE)
    colours = np.random.default_rng(0).integers(0, 255, (5, 3))
    paths = []
    for row, colour in enumerate(colours):
        paths.append(tmp_path / f"{row}.png")
        Image.new("RGB", (4, 4), tuple(map(int, colour))).save(paths[-1])
    features = np.column_stack([colours / 255, np.zeros((5, 4))])
    expected = known.probabilities(features)
    found = list(known.recognise(paths, k=2, batch=2))
    assert [answer.source for answer in found] == list(map(str, paths))
    for answer, row in zip(found, expected, strict=True):
        assert answer.classes[0] == known.classes.names[row.argmax()]
        assert answer.probabilities[0] == pytest.approx(row.max(), rel=1e-3)
        assert len(answer.classes) == 2
        assert answer.seen == tuple(known.is_seen[list(known.classes.names).index(name)] for name in answer.classes)
        assert answer.error is None
    (from_memory,) = known.recognise([Image.open(paths[0])], k=2)
    assert from_memory == replace(found[0], source="picture 0")
    assert fake_backbone == [("fake", "cpu")]


def test_a_bad_picture_does_not_stop_the_others(known, fake_backbone, tmp_path):
    known = replace(known, feature_source=SOURCE)
    good = tmp_path / "good.png"
    Image.new("RGB", (4, 4)).save(good)
    (tmp_path / "bad.png").write_text("no picture")
    sources = [tmp_path / "missing.png", good, tmp_path / "bad.png", good]
    found = list(known.recognise(sources, batch=3))
    assert [answer.error is None for answer in found] == [False, True, False, True]
    assert "picture must be readable; got " in found[0].error
    assert found[0].classes == ()
    assert found[1] == found[3]


def test_pictures_are_read_as_they_are_asked_for(known, fake_backbone):
    known = replace(known, feature_source=SOURCE)
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield Image.new("RGB", (2, 2))

    stream = known.recognise(endless(), batch=3)
    next(stream)
    assert len(taken) == 3
    for _ in range(3):
        next(stream)
    assert len(taken) == 6


def test_features_from_elsewhere(known, fake_backbone):
    says(
        "recogniser must know the backbone of its features to look at pictures; got features from elsewhere; "
        "give a file of features, or train on features that `firstsight features` made",
        next, known.recognise(["a.png"]),
    )  # fmt: skip
    other = replace(known, feature_source=SOURCE | {"transform": "resize 256"})
    says("transform of fake must be 'resize 256', as in training; got 'as it is'", next, other.recognise(["a.png"]))
    other = replace(known, feature_source=SOURCE | {"crops": "7"})
    with pytest.raises(StopIteration):
        next(other.recognise([]))


def test_the_source_of_features_comes_from_the_data():
    class WithSource:
        """The data set as it is, with what its feature file says."""

        feature_source = SOURCE | {"files": "[]"}

        def __getattr__(self, name):
            return getattr(DATA, name)

    assert Recogniser.of(METHOD, WithSource(), calibrate=False).feature_source == SOURCE


def test_what_a_recogniser_must_be(known):
    says("is_seen must say yes or no for each of 9 classes; got (3,)", replace, known, is_seen=np.ones(3, dtype=bool))
    says("gamma must be a finite number; got nan", replace, known, gamma=float("nan"))
    says("temperature must be a number above 0; got 0.0", replace, known, temperature=0.0)
    says("threshold must be a finite number; got inf", replace, known, threshold=float("inf"))
    narrow = ClassEmbeddings(DATA.classes.names, DATA.classes.vectors[:, :3])
    says("classes must have 4 columns, as in training; got 3", replace, known, classes=narrow)
