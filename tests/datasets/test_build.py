"""Folders of pictures in the GBU layout, read back by our own loader and by SciPy."""

import json

import numpy as np
import pytest
from scipy.io import loadmat

from firstsight.analysis.dataset_check import check
from firstsight.datasets import build as module
from firstsight.datasets import load
from firstsight.datasets.build import build, write_gbu
from firstsight.errors import InputError
from firstsight.pictures.find import list_pictures
from tests.datasets.test_folder import CSV, run, write, write_features
from tests.datasets.test_folder import folder as folder  # a fixture
from tests.support.tiny import tiny_dataset

FILES = {"allclasses", "trainvalclasses", "testclasses", "attributes"}
PARTITIONS = {f"{kind}classes{number}" for kind in ("train", "val") for number in (1, 2, 3)}


def same(one, other):
    """Everything a method or an evaluation sees."""
    assert one.classes.names == other.classes.names
    assert one.classes.attributes == other.classes.attributes
    for field in ("labels", "trainval", "test_seen", "test_unseen", "features"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    np.testing.assert_array_equal(one.classes.vectors, other.classes.vectors)


@pytest.fixture
def full(folder):
    """The folder with features, and pictures of every class, some of whose names are no ASCII."""
    write(folder / "images" / "kea" / "größe 1.jpg")
    (folder / "images" / "jay").rename(folder / "images" / "häher")
    (folder / "classes.csv").write_text(CSV.replace("jay", "häher").replace("kea,,", "kea,unseen,"))
    write_features(folder)
    return folder


def test_read_back(full, tmp_path):
    built = build(full, tmp_path / "out" / "BIRDS")
    there, again = load(full), load(built.folder)
    same(there, built.data)
    same(there, again)
    assert (again.name, built.left_out) == ("BIRDS", ())
    assert check(built.folder)["problems"] == check(built.folder)["warnings"] == []
    assert {path.stem for path in built.folder.glob("*.txt")} == FILES | PARTITIONS


def test_validation_classes_are_those_that_the_folder_draws(full, tmp_path):
    again, there = load(build(full, tmp_path / "OUT").folder), load(full)
    assert len(again.validation_classes) == 3
    for partition in range(3):
        one, other = again.validation_set(partition), there.validation_set(partition)
        assert one.unseen.tolist() == other.unseen.tolist()
        assert (built := (tmp_path / "OUT" / f"valclasses{partition + 1}.txt").read_text().split())
        seen = (tmp_path / "OUT" / "trainvalclasses.txt").read_text().split()
        train = (tmp_path / "OUT" / f"trainclasses{partition + 1}.txt").read_text().split()
        assert sorted(built + train) == sorted(seen)


def test_as_others_read_it(full, tmp_path):
    """The lines that most public code begins with."""
    build(full, tmp_path / "OUT")
    image = loadmat(tmp_path / "OUT" / "res101.mat")
    features = image["features"].T
    label = image["labels"].astype(int).squeeze() - 1
    splits = loadmat(tmp_path / "OUT" / "att_splits.mat")
    trainval = splits["trainval_loc"].squeeze() - 1
    attribute = splits["att"].T
    names = [str(name[0]) for name in splits["allclasses_names"].squeeze()]
    there = load(full)
    np.testing.assert_array_equal(features[trainval], there.features[there.trainval])
    np.testing.assert_array_equal(label, there.labels)
    np.testing.assert_allclose(np.linalg.norm(attribute, axis=1), 1)
    np.testing.assert_array_equal(splits["original_att"].T[0], [1, 0])
    assert tuple(names) == there.classes.names
    assert tuple(str(file[0]) for file in image["image_files"].squeeze()) == there.paths
    train, val = splits["train_loc"].ravel() - 1, splits["val_loc"].ravel() - 1
    assert sorted([*train, *val]) == sorted(there.trainval)  # no leak
    assert not set(label[train]) & set(label[val])
    assert {names[row] for row in label[val]} == set((tmp_path / "OUT" / "valclasses1.txt").read_text().split())


def test_attributes_of_unit_length_have_no_other_original(full, tmp_path):
    names = ["owl", "auk", "häher", "tit", "emu", "kea"]
    lines = [f"{name},{'un' * (name in ('emu', 'kea'))}seen,0.6,0.8" for name in names]
    (full / "classes.csv").write_text("\n".join(["class,split,a,b", *lines]))
    build(full, tmp_path / "OUT")
    assert "original_att" not in loadmat(tmp_path / "OUT" / "att_splits.mat")


def test_classes_without_pictures_are_left_out_and_named(folder, tmp_path, capsys):
    built = build(folder, tmp_path / "OUT")
    assert built.left_out == ("kea",)
    assert (folder / "splits.csv").is_file()
    again = load(built.folder)
    assert again.classes.names == ("owl", "auk", "jay", "tit", "emu")
    assert again.features is None
    code, out, err = run(capsys, "data", "build", folder, "--out", tmp_path / "OTHER")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "4 seen + 1 unseen classes",
        "trainval / test seen / test unseen: 15 / 4 / 5",
        "left out, without pictures: kea",
        f"no features: none are in {folder}; `firstsight features` makes them",
        f"The data set is at {tmp_path / 'OTHER'}; `firstsight data check {tmp_path / 'OTHER'}` looks at it",
    ]
    code, out, _ = run(capsys, "data", "build", folder, "--out", tmp_path / "THIRD", "--json")
    assert json.loads(out)["left_out"] == ["kea"]


