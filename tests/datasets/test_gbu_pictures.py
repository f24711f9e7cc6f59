"""Pictures of GBU data sets found by the names they had on their authors' disks."""

import json

import numpy as np
import pytest

from firstsight.analysis.dataset_check import check, describe
from firstsight.datasets import DataFiles, load
from firstsight.datasets.gbu_pictures import distinct_depth, find_pictures
from firstsight.errors import InputError
from tests.datasets.test_folder import run, write
from tests.support.matlab import toy_variables

ELSEWHERE = "/disk/of/the/authors/"  # the files begin with a folder of the machine they were made on
PACKED = {  # as the authors of the benchmark name pictures, and where the archives of the pictures have them
    "CUB": (
        "CUB_200_2011/CUB_200_2011/images/001.Albatross/A_0001_1.jpg",
        "CUB_200_2011/images/001.Albatross/A_0001_1.jpg",
    ),
    "AWA2": (
        "Animals_with_Attributes2//JPEGImages/antelope/antelope_10001.jpg",
        "JPEGImages/antelope/antelope_10001.jpg",
    ),
    "SUN": ("data/SUN/images/a/abbey/sun_aakb.jpg", "images/a/abbey/sun_aakb.jpg"),
    "aPY": ("aPY/VOCdevkit/VOC2008/JPEGImages/2008_000008.jpg", "VOCdevkit/VOC2008/JPEGImages/2008_000008.jpg"),
}


@pytest.mark.parametrize("name", PACKED)
def test_archives_of_the_benchmark(name, tmp_path):
    theirs, ours = PACKED[name]
    write(tmp_path / ours)
    found = find_pictures(tmp_path, [ELSEWHERE + theirs])
    assert (found.paths, found.missing, found.n_files) == ((ours,), (), 1)


def test_images_of_one_picture_share_it(tmp_path):
    write(tmp_path / "VOC" / "1.jpg")
    found = find_pictures(tmp_path, ["/x/VOC/1.jpg", "/x/VOC/1.jpg", "/x/VOC/2.jpg"])
    assert found.paths == ("VOC/1.jpg", "VOC/1.jpg", "")
    assert (found.n_files, found.missing) == (1, ("VOC/2.jpg",))


def test_names_alone_are_not_enough_where_folders_share_them(tmp_path):
    """A picture of another class must never stand in for one that is missing."""
    wanted = ["/x/owl/1.jpg", "/x/auk/1.jpg", "/x/jay/1.jpg"]
    assert distinct_depth(wanted) == 2
    write(tmp_path / "auk" / "1.jpg")
    write(tmp_path / "1.jpg")
    found = find_pictures(tmp_path, wanted)
    assert found.paths == ("", "auk/1.jpg", "")
    assert found.missing == ("owl/1.jpg", "jay/1.jpg")
    assert find_pictures(tmp_path / "auk", wanted).paths == ("", "", "")


def test_names_alone_do_where_they_differ(tmp_path):
    write(tmp_path / "all" / "owl_1.jpg")
    assert find_pictures(tmp_path, ["/x/owl/owl_1.jpg", "/x/auk/auk_1.jpg"]).paths == ("all/owl_1.jpg", "")


def test_of_several_the_one_that_agrees_most(tmp_path):
    for place in ("thumbnails", "images", "deep/copy/images"):
        write(tmp_path / place / "owl" / "1.jpg")
    assert find_pictures(tmp_path, ["/x/images/owl/1.jpg"]).paths == ("images/owl/1.jpg",)
    assert find_pictures(tmp_path, ["D:\\thumbnails\\owl\\1.jpg"]).paths == ("thumbnails/owl/1.jpg",)


def test_hidden_and_empty_files_are_not_pictures(tmp_path):
    write(tmp_path / "owl" / "1.jpg", b"")
    write(tmp_path / ".cache" / "owl" / "1.jpg")
    assert find_pictures(tmp_path, ["/x/owl/1.jpg"]).missing == ("owl/1.jpg",)


def test_every_image_can_be_found_again(tmp_path):
    rng = np.random.default_rng(0)
    places = [f"images/{folder}/{number}.jpg" for folder in range(5) for number in range(8)]
    for place in places:
        write(tmp_path / place, place.encode())
    order = rng.permutation(len(places))
    found = find_pictures(tmp_path, [f"/other/disk/{places[row]}" for row in order])
    assert [(tmp_path / path).read_text() for path in found.paths] == [places[row] for row in order]


# in a data set


@pytest.fixture
def pictures(tmp_path):
    """The pictures that `make_gbu` names, on this disk."""
    for image in range(1, 31):
        write(tmp_path / "disk" / "pictures" / f"class{(image - 1) // 5 + 1}" / f"{image}.jpg")
    return tmp_path / "disk"


def test_load(make_gbu, pictures):
    data = load(make_gbu(), pictures=pictures)
    assert data.root == str(pictures)
    assert data.paths[::10] == ("pictures/class1/1.jpg", "pictures/class3/11.jpg", "pictures/class5/21.jpg")
    assert load(make_gbu("OTHER")).paths == ()
    assert data.fingerprint == load(make_gbu("THIRD")).fingerprint


