"""The files of a GBU folder: which are meant, and what they say before anyone has judged it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from firstsight.datasets.gbu_pictures import FoundPictures, distinct_depth, find_pictures, names_in, tail
from firstsight.datasets.matfile import read_mat, variable_names
from firstsight.errors import InputError, did_you_mean
from firstsight.features.feature_file import SUFFIXES, files_with_features, read_features

SPLITS = ("trainval_loc", "test_seen_loc", "test_unseen_loc")
VALIDATION_SPLITS = ("train_loc", "val_loc")
FeatureNames = str | Path | Sequence[str | Path] | None


@dataclass(frozen=True, eq=False)
class ImageFile:
    """One file with an entry for each image, as it was read.

    Attributes:
        name: folder and file name, for messages.
        features: [n, v] float32, or None where the file holds none.
        labels: [n] class numbers from 1, or None where the file holds none.
        pictures: n paths on the authors' disks, or empty.
        dtype: type of the features in the file.
        source: what the file says of how its features were made, or nothing.
    """

    name: str
    features: np.ndarray | None = None
    labels: np.ndarray | None = None
    pictures: Sequence[str] = ()
    dtype: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class GBUFiles:
    """What the files of one data set say, before anyone has judged it.

    Attributes:
        folder: where they are.
        semantics: folder and name of the file with class embeddings and splits, for messages.
        class_names: c names in the order of the embeddings.
        vectors: [c, a] class embeddings.
        labels: [n] class numbers from 1.
        labels_from: folder and name of the file they are from: the first that holds any.
        splits: [m] image numbers from 1 for each of `SPLITS`, and of `VALIDATION_SPLITS` where they are there.
        features: the files whose features are joined into the data set's.
        reconstruction: the file whose features F and G work on, or None.
        others: files that only hold labels.
        pictures: the picture of each image on this machine, or None where nobody asked.
        made: `text` or `attributes+text` where the vectors are made of that; empty where they are in `semantics`.
    """

    folder: Path
    semantics: str
    class_names: list[str]
    vectors: np.ndarray
    labels: np.ndarray
    labels_from: str
    splits: dict[str, np.ndarray]
    features: tuple[ImageFile, ...]
    reconstruction: ImageFile | None
    others: tuple[ImageFile, ...]
    pictures: FoundPictures | None = None
    made: str = ""

    @property
    def image_files(self) -> list[ImageFile]:
        """All files with an entry for each image, each once."""
        extra = [self.reconstruction] if self.reconstruction and self.reconstruction not in self.features else []
        return [*self.features, *extra, *self.others]


def read_gbu(
    folder: str | Path,
    features: FeatureNames = None,
    semantics: str | None = None,
    reconstruction_features: str | Path | None = None,
    pictures: str | Path | None = None,
) -> GBUFiles:
    """Everything the data set needs from its files; raises only where a file is not there or cannot be read."""
    folder = Path(folder)
    semantics_path = _semantics_path(folder, semantics)
    feature_paths = _feature_paths(folder, features)
    reconstruction_path = None
    if reconstruction_features:
        reconstruction_path = _feature_path(folder, reconstruction_features, "reconstruction features")
    needs = dict.fromkeys([*feature_paths, *([reconstruction_path] if reconstruction_path else [])], "features")
    if (folder / "labels.mat").is_file():
        needs.setdefault(folder / "labels.mat", "labels")
    own = [path for path in needs if path.suffix in SUFFIXES]  # these hold no labels, and name their pictures
    if own and len(own) == len(needs) and (folder / "res101.mat").is_file():
        needs[folder / "res101.mat"] = "labels"
    # Paths of pictures take longest to read, and only say something beside those of another file.
    with_pictures = len(needs) > 1 or pictures is not None
    files = {path: _read_image_file(path, need, with_pictures) for path, need in needs.items() if path not in own}
    if own:
        image_names = _names_of_pictures(folder, list(files.values()))
        files |= {path: _read_own_features(path, image_names) for path in own}
    labels, labels_from = next(
        ((file.labels, file.name) for file in files.values() if file.labels is not None), (None, "")
    )
    if labels is None:
        raise InputError(f"labels must be in the feature file or in labels.mat; got neither in {folder}")

    stored = read_mat(semantics_path, ["allclasses_names", *SPLITS], ["att", "original_att", *VALIDATION_SPLITS])
    if "att" not in stored and "original_att" not in stored:
        raise InputError(f"{semantics_path} must hold 'att'; got {', '.join(variable_names(semantics_path))}")
    names = stored["allclasses_names"]
    return GBUFiles(
        folder=folder,
        semantics=_short(semantics_path),
        class_names=[str(name).strip() for name in (names if isinstance(names, list) else names.ravel())],
        vectors=np.asarray(stored.get("att", stored.get("original_att"))).T,
        labels=labels,
        labels_from=labels_from,
        splits={name: np.asarray(stored[name]).ravel() for name in (*SPLITS, *VALIDATION_SPLITS) if name in stored},
        features=tuple(files[path] for path in feature_paths),
        reconstruction=files[reconstruction_path] if reconstruction_path else None,
        others=tuple(files[path] for path, need in needs.items() if need == "labels"),
        pictures=None
        if pictures is None
        else find_pictures(pictures, _names_of_pictures(folder, list(files.values()))),
    )


def _names_of_pictures(folder: Path, files: Sequence[ImageFile]) -> Sequence[str]:
    """The paths on the authors' disks, one per image."""
    n = next((len(file.labels) for file in files if file.labels is not None), 0)
    names = next((file.pictures for file in files if file.pictures), ())
    if not names or len(names) != n:
        raise InputError(
            f"image_files must be in the feature file or in labels.mat, one per label, to find the pictures; "
            f"got {len(names)} for {n} labels in {folder}"
        )
    return names


