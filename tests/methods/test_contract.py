"""The contract of every method: one suite over all that are registered."""

import dataclasses
import re
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch

from firstsight.data import ClassEmbeddings, Crops, Dataset, TrainingSet
from firstsight.devices import torch_device
from firstsight.errors import InputError
from firstsight.methods import METHODS, FitControls, base, load_method, named
from firstsight.methods.base import Method
from tests.support.tiny import FAST, tiny_dataset, widths


def make(name: str, **changes) -> Method:
    return METHODS[name](**(FAST.get(name, {}) | {"device": "cpu"} | changes))


@pytest.fixture(params=METHODS)
def name(request) -> str:
    return request.param


@pytest.fixture
def tiny(name) -> Dataset:
    return tiny_dataset(**widths(name))


@pytest.fixture
def joined(name) -> Dataset:
    return tiny_dataset(**widths(name), feature_widths=(3, 4))


@pytest.fixture
def two_sets(name) -> Dataset:
    return tiny_dataset(**widths(name), w=5)


@pytest.fixture
def method(name, tiny) -> Method:
    return make(name).fit(tiny.training_set())


SOURCE = r", [A-Z]+ \d{4}$"  # place and year of the paper


def some_settings(kind: type[Method]):
    """(field, type) of every setting."""
    hints = get_type_hints(kind)
    return [(field.name, hints[field.name]) for field in dataclasses.fields(kind)]


def test_scores_are_finite_float32(method, tiny):
    scores = method.scores(tiny.features, tiny.classes)
    assert scores.shape == (len(tiny.labels), len(tiny.classes))
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert scores.std() > 0


def test_fit_returns_the_method(name, tiny):
    method = make(name)
    assert method.fit(tiny.training_set()) is method


def test_the_seed_decides_everything(name, tiny):
    def scores(seed):
        return make(name, seed=seed).fit(tiny.training_set()).scores(tiny.features, tiny.classes)

    torch.manual_seed(1)
    first = scores(3)
    torch.manual_seed(2)
    np.testing.assert_array_equal(scores(3), first)


