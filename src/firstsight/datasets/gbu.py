"""Any data set in the layout of the GBU benchmark (Xian et al., "Zero-Shot Learning: The Good, the Bad and the Ugly").

A folder holds `att_splits.mat` (class embeddings, class names, splits), a feature file such as `res101.mat`
(features, labels) or, for labels alone, `labels.mat`, and lists of classes as text. Indices in the files count from
1, ours from 0. Reading (`read_gbu`), judging (`find_problems`) and making the `Dataset` are three steps, so that
`firstsight data check` can list everything that is wrong where `load_gbu` stops at the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np

from firstsight.data import ClassEmbeddings, Dataset, is_bad_row
from firstsight.datasets.data_files import DEFAULT, DataFiles
from firstsight.datasets.gbu_files import SPLITS, GBUFiles, ImageFile, lines_of, read_gbu
from firstsight.datasets.gbu_pictures import tail
from firstsight.errors import InputError


def load_gbu(folder: str | Path, chosen: DataFiles = DEFAULT) -> Dataset:
    """Load the data set in a folder of the GBU layout; see `firstsight.datasets.load`."""
    files = read_gbu(folder, chosen)
    for problem in find_problems(files):
        raise InputError(problem)
    return as_dataset(files)


def as_dataset(files: GBUFiles) -> Dataset:
    """Make the data set that the files describe, if `find_problems` found none."""
    numbers = {name: files.splits[name].astype(np.int64) - 1 for name in SPLITS}
    labels = files.labels.astype(np.int64) - 1
    seen = {files.class_names[row] for row in np.unique(labels[numbers["trainval_loc"]])}
    features = [file.features for file in files.features if file.features is not None]
    names = " and ".join(Path(file.name).name for file in files.features) or "no feature file"
    return Dataset(
        name=gbu_name(files.folder, files.made or files.semantics),
        description=f"GBU benchmark; features from {names}, class embeddings from "
        f"{files.made or Path(files.semantics).name}",
        classes=ClassEmbeddings(tuple(files.class_names), files.vectors, files.attributes),
        labels=labels,
        trainval=numbers["trainval_loc"],
        test_seen=numbers["test_seen_loc"],
        test_unseen=numbers["test_unseen_loc"],
        features=None if not features else features[0] if len(features) == 1 else np.hstack(features),
        reconstruction_features=files.reconstruction.features if files.reconstruction else None,
        feature_widths=tuple(values.shape[1] for values in features),
        validation_classes=_validation_classes(files.folder, seen),
        paths=files.pictures.paths if files.pictures else (),
        root=str(files.pictures.root) if files.pictures else None,
        crops=files.features[0].crops if len(features) == 1 else None,
        feature_source=dict(files.features[0].source) or None if len(features) == 1 else None,
    )


def gbu_name(folder: Path, semantics: str) -> str:
    """Return the folder's name, with that of the class embeddings where they are not the attributes."""
    kind = Path(semantics).name.removesuffix(".mat").removesuffix("_splits")
    return folder.resolve().name + ("" if kind == "att" else f" {kind}")


def _validation_classes(folder: Path, seen: set[str]) -> tuple[tuple[str, ...], ...]:
    """Read the authors' partitions; one that holds out none of the seen classes, or all, cannot be used."""
    lists = (lines_of(folder / f"valclasses{number}.txt") for number in (1, 2, 3))
    partitions = (tuple(name for name in dict.fromkeys(names) if name in seen) for names in lists)
    return tuple(names for names in partitions if 0 < len(names) < len(seen))


def find_problems(files: GBUFiles) -> list[str]:
    """Return a sentence for everything that keeps the files from being a data set; empty where all is well."""
    return [
        *_class_problems(files),
        *_label_problems(files),
        *(problem for file in files.image_files for problem in _feature_problems(file, files)),
        *_order_problems(files),
        *_split_problems(files),
        *picture_problems(files),
    ]


def _class_problems(files: GBUFiles) -> Iterator[str]:
    where, vectors, c = f"in {files.semantics}", files.vectors, len(files.class_names)
    if repeated := [name for name, count in Counter(files.class_names).items() if count > 1]:
        yield f"class names {where} must be different; got {repeated[0]!r} more than once"
    if vectors.dtype.kind not in "iufb" or vectors.ndim != 2 or not vectors.size:
        shape = list(vectors.shape[::-1])  # as in the file
        yield f"att {where} must be numbers of [attributes, classes]; got {vectors.dtype} of {shape}"
        return
    if len(vectors) != c:
        hint = "; transpose it" if vectors.shape[1] == c else ""
        yield f"att {where} must have one column per class name; got {len(vectors)} columns for {c} names{hint}"
    if bad := int(is_bad_row(vectors).sum()):
        yield f"att {where} must be finite; {bad} of {len(vectors)} classes contain NaN or inf"


