import shutil
import sys

import numpy as np
import pytest

from firstsight.data import Dataset
from firstsight.datasets import load
from firstsight.errors import InputError
from tests.support.matlab import toy_variables, write_mat5, write_mat73

FEATURES, SPLITS = toy_variables()


def test_layout(make_gbu):
    data = load(make_gbu())
    assert data.name == "TOY"
    assert data.classes.names == ("owl", "auk", "jay", "tit", "emu", "kea")
    np.testing.assert_array_equal(data.classes.vectors, SPLITS["att"].T)
    np.testing.assert_array_equal(data.labels, np.repeat(range(6), 5))
    np.testing.assert_array_equal(data.trainval, SPLITS["trainval_loc"].ravel() - 1)
    np.testing.assert_array_equal(data.test_seen, [4, 9, 14, 19])
    np.testing.assert_array_equal(data.test_unseen, range(20, 30))
    np.testing.assert_array_equal(data.unseen, [4, 5])
    np.testing.assert_allclose(data.features, FEATURES["features"].T, rtol=1e-6)
    assert data.features.dtype == np.float32
    assert data.feature_widths == (4,)
    assert len(data.pictures) == 0
    assert data.validation_classes == ()


def test_version_73_gives_the_same_data_set(make_gbu):
    one, other = load(make_gbu("ONE")), load(make_gbu("OTHER", write=write_mat73))
    for field in ("labels", "trainval", "test_seen", "test_unseen", "features"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    assert one.classes.names == other.classes.names
    np.testing.assert_array_equal(one.classes.vectors, other.classes.vectors)


def test_labels_alone(make_gbu):
    folder = make_gbu(files={"res101.mat": None, "labels.mat": {"labels": FEATURES["labels"]}})
    data = load(folder)
    assert data.features is None
    np.testing.assert_array_equal(data.labels, np.repeat(range(6), 5))


def test_labels_from_labels_file(make_gbu):
    data = load(make_gbu(labels=None, files={"labels.mat": {"labels": FEATURES["labels"].T}}))
    np.testing.assert_array_equal(data.labels, np.repeat(range(6), 5))
    assert data.features.shape == (30, 4)


def test_which_features(make_gbu):
    vgg = {"features": np.ones((2, 30)), "labels": FEATURES["labels"]}
    folder = make_gbu(files={"vgg.mat": vgg})
    assert load(folder).features.shape == (30, 4)
    assert load(folder, features="vgg").features.shape == (30, 2)
    assert load(folder, features=folder / "vgg.mat").features.shape == (30, 2)
    joined = load(folder, features=["vgg.mat", "res101.mat"])
    assert joined.feature_widths == (2, 4)
    np.testing.assert_array_equal(joined.features[:, :2], 1)
    other = load(folder, reconstruction_features="vgg.mat")
    assert other.features.shape == (30, 4)
    assert other.reconstruction_features.shape == (30, 2)
    assert load(folder).reconstruction_features is None
    (folder / "res101.mat").unlink()
    assert load(folder).features.shape == (30, 2)
    shutil.copy(folder / "vgg.mat", folder / "alexnet.mat")
    with pytest.raises(InputError) as caught:
        load(folder)
    assert str(caught.value) == (
        f"features must name a file where {folder} holds several; got none of alexnet.mat, vgg.mat"
    )


def test_which_semantics(make_gbu):
    sentences = SPLITS | {"att": np.ones((5, 6))}
    folder = make_gbu(files={"sent_splits.mat": sentences})
    (folder / "attributes.txt").write_text("has tail\nhas wings\n\nhas beak\n")
    assert load(folder).classes.attributes == ("has tail", "has wings", "has beak")
    for semantics in ("sent", "sent_splits.mat"):
        assert load(folder, semantics=semantics).classes.vectors.shape == (6, 5)
        assert load(folder, semantics=semantics).classes.attributes == ()


def test_original_att_where_there_is_no_other(make_gbu):
    folder = make_gbu(att=None, original_att=SPLITS["att"] * 2)
    np.testing.assert_array_equal(load(folder).classes.vectors, SPLITS["att"].T * 2)


def test_validation_classes(make_gbu):
    folder = make_gbu()
    (folder / "valclasses1.txt").write_text("jay\nemu\ndodo\nowl\n")
    (folder / "valclasses2.txt").write_text("dodo\n")
    (folder / "valclasses3.txt").write_text("tit\n")
    data = load(folder)
    assert data.validation_classes == (("jay", "owl"), ("tit",))
    assert isinstance(data.validation_set(), Dataset)


def changed(array, place, value):
    array = np.array(array, dtype=float)
    array[place] = value
    return array


BAD = {
    "label too large": (
        {"labels": changed(FEATURES["labels"], 4, 7)},
        "labels in TOY/res101.mat must name one of 6 classes, 1 to 6; got 7 in place 5",
    ),
    "label zero": (
        {"labels": FEATURES["labels"] - 1},
        "labels in TOY/res101.mat must name one of 6 classes, 1 to 6; got 0 in place 1; count from 1, as MATLAB does",
    ),
    "label not whole": (
        {"labels": changed(FEATURES["labels"], 2, 1.5)},
        "labels in TOY/res101.mat must be whole numbers; got 1.5 in place 3",
    ),
    "label missing": (
        {"labels": changed(FEATURES["labels"], 2, np.nan)},
        "labels in TOY/res101.mat must be whole numbers; got nan in place 3",
    ),
    "labels as text": (
        {"labels": ["owl"] * 30},
        "labels in TOY/res101.mat must be whole numbers; got <U3",
    ),
    "no labels": (
        {"labels": np.zeros((0, 1))},
        "labels in TOY/res101.mat must be one per image; got none",
    ),
    "class without images": (
        {"labels": np.where(FEATURES["labels"] == 6, 5, FEATURES["labels"])},
        "labels in TOY/res101.mat must give every class images; got none for 1 of 6 classes, the first 'kea'",
    ),
    "index zero": (
        {"trainval_loc": SPLITS["trainval_loc"] - 1},
        "trainval_loc in TOY/att_splits.mat must name one of 30 images, 1 to 30; "
        "got 0 in place 16; count from 1, as MATLAB does",
    ),
    "index too large": (
        {"test_unseen_loc": SPLITS["test_unseen_loc"] + 1},
        "test_unseen_loc in TOY/att_splits.mat must name one of 30 images, 1 to 30; got 31 in place 10",
    ),
    "index not whole": (
        {"test_seen_loc": SPLITS["test_seen_loc"] + 0.5},
        "test_seen_loc in TOY/att_splits.mat must be whole numbers; got 5.5 in place 1",
    ),
    "index twice": (
        {"test_seen_loc": np.array([[5.0], [5.0]])},
        "test_seen_loc in TOY/att_splits.mat must name each image once; got 1 repeats",
    ),
    "no training images": (
        {"trainval_loc": np.zeros((0, 1))},
        "trainval_loc in TOY/att_splits.mat must have images; got none",
    ),
    "splits overlap": (
        {"test_seen_loc": SPLITS["test_seen_loc"] - 1},
        "trainval_loc and test_seen_loc in TOY/att_splits.mat must not share images; got 4 in both",
    ),
    "unseen class in test_seen": (
        {"test_seen_loc": np.array([[5.0], [21.0]]), "test_unseen_loc": np.array([[26.0]])},
        "test_seen_loc in TOY/att_splits.mat must hold images of seen classes only; "
        "got 1 other classes, the first 'emu'",
    ),
    "seen class in test_unseen": (
        {"test_seen_loc": np.array([[5.0]]), "test_unseen_loc": np.array([[26.0], [10.0]])},
        "test_unseen_loc in TOY/att_splits.mat must hold images of unseen classes only; "
        "got 1 other classes, the first 'auk'",
    ),
    "nan": (
        {"features": changed(FEATURES["features"], (1, [3, 5]), np.nan)},
        "features in TOY/res101.mat must be finite; 2 of 30 images contain NaN or inf",
    ),
    "inf both ways": (
        {"features": changed(FEATURES["features"], ([0, 1], 3), [np.inf, -np.inf])},
        "features in TOY/res101.mat must be finite; 1 of 30 images contain NaN or inf",
    ),
    "beyond float32": (
        {"features": changed(FEATURES["features"], (0, 3), 1e300)},
        "features in TOY/res101.mat must be finite; 1 of 30 images contain NaN or inf",
    ),
    "features transposed": (
        {"features": FEATURES["features"].T},
        "features in TOY/res101.mat must be [columns, images]; got [30, 4], which is [images, columns] for 30 labels; "
        "transpose it",
    ),
    "features of other images": (
        {"features": FEATURES["features"][:, :20]},
        "features in TOY/res101.mat must have one column per label in TOY/res101.mat; got 20 columns for 30 labels",
    ),
    "features as maps": (
        {"features": np.ones((2, 2, 30))},
        "features in TOY/res101.mat must be a table of [columns, images]; got shape [2, 2, 30]",
    ),
    "features as text": (
        {"features": ["a", "b"]},
        "features in TOY/res101.mat must be numbers; got text",
    ),
    "class names repeat": (
        {"allclasses_names": ["owl", "auk", "jay", "tit", "emu", "auk "]},
        "class names in TOY/att_splits.mat must be different; got 'auk' more than once",
    ),
    "fewer class names": (
        {"allclasses_names": SPLITS["allclasses_names"][:5]},
        "att in TOY/att_splits.mat must have one column per class name; got 6 columns for 5 names",
    ),
    "att transposed": (
        {"att": SPLITS["att"].T},
        "att in TOY/att_splits.mat must have one column per class name; got 3 columns for 6 names; transpose it",
    ),
    "att not finite": (
        {"att": changed(SPLITS["att"], (0, 2), np.nan)},
        "att in TOY/att_splits.mat must be finite; 1 of 6 classes contain NaN or inf",
    ),
    "att as text": (
        {"att": ["a", "b"]},
        "att in TOY/att_splits.mat must be numbers of [attributes, classes]; got <U1 of [2]",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(make_gbu, case):
    changes, sentence = BAD[case]
    with pytest.raises(InputError) as caught:
        load(make_gbu(**changes))
    assert str(caught.value) == sentence


def test_files_must_agree(make_gbu):
    vgg = {"features": np.ones((2, 30)), "labels": FEATURES["labels"], "image_files": list(FEATURES["image_files"])}
    vgg["image_files"] = [
        file.replace("/disk/pictures/", "C:\\data\\").replace("/", "\\") for file in vgg["image_files"]
    ]
    folder = make_gbu(files={"vgg.mat": vgg})
    both = ["res101.mat", "vgg.mat"]
    assert load(folder, features=both).feature_widths == (4, 2)

    def sentence(**changes):
        write_mat5(folder / "vgg.mat", vgg | changes)
        with pytest.raises(InputError) as caught:
            load(folder, features=both)
        return str(caught.value)

    assert sentence(features=np.ones((2, 29))) == (
        "features in TOY/vgg.mat must have one column per label in TOY/res101.mat; got 29 columns for 30 labels"
    )
    assert sentence(labels=changed(FEATURES["labels"], 6, 5)) == (
        "labels in TOY/vgg.mat must be those of TOY/res101.mat, in their order; got 5.0 instead of 2 for image 7"
    )
    assert sentence(labels=FEATURES["labels"][:20]) == (
        "labels in TOY/vgg.mat must be as many as in TOY/res101.mat; got 20 and 30"
    )
    swapped = [*vgg["image_files"][:8], *vgg["image_files"][9:7:-1], *vgg["image_files"][10:]]
    assert sentence(image_files=swapped) == (
        "image_files in TOY/vgg.mat must be those of TOY/res101.mat, in their order; "
        "got 10.jpg instead of 9.jpg for image 9"
    )
    assert sentence(image_files=swapped[:20]) == (
        "image_files in TOY/vgg.mat must be as many as in TOY/res101.mat; got 20 and 30"
    )


def test_names_that_repeat_are_compared_with_their_folder(make_gbu):
    paths = [f"/disk/class{label}/{image % 5}.jpg" for image, label in enumerate(FEATURES["labels"].ravel())]
    labels = {"labels": FEATURES["labels"], "image_files": [path.replace("class3", "class2") for path in paths]}
    with pytest.raises(InputError, match=r"got class2/0.jpg instead of class3/0.jpg for image 11$"):
        load(make_gbu(image_files=paths, files={"labels.mat": labels}))


def test_reconstruction_features_must_agree(make_gbu):
    folder = make_gbu(files={"vgg.mat": {"features": np.ones((2, 29))}})
    with pytest.raises(InputError, match=r"^features in TOY/vgg.mat must have one column per label in TOY/res101.mat"):
        load(folder, reconstruction_features="vgg.mat")


def test_missing_variables(make_gbu):
    folder = make_gbu(trainval_loc=None)
    with pytest.raises(InputError) as caught:
        load(folder)
    assert str(caught.value) == (
        f"{folder / 'att_splits.mat'} must hold 'trainval_loc'; "
        f"got allclasses_names, att, test_seen_loc, test_unseen_loc, train_loc, val_loc"
    )
    folder = make_gbu("OTHER", att=None)
    with pytest.raises(InputError, match="must hold 'att'; got allclasses_names, test_seen_loc"):
        load(folder)
    folder = make_gbu("UNLABELLED", labels=None)
    with pytest.raises(InputError) as caught:
        load(folder)
    assert str(caught.value) == f"labels must be in the feature file or in labels.mat; got neither in {folder}"


def test_unknown_names(make_gbu, tmp_path):
    folder = make_gbu(files={"sent_splits.mat": SPLITS})

    def sentence(*args, **kwargs):
        with pytest.raises(InputError) as caught:
            load(*args, **kwargs)
        return str(caught.value)

    assert sentence(tmp_path / "tyo") == (
        f"data must be a folder in the GBU layout or the word atlas; got '{tmp_path}/tyo', a path where nothing is; "
        f"did you mean 'TOY'?"
    )
    assert sentence(tmp_path / "birds").endswith(f"a path where nothing is; {tmp_path} holds TOY")
    assert sentence(folder / "att_splits.mat").endswith("att_splits.mat', a file")
    assert sentence(tmp_path) == (
        f"{tmp_path} must hold att_splits.mat and a feature file (GBU layout); got neither it nor another "
        f"*_splits.mat; give one of the data sets in it: {folder}"
    )
    assert sentence(folder, semantics="snet") == (
        f"semantics must be one of att, sent for {folder}; got 'snet'; did you mean 'sent'?"
    )
    assert sentence(folder, features="res100.mat") == (
        f"features must be one of res101.mat in {folder}; got 'res100.mat'; did you mean 'res101.mat'?"
    )
    assert sentence(folder, reconstruction_features="xyz") == (
        f"reconstruction features must be one of res101.mat in {folder}; got 'xyz'"
    )
    bare = make_gbu("BARE", files={"res101.mat": None, "labels.mat": {"labels": FEATURES["labels"]}})
    assert sentence(bare, features="res101.mat") == (
        f"features must be a file that holds features, none of which is in {bare}; got 'res101.mat'"
    )


def test_atlas_words(monkeypatch):
    calls = []
    stub = type(sys)("firstsight.datasets.atlas")
    stub.atlas = lambda **settings: calls.append(settings)
    monkeypatch.setitem(sys.modules, "firstsight.datasets.atlas", stub)
    load("atlas")
    load("atlas:0.5", progress=print)
    assert calls == [{"progress": None}, {"semantic_loss": 0.5, "progress": print}]
    for word in ("atlas:", "atlas:much"):
        with pytest.raises(InputError, match=r"^atlas must be followed by a number, as in atlas:0.5; got 'atlas:"):
            load(word)
    with pytest.raises(InputError, match=r"^semantics must be left out for atlas, which renders its own; got 'att'$"):
        load("atlas", semantics="att")
    with pytest.raises(InputError, match=r"^features must be left out for atlas"):
        load("atlas", features="res101.mat")


def test_import_is_light():
    import subprocess

    code = "import sys, firstsight.datasets; print([m for m in ('scipy', 'h5py', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# (seen, unseen, attributes, images, trainval, test seen, test unseen), from the table in Xian et al.
SIZES = {
    "CUB": (150, 50, 312, 11788, 7057, 1764, 2967),
    "SUN": (645, 72, 102, 14340, 10320, 2580, 1440),
    "AWA2": (40, 10, 85, 37322, 23527, 5882, 7913),
    "APY": (20, 12, 64, 15339, 5932, 1483, 7924),
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", SIZES)
def test_real_sizes(gbu_root, name):
    data = load(gbu_root / name)
    splits = (len(data.trainval), len(data.test_seen), len(data.test_unseen))
    assert (len(data.seen), len(data.unseen), data.classes.vectors.shape[1], len(data.labels), *splits) == SIZES[name]
    assert [len(partition) for partition in data.validation_classes] == 3 * [
        {"CUB": 50, "SUN": 65, "AWA2": 13, "APY": 5}[name]
    ]
    assert data.classes.attributes[:1] == {"CUB": ("has_bill_shape::curved_(up_or_down)",), "AWA2": ("black",)}.get(
        name, ()
    )


@pytest.mark.real_data
def test_real_sentence_vectors_and_features(gbu_root):
    data = load(gbu_root / "CUB", features="resnet_logits.mat", semantics="sent")
    assert data.classes.vectors.shape == (200, 1024)
    assert data.features.shape == (11788, 1000)
    assert data.classes.names[0] == "002.Laysan_Albatross"


def test_the_name_says_which_semantics_unless_they_are_attributes(make_gbu, tmp_path):
    folder = make_gbu()
    (folder / "sent_splits.mat").write_bytes((folder / "att_splits.mat").read_bytes())
    assert load(folder).name == "TOY"
    assert load(folder, semantics="sent").name == "TOY sent"
