"""Small data sets in the GBU layout, written as MATLAB would."""

from pathlib import Path

import numpy as np
import pytest


def write_mat5(path: Path, variables: dict, **options) -> None:
    """Writes numbers and lists of strings as MATLAB 5 would."""
    from scipy.io import savemat

    savemat(
        path, {name: _cell(value) if isinstance(value, list) else value for name, value in variables.items()}, **options
    )


def _cell(texts: list[str]) -> np.ndarray:
    cell = np.empty((len(texts), 1), dtype=object)
    cell[:, 0] = texts
    return cell


def write_mat73(path: Path, variables: dict) -> None:
    """Writes numbers and text as MATLAB 7.3 would: transposed, text as codes, cells as references."""
    h5py = pytest.importorskip("h5py", reason="MATLAB 7.3 files need h5py")

    def put(place, name, value):
        if isinstance(value, list):
            references = np.empty((1, len(value)), dtype=h5py.ref_dtype)
            for place_in_cell, text in enumerate(value):
                references[0, place_in_cell] = put(cells, str(len(cells)), text).ref
            stored, kind = place.create_dataset(name, data=references), "cell"
        elif isinstance(value, str):
            codes = np.frombuffer(value.encode("utf-16-le"), dtype="<u2")
            is_empty = not len(codes)
            stored, kind = place.create_dataset(name, data=[0, 0] if is_empty else codes[:, None]), "char"
            if is_empty:
                stored.attrs["MATLAB_empty"] = np.uint8(1)
        else:
            value = np.atleast_2d(value)
            stored = place.create_dataset(name, data=value.T if value.size else np.array(value.shape, dtype="u8"))
            kind = {"float64": "double", "float32": "single", "bool": "logical"}.get(str(value.dtype), str(value.dtype))
            if not value.size:
                stored.attrs["MATLAB_empty"] = np.uint8(1)
        stored.attrs["MATLAB_class"] = np.bytes_(kind)
        return stored

    with h5py.File(path, "w", userblock_size=512) as file:
        cells = file.create_group("#refs#")
        for name, value in variables.items():
            put(file, name, value)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def toy_variables() -> tuple[dict, dict]:
    """What res101.mat and att_splits.mat hold: 30 images of 4 seen and 2 unseen classes, with the real leak."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(1, 7), 5)
    images = np.arange(1, 31)
    is_unseen, is_test = labels > 4, images % 5 == 0
    vectors = rng.random((3, 6))
    features = {
        "features": rng.random((4, 30)),
        "labels": labels[:, None].astype("u2"),
        "image_files": [
            f"/disk/pictures/class{label}/{image}.jpg" for label, image in zip(labels, images, strict=True)
        ],
    }
    splits = {
        "att": vectors / np.linalg.norm(vectors, axis=0),
        "allclasses_names": ["owl", "auk", "jay", "tit", "emu", "kea"],
        "trainval_loc": images[~is_unseen & ~is_test][::-1, None].astype(float),
        "test_seen_loc": images[~is_unseen & is_test][:, None].astype("u2"),
        "test_unseen_loc": images[is_unseen][:, None].astype("u2"),
        "train_loc": images[labels <= 2][:, None].astype("u2"),
        "val_loc": images[(labels > 2) & ~is_unseen][:, None].astype("u2"),
    }
    return features, splits
