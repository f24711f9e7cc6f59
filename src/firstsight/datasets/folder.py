"""People's own pictures: `images/<class>/*.jpg` beside a `classes.csv` that describes the classes.

    FOLDER/images/red kite/0001.jpg
    FOLDER/classes.csv               class,split,has forked tail,is red,...
    FOLDER/splits.csv                written at the first load: file,split
    FOLDER/resnet50.safetensors      features, from `firstsight features`

A class is unseen where `split` says so or where it has no pictures. As in the GBU layout, reading (`read_folder`),
judging (`find_problems`) and making the `Dataset` are three steps, so that `firstsight data check` can list everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from firstsight.data import ClassEmbeddings, Dataset, is_bad_row, unit_rows
from firstsight.datasets.data_files import BOTH, DEFAULT, TEXT, DataFiles, vectors_problem
from firstsight.datasets.folder_splits import NAMES, SPLITS_FILE, draw_splits, read_splits, split_problems, write_splits
from firstsight.errors import InputError, did_you_mean, first_of
from firstsight.features.feature_file import FeatureFile, find_feature_files
from firstsight.pictures.find import Found, key_of, list_pictures
from firstsight.semantics.class_table import CLASSES_FILE, ClassTable, read_class_table, zeros_problem


@dataclass(frozen=True, eq=False)
class FolderFiles:
    """Contents of the files of one folder, not checked yet."""

    folder: Path  # where they are
    table: ClassTable  # the classes
    pictures: Found  # the picture files
    labels: np.ndarray  # [n] row of the class of each picture; -1 where its folder is no class
    splits: Sequence[str]  # n names of splits, as `splits.csv` has them or as drawn; empty for a picture in none
    written: dict[str, str] | None  # `splits.csv` by the key of the picture, or None where there is no such file
    vectors: np.ndarray | None  # [c, a] class embeddings, before scaling; None where there are none
    semantics: str  # `attributes`, `text` or `attributes+text`
    features: tuple[FeatureFile, ...]  # the feature files that are joined
    reconstruction: FeatureFile | None  # the feature file on which F and G work, or None

    @property
    def is_unseen(self) -> np.ndarray:
        """Return [c] True for classes marked as unseen or without pictures."""
        has_pictures = np.isin(np.arange(len(self.table.names)), self.labels)
        return np.array([split == "unseen" for split in self.table.splits]) | ~has_pictures


def load_folder(folder: str | Path, chosen: DataFiles = DEFAULT, seed: int = 0) -> Dataset:
    """Load the data set in a folder of pictures; write `splits.csv` if it is not there and can be written.

    Args:
        folder: where `classes.csv` and `images` are.
        chosen: its files; see `firstsight.load`.
        seed: of the fifth that tests seen classes, where `splits.csv` is not there.

    Raises:
        InputError: the files are no data set.
    """
    return checked_dataset(read_folder(folder, chosen, seed))


def checked_dataset(files: FolderFiles) -> Dataset:
    """Make the data set that the files describe and write its `splits.csv`; raise InputError for the first problem."""
    for problem in find_problems(files):
        raise InputError(problem)
    data = as_dataset(files)
    if files.written is None:
        write_splits(files.folder, files.pictures.paths, files.splits)
    return data


def folder_name(folder: Path, semantics: str | None) -> str:
    """Return the folder's name, with the kind of class embeddings where they are made of text."""
    return folder.resolve().name + (f" {semantics}" if semantics in (TEXT, BOTH) else "")


def read_folder(folder: str | Path, chosen: DataFiles = DEFAULT, seed: int = 0) -> FolderFiles:
    """Read everything the data set needs from its files; raise only where one is not there or cannot be read."""
    folder = Path(folder)
    table = _table(folder / CLASSES_FILE)
    kind = _semantics(chosen, table, folder)
    pictures = list_pictures(folder)
    reconstruction = find_feature_files(folder, chosen.reconstruction_names, "reconstruction features")
    written = read_splits(folder)
    # column by column in memory: the layout decides the last bit of sums, so of the numbers that a seed gives
    vectors = np.asfortranarray(table.vectors)
    if chosen.vectors is not None:
        vectors = chosen.made_vectors(kind, table.names, table.descriptions, table.vectors, table.attributes)
    files = FolderFiles(
        folder=folder,
        table=table,
        pictures=pictures,
        labels=_labels(pictures.paths, table.names),
        splits=[],
        written=written,
        vectors=vectors,
        semantics=kind,
        features=tuple(FeatureFile.open(path).checked() for path in find_feature_files(folder, chosen.feature_names)),
        reconstruction=FeatureFile.open(reconstruction[0]).checked() if reconstruction else None,
    )
    if written is None:
        return replace(files, splits=draw_splits(pictures.paths, *_of_pictures(files), seed))
    return replace(files, splits=[written.get(key_of(path), "") for path in pictures.paths])


def _table(path: Path) -> ClassTable:
    """Read the table of classes; their names must be names of folders, and splits must be known."""
    table = read_class_table(path)
    for name, split, line in zip(table.names, table.splits, table.lines, strict=True):
        if "\n" in name or name.startswith("/") or ".." in name.split("/"):
            raise InputError(f"class in {path} must be the name of a folder; got {name!r} in line {line}")
        if split not in ("", "seen", "unseen"):
            raise InputError(f"split in {path} must be 'seen', 'unseen' or empty; got {split!r} in line {line}")
    return table


