"""Read files of features: `.safetensors` as `firstsight features` writes it, `.npz`, and `.mat` of the GBU benchmark.

    file = FeatureFile.open("resnet50.safetensors").checked()
    for names, features in file.blocks(256): ...     # a million rows take no more memory than 256
    file.features[file.rows_of(paths)]                # [n, v], the rows of these pictures

    .safetensors    features [n, v], perhaps crops [n, k, v] of the same pictures; as metadata files (JSON list of n
                    paths), sha256, backbone, crops, transform
    .npz            features [n, v], perhaps crops [n, k, v], image_files
    .mat            features [v, n], image_files, labels

All are raw numbers and text; nothing in them can run.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from firstsight.data import Crops, is_bad_row
from firstsight.errors import InputError, did_you_mean, first_of
from firstsight.features.matfile import read_mat, variable_names
from firstsight.pictures.find import key_of

NAMING = (".safetensors", ".npz")  # kinds that always name the picture of each row
SUFFIXES = (*NAMING, ".mat")
BLOCK = 1024  # images whose crops are checked at once
_DTYPES = {f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "FIU" for size in (1, 2, 4, 8)}  # of safetensors


@dataclass(frozen=True, eq=False)
class FeatureFile:
    """A file of features; what is in it is read when it is asked for."""

    path: Path  # of the file
    # return a part of the file by its name: `features`, `crops`, `image_files` or `labels`; None where it has none
    read: Callable[[str], Any]
    metadata: Mapping[str, str] = field(default_factory=dict)  # what a .safetensors file says beside its numbers

    @classmethod
    def open(cls, path: str | Path, kind: str | None = None) -> Self:
        """Open a file of a kind of `SUFFIXES`, by default that of its name, without reading its numbers.

        Raises:
            InputError: no such file, or not one of features.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"feature file must exist; got {path}")
        opened = _OPENED.get(kind or path.suffix)
        if opened is None:
            raise InputError(
                f"{short_name(path)} must be a feature file of kind {', '.join(SUFFIXES)}; got {path.suffix!r}"
            )
        with _reading(path):
            return cls(path, *opened(path))

    @property
    def name(self) -> str:
        """Return folder and file name, for messages."""
        return short_name(self.path)

    @property
    def source(self) -> dict[str, str]:
        """Return how the features were made: backbone, crops, transform; empty where the file does not say."""
        return {name: value for name, value in self.metadata.items() if name not in ("files", "sha256")}

    @cached_property
    def stored(self) -> np.ndarray:
        """Return the features as the file has them, one row per image; of a .safetensors file mapped from the disk."""
        with _reading(self.path):
            features = self.read("features")
        if isinstance(features, list):
            raise InputError(f"features in {self.name} must be numbers; got text")
        return np.asarray(features)

    @cached_property
    def crops(self) -> np.ndarray | None:
        """Return [n, k, v] features of crops as the file has them, mapped where `stored` is; None where it has none."""
        with _reading(self.path):
            crops = self.read("crops")
        return None if crops is None else np.asarray(crops)

    def crops_of(self, rows: np.ndarray) -> Crops | None:
        """Return the features of the crops of these rows, not read yet; None where the file has none."""
        return None if self.crops is None else Crops(self.crops, np.asarray(rows, dtype=np.int64))

    @cached_property
    def features(self) -> np.ndarray:
        """Return `stored` as float32, in memory."""
        with np.errstate(over="ignore"):  # a double beyond float32 becomes inf, which has its own sentence
            return self.stored.astype(np.float32)

    @cached_property
    def files(self) -> tuple[str, ...]:
        """Return the paths of the n pictures; empty where the file does not say."""
        with _reading(self.path):
            files = self.read("image_files")
        return tuple(map(str, () if files is None else files))

    @cached_property
    def labels(self) -> np.ndarray | None:
        """Return [n] class numbers from 1, or None where the file has none."""
        labels = self.read("labels")
        return None if labels is None else np.asarray(labels).ravel()

    def checked(self) -> Self:
        """Return the file; raise InputError unless its features are numbers of [n, v], and n pictures or none named."""
        stored = self.stored
        if stored.ndim != 2 or not stored.size or stored.dtype.kind not in "fiu":
            hint = "; name what is of crops [images, crops, columns] 'crops'" if stored.ndim == 3 else ""
            raise InputError(
                f"features in {self.name} must be numbers of [images, columns]; "
                f"got {stored.dtype} of {list(stored.shape)}{hint}"
            )
        if self.crops is not None:
            self._check_crops(self.crops)
        if len(self.files) not in (0, len(stored)):
            raise InputError(
                f"files in {self.name} must be one per row of features; got {len(self.files)} for {len(stored)}"
            )
        return self

    def _check_crops(self, crops: np.ndarray) -> None:
        """Raise InputError unless crops are finite floats [n, k, v]."""
        n, v = self.stored.shape
        if crops.ndim != 3 or crops.dtype.kind != "f" or crops.shape != (n, crops.shape[1], v) or not crops.size:
            got = f"{crops.dtype} of {list(crops.shape)}"
            raise InputError(f"crops in {self.name} must be floats of [{n} images, crops, {v}]; got {got}")
        for start in range(0, n, BLOCK):
            bad = is_bad_row(crops[start : start + BLOCK].reshape(-1, v))
            if bad.any():
                raise InputError(f"crops in {self.name} must be finite; got NaN or inf in rows {start + 1} and after")

    def blocks(self, size: int) -> Iterator[tuple[Sequence[str], np.ndarray]]:
        """Read names and features [up to `size`, v], one block after the other; rows without a name have a number."""
        for start in range(0, len(self.stored), size):
            rows = np.array(self.stored[start : start + size])
            numbers = range(start, start + len(rows))
            yield self.files[start : start + size] or [f"{self.path}[{row}]" for row in numbers], rows

    def rows_of(self, paths: Sequence[str], key: Callable[[str], str] = key_of) -> np.ndarray:
        """Return [n] rows of the file for n pictures; `key` makes of a path the name by which a picture is known.

        Raises:
            InputError: pictures that are not in the file, or are in it twice with other features.
        """
        if not self.files:
            raise InputError(f"{self.name} must hold features and the names of their pictures; got no names")
        rows: dict[str, int] = {}
        for row, file in enumerate(self.files):
            first = rows.setdefault(key(file), row)
            if first != row and not np.array_equal(self.stored[first], self.stored[row]):
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

    def rows_by_digest(self) -> dict[bytes, int]:
        """Return the row of each picture by the sha256 of its file; empty where the file does not say."""
        try:
            digests = [bytes.fromhex(text) for text in json.loads(self.metadata["sha256"])]
        except (KeyError, ValueError, TypeError):
            return {}
        return {digest: row for row, digest in enumerate(digests)} if len(digests) == len(self.stored) else {}


