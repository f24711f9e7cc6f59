"""The report of `firstsight data check`: sizes, norms, problems, and the version of the split.

The first release of the GBU benchmark's proposed splits has a leak: `train_loc` and `val_loc`, made for choosing
hyper-parameters, together hold every image of `test_seen_loc`. Settings chosen on them have seen the test set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from firstsight.analysis import attribute_variance
from firstsight.data import Dataset, is_bad_row
from firstsight.datasets import atlas_settings, folder, is_own_pictures, load_files
from firstsight.datasets.data_files import DEFAULT, DataFiles
from firstsight.datasets.gbu import as_dataset, find_problems
from firstsight.datasets.gbu_files import SPLITS, VALIDATION_SPLITS, GBUFiles, read_gbu
from firstsight.errors import InputError, first_of
from firstsight.pictures.decode import SUFFIXES

Report = dict[str, Any]

_COUNTED = ("seen", "unseen", "attributes", "images", "trainval", "test_seen", "test_unseen")
# Table 1 of Xian et al., with the counts of the released files (AWA2 and aPY are misprinted in many papers).
PUBLISHED = {
    "CUB": (150, 50, 312, 11788, 7057, 1764, 2967),
    "SUN": (645, 72, 102, 14340, 10320, 2580, 1440),
    "AWA2": (40, 10, 85, 37322, 23527, 5882, 7913),
    "AWA1": (40, 10, 85, 30475, 19832, 4958, 5685),
    "aPY": (20, 12, 64, 15339, 5932, 1483, 7924),
}


def check(path: str | Path, chosen: DataFiles = DEFAULT) -> Report:
    """Measure everything about a data set that matters before training, ready for JSON.

    Args:
        path: as for `firstsight.load`.
        chosen: its files, as for `firstsight.load`.

    Returns:
        Sizes and findings by name. `problems` lists messages about errors that prevent loading, `warnings` about other
        suspicious findings. Entries that do not apply, or could not be computed, are None.

    Raises:
        InputError: a file is missing or cannot be read at all.
    """
    if atlas_settings(path) is not None:
        return _check_atlas(path, load_files(path, chosen))
    if is_own_pictures(path):
        return _check_folder(folder.read_folder(path, chosen))
    files = read_gbu(path, chosen)
    problems = find_problems(files)
    sound = _dataset(lambda: as_dataset(files), problems)
    report = _report(path, files.class_names, files.vectors, files.labels, files.splits, problems)
    report["layout"] = "gbu"
    report["files"] = {
        "semantics": f"{files.semantics}, {files.made}" if files.made else files.semantics,
        "labels": files.labels_from,
        "features": [file.name for file in files.features],
    }
    report["features"] = [
        {"file": file.name, "dtype": file.dtype, **_norms(file.features)}
        for file in files.features
        if file.features is not None
    ]
    report["leak"] = _leak(files)
    is_attributes = not files.made and files.semantics.endswith("/att_splits.mat")
    report["published"] = _published(report, is_attributes)
    if found := files.pictures:
        report["pictures"] = _pictures(found.root, found.n_files, found.missing)
    return _complete(report, sound)


def _check_atlas(path: str | Path, data: Dataset) -> Report:
    """Make the report of rendered pictures."""
    splits = {name: getattr(data, name.removesuffix("_loc")) + 1 for name in SPLITS}
    report = _report(path, data.classes.names, data.classes.vectors, data.labels + 1, splits, [])
    report |= {"name": str(path), "layout": "atlas"}
    if data.features is not None:
        report["features"] = [{"file": None, "dtype": str(data.features.dtype), **_norms(data.features)}]
    return _complete(report, data)


def _check_folder(files: folder.FolderFiles) -> Report:
    """Make the report of a folder of pictures."""
    problems = folder.find_problems(files)
    sound = _dataset(lambda: folder.as_dataset(files), problems)
    names, where, others = files.table.names, files.folder.resolve().name, files.pictures.others
    splits = {
        name: np.flatnonzero(np.array(files.splits, dtype=object) == name.removesuffix("_loc")) + 1 for name in SPLITS
    }
    vectors = sound.classes.vectors if sound else np.asarray(files.vectors)
    report = _report(files.folder, names, vectors, files.labels + 1, splits, problems)
    report["layout"] = "folder"
    report["files"] = {
        "semantics": f"{where}/classes.csv, {files.semantics}",
        "labels": f"{where}/images",
        "features": [file.name for file in files.features],
    }
    report["features"] = [
        {"file": file.name, "dtype": str(file.stored.dtype), **_norms(file.features)} for file in files.features
    ]
    report["pictures"] = _pictures(files.folder, len(files.pictures.paths), (), len(others))
    report = _complete(report, sound)
    warn = report["warnings"].append
    if others:
        warn(f"files in {where}/images should be pictures ({', '.join(SUFFIXES)}); left out {first_of(others)}")
    if files.table.text_columns and files.semantics == "attributes":
        columns = ", ".join(map(repr, files.table.text_columns[:3]))
        warn(f"columns of {where}/classes.csv should be numbers to be attributes; left out {columns}")
    if not problems and not report["counts"]["unseen"]:
        warn(f"some classes should be unseen to test on; got none; mark them in column 'split' of {where}/classes.csv")
    if files.written is None:
        warn(f"splits should be written down; got no {where}/splits.csv; loading the data set writes it if it can")
    return report


def _pictures(root: Path, n_files: int, missing: Sequence[str], left_out: int = 0) -> Report:
    """Return what the report says of picture files."""
    first = list(missing[:3])
    return {"root": str(root), "files": n_files, "missing": len(missing), "first_missing": first, "left_out": left_out}


def split_fingerprint(class_names: Sequence[str], splits: dict[str, np.ndarray]) -> str:
    """Return twelve hexadecimal digits that identify one version of a split.

    The order of the classes and the images in each split count; the order of images within a split, the type of the
    numbers and the format of the file do not. `splits` holds image numbers from 1 [m] for each of `SPLITS`.
    """
    digest = hashlib.sha256("\n".join(class_names).encode())
    for name in SPLITS:
        digest.update(name.encode())
        digest.update(np.unique(splits[name]).astype("<f8").tobytes())  # doubles, as MATLAB has them
    return digest.hexdigest()[:12]


def _report(
    path: str | Path,
    names: Sequence[str],
    vectors: np.ndarray,
    labels: np.ndarray,
    splits: dict[str, np.ndarray],
    problems: list[str],
) -> Report:
    """Make the part of the report that every layout has; labels and splits count from 1."""
    # Broken files are measured too: entries that are no numbers, or numbers of no image or class, are not counted.
    splits = {name: _numbers(values) for name, values in splits.items()}
    trainval = splits["trainval_loc"]
    trainval = trainval[(trainval >= 1) & (trainval <= len(labels))].astype(np.int64)
    seen = np.intersect1d(_numbers(labels[trainval - 1]), np.arange(1, len(names) + 1))
    return {
        "name": Path(path).resolve().name,
        "path": str(path),
        "layout": None,
        "files": None,
        "counts": {
            "images": len(labels),
            "classes": len(names),
            "seen": len(seen),
            "unseen": len(names) - len(seen),
            "attributes": int(vectors.shape[1]) if vectors.ndim == 2 else 0,
            **{name.removesuffix("_loc"): len(splits[name]) for name in SPLITS},
        },
        "class_names": list(names),
        "class_embeddings": {"dtype": str(vectors.dtype), **_norms(vectors)},
        "features": [],
        "pictures": None,
        "overlaps": {
            f"{a} and {b}": len(np.intersect1d(splits[f"{a}_loc"], splits[f"{b}_loc"]))
            for a, b in (("trainval", "test_seen"), ("trainval", "test_unseen"), ("test_seen", "test_unseen"))
        },
        "leak": None,
        "fingerprint": split_fingerprint(names, splits),
        "published": None,
        "validation_partitions": None,
        "variance_cosine": None,
        "problems": list(problems),
        "warnings": [],
    }


def _numbers(values: np.ndarray) -> np.ndarray:
    """Return the finite numbers of an array as float64 [m]."""
    if values.dtype.kind not in "iuf":
        return np.zeros(0)
    numbers = values.astype(np.float64)
    return numbers[np.isfinite(numbers)]


def _norms(table: np.ndarray) -> Report:
    """Return the shape, the number of rows with NaN or inf, and the range of the other rows' L2 norms."""
    report: Report = {"shape": list(table.shape), "bad_rows": None, "norm_min": None, "norm_max": None}
    if table.ndim != 2 or table.dtype.kind not in "iufb":
        return report
    bad = is_bad_row(table)
    report["bad_rows"] = int(bad.sum())
    with np.errstate(over="ignore"):
        squares = np.einsum("ij,ij->i", table, table, dtype=np.float64)
    norms = np.sqrt(squares[np.isfinite(squares)])
    if len(norms):
        report |= {"norm_min": float(norms.min()), "norm_max": float(norms.max())}
    return report


