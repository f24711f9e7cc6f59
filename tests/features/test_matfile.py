import sys
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firstsight.errors import InputError
from firstsight.features.matfile import read_mat, variable_names
from tests.support.matlab import write_mat5, write_mat73

VARIABLES = {
    "features": np.random.default_rng(0).random((4, 7)).astype(np.float32),
    "double": np.array([[1.0, 300.0, 70000.0], [-1.0, 0.5, np.inf]]),
    "labels": np.arange(1, 8, dtype=np.uint16)[:, None],
    "flags": np.array([[True, False]]),
    "nothing": np.zeros((0, 3)),
    "names": ["owl", "", "grüne Krähe", "ラーメン", "a b"],
    "title": "one line",
}
WRITERS = {
    "5": write_mat5,
    "5 compressed": lambda path, variables: write_mat5(path, variables, do_compression=True),
    "7.3": write_mat73,
}


@pytest.fixture(params=WRITERS)
def written(request, tmp_path):
    path = tmp_path / "some.mat"
    WRITERS[request.param](path, VARIABLES)
    return path


def test_every_version_gives_the_same(written):
    read = read_mat(written, VARIABLES)
    assert list(read) == list(VARIABLES)
    for name, value in VARIABLES.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(read[name], value)
            assert read[name].dtype == value.dtype
        else:
            assert read[name] == ([value] if isinstance(value, str) else value)


def test_only_what_is_asked_for(written):
    assert list(read_mat(written, ["labels"], ["names", "absent"])) == ["labels", "names"]
    assert read_mat(written, [], ["absent"]) == {}
    assert variable_names(written) == sorted(VARIABLES)


def test_version_5_agrees_with_scipy(tmp_path):
    from scipy.io import loadmat, savemat

    path = tmp_path / "some.mat"
    stored = {
        **{kind: np.array([[0, 1, 100], [3, 4, 5]], dtype=kind) for kind in ("i1", "u1", "i2", "u4", "i8", "f4", "f8")},
        "cube": np.arange(24.0).reshape(2, 3, 4),
        "scalar": 3,
        "rows": np.array(["three", "to", "x"]),
    }
    savemat(path, stored)
    ours, theirs = read_mat(path, stored), loadmat(path)
    assert ours.pop("rows") == ["three", "to", "x"]
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])
        assert value.dtype == theirs[name].dtype


def test_bigger_endian(tmp_path):
    def element(kind, data):
        return kind.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data + bytes(-len(data) % 8)

    body = element(6, (6).to_bytes(4, "big") + bytes(4)) + element(5, np.array([1, 2], ">i4").tobytes())
    body += element(1, b"x") + element(3, np.array([7, -2], ">i2").tobytes())
    path = tmp_path / "some.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + element(14, body))
    np.testing.assert_array_equal(read_mat(path, ["x"])["x"], [[7.0, -2.0]])


def test_missing_variable(written):
    with pytest.raises(InputError) as caught:
        read_mat(written, ["labels", "att"])
    assert str(caught.value) == (
        f"{written} must hold 'att'; got double, features, flags, labels, names, nothing, title"
    )


@pytest.mark.parametrize("value", [{"a": 1.0}, np.array([[1j]])], ids=["struct", "complex"])
def test_only_numbers_and_text(tmp_path, value):
    path = tmp_path / "some.mat"
    write_mat5(path, {"x": value, "y": np.ones(2)})
    assert read_mat(path, ["y"])["y"].shape == (1, 2)
    with pytest.raises(
        InputError, match=r"^x in .*some.mat must be a full array of numbers, text or a cell array of text"
    ):
        read_mat(path, ["x"])


def test_sparse_is_refused(tmp_path):
    from scipy.sparse import eye_array

    path = tmp_path / "some.mat"
    write_mat5(path, {"x": eye_array(3, format="csc")})
    with pytest.raises(InputError, match="must be a full array"):
        read_mat(path, ["x"])


def test_hdf5_reads_no_other_file(tmp_path):
    h5py = pytest.importorskip("h5py")
    write_mat73(tmp_path / "other.mat", {"x": np.ones((2, 2))})
    (tmp_path / "secret").write_bytes(bytes(64))
    with h5py.File(tmp_path / "some.mat", "w") as file:
        file["x"] = h5py.ExternalLink("other.mat", "x")
        file.create_dataset("z", (8,), "f8", external=[(tmp_path / "secret", 0, 64)])
        file.create_group("g")
    for name in "xzg":
        with pytest.raises(InputError, match=f"^{name} in .*some.mat must be a full array"):
            read_mat(tmp_path / "some.mat", [name])


def test_hdf5_cell_in_itself(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "some.mat", "w") as file:
        cell = file.create_dataset("x", (1, 1), h5py.ref_dtype)
        cell[0, 0] = cell.ref
    with pytest.raises(InputError, match="must be a full array"):
        read_mat(tmp_path / "some.mat", ["x"])


def test_array_too_large_for_its_file(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "some.mat", "w") as file:
        file.create_dataset("x", (10**6, 10**6), "f8", chunks=(10, 10))
    with pytest.raises(InputError, match="truncated or damaged one \\(/x claims 8000000000000 bytes\\)"):
        read_mat(tmp_path / "some.mat", ["x"])


def test_without_h5py(tmp_path, monkeypatch):
    write_mat73(tmp_path / "some.mat", {"x": np.ones((2, 2))})
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError) as caught:
        read_mat(tmp_path / "some.mat", ["x"])
    assert str(caught.value) == (
        f"{tmp_path / 'some.mat'} must be read with h5py, as it is a MATLAB 7.3 file; got no h5py; "
        f"pip install firstsight[hdf5]"
    )


FOREIGN = {
    "an empty file": b"",
    "a text file": b"labels\n1\n2\n",
    "a web page": b"<!DOCTYPE html><html>404</html>",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(200),
    "a zip archive": b"PK\x03\x04" + bytes(200),
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\n",
    "another kind of file": bytes(range(256)),
    "a truncated or damaged one": b"MATLAB 5.0 MAT-file Platform: posix",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_files(tmp_path, kind):
    path = tmp_path / "res101.mat"
    path.write_bytes(FOREIGN[kind])
    with pytest.raises(InputError) as caught:
        read_mat(path, ["features"])
    assert str(caught.value) == (
        f"{path} must be a MATLAB file of version 5 or 7.3; got {kind}; download or save it again"
    )


def test_npz_and_no_file_at_all(tmp_path):
    with zipfile.ZipFile(tmp_path / "some.mat", "w") as archive:
        archive.writestr("features.npy", "")
    with pytest.raises(InputError, match="got a zip archive"):
        read_mat(tmp_path / "some.mat", ["features"])
    with pytest.raises(InputError, match="must be a MATLAB file; got no such file or directory"):
        read_mat(tmp_path / "absent.mat", ["features"])
    with pytest.raises(InputError, match="must be a MATLAB file; got is a directory"):
        read_mat(tmp_path, ["features"])


def test_truncated(written):
    whole = written.read_bytes()
    written.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(
        InputError, match=r"some.mat must be a whole MATLAB file; got a truncated or damaged one \(.*\)"
    ):
        read_mat(written, VARIABLES)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_bytes_give_the_sentence_or_arrays(written, tmp_path, data):
    damaged = bytearray(written.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    path = tmp_path / "damaged.mat"
    path.write_bytes(bytes(damaged))
    try:
        read = read_mat(path, VARIABLES)
    except InputError:
        return
    assert all(isinstance(value, np.ndarray | list) for value in read.values())