def short_name(path: Path) -> str:
    """Return folder and file name, for messages."""
    return f"{path.resolve().parent.name}/{path.name}"


def find_feature_files(
    folder: Path, names: Sequence[str | Path] | None, argument: str = "features", suffixes: Sequence[str] = NAMING
) -> list[Path]:
    """Find feature files by their names or paths, or where `names` is None the only one in the folder.

    Args:
        folder: of the data set.
        names: with or without suffix; none are found where it is empty.
        argument: its name in messages.
        suffixes: kinds that are looked for where `names` is None.

    Raises:
        InputError: a file that is not there, or several to choose from.
    """
    if names is not None:
        return [_named(folder, name, argument, suffixes) for name in names]
    there = files_with_features(folder, suffixes)
    if len(there) > 1:
        listed = ", ".join(path.name for path in there)
        raise InputError(f"{argument} must name a file where {folder} holds several; got none of {listed}")
    return there


def _named(folder: Path, name: str | Path, argument: str, suffixes: Sequence[str]) -> Path:
    for path in (folder / name, *(folder / f"{name}{suffix}" for suffix in reversed(SUFFIXES)), Path(name)):
        if path.is_file():
            return path
    there = [path.name for path in files_with_features(folder, suffixes)]
    expected = f"one of {', '.join(there)}" if there else "a file that holds features, none of which is"
    raise InputError(f"{argument} must be {expected} in {folder}; got {str(name)!r}{did_you_mean(str(name), there)}")