def _leak(files: GBUFiles) -> Report | None:
    """Count the test images in the validation splits, and the images of these splits without the leak."""
    if any(name not in files.splits for name in VALIDATION_SPLITS):
        return None
    splits = {name: _numbers(values) for name, values in files.splits.items()}
    either = np.union1d(splits["train_loc"], splits["val_loc"])
    return {
        "test_seen": len(np.unique(splits["test_seen_loc"])),
        "test_seen_in_train_or_val": len(np.intersect1d(either, splits["test_seen_loc"])),
        "test_unseen_in_train_or_val": len(np.intersect1d(either, splits["test_unseen_loc"])),
        "train": len(splits["train_loc"]),
        "val": len(splits["val_loc"]),
        "train_kept": len(np.intersect1d(splits["train_loc"], splits["trainval_loc"])),
        "val_kept": len(np.intersect1d(splits["val_loc"], splits["trainval_loc"])),
    }


def _published(report: Report, is_attributes: bool) -> Report | None:
    """Compare the sizes with the published ones, if the folder has the name of a published data set."""
    name = next((name for name in PUBLISHED if name.lower() == report["name"].lower()), None)
    if name is None:
        return None
    expected = dict(zip(_COUNTED, PUBLISHED[name], strict=True))
    if not is_attributes:
        del expected["attributes"]
    differences = {
        what: {"published": size, "here": report["counts"][what]}
        for what, size in expected.items()
        if report["counts"][what] != size
    }
    return {"name": name, "differences": differences}