def test_columns_follow_the_candidates(method, tiny):
    order = np.random.default_rng(0).permutation(len(tiny.classes))
    scores = method.scores(tiny.features, tiny.classes)
    permuted = method.scores(tiny.features, tiny.classes[order])
    np.testing.assert_allclose(permuted, scores[:, order], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(method.predict(tiny.features, tiny.classes), scores.argmax(axis=1))


def test_a_class_set_is_any_set(method, tiny):
    scores = method.scores(tiny.features, tiny.classes)
    alone = method.scores(tiny.features, tiny.classes[[4]])
    np.testing.assert_allclose(alone, scores[:, [4]], rtol=1e-5, atol=1e-6)
    new = ClassEmbeddings(("platypus",), np.random.default_rng(1).normal(size=(1, tiny.classes.vectors.shape[1])))
    assert np.isfinite(method.scores(tiny.features, new)).all()


def test_one_image_scores_as_among_many(method, tiny):
    scores = method.scores(tiny.features, tiny.classes)
    with torch.inference_mode():
        one = method.scores(tiny.features[5:6], tiny.classes)
    np.testing.assert_allclose(one, scores[5:6], rtol=1e-5, atol=1e-6)


def test_blocks_of_rows_score_as_one(method, monkeypatch, tiny):
    whole = method.scores(tiny.features, tiny.classes)
    monkeypatch.setattr(base, "ROWS", 7)
    np.testing.assert_allclose(method.scores(tiny.features, tiny.classes), whole, rtol=1e-5, atol=1e-6)


def test_scoring_twice_gives_the_same(method, tiny):
    np.testing.assert_array_equal(
        method.scores(tiny.features, tiny.classes), method.scores(tiny.features, tiny.classes)
    )


def test_fit_writes_to_nothing_it_is_given(name, two_sets):
    training = two_sets.training_set()
    arrays = {field.name: getattr(training, field.name) for field in dataclasses.fields(training)}
    arrays["vectors"] = training.classes.vectors
    if training.pictures is not None:
        arrays["store"] = training.pictures.store
    arrays = {key: array for key, array in arrays.items() if isinstance(array, np.ndarray)}
    before = {key: array.copy() for key, array in arrays.items()}
    make(name).fit(training)
    for key, array in arrays.items():
        np.testing.assert_array_equal(array, before[key], err_msg=key)


def test_scores_write_to_nothing_they_are_given(method, tiny):
    inputs = tiny.features.copy()
    method.scores(inputs, tiny.classes)
    np.testing.assert_array_equal(inputs, tiny.features)


def test_global_random_numbers_are_left_alone(name, tmp_path, tiny):
    torch.manual_seed(11)
    before = torch.get_rng_state()
    method = make(name).fit(tiny.training_set())
    method.scores(tiny.features, tiny.classes)
    load_method(method.save(tmp_path / "model.safetensors"))
    assert torch.equal(torch.get_rng_state(), before)


def test_settings_fitted_together_are_those_fitted_alone(name, two_sets):
    """Also where scaling differs, and where F and G of SP-AEN work on features of their own."""
    variants = [make(name, scaling=scaling, seed=seed) for scaling in ("standard-l2", "none") for seed in (0, 1)]
    for fitted in METHODS[name].fit_each(variants, two_sets.training_set()):
        alone = fitted.unfitted().fit(two_sets.training_set())
        np.testing.assert_allclose(
            fitted.scores(two_sets.features, two_sets.classes),
            alone.scores(two_sets.features, two_sets.classes),
            rtol=1e-5,
            atol=1e-6,
        )


def test_refit_is_a_fresh_fit(name, tiny):
    other = tiny_dataset(seed=1, n_seen=4, **widths(name, v=6, a=5))
    again = make(name).fit(other.training_set()).fit(tiny.training_set())
    fresh = make(name).fit(tiny.training_set())
    np.testing.assert_array_equal(again.scores(tiny.features, tiny.classes), fresh.scores(tiny.features, tiny.classes))
    assert again.trained_on_ == tiny.training_set().classes.names


def test_save_and_load_give_equal_scores_and_settings(method, tmp_path, tiny):
    path = method.save(tmp_path / "model.safetensors")
    assert path == tmp_path / "model.safetensors"
    loaded = load_method(path, device="cpu")
    assert type(loaded) is type(method)
    assert loaded.settings() == method.settings()
    assert loaded.trained_on_ == method.trained_on_
    np.testing.assert_array_equal(
        loaded.scores(tiny.features, tiny.classes), method.scores(tiny.features, tiny.classes)
    )
    assert load_method(loaded.save(tmp_path / "again.safetensors"), "cpu").settings() == method.settings()
    assert (tmp_path / "again.safetensors").stat().st_size == path.stat().st_size


def test_unfitted_has_the_settings_and_nothing_learned(name, tiny):
    method = make(name, seed=5).fit(tiny.training_set())
    fresh = method.unfitted()
    assert fresh.settings() == method.settings()
    assert set(vars(fresh)) == {field.name for field in dataclasses.fields(fresh)}
    assert set(vars(method)) > set(vars(fresh))


def test_what_is_learned_ends_in_an_underscore(method):
    fields = {field.name for field in dataclasses.fields(method)}
    assert all(attribute.endswith("_") for attribute in vars(method) if attribute not in fields)


@pytest.mark.parametrize("scaling", ["none", "l2", "standard", "standard-l2"])
@pytest.mark.parametrize("class_scaling", ["none", "l2", "centred"])
def test_every_scaling(name, scaling, class_scaling, tmp_path, joined):
    method = make(name, scaling=scaling, class_scaling=class_scaling).fit(joined.training_set())
    scores = method.scores(joined.features, joined.classes)
    assert np.isfinite(scores).all()
    loaded = load_method(method.save(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(loaded.scores(joined.features, joined.classes), scores)


def test_joined_feature_sets_are_scaled_one_by_one(name, joined):
    """With unit rows, a set multiplied by a number is the same set."""
    louder = joined.features * np.repeat(np.float32([1, 4]), [3, 4])
    plain, loud = (
        make(name, scaling="l2").fit(data.training_set()).scores(data.features, data.classes)
        for data in (joined, dataclasses.replace(joined, features=louder))
    )
    np.testing.assert_allclose(plain, loud, rtol=1e-4, atol=1e-5)


def test_standard_scaling_ignores_units(name, joined):
    rescaled = joined.features * np.float32([1, 2, 4, 8, 0.5, 0.25, 2]) + np.float32(1)
    plain, other = (
        make(name, scaling="standard").fit(data.training_set()).scores(data.features, data.classes)
        for data in (joined, dataclasses.replace(joined, features=rescaled))
    )
    np.testing.assert_allclose(plain, other, rtol=1e-2, atol=1e-3)


def test_separate_reconstruction_features(name, tmp_path, two_sets):
    method = make(name).fit(two_sets.training_set())
    scores = method.scores(two_sets.features, two_sets.classes)
    assert np.isfinite(scores).all()
    loaded = load_method(method.save(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(loaded.scores(two_sets.features, two_sets.classes), scores)


@pytest.mark.parametrize("scaling", ["none", "l2", "standard", "standard-l2"])
def test_rows_and_columns_of_zeros(name, scaling, tiny):
    features = tiny.features.copy()
    features[:, 2] = 0
    features[tiny.trainval[0]] = 0
    features[tiny.test_seen[0]] = 0
    data = dataclasses.replace(tiny, features=features)
    method = make(name, scaling=scaling).fit(data.training_set())
    assert np.isfinite(method.scores(features, data.classes)).all()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4"])
def test_any_kind_of_number(name, dtype, tiny):
    data = dataclasses.replace(tiny, features=(tiny.features * 4).astype(dtype))
    scores = make(name).fit(data.training_set()).scores((tiny.features * 4).astype(dtype), data.classes)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


def test_two_seen_classes_of_one_image(name):
    data = tiny_dataset(n_seen=2, n_unseen=1, per_class=1, **widths(name))
    method = make(name).fit(data.training_set())
    assert np.isfinite(method.scores(data.features, data.classes)).all()


def test_progress_is_optional_and_ends_at_the_end(name, tiny):
    seen = []
    make(name).fit(tiny.training_set(), FitControls(progress=lambda *report: seen.append(report)))
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert not seen or seen[-1][0] == seen[-1][1]


def test_progress_changes_nothing(name, tiny):
    quiet, watched = (make(name).fit(tiny.training_set(), run) for run in (None, FitControls(progress=lambda *_: None)))
    np.testing.assert_array_equal(
        watched.scores(tiny.features, tiny.classes), quiet.scores(tiny.features, tiny.classes)
    )


def test_a_fit_that_fails_leaves_nothing_fitted(name, monkeypatch, tiny):
    method = make(name).fit(tiny.training_set())

    def stop(*_):
        raise InputError("stopped")

    monkeypatch.setattr(type(method), "_fit", stop)
    with pytest.raises(InputError, match="stopped"):
        method.fit(tiny.training_set())
    with pytest.raises(InputError, match=f"^{name} must be fitted before it scores"):
        method.scores(tiny.features, tiny.classes)


def test_methods_never_see_unseen_classes(name, monkeypatch, tiny):
    """A fit gets a `TrainingSet`, a type with no place for them, and `_fit` gets tensors of the seen ones alone."""
    assert get_type_hints(METHODS[name].fit)["training"] is TrainingSet
    assert not [field.name for field in dataclasses.fields(TrainingSet) if re.search("unseen|test", field.name)]
    given = []
    monkeypatch.setattr(METHODS[name], "_fit", lambda _, training, run: given.append(training))
    make(name).fit(tiny.training_set())
    assert given[0].vectors.shape == (len(tiny.seen), widths(name)["a"])
    assert given[0].features.shape == (len(tiny.trainval), 7)


def test_what_a_method_learned_does_not_depend_on_unseen_classes(name, tiny):
    vectors, features = tiny.classes.vectors.copy(), tiny.features.copy()
    vectors[tiny.unseen] = 100.0
    held_out = tiny.test_images
    features[held_out] = -100.0
    changes = {"classes": ClassEmbeddings(tiny.classes.names, vectors), "features": features}
    if len(tiny.pictures):
        changes["pictures"] = tiny.pictures.store.copy()
        changes["pictures"][held_out] = 0
    other = dataclasses.replace(tiny, **changes)
    np.testing.assert_array_equal(
        make(name).fit(other.training_set()).scores(tiny.features, tiny.classes),
        make(name).fit(tiny.training_set()).scores(tiny.features, tiny.classes),
    )


def says(sentence: str, function, *arguments, **options) -> None:
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    assert str(caught.value) == sentence


def test_bad_inputs(method, tiny):
    broken = tiny.features[:10].copy()
    broken[[2, 5], 0] = np.nan
    broken[7, 1] = np.inf
    says("inputs must be finite; 3 of 10 rows contain NaN or inf", method.scores, broken, tiny.classes)
    says("inputs must have 7 columns, as in training; got 6", method.scores, tiny.features[:, :6], tiny.classes)
    table = "inputs must be a table of [images, columns]; got shape"
    says(f"{table} [7]", method.scores, tiny.features[0], tiny.classes)
    says(f"{table} [0, 7]", method.scores, tiny.features[:0], tiny.classes)
    says("inputs must be numbers; got <U1", method.scores, np.full((2, 7), "x"), tiny.classes)
    wide = ClassEmbeddings(("x", "y"), np.ones((2, 9)))
    a = tiny.classes.vectors.shape[1]
    says(f"candidates must have {a} columns, as in training; got 9", method.scores, tiny.features, wide)


def test_scores_that_overflow(name, tiny):
    method = make(name, scaling="none").fit(tiny.training_set())
    huge = tiny.features[:3].astype(float)
    huge[1] *= 1e300
    sentence = "scores must be finite; 1 of 3 rows overflow; scale inputs and candidates"
    says(sentence, method.scores, huge, tiny.classes)


def test_not_fitted(name, tmp_path, tiny):
    method = make(name)
    says(
        f"{name} must be fitted before it scores; got one without training; call fit",
        method.scores,
        tiny.features,
        tiny.classes,
    )
    says(
        f"{name} must be fitted before it is saved; got one without training; call fit",
        method.save,
        tmp_path / "model.safetensors",
    )


@pytest.mark.parametrize("device", ["gpu", "", "cuda:99", "meta"])
def test_unknown_device(name, device, tiny):
    sentence = f"device must be auto, cpu or a device torch finds here; got {device!r}"
    says(sentence, make(name, device=device).fit, tiny.training_set())


def test_a_model_is_loaded_onto_the_device_that_is_there(name, method, tmp_path):
    path = method.save(tmp_path / "model.safetensors")
    elsewhere = make(name, device="cuda:99")
    vars(elsewhere).update({key: value for key, value in vars(method).items() if key.endswith("_")})
    assert load_method(elsewhere.save(tmp_path / "elsewhere.safetensors")).device == "auto"
    says("device must be auto, cpu or a device torch finds here; got 'gpu'", load_method, path, "gpu")


def test_auto_is_the_best_device_there_is():
    assert torch_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_bad_settings(name):
    for field, kind in some_settings(METHODS[name]):
        if get_origin(kind) is Literal:
            choices = ", ".join(get_args(kind))
            for value in ("nonsense", 3, None, ["l2"]):
                says(f"{field} must be one of {choices}; got {value!r}", make, name, **{field: value})
        elif kind is int:
            for value in (-1, 1.5, "3", None, True, float("nan")):
                says(f"{field} must be a whole number of 0 or more; got {value!r}", make, name, **{field: value})
        elif kind is float:
            for value in (-1, -0.5, float("nan"), float("inf"), 10**400, "3", None, True):
                says(f"{field} must be a number of 0 or more; got {value!r}", make, name, **{field: value})
        elif kind is str:
            says(f"{field} must be str; got 3", make, name, **{field: 3})
        else:
            says(f"{field} must be {kind.__name__}; got 'nonsense'", make, name, **{field: "nonsense"})


def test_unknown_setting(name):
    with pytest.raises(TypeError, match="nonsense"):
        make(name, nonsense=3)


def test_whole_numbers_serve_as_numbers(name):
    for field, kind in some_settings(METHODS[name]):
        if kind is float:
            assert isinstance(getattr(make(name, **{field: 0}), field), float)


def test_presets(name):
    kind = METHODS[name]
    for preset, changes in kind.presets.items():
        settings = kind.preset(preset, seed=7).settings()
        assert settings.items() >= changes.items()
        assert settings["seed"] == 7
    known = ", ".join(kind.presets) or "none"
    says(f"preset of {name} must be one of {known}; got 'nonsense'", kind.preset, "nonsense")


def test_every_setting_is_documented(name):
    kind = METHODS[name]
    kinds = kind.__mro__[: kind.__mro__.index(Method)]
    attributes = [kind.__doc__.partition("Attributes:")[2] for kind in reversed(kinds)]  # a base class's come first
    documented = [word for text in attributes for word in re.findall(r"^ {8}(\w+): \S", text, re.MULTILINE)]
    inherited = {field.name for field in dataclasses.fields(Method)}
    own = [field.name for field in dataclasses.fields(kind) if field.name not in inherited]
    assert [word for word in dict.fromkeys(documented) if word in own] == own
    assert set(documented) <= set(own) | inherited
    assert kind.__doc__.splitlines()[0].endswith(".")
    assert re.search(SOURCE, kind.source), "source must end in the place and year of the paper, as in ', CVPR 2018'"


def test_names_are_lower_case_and_files_carry_them(name):
    kind = METHODS[name]
    assert name == kind.name
    assert re.sub("[_-]", "", name) == kind.__name__.lower()
    file = name.partition("_")[0].replace("-", "_")  # a variant lives with its base
    assert kind.__module__ == f"firstsight.methods.{file}"
    assert named(name) is kind


def test_unknown_names_suggest_the_nearest():
    says("unknown method 'eszzl'; did you mean 'eszsl'?", named, "eszzl")
    says("unknown method 'SPAEN'; did you mean 'spaen'?", named, "SPAEN")
    says(f"unknown method 'quux'; methods are {', '.join(METHODS)}", named, "quux")


def test_all_methods_can_be_imported_by_class_name():
    from firstsight import methods

    for kind in METHODS.values():
        assert getattr(methods, kind.__name__) is kind
        assert kind.__name__ in methods.__all__


def test_crops_are_for_those_who_learn_from_them(name, tiny):
    """Features of crops change nothing for a method that knows whole images alone, and are of use to SP-AEN."""
    store = np.random.default_rng(0).normal(size=(len(tiny.labels), 10, tiny.features.shape[1])).astype(np.float32)
    cropped = dataclasses.replace(tiny, crops=Crops(store, np.arange(len(store))))
    plain, other = (make(name).fit(data.training_set()) for data in (tiny, cropped))
    scores = [method.scores(tiny.features, tiny.classes) for method in (plain, other)]
    assert np.array_equal(*scores) == (name not in ("spaen", "spaen-pictures"))
