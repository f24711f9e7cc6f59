import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstsight.data import ClassEmbeddings, Dataset, TrainingSet, as_indices, as_matrix
from firstsight.errors import InputError
from tests.support.tiny import tiny_dataset

EYE = np.eye(3)


def small(**changes) -> Dataset:
    """Eight images of two seen classes and an unseen one."""
    given = {
        "name": "small",
        "classes": ClassEmbeddings(("owl", "auk", "jay"), EYE),
        "labels": np.array([0, 0, 0, 1, 1, 1, 2, 2]),
        "trainval": np.array([0, 1, 3, 4]),
        "test_seen": np.array([2, 5]),
        "test_unseen": np.array([6, 7]),
        "features": np.arange(16.0).reshape(8, 2),
    }
    return Dataset(**(given | changes))


def with_holes(n: int, bad: dict) -> np.ndarray:
    matrix = np.zeros((n, 2))
    for row, value in bad.items():
        matrix[row, 1] = value
    return matrix


CLASS_SENTENCES = {
    "class embeddings must be a table of [classes, columns]; got shape [3]": ("abc", np.zeros(3)),
    "class embeddings must be a table of [classes, columns]; got shape [0, 2]": ("", np.zeros((0, 2))),
    "class embeddings must be a table of [classes, columns]; got shape [2, 0]": ("ab", np.zeros((2, 0))),
    "class embeddings must be numbers; got <U1": ("ab", [["x"], ["y"]]),
    "class embeddings must be numbers; got complex128": ("ab", np.zeros((2, 2), dtype=complex)),
    "class embeddings must be finite; 2 of 3 rows contain NaN or inf": ("abc", with_holes(3, {0: np.nan, 2: -np.inf})),
    "class embeddings must have one row per class name; got 3 for 2": ("ab", EYE),
    "class names must be different; got 'b' more than once": ("abb", EYE),
    "attributes must name every column of the class embeddings; got 2 names for 3 columns": ("abc", EYE, ("x", "y")),
}


@pytest.mark.parametrize("sentence", CLASS_SENTENCES)
def test_class_embeddings_say_what_is_wrong(sentence):
    with pytest.raises(InputError) as caught:
        ClassEmbeddings(*CLASS_SENTENCES[sentence])
    assert str(caught.value) == sentence


DATASET_SENTENCES = {
    "labels must be a list of indices; got shape [2, 1]": {"labels": np.zeros((2, 1), dtype=int)},
    "labels must be whole numbers; got float64": {"labels": np.zeros(8)},
    "labels must be whole numbers; got bool": {"labels": np.zeros(8, dtype=bool)},
    "labels must name one of 3 class rows, 0 to 2; got 3": {"labels": np.array([0, 0, 0, 1, 1, 1, 2, 3])},
    "labels must name one of 3 class rows, 0 to 2; got -1": {"labels": np.array([0, 0, 0, 1, 1, 1, 2, -1])},
    "trainval must name one of 8 image rows, 0 to 7; got 8": {"trainval": [0, 1, 3, 8]},
    "test_seen must name each image once; got 2 repeats": {"test_seen": [2, 2, 5, 5]},
    "test_unseen must be whole numbers; got float64": {"test_unseen": [6.0, 7.0]},
    "features must be a table of [images, columns]; got shape [8]": {"features": np.zeros(8)},
    "features must be numbers; got <U1": {"features": np.full((8, 1), "x")},
    "features must be finite; 3 of 8 rows contain NaN or inf": {
        "features": with_holes(8, {1: np.nan, 4: np.inf, 7: -np.inf})
    },
    "features must have one row per label; got 7 for 8 labels": {"features": np.zeros((7, 2))},
    "reconstruction_features must be finite; 1 of 8 rows contain NaN or inf": {
        "reconstruction_features": with_holes(8, {3: np.inf})
    },
    "reconstruction_features must have one row per label; got 9 for 8 labels": {
        "reconstruction_features": np.zeros((9, 2))
    },
    "feature widths must sum to 2; got (1, 2)": {"feature_widths": (1, 2)},
    "pictures must be one per label; got 3 for 8 labels": {"pictures": [np.zeros((1, 1, 3), np.uint8)] * 3},
    "paths must be one per label; got 2 for 8 labels": {"paths": ("a", "b"), "root": "."},
    "root must be given with paths; got None": {"paths": tuple("abcdefgh")},
    "trainval must have images; got none": {"trainval": []},
    "trainval and test_seen must not share images; got 2 in both": {"test_seen": [1, 2, 3]},
    "trainval and test_unseen must not share images; got 1 in both": {"test_unseen": [4, 6]},
    "test_seen and test_unseen must not share images; got 1 in both": {"test_unseen": [5, 6]},
    "test_seen must hold images of seen classes only; got 1 other classes, the first 'jay'": {
        "test_seen": [2, 6],
        "test_unseen": [7],
    },
    "test_unseen must hold images of unseen classes only; got 1 other classes, the first 'auk'": {
        "test_seen": [2],
        "test_unseen": [5, 6],
    },
    "validation classes must be seen classes; got 'jay'": {"validation_classes": (("owl",), ("auk", "jay"))},
    "validation classes must be some of the seen classes, not all; got 2 of 2": {
        "validation_classes": (("owl", "auk"),)
    },
    "validation classes must be some of the seen classes, not all; got 0 of 2": {"validation_classes": ((),)},
}


