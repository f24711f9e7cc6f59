"""Files of features: every kind is read to the same rows and names, and only when these are asked for."""

import json
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import save_file

from firstsight.errors import InputError
from firstsight.features.feature_file import FeatureFile, files_with_features, find_feature_files
from tests.support.matlab import write_mat5

FEATURES = np.random.default_rng(0).random((7, 3), dtype=np.float32)
NAMES = [f"images/a/{row}.jpg" for row in range(7)]


def says(sentence, work, *given):
    with pytest.raises(InputError) as caught:
        work(*given)
    assert str(caught.value) == sentence


def write(path, features=FEATURES, names=NAMES, **metadata):
    """A file of the kind that its suffix says."""
    if path.suffix == ".safetensors":
        named = {} if names is None else {"files": json.dumps(names)}
        save_file({"another": np.zeros(3), "features": features}, path, named | metadata)
    elif path.suffix == ".npz":
        np.savez(path, features=features, **({} if names is None else {"image_files": np.array(names)}))
    else:
        write_mat5(path, {"features": features.T} | ({} if names is None else {"image_files": names}))
    return path


@pytest.fixture(params=["x.safetensors", "x.npz", "x.mat"])
def path(request, tmp_path):
    return tmp_path / request.param


def test_kinds_are_read_alike(path):
    file = FeatureFile.open(write(path)).checked()
    assert file.name == f"{path.parent.name}/{path.name}"
    assert file.files == tuple(NAMES)
    assert file.features.dtype == file.stored.dtype == np.float32
    np.testing.assert_array_equal(file.features, FEATURES)
    np.testing.assert_array_equal(file.rows_of(["a/5.jpg", "images/a/2.jpg"]), [5, 2])
    assert file.labels is None


KINDS = ("float16", "float64", "int32", "uint8")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        (name, dtype)
        for name in ("x.safetensors", "x.npz", "x.mat")
        for dtype in KINDS
        if (name, dtype) != ("x.mat", "float16")  # of which MATLAB has none
    ],
)
def test_numbers_of_all_kinds(name, dtype, tmp_path):
    path = tmp_path / name
    features = (FEATURES * 100).astype(dtype)
    file = FeatureFile.open(write(path, features)).checked()
    assert file.stored.dtype == dtype
    np.testing.assert_array_equal(file.features, features.astype(np.float32))


def test_blocks(path):
    blocks = list(FeatureFile.open(write(path)).checked().blocks(3))
    assert [len(part) for part, _ in blocks] == [3, 3, 1]
    assert [name for part, _ in blocks for name in part] == NAMES
    np.testing.assert_array_equal(np.concatenate([part for _, part in blocks]), FEATURES)


def test_rows_without_names_are_numbered(path):
    file = FeatureFile.open(write(path, names=None)).checked()
    assert [name for names, _ in file.blocks(5) for name in names] == [f"{path}[{row}]" for row in range(7)]
    says(f"{file.name} must hold features and the names of their pictures; got no names", file.rows_of, ["a"])


def test_blocks_of_a_large_file_take_little_memory(tmp_path):
    path = write(tmp_path / "x.safetensors", np.ones((4000, 1000), np.float32), None)
    tracemalloc.start()
    try:
        total = sum(float(rows.sum()) for _, rows in FeatureFile.open(path).checked().blocks(100))
        assert tracemalloc.get_traced_memory()[1] < 4_000_000  # bytes, of 16 MB
    finally:
        tracemalloc.stop()
    assert total == 4_000_000


def test_what_a_file_says_of_its_features(tmp_path):
    digests = [bytes([row]) * 32 for row in range(7)]
    listed = json.dumps([digest.hex() for digest in digests])
    file = FeatureFile.open(write(tmp_path / "x.safetensors", backbone="b", crops="1", sha256=listed))
    assert file.source == {"backbone": "b", "crops": "1"}
    assert file.rows_by_digest() == {digest: row for row, digest in enumerate(digests)}
    for wrong in ("no json", "[1]", '["zz"]', json.dumps([digests[0].hex()])):
        assert FeatureFile.open(write(tmp_path / "y.safetensors", sha256=wrong)).rows_by_digest() == {}


def test_labels_of_a_benchmark(tmp_path):
    write_mat5(tmp_path / "x.mat", {"features": FEATURES.T, "labels": np.arange(7.0)[:, None]})
    np.testing.assert_array_equal(FeatureFile.open(tmp_path / "x.mat").labels, np.arange(7))


@pytest.mark.parametrize(
    ("tensors", "metadata", "detail"),
    [
        ({"other": np.zeros((2, 3))}, {}, "no tensor 'features'"),
        ({"features": np.zeros((2, 3))}, {"files": "[1, 2]"}, "'files' is no list of names"),
        ({"features": np.zeros((2, 3))}, {"files": '{"a": 1}'}, "'files' is no list of names"),
        ({"features": np.zeros((2, 3))}, {"files": "[" * 100000}, ""),
        ({"features": np.zeros((2, 3))}, {"files": "no"}, "Expecting value"),
    ],
)
def test_safetensors_that_hold_no_features(tensors, metadata, detail, tmp_path):
    path = tmp_path / "x.safetensors"
    save_file(tensors, path, metadata)
    with pytest.raises(InputError) as caught:
        FeatureFile.open(path).checked()
    start = f"{tmp_path.name}/x.safetensors must hold features and the names of their pictures; got a file that "
    assert str(caught.value).startswith(f"{start}cannot be read ({detail}")