def _read_own_features(path: Path, names: Sequence[str]) -> ImageFile:
    """A file of `firstsight features`, its rows in the order of the images."""
    file = read_features(path)
    names = names_in(names, file.files)
    depth = distinct_depth(names)
    rows = file.rows_of(names, lambda name: tail(name, depth))
    return ImageFile(name=file.name, features=file.features[rows], dtype=file.dtype, source=file.source)


def _read_image_file(path: Path, need: str, with_pictures: bool) -> ImageFile:
    optional = ["labels"] if need == "features" else []
    stored = read_mat(path, [need], [*optional, "image_files"] if with_pictures else optional)
    features, labels, pictures = stored.get("features"), stored.get("labels"), stored.get("image_files", [])
    if isinstance(features, list):
        raise InputError(f"features in {_short(path)} must be numbers; got text")
    dtype = "" if features is None else str(features.dtype)
    if features is not None:
        with np.errstate(over="ignore"):  # a double beyond float32 becomes inf, which has its own sentence
            features = np.asarray(features.T, dtype=np.float32)
    return ImageFile(
        name=_short(path),
        features=features,
        labels=None if labels is None else np.asarray(labels).ravel(),
        pictures=pictures if isinstance(pictures, list) else (),
        dtype=dtype,
    )


def _semantics_path(folder: Path, semantics: str | None) -> Path:
    if not folder.is_dir():
        raise _not_a_folder(folder)
    name = str(semantics or "att")
    path = folder / (name if name.endswith(".mat") else f"{name}_splits.mat")
    if path.is_file():
        return path
    there = sorted(file.name.removesuffix("_splits.mat") for file in folder.glob("*_splits.mat"))
    if there:
        raise InputError(
            f"semantics must be one of {', '.join(there)} for {folder}; got {name!r}{did_you_mean(name, there)}"
        )
    inside = sorted(str(file.parent) for depth in ("*", "*/*") for file in folder.glob(f"{depth}/att_splits.mat"))
    raise InputError(
        f"{folder} must hold {path.name} and a feature file (GBU layout); got neither it nor another *_splits.mat"
        + (f"; give one of the data sets in it: {', '.join(inside)}" if inside else "")
    )


def _not_a_folder(folder: Path) -> InputError:
    there = []
    if folder.parent.is_dir():
        there = sorted(entry.parent.name for entry in folder.parent.glob("*/att_splits.mat"))
    actual = "a file" if folder.exists() else "a path where nothing is"
    listing = f"; {folder.parent} holds {', '.join(there)}" if there else ""
    return InputError(
        f"data must be a folder in the GBU layout or the word atlas; got {str(folder)!r}, {actual}"
        f"{did_you_mean(folder.name, [*there, 'atlas']) or listing}"
    )


def _feature_paths(folder: Path, features: FeatureNames) -> list[Path]:
    if isinstance(features, str | Path):
        features = [features]
    if features:
        return [_feature_path(folder, name, "features") for name in features]
    if (folder / "res101.mat").is_file():
        return [folder / "res101.mat"]
    there = _files_with_features(folder)
    if len(there) > 1:
        names = ", ".join(path.name for path in there)
        raise InputError(f"features must name a file where {folder} holds several; got none of {names}")
    return there


def _feature_path(folder: Path, name: str | Path, argument: str) -> Path:
    for path in (folder / name, *(folder / f"{name}{suffix}" for suffix in (".mat", *SUFFIXES)), Path(name)):
        if path.is_file():
            return path
    there = [path.name for path in _files_with_features(folder)]
    expected = f"one of {', '.join(there)}" if there else "a file that holds features, none of which is"
    raise InputError(f"{argument} must be {expected} in {folder}; got {str(name)!r}{did_you_mean(str(name), there)}")


def _files_with_features(folder: Path) -> list[Path]:
    candidates = (path for path in sorted(folder.glob("*.mat")) if not path.name.endswith("_splits.mat"))
    with_features = [path for path in candidates if "features" in variable_names(path)]  # names only: a quick look
    return [*with_features, *files_with_features(folder)]


def _short(path: Path) -> str:
    return f"{path.resolve().parent.name}/{path.name}"