def test_a_class_without_pictures_in_the_middle(folder, tmp_path):
    """Labels are renumbered, not shifted."""
    (folder / "images" / "auk").rename(folder / "images" / "kea")
    (folder / "classes.csv").write_text(CSV.replace("auk,seen", "auk,"))
    write_features(folder)
    data, again = load(folder), load(build(folder, tmp_path / "OUT").folder)
    assert again.classes.names == ("owl", "jay", "tit", "emu", "kea")
    assert [again.classes.names[row] for row in again.labels] == [data.classes.names[row] for row in data.labels]
    np.testing.assert_array_equal(again.classes.vectors, data.classes.vectors[[0, 2, 3, 4, 5]])


def test_any_data_set_can_be_written(tmp_path):
    data = tiny_dataset(n_seen=6, n_unseen=3)
    unit = data.classes.vectors / np.linalg.norm(data.classes.vectors, axis=1, keepdims=True)
    write_gbu(data, tmp_path / "OUT", data.classes.vectors)
    again = load(tmp_path / "OUT")
    np.testing.assert_allclose(again.classes.vectors, unit)
    np.testing.assert_array_equal(np.sort(again.trainval), np.sort(data.trainval))
    np.testing.assert_array_equal(again.features, data.features)


def test_few_classes_have_no_validation_classes(tmp_path):
    write_gbu(tiny_dataset(n_seen=2), tmp_path / "OUT")
    assert load(tmp_path / "OUT").validation_classes == ()
    assert loadmat(tmp_path / "OUT" / "att_splits.mat")["val_loc"].size == 0


def test_a_place_that_is_taken(folder, tmp_path):
    write(tmp_path / "OUT" / "res101.mat", b"precious")
    with pytest.raises(InputError) as caught:
        build(folder, tmp_path / "OUT")
    assert str(caught.value) == (
        f"out must be a new or empty folder; got {str(tmp_path / 'OUT')!r}, one that holds files"
    )
    assert (tmp_path / "OUT" / "res101.mat").read_bytes() == b"precious"
    with pytest.raises(InputError, match=r"a file$"):
        build(folder, tmp_path / "OUT" / "res101.mat")
    (tmp_path / "EMPTY").mkdir()
    assert load(build(folder, tmp_path / "EMPTY").folder).name == "EMPTY"


def test_written_whole_or_not_at_all(full, tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_cells", stopped)
    with pytest.raises(KeyboardInterrupt):
        build(full, tmp_path / "OUT")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["birds"]


def test_what_cannot_be_written(tmp_path, monkeypatch):
    data = tiny_dataset()
    monkeypatch.setattr(module, "_LARGEST", 1000)
    with pytest.raises(InputError, match=r"^features must be at most 2 GiB for a MATLAB 5 file; got 0.0 GiB$"):
        write_gbu(data, tmp_path / "OUT")
    keep = np.flatnonzero(data.labels != data.unseen[0])
    fewer = data.subset(keep)
    with pytest.raises(InputError, match=r"^every class must have images in the GBU layout; got none for 'class \w'$"):
        write_gbu(fewer, tmp_path / "OUT")


def test_problems_stop_it(folder, tmp_path, capsys):
    write(folder / "images" / "owl" / "00.jpg", b"")
    code, _, err = run(capsys, "data", "build", folder, "--out", tmp_path / "OUT")
    assert (code, err.count("\n")) == (2, 1)
    assert "pictures must not be empty files" in err
    assert not (tmp_path / "OUT").exists()
    assert len(list_pictures(folder).problems) == 1