def test_other_shapes(path):
    name = f"{path.parent.name}/{path.name}"
    write(path, FEATURES, NAMES[:2])
    says(f"files in {name} must be one per row of features; got 2 for 7", FeatureFile.open(path).checked)
    if path.suffix != ".mat":  # where everything has two dimensions
        write(path, FEATURES[0], None)
        sentence = f"features in {name} must be numbers of [images, columns]; got float32 of [3]"
        says(sentence, FeatureFile.open(path).checked)


@pytest.mark.parametrize("cut", [0, 4, 9, 60, -1])
def test_files_that_break_off(cut, path):
    content = write(path).read_bytes()
    path.write_bytes(content[:cut])
    with pytest.raises(InputError, match="must "):
        FeatureFile.open(path).checked()


def test_bytes_of_a_safetensors_header_are_not_trusted(tmp_path):
    path = tmp_path / "x.safetensors"
    for about in (
        {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [2, 3], "data_offsets": [-24, 0]},
        {"dtype": "F32", "shape": [-2, -3], "data_offsets": [0, 24]},
        {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [2**40, 3], "data_offsets": [0, 3 * 2**42]},
        [],
    ):
        header = json.dumps({"features": about}).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(24))
        with pytest.raises(InputError, match=r"must hold features and the names of their pictures; got a file that"):
            FeatureFile.open(path).checked()


def test_no_feature_file(tmp_path):
    says(f"feature file must exist; got {tmp_path}", FeatureFile.open, tmp_path)
    (tmp_path / "x").write_bytes(bytes(100))
    sentence = f"{tmp_path.name}/x must be a feature file of kind .safetensors, .npz, .mat; got ''"
    says(sentence, FeatureFile.open, tmp_path / "x")


def test_files_of_a_folder(tmp_path):
    for name in ("b.npz", "a.safetensors", "c.mat"):
        write(tmp_path / name)
    save_file({"weight": FEATURES}, tmp_path / "model.safetensors")
    write_mat5(tmp_path / "att_splits.mat", {"features": FEATURES})
    write_mat5(tmp_path / "labels.mat", {"labels": FEATURES})
    (tmp_path / "broken.npz").write_bytes(b"PK")
    assert [path.name for path in files_with_features(tmp_path)] == ["a.safetensors", "b.npz"]
    assert [path.name for path in files_with_features(tmp_path, (".mat", ".npz"))] == ["c.mat", "b.npz"]
    assert find_feature_files(tmp_path, ()) == []
    found = find_feature_files(tmp_path, ["c", "b.npz", tmp_path / "a.safetensors"])
    assert [path.name for path in found] == ["c.mat", "b.npz", "a.safetensors"]


CROPS = np.random.default_rng(1).random((7, 10, 3), dtype=np.float32)


def with_crops(path, crops):
    if path.suffix == ".npz":
        np.savez(path, features=FEATURES, crops=crops, image_files=np.array(NAMES))
    else:
        save_file({"features": FEATURES, "crops": crops}, path, {"files": json.dumps(NAMES)})
    return FeatureFile.open(path)


@pytest.mark.parametrize("name", ["x.safetensors", "x.npz"])
def test_crops(name, tmp_path):
    file = with_crops(tmp_path / name, CROPS).checked()
    np.testing.assert_array_equal(file.features, FEATURES)
    np.testing.assert_array_equal(file.crops, CROPS)
    some = file.crops_of(file.rows_of(["a/5.jpg", "a/2.jpg"]))
    assert some.store is file.crops
    np.testing.assert_array_equal(some.of(np.array([1, 0]), np.array([9, 3])), CROPS[[2, 5], [9, 3]])
    bare = FeatureFile.open(write(tmp_path / f"bare{name[1:]}"))
    assert bare.crops is None
    assert bare.crops_of(np.arange(3)) is None


@pytest.mark.parametrize(
    ("crops", "sentence"),
    [
        (CROPS[:5], "crops in {} must be floats of [7 images, crops, 3]; got float32 of [5, 10, 3]"),
        (CROPS[:, 0], "crops in {} must be floats of [7 images, crops, 3]; got float32 of [7, 3]"),
        (CROPS.astype(int), "crops in {} must be floats of [7 images, crops, 3]; got int64 of [7, 10, 3]"),
        (np.where(CROPS > 0.9, np.inf, CROPS), "crops in {} must be finite; got NaN or inf in rows 1 and after"),
    ],
)
def test_bad_crops(crops, sentence, tmp_path):
    file = with_crops(tmp_path / "x.safetensors", crops)
    says(sentence.format(file.name), file.checked)


def test_features_of_three_axes_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", features=CROPS, image_files=np.array(NAMES))
    file = FeatureFile.open(tmp_path / "x.npz")
    sentence = f"features in {file.name} must be numbers of [images, columns]; got float32 of [7, 10, 3]"
    says(f"{sentence}; name what is of crops [images, crops, columns] 'crops'", file.checked)
