"""Pictures in folders and feature files."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from firstsight.errors import InputError
from firstsight.pictures.find import pictures_in
from firstsight.recogniser.sources import FeatureFile


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