@pytest.mark.parametrize("sentence", DATASET_SENTENCES)
def test_data_sets_say_what_is_wrong(sentence):
    with pytest.raises(InputError) as caught:
        small(**DATASET_SENTENCES[sentence])
    assert str(caught.value) == sentence


def test_pictures_alone_have_no_features_to_score():
    data = small(features=None, pictures=dots(8))
    with pytest.raises(InputError) as caught:
        data.inputs(data.trainval)
    assert str(caught.value) == "features must be given for data set 'small'; got pictures only; name a feature file"
    assert data.training_set().features.shape == (len(data.trainval), 0)  # for methods that make their own


def test_validation_needs_three_seen_classes():
    with pytest.raises(InputError) as caught:
        small().validation_set()
    assert str(caught.value) == "validation must have 3 seen classes or more to hold some out; got 2"


@pytest.mark.parametrize("n_held_out", [-1, 0, 6, 7])
def test_validation_cannot_hold_out_none_or_all(n_held_out):
    with pytest.raises(InputError) as caught:
        tiny_dataset(n_seen=6).validation_set(n_held_out=n_held_out)
    assert str(caught.value) == f"n_held_out must be 1 or more and leave one of 6 seen classes; got {n_held_out}"


@pytest.mark.parametrize("sentence", [*CLASS_SENTENCES, *DATASET_SENTENCES])
def test_sentences_follow_the_grammar(sentence):
    assert re.fullmatch(r"[a-z_ ]+ must [^;]+; (got )?[^;]+", sentence)
    assert not sentence.endswith(".")


def test_matrices_keep_their_precision():
    for dtype, expected in (("f2", "f4"), ("f4", "f4"), ("f8", "f8"), ("i2", "f8"), ("u1", "f8"), ("?", "f8")):
        assert as_matrix(np.ones((2, 2), dtype=dtype), "x", "rows").dtype == np.dtype(expected)


def test_indices_become_int64_whatever_they_were():
    for dtype in ("u1", "i2", "u8"):
        assert as_indices(np.array([1, 0], dtype=dtype), "x", 2, "image").dtype == np.int64
    assert as_indices([], "x", 2, "image").dtype == np.int64


def test_arrays_are_frozen():
    data = tiny_dataset(w=3)
    arrays = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    arrays["vectors"] = data.classes.vectors
    frozen = [name for name, array in arrays.items() if isinstance(array, np.ndarray)]
    assert len(frozen) == 7
    for name in frozen:
        with pytest.raises(ValueError, match="read-only"):
            arrays[name][0] = 0
    for thing, name in ((data, "features"), (data.classes, "names"), (data.training_set(), "labels")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, name, None)


def test_the_given_arrays_stay_writable():
    features = np.zeros((8, 2))
    small(features=features)
    features[0] = 1


def test_class_sets_are_data():
    classes = ClassEmbeddings(("owl", "auk", "jay"), EYE, ("x", "y", "z"))
    assert len(classes) == 3
    chosen = classes[[2, 0]]
    assert chosen.names == ("jay", "owl")
    assert chosen.attributes == ("x", "y", "z")
    np.testing.assert_array_equal(chosen.vectors, EYE[[2, 0]])
    assert classes[np.array([False, True, True])].names == ("auk", "jay")