def _dataset(make: Callable[[], Dataset], problems: list[str]) -> Dataset | None:
    """Make the data set, or return None and add the error of `Dataset` to the problems."""
    if problems:
        return None
    try:
        return make()
    except InputError as error:
        problems.append(str(error))
        return None


def _complete(report: Report, data: Dataset | None) -> Report:
    """Add the numbers that only a valid data set has, and the warnings."""
    if data is not None:
        report["validation_partitions"] = [len(names) for names in data.validation_classes]
        try:
            report["variance_cosine"] = attribute_variance(data).cosine
        except InputError as error:
            report["warnings"].append(str(error))
    report["warnings"] += _warnings(report)
    return report


def _warnings(report: Report) -> list[str]:
    """List what is suspicious but does not prevent loading."""
    leak, counts, embeddings, published = (report[name] for name in ("leak", "counts", "class_embeddings", "published"))
    warnings = [
        f"train_loc and val_loc must hold no test images; got {leak[f'{split}_in_train_or_val']:,} of "
        f"{counts[split]:,} {split} images; intersect both with trainval_loc before choosing anything on them "
        f"(leaves {leak['train_kept']:,} / {leak['val_kept']:,}); firstsight uses trainval_loc only"
        for split in ("test_seen", "test_unseen")
        if leak and leak[f"{split}_in_train_or_val"]
    ]
    if published and published["differences"]:
        differences = ", ".join(
            f"{size['here']} {what} for {size['published']}" for what, size in published["differences"].items()
        )
        warnings.append(
            f"sizes must be those of {published['name']} to compare with published numbers; got {differences}"
        )
    if embeddings["norm_min"] == 0:
        warnings.append("class embeddings must not be zero to tell a class from others; got a class of zeros")
    if embeddings["norm_max"] is not None and max(abs(embeddings[end] - 1) for end in ("norm_min", "norm_max")) >= 1e-3:
        warnings.append(
            f"class embeddings should have unit length, as published methods expect; got L2 norms from "
            f"{embeddings['norm_min']:.4g} to {embeddings['norm_max']:.4g}"
        )
    unused = counts["images"] - sum(counts[name.removesuffix("_loc")] for name in SPLITS)
    if unused > 0 and not report["problems"]:
        warnings.append(f"every image should be in a split; got {unused} of {counts['images']} in none")
    return warnings


