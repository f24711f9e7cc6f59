"""Read the files of a GBU folder. Nothing is checked yet but that they are there and can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from firstsight.data import Crops
from firstsight.datasets.data_files import DEFAULT, TEXT, DataFiles, vectors_problem
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
    """One file with an entry for each image, as it was read."""

    name: str  # folder and file name, for messages
    features: np.ndarray | None = None  # [n, v] float32, or None where the file holds none
    labels: np.ndarray | None = None  # [n] class numbers from 1, or None where the file holds none
    pictures: Sequence[str] = ()  # n paths on the authors' disks, or empty
    dtype: str = ""  # type of the features in the file
    crops: Crops | None = None  # [n, k, v] features of crops, not read yet
    # what the file says of how its features were made, or nothing
    source: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class GBUFiles:
    """Contents of the files of one data set, not checked yet."""

    folder: Path  # where they are
    semantics: str  # folder and name of the file with class embeddings and splits, for messages
    made: str  # `text` or `attributes+text` where the vectors are made of that; empty where they are in `semantics`
    class_names: list[str]  # c names in the order of the embeddings
    vectors: np.ndarray  # [c, a] class embeddings
    attributes: tuple[str, ...]  # a names of their columns, or empty
    labels: np.ndarray  # [n] class numbers from 1
    labels_from: str  # folder and name of the file they are from: the first that holds any
    # [m] image numbers from 1 for each of `SPLITS`, and of `VALIDATION_SPLITS` where they are there
    splits: dict[str, np.ndarray]
    image_files: tuple[ImageFile, ...]  # all files with an entry for each image, each once
    features: tuple[ImageFile, ...]  # those of them whose features are joined into the data set's
    reconstruction: ImageFile | None  # that of them whose features F and G work on, or None
    pictures: FoundPictures | None  # the picture of each image on this machine, or None where nobody asked


def read_gbu(folder: str | Path, chosen: DataFiles = DEFAULT) -> GBUFiles:
    """Read everything the data set needs from its files; raise only where one is not there or cannot be read.

    Where vectors are given, they take the place of those in the file.
    """
    folder = Path(folder)
    made = "" if chosen.vectors is None else chosen.semantics or TEXT
    if made:
        chosen.check_vectors(made, folder)
    path = _semantics_path(folder, "att" if made else chosen.semantics or "att")
    feature_paths = _feature_paths(folder, chosen.feature_names)
    reconstruction = find_feature_files(folder, chosen.reconstruction_names, "reconstruction features", SUFFIXES)
    files = _read_image_files(folder, [*feature_paths, *reconstruction], bool(chosen.pictures))
    labeled = next((file for file in files.values() if file.labels is not None), ImageFile(""))
    if labeled.labels is None:
        raise InputError(f"labels must be in the feature file or in labels.mat; got neither in {folder}")
    stored = read_mat(path, ["allclasses_names", *SPLITS], ["att", "original_att", *VALIDATION_SPLITS])
    if "att" not in stored and "original_att" not in stored:
        raise InputError(f"{path} must hold 'att'; got {', '.join(variable_names(path))}")
    names = stored["allclasses_names"]
    class_names = [str(name).strip() for name in (names if isinstance(names, list) else names.ravel())]
    vectors = np.asarray(stored.get("att", stored.get("original_att"))).T
    attributes = tuple(lines_of(folder / "attributes.txt"))
    attributes = attributes if vectors.shape[1:] == (len(attributes),) else ()
    pictures = find_pictures(chosen.pictures, _names_of_pictures(folder, files)) if chosen.pictures else None
    if made:
        vectors = chosen.made_vectors(made, tuple(class_names), [""] * len(class_names), vectors, attributes)
        if problem := vectors_problem(vectors, len(class_names)):
            raise InputError(problem)
    return GBUFiles(
        folder=folder,
        semantics=short_name(path),
        made=made,
        class_names=class_names,
        vectors=vectors,
        attributes=() if made else attributes,
        labels=labeled.labels,
        labels_from=labeled.name,
        splits={name: np.asarray(stored[name]).ravel() for name in (*SPLITS, *VALIDATION_SPLITS) if name in stored},
        image_files=tuple(files.values()),
        features=tuple(files[path] for path in feature_paths),
        reconstruction=files[reconstruction[0]] if reconstruction else None,
        pictures=pictures,
    )


def read_picture_names(folder: str | Path) -> Sequence[str]:
    """Read the path of each of the n images on the authors' disks; raise InputError where no file has them."""
    folder = Path(folder)
    return _names_of_pictures(folder, _read_image_files(folder, (), has_pictures=True))


def lines_of(path: Path) -> list[str]:
    """Read the lines of a text file that are not blank, without spaces around them; none where there is no file."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return [line.strip() for line in lines if line.strip()]


def _read_image_files(folder: Path, asked: Sequence[Path], has_pictures: bool) -> dict[Path, ImageFile]:
    """Read files with an entry for each image: of those asked for the features, of others only what these lack."""
    paths = list(dict.fromkeys(asked))
    if (labels := folder / "labels.mat").is_file() and labels not in paths:
        paths.append(labels)
    own = [path for path in paths if path.suffix in NAMING]  # these hold no labels, and name their pictures
    if len(own) == len(paths):  # a file that holds labels beside features of its own
        there = sorted(files_with_features(folder, (".mat",)), key=lambda path: path.name != "res101.mat")
        paths += [path for path in there if "labels" in variable_names(path)][:1]
    # Paths of pictures take longest to read, and only say something beside those of another file.
    has_pictures = has_pictures or len(paths) > 1
    files = {}
    for path in paths:
        if path not in own:
            file = FeatureFile.open(path)
            pictures = file.files if has_pictures else ()
            if path in asked:
                files[path] = ImageFile(file.name, file.features, file.labels, pictures, str(file.stored.dtype))
            else:
                files[path] = ImageFile(file.name, labels=file.labels, pictures=pictures)
    if own:
        names = _names_of_pictures(folder, files)
        files |= {path: _read_own_features(path, names) for path in own}
    return {path: files[path] for path in paths}


def _names_of_pictures(folder: Path, files: Mapping[Path, ImageFile]) -> Sequence[str]:
    """Return the paths on the authors' disks, one per image."""
    n = next((len(file.labels) for file in files.values() if file.labels is not None), 0)
    names = next((file.pictures for file in files.values() if file.pictures), ())
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
    crops, dtype = file.crops_of(rows), str(file.stored.dtype)
    return ImageFile(file.name, file.features[rows], dtype=dtype, crops=crops, source=file.source)


def _semantics_path(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise _not_a_folder(folder)
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