def _semantics(chosen: DataFiles, table: ClassTable, folder: Path) -> str:
    kind = chosen.semantics or ("attributes" if chosen.vectors is None else TEXT)
    kind = "attributes" if kind == "att" else kind
    if kind not in (kinds := ("attributes", TEXT, BOTH)):
        close = did_you_mean(kind, kinds)
        raise InputError(f"semantics must be one of {', '.join(kinds)} for {folder}; got {kind!r}{close}")
    chosen.check_vectors(kind, folder)
    if kind != TEXT and not table.attributes:
        raise InputError(
            f"{folder / CLASSES_FILE} must have columns of numbers for class embeddings; got none; "
            "add attributes, or take text for semantics"
        )
    return kind


def _labels(paths: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Return [n] row of each picture's class: the deepest folder under `images` that is named as one; -1 for none."""
    rows = {name: row for row, name in enumerate(names)}

    def row_of(place: str) -> int:
        while place and place not in rows:
            place = place.rpartition("/")[0]
        return rows.get(place, -1)

    return np.array([row_of(key_of(path).rpartition("/")[0]) for path in paths], dtype=np.int64)


def _of_pictures(files: FolderFiles) -> tuple[list[str], list[bool]]:
    """Return for each picture the name of its class and whether that is unseen."""
    is_unseen = files.is_unseen
    names = [files.table.names[row] if row >= 0 else "" for row in files.labels]
    return names, [bool(is_unseen[row]) for row in files.labels]


def find_problems(files: FolderFiles) -> list[str]:
    """Return a sentence for everything that keeps the files from being a data set; empty where all is well."""
    table, folder = files.table, files.folder
    problems = files.pictures.problems
    if not files.pictures.paths:
        return problems
    if homeless := [path for path, label in zip(files.pictures.paths, files.labels, strict=True) if label < 0]:
        place = key_of(homeless[0]).partition("/")[0] if "/" in key_of(homeless[0]) else ""
        problems.append(
            f"pictures must lie in a folder named as a class of {CLASSES_FILE}; got "
            f"{first_of(homeless, len(files.labels))}{did_you_mean(place, table.names)}"
        )
    there = {table.names[row] for row in np.unique(files.labels) if row >= 0}
    named = zip(table.names, table.splits, strict=True)
    if bare := [name for name, split in named if split == "seen" and name not in there]:
        problems.append(f"seen classes must have pictures; got none for {first_of(bare)} of {folder / CLASSES_FILE}")
    if files.is_unseen.all():
        problems.append(f"classes in {folder / CLASSES_FILE} must not all be unseen; got no seen class with pictures")
    problems += _vector_problems(files)
    if files.written is not None and not homeless:
        where = f"{folder.resolve().name}/{SPLITS_FILE}"
        problems += split_problems(files.written, files.pictures.paths, *_of_pictures(files), where)
    for file in filter(None, (*files.features, files.reconstruction)):
        problems += _feature_problems(file, files.pictures.paths)
    return problems


def _vector_problems(files: FolderFiles) -> list[str]:
    c = len(files.table.names)
    if problem := vectors_problem(files.vectors, c):
        return [problem]
    vectors = np.asarray(files.vectors)
    if bad := int(is_bad_row(vectors).sum()):
        return [f"vectors must be finite; {bad} of {c} classes contain NaN or inf"]
    problem = zeros_problem(files.table.names, vectors)
    return [problem] if problem else []


def _feature_problems(file: FeatureFile, paths: Sequence[str]) -> list[str]:
    try:
        rows = file.rows_of(paths)
    except InputError as error:
        return [str(error)]
    bad = rows[is_bad_row(file.features)[rows]]
    if not len(bad):
        return []
    return [
        f"features in {file.name} must be finite; {len(bad)} of {len(rows)} pictures contain NaN or inf, "
        f"the first {file.files[bad[0]]!r}"
    ]


def as_dataset(files: FolderFiles) -> Dataset:
    """Make the data set that the files describe, if `find_problems` found none.

    Class embeddings get unit length, as the benchmarks have it, where they do not have it already.
    """
    paths = files.pictures.paths
    parts = [file.features[file.rows_of(paths)] for file in files.features]
    where = {name: np.flatnonzero(np.array(files.splits) == name) for name in NAMES}
    of = " and ".join(Path(file.name).name for file in files.features) or "no feature file"
    reconstruction = files.reconstruction
    return Dataset(
        name=folder_name(files.folder, files.semantics),
        description=f"own pictures; features from {of}, class embeddings from {files.semantics}",
        classes=ClassEmbeddings(
            files.table.names,
            unit_rows(np.asarray(files.vectors)),
            files.table.attributes if files.semantics == "attributes" else (),
        ),
        labels=files.labels,
        trainval=where["trainval"],
        test_seen=where["test_seen"],
        test_unseen=where["test_unseen"],
        features=None if not parts else parts[0] if len(parts) == 1 else np.hstack(parts),
        reconstruction_features=reconstruction.features[reconstruction.rows_of(paths)] if reconstruction else None,
        feature_widths=tuple(part.shape[1] for part in parts),
        paths=paths,
        root=str(files.folder),
        crops=files.features[0].crops_of(files.features[0].rows_of(paths)) if len(parts) == 1 else None,
        feature_source=files.features[0].source or None if len(parts) == 1 else None,
    )