def test_missing_pictures(make_gbu, pictures, capsys):
    folder = make_gbu()
    for image in (3, 4, 7, 30):
        next(pictures.rglob(f"{image}.jpg")).unlink()
    sentence = (
        f"pictures of TOY must all be in {pictures}; got 4 of 30 missing, "
        "the first 'class1/3.jpg', 'class1/4.jpg', 'class2/7.jpg'"
    )
    with pytest.raises(InputError) as caught:
        load(folder, pictures=pictures)
    assert str(caught.value) == sentence
    report = check(folder, DataFiles(pictures=pictures))
    assert report["problems"] == [sentence]
    assert report["pictures"] == {
        "root": str(pictures),
        "files": 26,
        "missing": 4,
        "first_missing": ["class1/3.jpg", "class1/4.jpg", "class2/7.jpg"],
        "left_out": 0,
    }
    assert f"26 in {pictures}, 4 missing" in describe(report)
    code, out, _ = run(capsys, "data", "check", folder, "--pictures", pictures, "--json")
    assert (code, json.loads(out)["pictures"]["missing"]) == (2, 4)


def test_no_folder_of_pictures(make_gbu, tmp_path):
    with pytest.raises(InputError, match=r"^pictures must be a folder; got '.*nowhere', nothing$"):
        load(make_gbu(), pictures=tmp_path / "nowhere")


def test_files_without_names_of_pictures(make_gbu, pictures):
    folder = make_gbu(image_files=None)
    with pytest.raises(InputError) as caught:
        load(folder, pictures=pictures)
    assert str(caught.value) == (
        "image_files must be in the feature file or in labels.mat, one per label, to find the pictures; "
        f"got 0 for 30 labels in {folder}"
    )


def write_features(path, files, rows=None):
    from safetensors.numpy import save_file

    rows = np.arange(len(files)) if rows is None else rows
    features = np.stack([rows, rows + 0.5], axis=1).astype(np.float32)
    save_file({"features": features}, path, {"files": json.dumps(files), "backbone": "random:resnet18"})


def test_own_features_of_a_benchmark(make_gbu, pictures):
    """Extracted from the pictures on this disk, in any order; labels and splits are the benchmark's."""
    folder = make_gbu()
    paths = load(folder, pictures=pictures).paths
    order = np.random.default_rng(0).permutation(30)
    write_features(folder / "mine.safetensors", [paths[row] for row in order], order)
    data, there = load(folder, features="mine"), load(folder)
    assert there.features.shape == (30, 4)  # res101.mat, as ever
    np.testing.assert_array_equal(data.features[:, 0], np.arange(30))
    np.testing.assert_array_equal(data.labels, there.labels)
    assert (data.feature_source, there.feature_source) == ({"backbone": "random:resnet18"}, None)
    assert check(folder, DataFiles(features="mine"))["features"][0]["file"] == "TOY/mine.safetensors"
    joined = load(folder, features=["res101.mat", "mine"])
    assert (joined.feature_widths, joined.feature_source) == ((4, 2), None)


def test_own_features_of_crops(make_gbu, pictures):
    from safetensors.numpy import save_file

    folder = make_gbu()
    paths = load(folder, pictures=pictures).paths
    order = np.random.default_rng(0).permutation(30)
    features = np.stack([order, order + 0.5], axis=1).astype(np.float32)
    crops = (features[:, None] + 100 * np.arange(10)[:, None]).astype(np.float32)
    files = json.dumps([paths[row] for row in order])
    save_file({"features": features, "crops": crops}, folder / "mine.safetensors", {"files": files})
    data = load(folder, features="mine")
    np.testing.assert_array_equal(data.features[:, 0], np.arange(30))
    np.testing.assert_array_equal(data.crops[:][:, :, 0], np.arange(30)[:, None] + 100 * np.arange(10))
    assert load(folder).crops is None


def test_own_features_without_those_of_the_benchmark(make_gbu, pictures):
    labels = {name: toy_variables()[0][name] for name in ("labels", "image_files")}
    folder = make_gbu(files={"res101.mat": None, "labels.mat": labels})
    paths = load(folder, pictures=pictures).paths
    write_features(folder / "mine.safetensors", list(paths))
    assert load(folder).features.shape == (30, 2)
    write_features(folder / "mine.safetensors", list(paths[1:]))
    with pytest.raises(InputError, match=r"^features in TOY/mine.safetensors must have a row for every picture; got"):
        load(folder)


def test_own_features_of_images_that_share_a_picture(make_gbu):
    """As in aPY, where a file may name a picture twice; a repeat with other features is a mistake."""
    names = [f"/disk/VOC/{image // 2}.jpg" for image in range(30)]
    folder = make_gbu(image_files=names)
    write_features(folder / "mine.safetensors", names, np.arange(30) // 2)
    np.testing.assert_array_equal(load(folder, features="mine").features[:, 0], np.arange(30) // 2)
    write_features(folder / "mine.safetensors", names)
    with pytest.raises(InputError, match=r"must be different; got '/disk/VOC/0.jpg' more than once, with other"):
        load(folder, features="mine")


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "n_files"), [("CUB", 11788), ("SUN", 14340), ("AWA2", 37322), ("APY", 6577)])
def test_real_names_tell_pictures_apart(gbu_root, name, n_files):
    """Every picture of the benchmark is known by its name alone."""
    from firstsight.features.matfile import read_mat

    names = read_mat(gbu_root / name / "labels.mat", ["image_files"])["image_files"]
    assert distinct_depth(names) == 1
    assert len(set(names)) == n_files
