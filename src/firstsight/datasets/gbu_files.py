"""Read the files of a GBU folder. Nothing is checked yet but that they are there and can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from firstsight.datasets.data_files import DEFAULT, DataFiles
from firstsight.datasets.gbu_pictures import FoundPictures, distinct_depth, find_pictures, names_in, tail
from firstsight.errors import InputError, did_you_mean
from firstsight.features.feature_file import (
    NAMING,
    SUFFIXES,
    FeatureFile,
    files_with_features,
    find_feature_files,
    short_name,
)
from firstsight.features.matfile import read_mat, variable_names

SPLITS = ("trainval_loc", "test_seen_loc", "test_unseen_loc")
VALIDATION_SPLITS = ("train_loc", "val_loc")


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
    """Contents of the files of one data set, not checked yet.

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
        """Return all files with an entry for each image, each once."""
        extra = [self.reconstruction] if self.reconstruction and self.reconstruction not in self.features else []
        return [*self.features, *extra, *self.others]


def read_gbu(folder: str | Path, chosen: DataFiles = DEFAULT) -> GBUFiles:
    """Read everything the data set needs from its files; raise only where one is not there or cannot be read."""
    folder = Path(folder)
    semantics_path = _semantics_path(folder, chosen.semantics)
    feature_paths = _feature_paths(folder, chosen.feature_names)
    other = [chosen.reconstruction_features] if chosen.reconstruction_features else []
    reconstruction = find_feature_files(folder, other, "reconstruction features", SUFFIXES)
    needs = dict.fromkeys([*feature_paths, *reconstruction], "features")
    if (folder / "labels.mat").is_file():
        needs.setdefault(folder / "labels.mat", "labels")
    own = [path for path in needs if path.suffix in NAMING]  # these hold no labels, and name their pictures
    if len(own) == len(needs):
        needs |= dict.fromkeys(_with_labels(folder), "labels")
    # Paths of pictures take longest to read, and only say something beside those of another file.
    with_pictures = len(needs) > 1 or bool(chosen.pictures)
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
        semantics=short_name(semantics_path),
        class_names=[str(name).strip() for name in (names if isinstance(names, list) else names.ravel())],
        vectors=np.asarray(stored.get("att", stored.get("original_att"))).T,
        labels=labels,
        labels_from=labels_from,
        splits={name: np.asarray(stored[name]).ravel() for name in (*SPLITS, *VALIDATION_SPLITS) if name in stored},
        features=tuple(files[path] for path in feature_paths),
        reconstruction=files[reconstruction[0]] if reconstruction else None,
        others=tuple(files[path] for path, need in needs.items() if need == "labels"),
        pictures=find_pictures(chosen.pictures, _names_of_pictures(folder, list(files.values())))
        if chosen.pictures
        else None,
    )


def _names_of_pictures(folder: Path, files: Sequence[ImageFile]) -> Sequence[str]:
    """Return the paths on the authors' disks, one per image."""
    n = next((len(file.labels) for file in files if file.labels is not None), 0)
    names = next((file.pictures for file in files if file.pictures), ())
    if not names or len(names) != n:
        raise InputError(
            f"image_files must be in the feature file or in labels.mat, one per label, to find the pictures; "
            f"got {len(names)} for {n} labels in {folder}"
        )
    return names


def _read_own_features(path: Path, names: Sequence[str]) -> ImageFile:
    """Read a file of `firstsight features`, its rows in the order of the images."""
    file = FeatureFile.open(path).checked()
    names = names_in(names, file.files)
    depth = distinct_depth(names)
    rows = file.rows_of(names, lambda name: tail(name, depth))
    return ImageFile(file.name, file.features[rows], dtype=str(file.stored.dtype), source=file.source)


def _read_image_file(path: Path, need: str, with_pictures: bool) -> ImageFile:
    """Read a MATLAB file with an entry for each image, as far as it is needed: its features, or its labels alone."""
    file = FeatureFile.open(path)
    pictures = file.files if with_pictures else ()
    if need == "labels":
        return ImageFile(file.name, labels=file.labels, pictures=pictures)
    return ImageFile(file.name, file.features, file.labels, pictures, str(file.stored.dtype))


def _semantics_path(folder: Path, semantics: str | None) -> Path:
    if not folder.is_dir():
        raise _not_a_folder(folder)
    name = semantics or "att"
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


def _feature_paths(folder: Path, names: Sequence[str | Path] | None) -> list[Path]:
    if names is None and (folder / "res101.mat").is_file():
        return [folder / "res101.mat"]
    return find_feature_files(folder, names, suffixes=SUFFIXES)


def _with_labels(folder: Path) -> list[Path]:
    """Find a file that holds labels beside features of its own, at most one, where no other file has any."""
    there = files_with_features(folder, (".mat",))
    there.sort(key=lambda path: path.name != "res101.mat")
    return [path for path in there if "labels" in variable_names(path)][:1]
