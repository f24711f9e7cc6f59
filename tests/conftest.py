"""What several test files share: running commands, small data sets in the GBU layout, the way to the real ones."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from browsing import open_page, served  # noqa: F401 - fixtures
from hypothesis import settings

BROWSER = "no-sandbox disable-gpu no-first-run disable-background-networking disable-component-update disable-sync"
ROOT = Path(__file__).resolve().parents[1]

settings.register_profile("no deadline", deadline=None)  # a busy machine is slow, not wrong
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the real data sets; tests that ask for it are skipped where it is absent."""
    root = Path(os.environ.get("FIRSTSIGHT_DATA") or ROOT.parent / "shared" / "data")
    if not root.is_dir():
        pytest.skip(f"no real data at {root}; set FIRSTSIGHT_DATA to the folder that holds gbu/")
    return root


@pytest.fixture(scope="session")
def gbu_root(data_root) -> Path:
    """Folder that holds CUB, SUN, AWA2 and APY."""
    if not (data_root / "gbu").is_dir():
        pytest.skip(f"no gbu folder in {data_root}")
    return data_root / "gbu"


@pytest.fixture(scope="module")
def browser():
    """Chromium, driven by Playwright."""
    from firstsight.report.export import BROWSERS

    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium is None:
        pytest.skip("needs chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[f"--{flag}" for flag in BROWSER.split()])
        yield browser
        browser.close()


@pytest.fixture
def run(capfd):
    """Runs a command and returns (exit code, stdout, stderr), also of what writes past Python."""

    from firstsight.cli import main

    def run(*words):
        capfd.readouterr()
        code = 0
        try:
            main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capfd.readouterr()
        return code, out, err

    return run


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


@pytest.fixture
def make_gbu(tmp_path):
    """A function that writes a small GBU folder and returns it.

    Its arguments change variables of the two files (None leaves one out); `files` adds more MATLAB files.
    """

    def make(name="TOY", write=write_mat5, files=None, **changes) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        features, splits = toy_variables()
        features |= {key: value for key, value in changes.items() if key in features}
        splits |= {key: value for key, value in changes.items() if key not in features}
        for file, variables in {"res101.mat": features, "att_splits.mat": splits, **(files or {})}.items():
            if variables is not None:
                write(folder / file, {key: value for key, value in variables.items() if value is not None})
        return folder

    return make