def test_seen_classes_are_those_with_training_images():
    data = small(classes=ClassEmbeddings(("owl", "auk", "jay", "emu"), np.eye(4)))
    assert data.seen.tolist() == [0, 1]
    assert data.unseen.tolist() == [2, 3]


def test_training_set_has_no_trace_of_unseen_classes():
    data = tiny_dataset(w=3)
    training = data.training_set()
    unseen = {data.classes.names[row] for row in data.unseen}
    assert unseen.isdisjoint(training.classes.names)
    assert {field.name for field in dataclasses.fields(TrainingSet)} == {
        "features",
        "labels",
        "classes",
        "reconstruction_features",
        "feature_widths",
        "pictures",
        "crops",
    }
    others = data.features[data.test_images]
    assert not (training.features[:, None] == others).all(axis=2).any()
    base = training.classes.vectors.base  # not a window onto the table of all classes
    assert base is None or len(base) == len(data.seen)


def test_reconstruction_features_are_the_features_unless_named():
    training = tiny_dataset().training_set()
    assert training.reconstruction_features is training.features
    data = tiny_dataset(w=3)
    expected = data.reconstruction_features[data.trainval]
    np.testing.assert_array_equal(data.training_set().reconstruction_features, expected)


def test_feature_widths_default_to_one_set():
    assert tiny_dataset(v=7).training_set().feature_widths == (7,)
    assert tiny_dataset(v=7, feature_widths=(3, 4)).training_set().feature_widths == (3, 4)


def dots(n):
    """Pictures of one pixel that tells their number."""
    numbers = np.arange(n)
    return np.stack([numbers // 256, numbers % 256, 0 * numbers], axis=1).astype(np.uint8).reshape(n, 1, 1, 3)


def decoded_dot(picture):
    return int(picture[0, 0, 0]) * 256 + int(picture[0, 0, 1])


def test_pictures_are_of_one_size():
    with pytest.raises(InputError) as caught:
        small(pictures=[np.zeros((2, 2, 3), np.uint8)] * 7 + [np.zeros((3, 2, 3), np.uint8)])
    assert str(caught.value).startswith("pictures must be [h, w, 3] bytes, all of one size; got 2 sizes")


def test_pictures_are_read_where_they_are_used():
    data = small(pictures=dots(8))
    training = data.training_set()
    assert training.pictures.store is data.pictures.store  # nothing was copied
    assert [decoded_dot(picture) for picture in training.pictures] == data.trainval.tolist()
    assert [decoded_dot(picture) for picture in training.pictures.take([1, 0])] == data.trainval[[1, 0]].tolist()


shapes = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 1000),
        "n_seen": st.integers(3, 8),
        "n_unseen": st.integers(1, 4),
        "per_class": st.integers(5, 12),
    }
)


@settings(max_examples=40, deadline=None)
@given(shapes)
def test_renumbering_keeps_names_vectors_and_images(shape):
    data = tiny_dataset(**shape)
    training = data.training_set()
    names = [data.classes.names[label] for label in data.labels[data.trainval]]
    assert [training.classes.names[label] for label in training.labels] == names
    np.testing.assert_array_equal(
        training.classes.vectors[training.labels], data.classes.vectors[data.labels[data.trainval]]
    )
    np.testing.assert_array_equal(training.features, data.features[data.trainval])
    assert len(training) == len(data.trainval)
    assert set(training.labels) == set(range(len(training.classes)))


@settings(max_examples=40, deadline=None)
@given(shapes)
def test_the_seen_classes_as_a_mask_and_all_test_images(shape):
    data = tiny_dataset(**shape)
    assert [row for row, is_seen in enumerate(data.is_seen) if is_seen] == list(data.seen)
    assert len(data.is_seen) == len(data.classes)
    assert list(data.test_images) == [*data.test_seen, *data.test_unseen]


