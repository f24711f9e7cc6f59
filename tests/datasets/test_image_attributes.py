"""Attributes of single images, in the files of CUB and of aPY."""

import numpy as np
import pytest

from firstsight.datasets import load
from firstsight.datasets.image_attributes import find_image_attributes, read_image_attributes
from firstsight.errors import InputError
from tests.support.image_attributes import write_apy, write_cub
from tests.support.matlab import toy_variables
from tests.support.paintings import painted

N, A = 30, 5
VALUES = np.random.default_rng(1).integers(0, 2, (N, A))
NAMES = ["/".join(path.split("/")[-2:]) for path in toy_variables()[0]["image_files"]]  # class1/1.jpg ...


def read(folder, place=None):
    return read_image_attributes(load(folder), folder, place)


def says(sentence: str, folder, place=None) -> None:
    with pytest.raises(InputError) as caught:
        read(folder, place)
    assert str(caught.value) == sentence


def change(file, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


@pytest.fixture
def birds(make_gbu, tmp_path):
    """The benchmark's folder, and the file of CUB."""
    return make_gbu(), write_cub(tmp_path / "CUB/CUB_200_2011", NAMES, VALUES)


@pytest.mark.parametrize("up", [0, 1, 2, 3])
def test_birds_by_the_file_or_a_folder_above(birds, up):
    folder, file = birds
    place = [file, *file.parents][up]
    own = read(folder, place)
    assert own.file == file
    np.testing.assert_array_equal(own.values, VALUES)


def test_where_no_place_is_given_the_folder_of_the_data_set_is_searched(birds):
    folder, file = birds
    assert read(folder) is None
    write_cub(folder / "pictures", NAMES, VALUES)
    np.testing.assert_array_equal(read(folder).values, VALUES)
    np.testing.assert_array_equal(read(folder, file).values, VALUES)


def test_pictures_that_share_names_are_told_apart_by_their_folders(make_gbu, tmp_path):
    names = [f"class{row // 5}/{row % 5}.jpg" for row in range(N)]
    folder = make_gbu(image_files=[f"C:\\disk\\{name}".replace("/", "\\") for name in names])
    write_cub(tmp_path / "CUB", names, VALUES)
    np.testing.assert_array_equal(read(folder, tmp_path / "CUB").values, VALUES)


def test_a_folder_of_pictures(tmp_path):
    folder = painted(tmp_path / "colours", per_class=2)
    data = load(folder)
    values = np.random.default_rng(0).integers(0, 2, (len(data.labels), 3))
    write_cub(folder / "about", [path.removeprefix("images/") for path in data.paths], values)
    np.testing.assert_array_equal(read(folder).values, values)


def test_lines_with_other_ends_and_empty_ones(birds):
    folder, file = birds
    file.write_bytes(file.read_bytes().replace(b"\n", b"  \r\n\r\n"))
    np.testing.assert_array_equal(read(folder, file).values, VALUES)


def test_files_of_cub_that_are_damaged(birds):
    folder, file = birds
    first = file.read_text().splitlines()[0]
    begin = "lines of image_attribute_labels.txt must begin with image, attribute and 0 or 1; got"
    for line in ("1 1", "1 1 2 3 0.5", "1 0 1 3 0.5", "1 x 1 3 0.5"):
        change(file, first, line)
        says(f"{begin} {line!r}", folder, file)
        change(file, line, first)
    once = "image_attribute_labels.txt must have one line for each image and attribute; got"
    change(file, first + "\n", "")
    says(f"{once} 0 for image 1 and attribute 1", folder, file)
    file.write_text(f"{first}\n{first}\n{file.read_text()}")
    says(f"{once} 2 for image 1 and attribute 1", folder, file)
    file.write_text("\n")
    says("image_attribute_labels.txt must have a line per image and attribute; got no line", folder, file)


def test_pictures_that_cub_does_not_have(birds):
    folder, file = birds
    listing = file.parents[1] / "images.txt"
    change(listing, NAMES[3], "class1/other.jpg")
    path = toy_variables()[0]["image_files"][3]
    says(f"images.txt must list every picture of the data set; got none for 1 of 30, the first {path!r}", folder, file)
    change(listing, "class1/other.jpg", NAMES[3])
    number = next(line.split()[0] for line in listing.read_text().splitlines() if line.endswith(f" {NAMES[3]}"))
    kept = [line for line in file.read_text().splitlines() if line.split()[0] != number]
    file.write_text("\n".join(kept))
    says(
        f"image_attribute_labels.txt must have lines of every picture; got none for 1 of 30, the first {path!r}",
        folder,
        file,
    )
    listing.write_text("1\n")
    says("lines of images.txt must be a number and the name of a picture; got '1'", folder, file)
    listing.unlink()
    says(
        f"image_attribute_labels.txt must have images.txt beside it or a folder above; got none at {file.parent}",
        folder,
        file,
    )


@pytest.fixture
def objects(make_gbu, tmp_path):
    """The benchmark's folder with two objects to a picture, and the first file of aPY."""
    files = [f"{at // 2:04}.jpg" for at in range(N)]
    features, splits = toy_variables()
    classes = [splits["allclasses_names"][number - 1] for number in features["labels"].ravel()]
    folder = make_gbu(image_files=[f"/disk/JPEGImages/{file}" for file in files])
    return folder, write_apy(tmp_path / "aPY/attribute_data", files, classes, VALUES)


def test_objects_of_one_picture_have_attributes_of_their_own(objects):
    folder, file = objects
    for place in (file, file.parent, file.parents[1]):
        own = read(folder, place)
        assert own.file == file
        np.testing.assert_array_equal(own.values, VALUES)


def test_files_of_apy_that_are_damaged(objects):
    folder, file = objects
    own = " ".join(map(str, VALUES[0]))
    for wrong in (f"{own[:-1]}2", f"{own[:-1]}-1"):
        change(file, f"30 40 {own}", f"30 40 {wrong}")
        says(f"attributes of an object must be 0 or 1; got {wrong!r} in 0000.jpg", folder, file)
        change(file, f"30 40 {wrong}", f"30 40 {own}")
    change(file, f"30 40 {own}", f"30 40 {own} 1")
    says("objects must all have as many attributes; got 6 in 0000.jpg and 5 in 0000.jpg", folder, file)
    change(file, f"30 40 {own} 1", f"30 40 {own}")
    change(file, "0000.jpg owl", "0000.jpg unicorn")
    path = "/disk/JPEGImages/0000.jpg"
    says(
        f"boxes must be in the order of the data set; got that of 'unicorn' for object 1 of {path}, which is 'owl'",
        folder,
        file,
    )


def test_places_without_attributes(make_gbu, tmp_path):
    folder = make_gbu()
    (empty := tmp_path / "empty").mkdir()
    (other := empty / "labels.txt").write_text("1 1 1 3 0.5\n")
    here = "image attributes must be in image_attribute_labels.txt or apascal_train.txt; got neither at"
    says(f"{here} {empty}", folder, empty)
    says(f"{here} {other}", folder, other)
    gone = tmp_path / "gone"
    says(f"image attributes must be a file or a folder; got {str(gone)!r}, a path where nothing is", folder, gone)
    assert find_image_attributes(empty) is None


def test_a_data_set_that_does_not_name_its_pictures(make_gbu, tmp_path):
    folder = make_gbu(image_files=None)
    file = write_cub(tmp_path / "CUB", NAMES, VALUES)
    assert read(folder) is None
    says(
        "image_files must be in the feature file or in labels.mat, one per label, to find the pictures; "
        f"got 0 for 30 labels in {folder}",
        folder,
        file,
    )


def test_the_atlas_has_none(birds):
    data = load(birds[0])  # whatever it is
    assert read_image_attributes(data, "atlas:0.5") is None
    with pytest.raises(InputError, match=r"^image attributes must be left out for atlas, which has none; got 'x'$"):
        read_image_attributes(data, "atlas", "x")


def test_numbers_that_nobody_can_mean_are_refused_before_memory_is_asked_for(birds):
    folder, file = birds
    whole = file.read_text()
    for line in ("1 99999999999 1 3 1", "9223372036854775807 1 1 3 1"):
        file.write_text(f"{whole}{line}\n")
        says(
            f"lines of image_attribute_labels.txt must begin with image, attribute and 0 or 1; got {line!r}",
            folder,
            file,
        )
    file.write_text(f"{whole}1 900000 1 3 1\n")
    says(
        "image_attribute_labels.txt must have one line for each image and attribute; got 156 lines for 31 images and "
        "900000 attributes",
        folder,
        file,
    )


def test_pictures_have_a_number_each(birds):
    folder, file = birds
    listing = file.parents[1] / "images.txt"
    lines = listing.read_text().splitlines()
    listing.write_text("\n".join([*lines, f"99 {lines[0].split()[1]}"]))
    says(f"lines of images.txt must name each picture once; got {lines[0].split()[1]!r} twice", folder, file)
    listing.write_text("\n".join([*lines, "1 more.jpg"]))
    says("lines of images.txt must have a number each; got 1 twice", folder, file)