def files_with_features(folder: Path, suffixes: Sequence[str] = NAMING) -> list[Path]:
    """List the feature files in a folder: `.mat` first, then by name; neither a model's file nor splits are any."""
    files = [path for path in folder.iterdir() if path.suffix in suffixes and path.is_file()]
    return [path for path in sorted(files, key=lambda path: (path.suffix != ".mat", path)) if _holds_features(path)]


def _holds_features(path: Path) -> bool:
    """Return whether the file has `features` among its arrays; nothing else is read."""
    if path.suffix == ".mat":
        return not path.name.endswith("_splits.mat") and "features" in variable_names(path)
    try:
        FeatureFile.open(path)
    except InputError:
        return False
    return True


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever damaged bytes make the parsers stumble over into an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{short_name(path)} must hold features and the names of their pictures; "
            f"got a file that cannot be read ({detail})"
        ) from error


def _safetensors(path: Path) -> tuple[Callable[[str], Any], dict[str, str]]:
    """Open a file of 8 bytes of length, a JSON header of that length, and the bytes of the arrays."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        if start > size:
            raise ValueError("a header that breaks off")
        header = json.loads(file.read(start - 8))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise ValueError("metadata that is no table")
    if "features" not in header:
        raise ValueError("no tensor 'features'")
    if start + max(about["data_offsets"][1] for about in header.values()) != size:
        raise ValueError("another size than its header says")
    found = {}  # type, shape and place of each array
    for array in {"features", "crops"} & set(header):
        kind, shape, (first, last) = (header[array][name] for name in ("dtype", "shape", "data_offsets"))
        if kind not in _DTYPES:
            raise ValueError(f"numbers of type {kind}")
        dtype = np.dtype(_DTYPES[kind])
        if first < 0 or last - first != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{last - first} bytes for numbers of shape {shape}")
        found[array] = dtype, tuple(shape), first, last

    def read(name: str) -> Any:
        if name in found:
            dtype, shape, first, last = found[name]
            return np.memmap(path, dtype, "r", start + first, shape) if last > first else np.empty(shape, dtype)
        files = json.loads(metadata.get("files", "null")) if name == "image_files" else None
        if files is not None and not (isinstance(files, list) and all(isinstance(entry, str) for entry in files)):
            raise ValueError("'files' is no list of names")
        return files

    return read, metadata


def _npz(path: Path) -> tuple[Callable[[str], Any]]:
    """Open an archive of numpy arrays."""
    with zipfile.ZipFile(path) as archive:
        if "features.npy" not in archive.namelist():
            raise ValueError("no array 'features'")

    def read(name: str) -> Any:
        with path.open("rb") as file, np.load(file) as arrays:  # numpy refuses objects, which could run, by itself
            array = arrays[name] if name in arrays and name != "labels" else None
        return array.ravel().tolist() if array is not None and name == "image_files" else array

    return (read,)


def _mat(path: Path) -> tuple[Callable[[str], Any]]:
    """Open a MATLAB file, whose arrays have a column per image."""

    def read(name: str) -> Any:
        if name == "features":
            features = read_mat(path, [name])[name]
            return features.T if isinstance(features, np.ndarray) else features
        value = read_mat(path, [], [name]).get(name)
        return value if isinstance(value, list) or name == "labels" else None

    return (read,)


_OPENED: dict[str, Callable[[Path], Any]] = {".safetensors": _safetensors, ".npz": _npz, ".mat": _mat}