def test_a_subset_keeps_every_image_with_what_belongs_to_it():
    files = [f"{image}.jpg" for image in range(90)]
    data = tiny_dataset(w=3, pictures=dots(90), paths=files, root=".")
    images = np.random.default_rng(0).permutation(90)[:70]  # in an order of its own
    some = data.subset(images)
    assert [decoded_dot(picture) for picture in some.pictures] == list(images)
    assert some.paths == tuple(files[image] for image in images)
    np.testing.assert_array_equal(some.labels, data.labels[images])
    np.testing.assert_array_equal(some.features, data.features[images])
    np.testing.assert_array_equal(some.reconstruction_features, data.reconstruction_features[images])
    for split in ("trainval", "test_seen", "test_unseen"):
        kept = [image for image in getattr(data, split) if image in images]
        assert list(images[getattr(some, split)]) == kept


def test_a_subset_of_classes_numbers_them_anew():
    data = tiny_dataset()
    rows = np.array([1, 2, 5])
    images = np.flatnonzero(np.isin(data.labels, rows))
    some = data.subset(images, rows)
    assert some.classes.names == tuple(data.classes.names[row] for row in rows)
    assert [some.classes.names[label] for label in some.labels] == [data.classes.names[data.labels[i]] for i in images]


@settings(max_examples=40, deadline=None)
@given(shapes, st.integers(0, 5), st.integers(0, 5))
def test_validation_set_is_made_of_training_images(shape, partition, seed):
    files = [f"{image}.jpg" for image in range(len(tiny_dataset(**shape).labels))]
    data = tiny_dataset(**shape, pictures=dots(len(files)), paths=files, root=".")
    validation = data.validation_set(partition, seed)
    original = np.array([decoded_dot(picture) for picture in validation.pictures])
    assert sorted(original) == sorted(data.trainval)  # no test image, every training image
    assert validation.paths == tuple(files[image] for image in original)
    assert validation.classes.names == data.training_set().classes.names  # no unseen class
    np.testing.assert_array_equal(validation.features, data.features[original])
    assert [validation.classes.names[label] for label in validation.labels] == [
        data.classes.names[label] for label in data.labels[original]
    ]
    splits = [validation.trainval, validation.test_seen, validation.test_unseen]
    assert sorted(np.concatenate(splits)) == list(range(len(original)))
    assert len(validation.unseen) == max(1, round(len(data.seen) / 3))
    assert set(validation.labels[validation.test_unseen]) == set(validation.unseen)
    per_class = shape["per_class"] - shape["per_class"] // 5
    held_back = np.bincount(validation.labels[validation.test_seen], minlength=len(validation.classes))
    assert (held_back[validation.seen] == max(1, per_class // 5)).all()


def test_validation_follows_the_given_partitions():
    plain = tiny_dataset(n_seen=6, w=3, feature_widths=(3, 4))
    seen = [plain.classes.names[row] for row in plain.seen]
    partitions = ((seen[4], seen[1]), (seen[0],))
    data = dataclasses.replace(plain, validation_classes=partitions)
    for partition, held_out in enumerate(partitions):
        validation = data.validation_set(partition, seed=partition)
        assert {validation.classes.names[row] for row in validation.unseen} == set(held_out)
        assert validation.feature_widths == (3, 4)
        assert validation.reconstruction_features.shape == (len(plain.trainval), 3)
        assert validation.validation_classes == ()
        assert validation.name == "tiny validation"
    beyond = data.validation_set(2)  # a random draw
    assert len(beyond.unseen) == 2


def test_validation_depends_on_seed_and_partition_alone():
    data = tiny_dataset(n_seen=9)

    def fingerprint(*arguments):
        validation = data.validation_set(*arguments)
        return tuple(validation.unseen), tuple(validation.test_seen)

    assert fingerprint(0, 0) == fingerprint(0, 0)
    assert len({fingerprint(partition, seed) for partition in range(3) for seed in range(3)}) == 9


def test_size_of_a_random_partition():
    assert len(tiny_dataset(n_seen=6).validation_set(n_held_out=4).unseen) == 4


@pytest.mark.parametrize("per_class", [2, 3, 4])
def test_validation_of_small_classes_still_tests_seen_ones(per_class):
    validation = tiny_dataset(per_class=per_class).validation_set()
    assert set(validation.labels[validation.test_seen]) == set(validation.seen)


def test_validation_of_single_images_keeps_them_for_training():
    data = tiny_dataset(per_class=1)
    validation = data.validation_set()
    assert len(validation.seen) == 4
    assert len(validation.test_seen) == 0