def describe(report: Report) -> str:
    """Format the report of `check` as aligned plain text."""
    counts, names = report["counts"], report["class_names"]
    rows = [("data set", f"{report['name']} ({report['layout']})")]
    if report["files"]:
        rows += [("semantics", report["files"]["semantics"]), ("labels", report["files"]["labels"])]
    more = f", ... ({len(names)} in all)" if len(names) > 3 else ""
    rows += [
        ("classes", f"{counts['seen']} seen + {counts['unseen']} unseen"),
        ("class names", ", ".join(names[:3]) + more),
        ("attributes", f"{counts['attributes']:,}"),
        ("class embeddings", _table_line(report["class_embeddings"])),
        ("images", f"{counts['images']:,}"),
        ("trainval / test seen / test unseen", " / ".join(f"{counts[name[:-4]]:,}" for name in SPLITS)),
        ("shared by two splits", ", ".join(f"{n} by {pair}" for pair, n in report["overlaps"].items() if n) or "none"),
    ]
    rows += [("features", f"{table['file'] or 'rendered'}: {_table_line(table)}") for table in report["features"]]
    if not report["features"]:
        rows.append(("features", "none; labels only"))
    if pictures := report["pictures"]:
        missing = f", {pictures['missing']:,} missing" if pictures["missing"] else ""
        rows.append(("pictures", f"{pictures['files']:,} in {pictures['root']}{missing}"))
    if leak := report["leak"]:
        leaked = f"{leak['test_seen_in_train_or_val']:,} of {leak['test_seen']:,} test seen images"
        rows.append(("leak into train_loc and val_loc", leaked))
        rows.append(("train_loc / val_loc without leak", f"{leak['train_kept']:,} / {leak['val_kept']:,}"))
    if report["validation_partitions"]:
        rows.append(("validation classes", " / ".join(map(str, report["validation_partitions"]))))
    if report["variance_cosine"] is not None:
        rows.append(("attribute variance cosine", f"{report['variance_cosine']:.4f}"))
    rows.append(("split fingerprint", report["fingerprint"]))
    if published := report["published"]:
        rows.append(("published sizes", "differ" if published["differences"] else f"as {published['name']}"))
    width = max(len(label) for label, _ in rows)
    lines = [f"{label.ljust(width)}  {value}" for label, value in rows]
    lines += [f"warning: {warning}" for warning in report["warnings"]]
    lines += [f"problem: {problem}" for problem in report["problems"]]
    return "\n".join([*lines, f"problems: {len(report['problems'])}, warnings: {len(report['warnings'])}"])


def _table_line(table: Report) -> str:
    """Describe a table of numbers in one line."""
    parts = [" x ".join(map(str, table["shape"])), table["dtype"]]
    if table["norm_max"] is not None:
        parts.append(f"L2 norm {table['norm_min']:.4g} to {table['norm_max']:.4g}")
    if table["bad_rows"]:
        parts.append(f"{table['bad_rows']} rows with NaN or inf")
    return ", ".join(parts)