def _label_problems(files: GBUFiles) -> Iterator[str]:
    labels, where, names = files.labels, f"labels in {files.labels_from}", files.class_names
    if not len(labels):
        yield f"{where} must be one per image; got none"
        return
    if problem := _number_problem(labels, where, len(names), "classes"):
        yield problem
        return
    numbers = set(labels.tolist())
    if empty := [name for number, name in enumerate(names, start=1) if number not in numbers]:
        yield (
            f"{where} must give every class images; got none for {len(empty)} of {len(names)} classes, "
            f"the first {empty[0]!r}"
        )


def _number_problem(numbers: np.ndarray, what: str, n: int, of: str) -> str | None:
    """Return what is wrong with numbers that should be 1 to n, or None."""
    if numbers.dtype.kind not in "iuf":
        return f"{what} must be whole numbers; got {numbers.dtype}"
    broken = np.flatnonzero(~np.isfinite(numbers) | (numbers != np.round(numbers)))
    if len(broken):
        return f"{what} must be whole numbers; got {numbers[broken[0]]:g} in place {broken[0] + 1}"
    outside = np.flatnonzero((numbers < 1) | (numbers > n))
    if len(outside):
        first = int(numbers[outside[0]])
        hint = "; count from 1, as MATLAB does" if first == 0 else ""
        return f"{what} must name one of {n} {of}, 1 to {n}; got {first} in place {outside[0] + 1}{hint}"
    return None


def _feature_problems(file: ImageFile, files: GBUFiles) -> Iterator[str]:
    if file.features is None:
        return
    where, features, n = f"features in {file.name}", file.features, len(files.labels)
    shape = list(features.shape[::-1])  # as in the file
    if features.ndim != 2 or not features.size:
        yield f"{where} must be a table of [columns, images]; got shape {shape}"
    elif len(features) != n and features.shape[1] == n:
        yield f"{where} must be [columns, images]; got {shape}, which is [images, columns] for {n} labels; transpose it"
    elif len(features) != n:
        columns = len(features)
        yield f"{where} must have one column per label in {files.labels_from}; got {columns} columns for {n} labels"
    if features.ndim == 2 and (bad := int(is_bad_row(features).sum())):
        yield f"{where} must be finite; {bad} of {len(features)} images contain NaN or inf"


def _order_problems(files: GBUFiles) -> Iterator[str]:
    """Find files that list the same images in another order, which would give features the wrong labels."""
    labels = [(file.name, file.labels) for file in files.image_files if file.labels is not None]
    pictures = [(file.name, file.pictures) for file in files.image_files if file.pictures]
    if pictures:
        # A name alone finds its picture unless folders share names (001/1.jpg, 002/1.jpg).
        depth = 1 if len({tail(path, 1) for path in pictures[0][1]}) == len(pictures[0][1]) else 2
        pictures = [(name, [tail(path, depth) for path in paths]) for name, paths in pictures]
    for what, entries in (("labels", labels), ("image_files", pictures)):
        for name, given in entries[1:]:
            first, expected = entries[0]
            if len(given) != len(expected):
                yield f"{what} in {name} must be as many as in {first}; got {len(given)} and {len(expected)}"
                continue
            place = next((i for i, (a, b) in enumerate(zip(given, expected, strict=True)) if a != b), None)
            if place is not None:
                yield (
                    f"{what} in {name} must be those of {first}, in their order; "
                    f"got {given[place]} instead of {expected[place]} for image {place + 1}"
                )


def picture_problems(files: GBUFiles) -> Iterator[str]:
    """Return a sentence where pictures that were asked for are missing."""
    if files.pictures and (missing := files.pictures.missing):
        total = len(missing) + files.pictures.n_files
        yield (
            f"pictures of {files.folder.resolve().name} must all be in {files.pictures.root}; got {len(missing)} of "
            f"{total} missing, the first {', '.join(map(repr, missing[:3]))}"
        )


def _split_problems(files: GBUFiles) -> Iterator[str]:
    labels, c = files.labels, len(files.class_names)
    sound = {}
    for name in SPLITS:
        numbers, where = files.splits[name], f"{name} in {files.semantics}"
        problem = _number_problem(numbers, where, len(labels), "images") if len(numbers) else None
        if problem:
            yield problem
            continue
        sound[name] = numbers.astype(np.int64)
        if repeats := len(numbers) - len(np.unique(numbers)):
            yield f"{where} must name each image once; got {repeats} repeats"
        if not len(numbers) and name == "trainval_loc":
            yield f"{where} must have images; got none"
    for a, b in combinations(sound, 2):
        if shared := len(np.intersect1d(sound[a], sound[b])):
            yield f"{a} and {b} in {files.semantics} must not share images; got {shared} in both"
    if len(sound) < len(SPLITS) or _number_problem(labels, "", c, ""):
        return
    seen = np.unique(labels[sound["trainval_loc"] - 1])
    for name, kind in (("test_seen_loc", "seen"), ("test_unseen_loc", "unseen")):
        strays = np.unique(labels[sound[name] - 1])
        strays = strays[np.isin(strays, seen) == (kind == "unseen")].astype(np.int64)
        if len(strays):
            yield (
                f"{name} in {files.semantics} must hold images of {kind} classes only; "
                f"got {len(strays)} other classes, the first {files.class_names[strays[0] - 1]!r}"
            )
