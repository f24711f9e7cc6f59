"""Pictures in folders, feature files, tables of classes."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from firstsight.data import ClassEmbeddings
from firstsight.errors import InputError
from firstsight.pictures.find import pictures_in
from firstsight.recogniser.sources import FeatureFile, read_classes

LIKE = ClassEmbeddings(("owl", "auk"), np.eye(2), ("size", "beak"))


def says(sentence, work, *given):
    with pytest.raises(InputError) as caught:
        work(*given)
    assert str(caught.value) == sentence


def test_pictures_of_a_folder_in_order(tmp_path):
    names = ["b.jpg", "a.PNG", "deep/er/c.webp", "deep/d.tiff", ".hidden.jpg", ".git/e.jpg", "notes.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in pictures_in(tmp_path)]
    assert found == ["a.PNG", "b.jpg", "deep/d.tiff", "deep/er/c.webp"]


def test_a_folder_without_pictures(tmp_path):
    says(
        f"folder must hold pictures (.jpg, .jpeg, .png, .webp, .bmp, .tif, .tiff); got none in {tmp_path}",
        list, pictures_in(tmp_path),
    )  # fmt: skip


def test_feature_files_come_in_blocks(tmp_path):
    features = np.random.default_rng(0).random((7, 3), dtype=np.float32)
    names = [f"a/{row}.jpg" for row in range(7)]
    path = tmp_path / "x.safetensors"
    save_file({"features": features}, path, {"files": json.dumps(names), "backbone": "b", "crops": "1"})
    file = FeatureFile.open(path)
    assert file.source == {"backbone": "b", "crops": "1"}
    blocks = list(file.blocks(3))
    assert [len(part) for part, _ in blocks] == [3, 3, 1]
    assert [name for part, _ in blocks for name in part] == names
    np.testing.assert_array_equal(np.concatenate([part for _, part in blocks]), features)


def test_features_without_names_are_numbered(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"features": np.zeros((2, 3), dtype=np.float32)}, path)
    assert FeatureFile.open(path).names == (f"{path}[0]", f"{path}[1]")


@pytest.mark.parametrize(
    ("tensors", "metadata", "sentence"),
    [
        ({"other": np.zeros((2, 3))}, {}, "must be a .safetensors file with a tensor 'features'; got "),
        ({"features": np.zeros(3)}, {}, "must hold features [n, v]; got shape [3]"),
        ({"features": np.zeros((2, 3))}, {"files": '["a"]'}, "must name one file for each of 2 rows; got other names"),
        ({"features": np.zeros((2, 3))}, {"files": "[1, 2]"}, "must name one file for each of 2 rows; got other names"),
        ({"features": np.zeros((2, 3))}, {"files": "[" * 100000}, "must be a .safetensors file with a tensor"),
        ({"features": np.zeros((2, 3))}, {"files": "no"}, "must be a .safetensors file with a tensor 'features'; got "),
    ],
)
def test_feature_files_that_are_none(tensors, metadata, sentence, tmp_path):
    path = tmp_path / "x.safetensors"
    save_file(tensors, path, metadata)
    with pytest.raises(InputError) as caught:
        FeatureFile.open(path)
    assert str(caught.value).startswith(f"{path} {sentence}")


def test_no_feature_file(tmp_path):
    says(f"feature file must exist; got {tmp_path}", FeatureFile.open, tmp_path)
    (tmp_path / "x").write_bytes(b"\0" * 100)
    with pytest.raises(InputError, match=r"must be a \.safetensors file"):
        FeatureFile.open(tmp_path / "x")


def table(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "more.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_classes_by_the_names_of_their_attributes(tmp_path):
    path = table(tmp_path, 'class,beak,notes,size\n"kea, the",1,x,2\r\n tit ,3,,-4e-1\n', "utf-8-sig")
    classes = read_classes(path, LIKE)
    assert classes.names == ("kea, the", "tit")
    assert classes.attributes == ("size", "beak")
    np.testing.assert_array_equal(classes.vectors, [[2, 1], [-0.4, 3]])


def test_classes_without_names_of_attributes(tmp_path):
    like = ClassEmbeddings(("owl",), np.ones((1, 2)))
    path = table(tmp_path, "split,class,x,y,description\nunseen,kea,1,2,a parrot\n")
    np.testing.assert_array_equal(read_classes(path, like).vectors, [[1, 2]])
    path = table(tmp_path, "class,x\nkea,1\n")
    says(f"{path} must have 2 columns of numbers, as in training; got 1", read_classes, path, like)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must have a column 'class'; got no header"),
        ("name,size,beak\n", "must have a column 'class'; got name, size, beak"),
        ("class,size,beak\n", "must list classes; got none"),
        (
            "class,size,beaks\na,1,2\n",
            "must have a column for each of 2 attributes; got none for 'beak'; did 'beaks' mean it?",
        ),
        ("class\na\n", "must have a column for each of 2 attributes; got none for 'size' and 1 others"),
        ("class,size,beak\na,1,big\n", "must hold a number for 'beak' in line 2; got 'big'"),
        ("class,size,beak\na,1,2\nb,nan,2\n", "must hold a number for 'size' in line 3; got 'nan'"),
        ("class,size,beak\na,1\n", "must hold a number for 'beak' in line 2; got None"),
        ("class,size,beak\n,1,2\n", "must name a class in every line; got none in line 2"),
    ],
)
def test_tables_that_are_none(text, sentence, tmp_path):
    path = table(tmp_path, text)
    says(f"{path} {sentence}", read_classes, path, LIKE)


def test_other_files(tmp_path):
    says(f"table of classes must exist; got {tmp_path / 'no.csv'}", read_classes, tmp_path / "no.csv", LIKE)
    path = table(tmp_path, "class,size,beak\nä,1,2\n", "latin-1")
    with pytest.raises(InputError, match="must be a table in UTF-8; got "):
        read_classes(path, LIKE)
