"""Writing of a data set in the layout of the GBU benchmark, for code written for that layout.

The files are `att_splits.mat`, `res101.mat` (the name that such code looks for, whatever network made the features) and
the lists of classes, all as MATLAB 5 files with indices from 1. `train_loc` and `val_loc` divide `trainval_loc` by
classes and hold no test image, unlike those of the benchmark's first release.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from firstsight.data import Dataset, unit_rows
from firstsight.datasets.data_files import DEFAULT, DataFiles
from firstsight.datasets.folder import checked_dataset, read_folder
from firstsight.errors import InputError

_LARGEST = 2**31 - 1  # bytes of one variable in a MATLAB 5 file
N_PARTITIONS = 3


@dataclass(frozen=True)
class Built:
    """Result of `build`."""

    folder: Path  # of the data set
    data: Dataset  # as it was written
    left_out: tuple[str, ...]  # classes without pictures, which the layout cannot hold


def build(folder: str | Path, out: str | Path, chosen: DataFiles = DEFAULT) -> Built:
    """Write a folder of pictures with a `classes.csv` as a data set in the GBU layout, to a new or empty folder.

    Without features, only labels are written. A `splits.csv` is written beside the pictures if there is none.
    """
    out = Path(out).absolute()
    _check_out(out)
    files = read_folder(folder, chosen)
    data = checked_dataset(files)
    there, labels = np.unique(data.labels, return_inverse=True)
    left_out = tuple(np.delete(np.array(data.classes.names, dtype=object), there))
    data = replace(data, classes=data.classes[there], labels=labels)
    write_gbu(data, out, np.asarray(files.vectors)[there])
    return Built(out, data, left_out)


def write_gbu(data: Dataset, out: str | Path, original: np.ndarray | None = None) -> None:
    """Write a data set in the GBU layout, as a whole or not at all.

    Args:
        data: every class must have images.
        out: a new or empty folder.
        original: [c, a] class embeddings before scaling to unit length, for `original_att`.

    Raises:
        InputError: `out` is not empty, a class has no images, or the features are too large for a MATLAB 5 file.
    """
    out = Path(out).absolute()
    _check_out(out)
    there = set(data.labels.tolist())
    if bare := [name for row, name in enumerate(data.classes.names) if row not in there]:
        raise InputError(f"every class must have images in the GBU layout; got none for {bare[0]!r}")
    if data.features is not None and data.features.nbytes > _LARGEST:
        raise InputError(
            f"features must be at most 2 GiB for a MATLAB 5 file; got {data.features.nbytes / 2**30:.1f} GiB"
        )
    # sets of seen classes for validation: the data set's own, then random ones with seed 0
    held_out = [data.validation_set(partition) for partition in range(N_PARTITIONS if len(data.seen) > 2 else 0)]
    partitions = [[one.classes.names[row] for row in one.unseen] for one in held_out]
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        unfinished.mkdir(parents=True)
        _write_files(data, original, partitions, unfinished)
        os.replace(unfinished, out)  # also replaces an empty folder
    except OSError as error:
        raise InputError(f"{out} must be a folder to write to; got {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _check_out(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "one that holds files" if out.is_dir() else "a file"
        raise InputError(f"out must be a new or empty folder; got {str(out)!r}, {what}")


def _write_files(data: Dataset, original: np.ndarray | None, partitions: list[list[str]], out: Path) -> None:
    from scipy.io import savemat

    names = data.classes.names
    images: dict[str, Any] = {"labels": _column(data.labels + 1)}
    if data.paths:
        images["image_files"] = _cells(data.paths)
    if data.features is None:
        savemat(out / "labels.mat", images)
    else:
        savemat(out / "res101.mat", {"features": data.features.T, **images})
    held_out = set(partitions[0]) if partitions else set()
    is_val = np.array([names[label] in held_out for label in data.labels[data.trainval]], dtype=bool)
    splits = {
        "trainval_loc": data.trainval,
        "train_loc": data.trainval[~is_val],
        "val_loc": data.trainval[is_val],
        "test_seen_loc": data.test_seen,
        "test_unseen_loc": data.test_unseen,
    }
    vectors: dict[str, Any] = {"att": unit_rows(data.classes.vectors).T, "allclasses_names": _cells(names)}
    if original is not None and not np.array_equal(original, data.classes.vectors):
        vectors["original_att"] = original.T
    savemat(out / "att_splits.mat", vectors | {name: _column(rows + 1) for name, rows in splits.items()})
    seen = [names[row] for row in data.seen]
    lists = {"allclasses": list(names), "trainvalclasses": seen, "testclasses": [names[row] for row in data.unseen]}
    for number, held in enumerate(partitions, start=1):
        lists[f"trainclasses{number}"] = [name for name in seen if name not in set(held)]
        lists[f"valclasses{number}"] = held
    if data.classes.attributes:
        lists["attributes"] = [" ".join(name.split()) for name in data.classes.attributes]
    for name, lines in lists.items():
        (out / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _column(numbers: np.ndarray) -> np.ndarray:
    """Convert numbers to int32 [m, 1]; some code uses them as indices without conversion."""
    return numbers.astype(np.int32)[:, None]


def _cells(texts: Sequence[str]) -> np.ndarray:
    """Convert texts to a cell array [m, 1]."""
    cells = np.empty((len(texts), 1), dtype=object)
    cells[:, 0] = texts
    return cells
