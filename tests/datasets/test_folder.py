"""Folders of people's own pictures: what is read, what is refused, and that splits stay as they are."""

import csv
import json
import os
import shutil
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstsight import cli
from firstsight.analysis.dataset_check import check, describe
from firstsight.data import Dataset, unit_rows
from firstsight.datasets import data_name, load
from firstsight.datasets.folder import find_problems, load_folder, read_folder
from firstsight.datasets.folder_splits import draw_splits
from firstsight.errors import InputError
from firstsight.pictures.find import key_of, list_pictures

COUNTS = {"owl": 10, "auk": 6, "jay": 2, "tit": 1, "emu": 5, "kea": 0}
CSV = """\
class,split,description,has tail,is red
owl,seen,hunts at night,1,0
auk,seen,,0.5,2
jay,,,3,4
tit,,,0,1
emu,unseen,"large, runs",1,1
kea,,,2,0
"""


def write(path, content=b"\xff\xd8 a picture"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def folder(tmp_path):
    """Four seen classes, an unseen one with pictures and one without."""
    root = tmp_path / "birds"
    for name, count in COUNTS.items():
        for number in range(count):
            write(root / "images" / name / f"{number:02}.jpg")
    (root / "classes.csv").write_text(CSV)
    return root


def write_features(folder, name="resnet.safetensors", paths=None, v=3, **metadata):
    """Features that name their picture: row i of the sorted pictures is i, i + .5, ...; written in another order."""
    from safetensors.numpy import save_file

    paths = list(list_pictures(folder).paths if paths is None else paths)
    features = np.arange(len(paths))[:, None] + np.linspace(0, 0.5, v)
    order = np.random.default_rng(0).permutation(len(paths))
    files = [paths[row] for row in order]
    features = features[order].astype(np.float32)
    if name.endswith(".npz"):
        np.savez(folder / name, features=features.astype(np.float16), image_files=np.array(files))
    else:
        save_file({"features": features}, folder / name, {"files": json.dumps(files), **metadata})
    return folder / name


def run(capsys, *words):
    """Exit code, stdout and stderr of a command."""
    code = 0
    try:
        cli.main([str(word) for word in words])
    except SystemExit as stop:
        code = stop.code or 0
    return (code, *capsys.readouterr())


def fails(sentence, *arguments, **options):
    with pytest.raises(InputError) as caught:
        load(*arguments, **options)
    assert str(caught.value) == sentence


# what is read


def test_layout(folder):
    data = load(folder)
    assert isinstance(data, Dataset)
    assert data.name == data_name(folder) == "birds"
    assert data.classes.names == tuple(COUNTS)
    assert data.classes.attributes == ("has tail", "is red")
    np.testing.assert_allclose(data.classes.vectors[2], [0.6, 0.8])
    np.testing.assert_allclose(np.linalg.norm(data.classes.vectors, axis=1), 1)
    names = [data.classes.names[label] for label in data.labels]
    assert [path.split("/")[1] for path in data.paths] == names
    assert data.paths == tuple(sorted(data.paths))
    assert all(os.path.isfile(os.path.join(data.root, path)) for path in data.paths)
    assert [data.classes.names[row] for row in data.seen] == ["owl", "auk", "jay", "tit"]
    assert [data.classes.names[row] for row in data.unseen] == ["emu", "kea"]
    assert (data.features, data.feature_source) == (None, None)
    with pytest.raises(InputError, match="got pictures only; name a feature file"):
        data.training_set()


def test_a_table_lies_in_memory_column_by_column(folder):
    """Sums over its rows round by the layout, and the numbers that a seed gives with them."""
    assert load(folder).classes.vectors.flags.f_contiguous


def test_splits(folder):
    data = load(folder)
    per_class = {
        split: dict(zip(*np.unique(data.labels[getattr(data, split)], return_counts=True), strict=True))
        for split in ("trainval", "test_seen", "test_unseen")
    }
    assert per_class["trainval"] == {0: 8, 1: 5, 2: 1, 3: 1}
    assert per_class["test_seen"] == {0: 2, 1: 1, 2: 1}
    assert per_class["test_unseen"] == {4: 5}


def test_splits_are_written_once_and_then_read(folder):
    first = load(folder)
    text = (folder / "splits.csv").read_text()
    with (folder / "splits.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "split"]
    assert [row[0] for row in rows[1:]] == list(first.paths)
    second = load_folder(folder, seed=7)
    assert first.fingerprint == second.fingerprint
    assert (folder / "splits.csv").read_text() == text
    swapped = text.replace("owl/00.jpg,trainval", "owl/00.jpg,test_seen")
    swapped = swapped if swapped != text else text.replace("owl/00.jpg,test_seen", "owl/00.jpg,trainval")
    (folder / "splits.csv").write_text(swapped)
    assert load(folder).fingerprint != first.fingerprint


def test_another_seed_is_another_split(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    one, other = load_folder(folder, seed=0), load_folder(tmp_path / "copy", seed=1)
    assert one.fingerprint != other.fingerprint
    assert len(one.trainval) == len(other.trainval)


def test_a_folder_that_must_not_be_written_to_splits_the_same(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    folder.chmod(0o555)
    try:
        data = load(folder)
        assert not (folder / "splits.csv").exists()
        assert data.fingerprint == load(folder).fingerprint == load(tmp_path / "copy").fingerprint
    finally:
        folder.chmod(0o755)


def test_the_lot_is_the_same_on_every_machine():
    paths = [f"images/owl/{number}.jpg" for number in range(10)]
    splits = draw_splits(paths, ["owl"] * 10, [False] * 10)
    assert [path for path, split in zip(paths, splits, strict=True) if split == "test_seen"] == PINNED


PINNED = ["images/owl/2.jpg", "images/owl/6.jpg"]  # the smallest of `printf "0\nowl/N.jpg" | sha256sum`


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=1, max_size=6), st.integers(0, 99))
def test_a_fifth_tests_and_classes_do_not_matter_to_each_other(shape, seed):
    def drawn(shape):
        rows = [(row, number, unseen) for row, (count, unseen) in enumerate(shape) for number in range(count)]
        paths = [f"images/{row}/{number}.png" for row, number, _ in rows]
        splits = draw_splits(paths, [str(row) for row, *_ in rows], [unseen for *_, unseen in rows], seed)
        return dict(zip(paths, splits, strict=True))

    splits = drawn(shape)
    for row, (count, unseen) in enumerate(shape):
        of_class = [split for path, split in splits.items() if path.startswith(f"images/{row}/")]
        if unseen:
            assert of_class == ["test_unseen"] * count
        else:
            assert of_class.count("test_seen") == max(count // 5, int(count > 1))
            assert of_class.count("trainval") == count - of_class.count("test_seen") > 0
    first = drawn(shape[:1])
    assert {path: splits[path] for path in first} == first


def test_validation_classes_come_by_seed(folder):
    write_features(folder)
    one, other = load(folder).validation_set(seed=3), load(folder).validation_set(seed=3)
    assert one.fingerprint == other.fingerprint
    assert set(one.paths) == {load(folder).paths[image] for image in load(folder).trainval}


# pictures


def test_names_of_all_kinds(folder):
    names = ["a b.jpg", "größe.PNG", "x.JPeG", "y.webp", "z.bmp", "t.tif", "u.TIFF", "комод.jpg", "q,'\".jpg"]
    for name in names:
        write(folder / "images" / "kea" / "more of them" / name)
    data = load(folder)
    of_kea = [path for path, label in zip(data.paths, data.labels, strict=True) if data.classes.names[label] == "kea"]
    assert sorted(of_kea) == sorted(f"images/kea/more of them/{name}" for name in names)
    assert load(folder).fingerprint == data.fingerprint  # through splits.csv


def test_what_is_passed_over(folder):
    before = load(folder).paths
    for name in (".hidden.jpg", "._0001.jpg", "Thumbs.db", "notes.txt", "clip.gif", "raw.HEIC", "noextension"):
        write(folder / "images" / "owl" / name)
    write(folder / "images" / ".cache" / "a.jpg")
    write(folder / "images" / "__MACOSX" / "owl" / "a.jpg")
    write(folder / "images" / "owl" / "@eaDir" / "a.jpg")
    (folder / "images" / "empty folder").mkdir()
    assert load(folder).paths == before
    assert [os.path.basename(path) for path in list_pictures(folder).others] == [
        "clip.gif",
        "noextension",
        "notes.txt",
        "raw.HEIC",
    ]
    (warning,) = [one for one in check(folder)["warnings"] if "left out" in one]
    assert warning == (
        "files in birds/images should be pictures (.jpg, .jpeg, .png, .webp, .bmp, .tif, .tiff); "
        "left out 4, the first 'images/owl/clip.gif'"
    )


def test_links_are_followed(folder, tmp_path):
    elsewhere = write(tmp_path / "elsewhere" / "a.jpg")
    (folder / "images" / "kea").mkdir(exist_ok=True)
    (folder / "images" / "kea" / "linked.jpg").symlink_to(elsewhere)
    (folder / "images" / "emu" / "more").symlink_to(elsewhere.parent, target_is_directory=True)
    (folder / "images" / "emu" / "loop").symlink_to(folder / "images", target_is_directory=True)
    data = load(folder)
    assert {"images/kea/linked.jpg", "images/emu/more/a.jpg"} <= set(data.paths)
    assert len(data.paths) == sum(COUNTS.values()) + 2


def test_empty_files_and_links_to_nothing(folder):
    write(folder / "images" / "owl" / "03.jpg", b"")
    write(folder / "images" / "auk" / "01.jpg", b"")
    (folder / "images" / "emu" / "gone.png").symlink_to(folder / "nowhere.png")
    sentence = f"pictures must not be empty files; got 2 of 25, the first 'images/auk/01.jpg' in {folder}; "
    fails(sentence + "delete or replace them", folder)
    assert check(folder)["problems"] == [
        sentence + "delete or replace them",
        f"pictures must be files that are there, named in UTF-8; got 1 of 25, the first 'images/emu/gone.png' in "
        f"{folder}; mend or delete what links to nothing",
    ]
    assert not (folder / "splits.csv").exists()


def test_names_in_another_coding(folder):
    name = os.fsencode(folder / "images" / "owl") + b"/gr\xf6sse.jpg"
    try:
        with open(name, "wb") as file:
            file.write(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    (problem,) = check(folder)["problems"]
    assert problem.startswith("pictures must be files that are there, named in UTF-8; got 1 of 25, the first ")
    json.dumps(problem).encode("utf-8")


def test_composed_and_decomposed_letters_are_the_same(folder, tmp_path):
    """A Mac hands out decomposed names, a CSV from elsewhere has composed ones."""
    apart = unicodedata.normalize("NFD", "größe")
    write(folder / "images" / apart / f"{apart}.jpg")
    with (folder / "classes.csv").open("a", encoding="utf-8") as file:
        file.write("größe,unseen,,1,1\n")
    data = load(folder)
    assert data.classes.names[-1] == "größe"
    assert f"images/{apart}/{apart}.jpg" in data.paths  # as it can be opened
    (folder / "splits.csv").write_text(unicodedata.normalize("NFC", (folder / "splits.csv").read_text()))
    assert load(folder).fingerprint == data.fingerprint
    write_features(folder, paths=[unicodedata.normalize("NFC", path) for path in data.paths])
    np.testing.assert_array_equal(load(folder).features[:, 0], np.arange(len(data.paths)))


def test_the_same_name_in_two_codings(folder):
    for form in ("NFC", "NFD"):
        write(folder / "images" / "owl" / unicodedata.normalize(form, "ö.jpg"))
    if len(list((folder / "images" / "owl").iterdir())) < 12:
        pytest.skip("this file system knows them as one")
    (problem,) = check(folder)["problems"]
    assert problem.startswith(
        "pictures must have names that differ in more than the coding of their letters; got 1 of 26"
    )


def test_classes_within_folders(folder):
    write(folder / "images" / "a" / "abbey" / "1.jpg")
    write(folder / "images" / "a" / "abbey" / "inside" / "2.jpg")
    (folder / "classes.csv").write_text(CSV + "a/abbey,unseen,,1,0\n")
    data = load(folder)
    assert [data.labels[data.paths.index(path)] for path in data.paths if "abbey" in path] == [6, 6]


def test_pictures_of_no_class(folder):
    write(folder / "images" / "owls" / "1.jpg")
    expected = "pictures must lie in a folder named as a class of classes.csv; got 1 of 25, the first "
    fails(expected + "'images/owls/1.jpg'; did you mean 'owl'?", folder)
    shutil.rmtree(folder / "images" / "owls")
    write(folder / "images" / "1.jpg")
    fails(expected + "'images/1.jpg'", folder)


# classes.csv


def test_spreadsheets_of_all_kinds(folder):
    expected = load(folder).classes
    for text, coding in [
        (CSV.replace(",", "\t").replace('"large\t runs"', "large"), "utf-8"),
        (CSV.replace('"large, runs"', "large").replace(",", ";").replace("0.5", "0,5"), "utf-8"),
        (CSV.replace("\n", "\r\n"), "utf-8-sig"),
        (CSV.replace("class,", "Class ,").replace("owl,seen", " owl , Seen "), "utf-8"),
        (CSV.replace("\n", ",\n"), "utf-8"),
        (CSV + "\n,,,,\n", "utf-8"),
    ]:
        (folder / "classes.csv").write_bytes(text.encode(coding))
        found = load(folder).classes
        assert (found.names, found.attributes) == (expected.names, expected.attributes)
        np.testing.assert_array_equal(found.vectors, expected.vectors)


BAD_CSV = {
    "{} must have a column 'class'; got klass, big": "klass,big\nowl,1\n",
    "{} must have a header and a line per class; got 1 lines": "class,big\n",
    "{} must have a header and a line per class; got 0 lines": "",
    "columns of {} must have different names; got 'big' more than once": "class,big,Big\nowl,1,2\n",
    "columns of {} must have names; got none for column 1; name it, or delete it if it only counts the lines": (
        ",class,big\n0,owl,1\n1,auk,2\n"
    ),
    "every line of {} must have 2 cells, as its header; got 3 in line 3": "class,big\nowl,1\nauk,1,2\n",
    "classes in {} must be different; got 'owl' in lines 2 and 4": "class,big\nowl,1\nauk,1\nowl,2\n",
    "{} must name a class in every line; got none in line 3": "class,big\nowl,1\n,1\n",
    "class in {} must be the name of a folder; got '../owl' in line 2": "class,big\n../owl,1\n",
    "split in {} must be 'seen', 'unseen' or empty; got 'train' in line 2": "class,split,big\nowl,train,1\n",
    "attribute 'big' in {} must be a finite number for every class; got '' for 'auk' in line 3": (
        "class,big\nowl,1\nauk,\n"
    ),
    "attribute 'big' in {} must be a finite number for every class; got 'lots' for 'auk' in line 3": (
        "class,big\nowl,1\nauk,lots\n"
    ),
    "attribute 'big' in {} must be a finite number for every class; got 'nan' for 'owl' in line 2": (
        "class,big\nowl,nan\nauk,1\n"
    ),
    "{} must be a table of comma-separated values; got unexpected end of data": 'class,big\n"owl,1\n',
}


@pytest.mark.parametrize("sentence", BAD_CSV)
def test_bad_csv(sentence, folder):
    (folder / "classes.csv").write_text(BAD_CSV[sentence])
    fails(sentence.format(folder / "classes.csv"), folder)


def test_csv_in_another_coding(folder):
    (folder / "classes.csv").write_bytes(CSV.replace("owl", "größe").encode("latin-1"))
    path = folder / "classes.csv"
    fails(f"{path} must be text in UTF-8; got another coding from byte 42 on; save it as CSV UTF-8", folder)


def test_bad_classes(folder):
    (folder / "classes.csv").write_text(CSV.replace("kea,,", "kea,seen,"))
    fails(f"seen classes must have pictures; got none for 1, the first 'kea' of {folder / 'classes.csv'}", folder)
    (folder / "classes.csv").write_text(CSV.replace("0.5,2", "0,0"))
    fails("class embeddings must not be all zeros, which say nothing of a class; got 1 of 6, the first 'auk'", folder)
    unseen = "\n".join(f"{name},unseen,1" for name in COUNTS)
    (folder / "classes.csv").write_text(f"class,split,big\n{unseen}\n")
    fails(f"classes in {folder / 'classes.csv'} must not all be unseen; got no seen class with pictures", folder)


def test_no_pictures(folder):
    shutil.rmtree(folder / "images")
    fails(f"{folder} must hold a folder images with a folder of pictures per class; got none", folder)
    (folder / "images").mkdir()
    fails(f"{folder / 'images'} must hold pictures in a folder per class; got none", folder)


def test_no_classes(folder):
    (folder / "classes.csv").unlink()
    fails(
        f"{folder} must hold classes.csv beside images, with a column 'class' and columns of attributes; "
        "got images alone",
        folder,
    )


def test_unit_length_only_where_it_is_not_there():
    nearly = np.array([[0.6, 0.8], [1.0000001, 0]])
    assert unit_rows(nearly) is nearly
    np.testing.assert_allclose(unit_rows(np.array([[3, 4], [0, 2]])), [[0.6, 0.8], [0, 1]])


# splits.csv that does not fit


def test_new_and_lost_pictures(folder):
    load(folder)
    anew = "change its lines, or delete splits.csv to split anew"
    write(folder / "images" / "owl" / "new.jpg")
    fails(
        f"birds/splits.csv must name every picture; got no line for 1 of 25, the first 'images/owl/new.jpg'; {anew}",
        folder,
    )
    (folder / "images" / "owl" / "new.jpg").unlink()
    (folder / "images" / "emu" / "00.jpg").unlink()
    fails(
        f"birds/splits.csv must name pictures that are there; got 1 of 24, the first 'emu/00.jpg', that is not; {anew}",
        folder,
    )
    (folder / "splits.csv").unlink()
    assert len(load(folder).test_unseen) == 4


def test_classes_that_became_unseen(folder):
    load(folder)
    (folder / "classes.csv").write_text(CSV.replace("auk,seen", "auk,unseen").replace("emu,unseen", "emu,seen"))
    fails(
        "birds/splits.csv must agree with classes.csv; got 11 pictures in a split of the other kind, the first "
        "'images/auk/00.jpg' of the unseen class 'auk' in trainval; change its lines, or delete splits.csv to split "
        "anew",
        folder,
    )


def test_pictures_set_aside(folder):
    load(folder)
    text = (folder / "splits.csv").read_text()
    (folder / "splits.csv").write_text(text.replace("images/emu/00.jpg,test_unseen", "images/emu/00.jpg,"))
    assert len(load(folder).test_unseen) == 4
    assert "every image should be in a split; got 1 of 24 in none" in check(folder)["warnings"]
    (folder / "splits.csv").write_text(text.replace("images/tit/00.jpg,trainval", "images/tit/00.jpg,test_seen"))
    fails("birds/splits.csv must leave every seen class pictures in trainval; got none for 1, the first 'tit'", folder)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "{} must begin with 'file,split'; got 'nothing'"),
        ("a,b\n", "{} must begin with 'file,split'; got 'a,b'"),
        (
            "file,split\nimages/owl/00.jpg,trainvla\n",
            "split in {} must be one of trainval, test_seen, test_unseen or empty; got 'trainvla' in line 2; "
            "did you mean 'trainval'?",
        ),
        (
            "file,split\nimages/owl/00.jpg,trainval\nowl/00.jpg,test_seen\n",
            "{} must name each picture once; got 'owl/00.jpg' again in line 3",
        ),
    ],
)
def test_bad_splits(text, sentence, folder):
    (folder / "splits.csv").write_text(text)
    fails(sentence.format(folder / "splits.csv"), folder)


@pytest.mark.parametrize(
    ("delimiter", "ending", "coding"),
    [(";", "", "utf-8-sig"), ("\t", "", "utf-16"), (",", ",,", "utf-8"), (";", ";", "utf-8")],
)
def test_splits_that_a_spreadsheet_wrote(delimiter, ending, coding, folder):
    before = load(folder)
    lines = (folder / "splits.csv").read_text().replace("file,split", "File,Split").splitlines()
    text = "".join(f"{line.replace(',', delimiter)}{ending}\r\n" for line in (*lines, ","))
    (folder / "splits.csv").write_bytes(text.encode(coding))
    assert load(folder).fingerprint == before.fingerprint


# features


@pytest.mark.parametrize("name", ["resnet.safetensors", "resnet.npz"])
@pytest.mark.parametrize("prefix", ["images/", "", "./images/"])
def test_features_are_matched_by_name(name, prefix, folder):
    paths = [prefix + key_of(path) for path in list_pictures(folder).paths]
    write_features(folder, name, [*paths, "images/owl/one too many.jpg"], backbone="random:resnet18", crops="1")
    data = load(folder)
    np.testing.assert_array_equal(data.features[:, 0], np.arange(len(paths)))
    assert data.features.dtype == np.float32
    assert data.feature_widths == (3,)
    source = {"backbone": "random:resnet18", "crops": "1"} if name.endswith("s") else None
    assert data.feature_source == source
    assert data.description == f"own pictures; features from {name}, class embeddings from attributes"


@pytest.mark.parametrize("name", ["f.safetensors", "f.npz"])
def test_features_of_crops(name, folder):
    """They come in the order of the pictures, and are not read before they are used."""
    from safetensors.numpy import save_file

    paths = list_pictures(folder).paths
    order = np.random.default_rng(0).permutation(24)
    features = np.stack([order, order + 0.5], axis=1).astype(np.float32)
    crops = (features[:, None] + 100 * np.arange(10)[:, None]).astype(np.float32)
    files = [paths[row] for row in order]
    if name.endswith(".npz"):
        np.savez(folder / name, features=features, crops=crops, image_files=np.array(files))
    else:
        save_file({"features": features, "crops": crops}, folder / name, {"files": json.dumps(files), "crops": "whole"})
    data = load(folder)
    np.testing.assert_array_equal(data.features[:, 0], np.arange(24))
    np.testing.assert_array_equal(data.crops[:][:, :, 0], np.arange(24)[:, None] + 100 * np.arange(10))
    assert data.training_set().crops.store is data.crops.store
    write_features(folder, "other.npz", v=4)
    assert load(folder, features=["f", "other"]).crops is None  # of joined features only one has crops


def test_which_features(folder, tmp_path):
    write_features(folder, "one.safetensors", v=2)
    write_features(folder, "other.npz", v=4)
    fails(f"features must name a file where {folder} holds several; got none of one.safetensors, other.npz", folder)
    assert load(folder, features="one").features.shape == (24, 2)
    assert load(folder, features=folder / "other.npz").features.shape == (24, 4)
    joined = load(folder, features=["one", "other"])
    assert (joined.feature_widths, joined.feature_source) == ((2, 4), None)
    assert load(folder, "one", reconstruction_features="other").reconstruction_features.shape == (24, 4)
    with pytest.raises(
        InputError, match=r"must be one of one.safetensors, other.npz in .*; got 'other.npy'; did you mean"
    ):
        load(folder, features="other.npy")


def test_models_and_damaged_files_are_no_features(folder):
    from safetensors.numpy import save_file

    save_file({"weight": np.ones(3, dtype=np.float32)}, folder / "model.safetensors")
    (folder / "broken.npz").write_bytes(b"PK\x03\x04")
    (folder / "broken.safetensors").write_bytes(b"x")
    assert load(folder).features is None
    with pytest.raises(InputError, match=r"^birds/broken.npz must hold features and the names of their pictures; got"):
        load(folder, features="broken.npz")
    with pytest.raises(InputError, match=r"got a file that cannot be read \(no tensor 'features'\)$"):
        load(folder, features="model")


def test_pictures_without_features(folder):
    paths = list_pictures(folder).paths
    write_features(folder, paths=paths[2:])
    fails(
        f"features in birds/resnet.safetensors must have a row for every picture; got none for 2 of 24, the first "
        f"{paths[0]!r}; extract them again",
        folder,
    )
    write_features(folder, paths=[*paths, paths[3].removeprefix("images/")])
    with pytest.raises(InputError, match=r"^files in birds/resnet.safetensors must be different; got '.*' more than"):
        load(folder)


def test_features_with_nan(folder):
    from safetensors.numpy import save_file

    paths = list(list_pictures(folder).paths)
    features = np.ones((len(paths), 2), dtype=np.float32)
    features[5, 1] = np.nan
    save_file({"features": features}, folder / "f.safetensors", {"files": json.dumps(paths)})
    fails(
        f"features in birds/f.safetensors must be finite; 1 of 24 pictures contain NaN or inf, the first {paths[5]!r}",
        folder,
    )


def test_files_that_are_fewer_than_rows(folder):
    np.savez(folder / "f.npz", features=np.ones((3, 2)), image_files=np.array(["a", "b"]))
    fails("files in birds/f.npz must be one per row of features; got 2 for 3", folder)
    np.savez(folder / "f.npz", features=np.ones(3), image_files=np.array(["a", "b"]))
    fails("features in birds/f.npz must be numbers of [images, columns]; got float64 of [3]", folder)


# class embeddings from text


def test_vectors_of_text(folder):
    asked = []

    def vectors(names, descriptions):
        asked.append((names, descriptions))
        return np.eye(len(names)) * 2

    data = load(folder, semantics="text", vectors=vectors)
    assert asked == [(tuple(COUNTS), ("hunts at night", "", "", "", "large, runs", ""))]
    assert data.name == data_name(folder, "text") == "birds text"
    assert data.classes.attributes == ()
    np.testing.assert_array_equal(data.classes.vectors, np.eye(6))
    assert load(folder, vectors=np.eye(6)).name == "birds text"


def test_classes_without_attributes(folder):
    (folder / "classes.csv").write_text("class\n" + "\n".join(COUNTS))
    fails(
        f"{folder / 'classes.csv'} must have columns of numbers for class embeddings; got none; "
        "add attributes, or take text for semantics",
        folder,
    )
    assert len(load(folder, semantics="text", vectors=np.eye(6)).classes) == 6


def test_bad_semantics(folder):
    fails(
        f"vectors must be given for class embeddings of text; got none for {folder}; "
        "give numbers or a function of names and descriptions",
        folder,
        semantics="text",
    )
    fails(
        f"semantics must be one of attributes, text, attributes+text for {folder}; got 'texts'; did you mean 'text'?",
        folder,
        semantics="texts",
    )
    fails(
        f"vectors must be left out for semantics attributes, which are in the files of {folder}; got both",
        folder,
        semantics="att",
        vectors=np.eye(6),
    )
    fails("vectors must be numbers of [6 classes, columns]; got shape [5, 5]", folder, vectors=np.eye(5))
    fails("vectors must be finite; 6 of 6 classes contain NaN or inf", folder, vectors=np.full((6, 2), np.nan))
    fails("pictures must be left out for a folder of pictures, which holds its own; got '.'", folder, pictures=".")


# data check


def test_check(folder):
    write_features(folder)
    report = check(folder)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert not (folder / "splits.csv").exists()
    assert (report["name"], report["layout"], report["problems"]) == ("birds", "folder", [])
    assert report["counts"] == {
        "images": 24,
        "classes": 6,
        "seen": 4,
        "unseen": 2,
        "attributes": 2,
        "trainval": 15,
        "test_seen": 4,
        "test_unseen": 5,
    }
    assert report["pictures"] == {
        "root": str(folder),
        "files": 24,
        "missing": 0,
        "first_missing": [],
        "left_out": 0,
    }
    assert report["warnings"] == [
        "test_unseen must hold images of classes that differ; got 1 classes",
        "splits should be written down; got no birds/splits.csv; loading the data set writes it if it can",
    ]
    load(folder)
    again = check(folder)
    assert (again["warnings"], again["fingerprint"]) == (report["warnings"][:1], report["fingerprint"])
    assert "birds/resnet.safetensors: 24 x 3, float32" in describe(report)


def test_reports_of_all_layouts_have_the_same_entries(folder, make_gbu):
    assert check(folder).keys() == check(make_gbu()).keys()


def test_check_warns_of_what_nothing_reads(folder):
    (folder / "classes.csv").write_text(
        "class,latin,big\n" + "\n".join(f"{name},strix,1" for name in COUNTS if name != "kea")
    )
    warnings = check(folder)["warnings"]
    assert "columns of birds/classes.csv should be numbers to be attributes; left out 'latin'" in warnings
    assert (
        "some classes should be unseen to test on; got none; mark them in column 'split' of birds/classes.csv"
        in warnings
    )


def test_check_lists_every_problem(folder):
    load(folder)
    write(folder / "images" / "owl" / "empty.jpg", b"")
    write(folder / "images" / "auk" / "new.jpg")
    (folder / "classes.csv").write_text(CSV.replace("kea,,", "kea,seen,").replace("0.5,2", "0,0"))
    write_features(folder)
    starts = [
        "pictures must not be empty",
        "seen classes must have",
        "class embeddings must not",
        "birds/splits.csv must name",
    ]
    problems = check(folder)["problems"]
    assert [problem.startswith(start) for problem, start in zip(problems, starts, strict=True)] == [True] * 4


@pytest.mark.real_data
def test_real_folder(data_root):
    """100 classes of CUB, as a user would have them."""
    folder = data_root / "cub100"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    files = read_folder(folder)
    assert find_problems(files) == []
    assert not (folder / "splits.csv").exists()
    report = check(folder)
    assert (report["counts"]["seen"], report["counts"]["unseen"], report["counts"]["images"]) == (73, 27, 5902)
    assert report["counts"]["attributes"] == 312
