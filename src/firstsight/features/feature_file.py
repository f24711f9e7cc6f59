"""Files of features that name the picture of every row: `.safetensors` as `firstsight features` writes it, and `.npz`.

A `.safetensors` file holds the tensor `features` [n, v] and, as metadata, `files` (JSON list of n paths), `backbone`,
`crops` and `transform`. An `.npz` file holds `features` and `image_files`. Both are raw numbers; nothing in them can
run.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from firstsight.errors import InputError, did_you_mean, first_of
from firstsight.pictures.find import key_of

SUFFIXES = (".safetensors", ".npz")


@dataclass(frozen=True, eq=False)
class FeatureFile:
    """A feature file as it was read.

    Attributes:
        name: folder and file name, for messages.
        features: [n, v] float32.
        files: n paths of the pictures.
        source: the other metadata: backbone, crops, transform.
        dtype: type of the features in the file.
    """

    name: str
    features: np.ndarray
    files: tuple[str, ...]
    source: Mapping[str, Any]
    dtype: str

    def rows_of(self, paths: Sequence[str], key: Callable[[str], str] = key_of) -> np.ndarray:
        """[n] rows of the file for these pictures, by their names; each must be there.

        Args:
            paths: n pictures.
            key: what of a path is its name.

        Raises:
            InputError: pictures that are not in the file, or are in it twice with other features.
        """
        rows: dict[str, int] = {}
        for row, file in enumerate(self.files):
            first = rows.setdefault(key(file), row)
            if first != row and not np.array_equal(self.features[first], self.features[row]):
                raise InputError(
                    f"files in {self.name} must be different; got {file!r} more than once, with other features"
                )
        missing = [path for path in paths if key(path) not in rows]
        if missing:
            raise InputError(
                f"features in {self.name} must have a row for every picture; got none for "
                f"{first_of(missing, len(paths))}; extract them again"
            )
        return np.array([rows[key(path)] for path in paths], dtype=np.int64)


def find_feature_files(folder: Path, names: Sequence[str | Path] | None, argument: str = "features") -> list[Path]:
    """The files meant by their names or paths; where `names` is None, the only one in the folder that has features."""
    if names is not None:
        return [_named(folder, name, argument) for name in names]
    there = files_with_features(folder)
    if len(there) > 1:
        listed = ", ".join(path.name for path in there)
        raise InputError(f"{argument} must name a file where {folder} holds several; got none of {listed}")
    return there


def _named(folder: Path, name: str | Path, argument: str) -> Path:
    for path in (folder / name, *(folder / f"{name}{suffix}" for suffix in SUFFIXES), Path(name)):
        if path.is_file():
            return path
    there = [path.name for path in files_with_features(folder)]
    expected = f"one of {', '.join(there)}" if there else "a .safetensors or .npz file with features, none of which is"
    raise InputError(f"{argument} must be {expected} in {folder}; got {str(name)!r}{did_you_mean(str(name), there)}")


def files_with_features(folder: Path) -> list[Path]:
    """The feature files in a folder, by name; a model's file is none."""
    candidates = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())
    return [path for path in candidates if _holds_features(path)]


def _holds_features(path: Path) -> bool:
    """Whether the file names features among its arrays; nothing else is read. A model's file does not."""
    if path.suffix == ".npz":
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            return "features.npy" in archive.namelist()
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return "features" in file.keys()  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError):
        return False


def read_features(path: Path) -> FeatureFile:
    """The features of a file with the names of their pictures.

    Raises:
        InputError: it is no such file, or its parts do not fit together.
    """
    name = f"{path.resolve().parent.name}/{path.name}"
    if path.suffix not in SUFFIXES:
        raise InputError(f"{name} must be a feature file of kind {' or '.join(SUFFIXES)}; got {path.suffix!r}")
    try:
        features, files, source = _npz(path) if path.suffix == ".npz" else _safetensors(path)
    except Exception as error:  # whatever damaged bytes make the parsers stumble over
        detail = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(
            f"{name} must hold features and the names of their pictures; got a file that cannot be read ({detail})"
        ) from error
    if features.ndim != 2 or not features.size or features.dtype.kind not in "fiu":
        raise InputError(
            f"features in {name} must be numbers of [images, columns]; got {features.dtype} of {list(features.shape)}"
        )
    if len(files) != len(features):
        raise InputError(f"files in {name} must be one per row of features; got {len(files)} for {len(features)}")
    with np.errstate(over="ignore"):  # a double beyond float32 becomes inf, which has its own sentence
        as_floats = features.astype(np.float32)
    return FeatureFile(name, as_floats, tuple(files), source, str(features.dtype))


def _safetensors(path: Path) -> tuple[np.ndarray, list[str], dict[str, Any]]:
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        metadata = file.metadata() or {}
        if "files" not in metadata:
            raise ValueError("no 'files' in its metadata")
        files = json.loads(metadata.pop("files"))
        if not isinstance(files, list):
            raise ValueError("'files' is no list")
        return file.get_tensor("features"), [str(entry) for entry in files], metadata


def _npz(path: Path) -> tuple[np.ndarray, list[str], dict[str, Any]]:
    with path.open("rb") as file, np.load(file) as arrays:  # numpy refuses objects, which could run, by itself
        if missing := {"features", "image_files"} - set(arrays):
            raise ValueError(f"no {sorted(missing)[0]!r}")
        return arrays["features"], [str(entry) for entry in arrays["image_files"].ravel()], {}
