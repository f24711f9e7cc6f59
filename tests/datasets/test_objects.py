"""The objects of aPY, cut out of their pictures and found again."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from firstsight.datasets import load
from firstsight.datasets.gbu_pictures import object_names
from firstsight.datasets.objects import ANNOTATIONS, cut_objects
from firstsight.errors import InputError
from tests.support.matlab import toy_variables

SIDE = 40


@pytest.fixture
def apy(make_gbu, tmp_path):
    """Two objects to a picture, each a square of its own grey; the folders of benchmark and pictures."""
    features, splits = toy_variables()
    n = features["labels"].size
    files = [f"VOC/JPEGImages/{at // 2:04}.jpg" for at in range(n)]
    gbu = make_gbu(image_files=files)
    names = [str(name) for name in splits["allclasses_names"]]
    labels = features["labels"].ravel().astype(int) - 1
    pictures = tmp_path / "pictures"
    lines = []
    for picture in range((n + 1) // 2):
        image = np.full((SIDE, 2 * SIDE, 3), 255, dtype=np.uint8)
        for half in range(2):
            if (at := 2 * picture + half) < n:
                box = (half * SIDE + 8, 8, half * SIDE + 32, 32)
                image[box[1] : box[3], box[0] : box[2]] = grey(at)
                lines.append(f"{picture:04}.jpg {names[labels[at]]} {box[0] + 1} {box[1] + 1} {box[2]} {box[3]} 0 1 0")
        target = pictures / f"VOCdevkit/VOC/JPEGImages/{picture:04}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(target, quality=100, subsampling=0)
    (pictures / "attribute_data").mkdir()
    for name, part in zip(ANNOTATIONS, np.array_split(lines, 3), strict=True):
        (pictures / "attribute_data" / name).write_text("\n".join(part) + "\n")
    return gbu, pictures


def grey(at: int) -> int:
    return 20 + 7 * at % 200


def says(sentence: str, apy) -> None:
    with pytest.raises(InputError) as caught:
        cut_objects(*apy, apy[1].parent / "objects")
    assert str(caught.value) == sentence


def change(pictures: Path, line: str, file: int = 0) -> None:
    """Another first line in a file of boxes."""
    path = pictures / "attribute_data" / ANNOTATIONS[file]
    path.write_text("\n".join([line, *path.read_text().splitlines()[1:]]))


def test_every_object_has_a_file(apy, tmp_path):
    gbu, pictures = apy
    reports = []
    cut = cut_objects(gbu, pictures, tmp_path / "objects", lambda *report: reports.append(report[:2]))
    n = len(load(gbu).labels)
    assert (cut.objects, cut.new, reports[-1]) == (n, n, (n, n))
    data = load(gbu, pictures=tmp_path / "objects")
    assert len(set(data.paths)) == n
    for at, path in enumerate(data.paths):
        with Image.open(tmp_path / "objects" / path) as cut_out:
            image = np.asarray(cut_out).astype(int)
        assert image.shape == (24, 24, 3)
        assert abs(image - grey(at)).max() < 8  # JPEG, twice
    assert len(set(load(gbu, pictures=pictures).paths)) == (n + 1) // 2  # the pictures are still found as such


def test_what_is_there_is_not_cut_again(apy, tmp_path):
    cut_objects(*apy, tmp_path / "objects")
    first, second, *_ = sorted((tmp_path / "objects").rglob("*.jpg"))
    first.unlink()
    second.write_bytes(b"kept")
    assert cut_objects(*apy, tmp_path / "objects").new == 1
    assert first.exists()
    assert second.read_bytes() == b"kept"


def test_features_of_objects_are_told_apart(apy, tmp_path):
    gbu, pictures = apy
    cut_objects(gbu, pictures, tmp_path / "objects")
    paths = load(gbu, pictures=tmp_path / "objects").paths
    order = np.random.default_rng(0).permutation(len(paths))
    rows = np.arange(len(paths), dtype=np.float32)[order, None]
    save_file({"features": rows}, gbu / "own.safetensors", {"files": json.dumps([paths[at] for at in order])})
    assert load(gbu, "own").features.ravel().tolist() == list(range(len(paths)))


def test_a_box_outside_is_cut_where_the_picture_ends(apy, tmp_path):
    gbu, pictures = apy
    words = (pictures / "attribute_data" / ANNOTATIONS[0]).read_text().split()
    change(pictures, f"{words[0]} {words[1]} -3 9 500 9 0")
    cut_objects(gbu, pictures, tmp_path / "objects")
    with Image.open(tmp_path / "objects/VOCdevkit/VOC/JPEGImages/0000-1.jpg") as cut:
        assert cut.size == (2 * SIDE, 1)


def test_boxes_that_are_not_there(apy):
    (apy[1] / "attribute_data" / ANNOTATIONS[1]).unlink()
    says(
        "pictures must have apascal_train.txt and apascal_test.txt and ayahoo_test.txt beside them, with the boxes of "
        f"objects; got no apascal_test.txt in {apy[1]}; it is in attribute_data.tar.gz of `firstsight data fetch aPY`",
        apy,
    )


@pytest.mark.parametrize("line", ["", "0000.jpg owl 1 2 3", "0000.jpg owl 1 2 3 x 0", "0000.jpg owl 1 2 3 inf"])
def test_a_line_that_says_no_box(line, apy):
    change(apy[1], line)
    says(
        f"line 1 of apascal_train.txt must be PICTURE CLASS XMIN YMIN XMAX YMAX and attributes; got {line!r}",
        apy,
    )


def test_boxes_of_others(apy):
    change(apy[1], "0000.jpg unicorn 1 2 3 4 0")
    path, name = "VOCdevkit/VOC/JPEGImages/0000.jpg", load(apy[0]).classes.names[load(apy[0]).labels[0]]
    says(
        f"boxes must be in the order of the data set; got that of 'unicorn' for object 1 of {path}, which is {name!r}",
        apy,
    )
    change(apy[1], "9999.jpg unicorn 1 2 3 4 0")
    text = (apy[1] / "attribute_data" / ANNOTATIONS[0]).read_text().splitlines()[2:]
    (apy[1] / "attribute_data" / ANNOTATIONS[0]).write_text("\n".join(text))
    says(f"boxes must be as many as objects in the data set; got 0 for {path}, which has more", apy)


def test_pictures_that_are_missing(apy):
    gbu, pictures = apy
    (pictures / "VOCdevkit/VOC/JPEGImages/0001.jpg").unlink()
    with pytest.raises(InputError, match=r"pictures of .* must all be in .*got 1 of .* missing.*0001\.jpg"):
        cut_objects(gbu, pictures, pictures.parent / "objects")


def test_objects_among_the_pictures(apy):
    out = apy[1] / "objects"
    sentence = f"out must be outside the folder of pictures, where objects would be found first; got {out}"
    with pytest.raises(InputError) as caught:
        cut_objects(*apy, out)
    assert str(caught.value) == sentence


def test_names():
    assert object_names(["a/1.jpg", "a/1.jpg", "b/1.png", "a\\1.jpg"]) == [
        *("a/1-1.jpg", "a/1-2.jpg", "b/1-1.jpg"),
        "a/1-1.jpg",
    ]


def test_the_command(apy, run, tmp_path):
    gbu, pictures = apy
    n = len(load(gbu).labels)
    words = ("data", "crop", gbu, "--pictures", pictures, "--out", tmp_path / "objects")
    assert run(*words) == (0, f"{n} objects, {n} of them new, are at {tmp_path / 'objects'}\n", "")
    code, out, _ = run(*words, "--json")
    assert (code, json.loads(out)) == (0, {"out": str(tmp_path / "objects"), "objects": n, "new": 0})
