"""Commands that download, build and check data sets."""

from __future__ import annotations

import sys
from pathlib import Path

from firstsight.cli.options import TextOptions, as_json


def data_check(
    path: str,
    /,
    text: TextOptions,
    features: tuple[str, ...] = (),
    semantics: str | None = None,
    pictures: Path | None = None,
    json: bool = False,
) -> None:
    """Check a data set for errors: shapes, NaN, overlapping splits, leaks.

    Exit code 0: the data set can be used; 2: it cannot. Writes nothing.

    Args:
        path: a folder in the GBU layout, a folder of pictures with a `classes.csv`, or `atlas`.
        text: the text model.
        features: feature files, by name or path.
        semantics: class embeddings: `att`, `sent`, `binaryAtt` or a file name; for a folder of pictures `attributes`;
            for both `text` or `attributes+text`.
        pictures: folder with the pictures of a GBU data set, to find missing ones.
        json: print one JSON document.
    """
    from firstsight.analysis.dataset_check import check, describe
    from firstsight.datasets import DataFiles

    (vectors,) = text.texts(semantics)
    report = check(path, DataFiles(features=features or None, semantics=semantics, pictures=pictures, vectors=vectors))
    print(as_json(report) if json else describe(report))
    if report["problems"]:
        sys.exit(2)


def data_build(
    folder: Path,
    /,
    out: Path,
    text: TextOptions,
    features: tuple[str, ...] = (),
    semantics: str | None = None,
    json: bool = False,
) -> None:
    """Write a folder of pictures in the GBU layout, for code written for that layout.

    FOLDER holds `images/CLASS/*.jpg` and `classes.csv`: a line per class with a column `class`, optionally `split`
    (`seen` or `unseen`; a class without pictures is unseen), and a column of numbers per attribute. A fifth of the
    pictures of each seen class is for testing. `FOLDER/splits.csv` lists them; the first call writes it, later ones
    read it.

    OUT receives `res101.mat` (or `labels.mat` without features), `att_splits.mat` and the lists of classes, MATLAB 5
    files with indices from 1. Its `train_loc` and `val_loc` hold no test image.

    Args:
        folder: the pictures.
        out: a new or empty folder.
        text: the text model.
        features: feature files, by name or path; by default the only one in FOLDER.
        semantics: class embeddings: `attributes`, the columns of numbers, by default; `text` or `attributes+text`.
        json: print one JSON document.
    """
    from firstsight.datasets import DataFiles
    from firstsight.datasets.build import build

    (vectors,) = text.texts(semantics)
    built = build(folder, out, DataFiles(features=features or None, semantics=semantics, vectors=vectors))
    data = built.data
    counts = {name: len(getattr(data, name)) for name in ("trainval", "test_seen", "test_unseen")}
    if json:
        sizes = {"images": len(data.labels), "seen": len(data.seen), "unseen": len(data.unseen), **counts}
        print(as_json({"out": str(built.folder), "counts": sizes, "left_out": built.left_out}))
        return
    print(f"{len(data.seen)} seen + {len(data.unseen)} unseen classes")
    print(f"trainval / test seen / test unseen: {' / '.join(f'{count:,}' for count in counts.values())}")
    if built.left_out:
        print(f"left out, without pictures: {', '.join(built.left_out)}")
    if data.features is None:
        print(f"no features: none are in {folder}; `firstsight features` makes them")
    print(f"The data set is at {built.folder}; `firstsight data check {built.folder}` looks at it")


def data_crop(folder: Path, /, pictures: Path, out: Path, json: bool = False) -> None:
    """Cut the objects of aPY out of their pictures, so that each image has its own file.

    Use OUT instead of PICTURES for `--pictures` and `firstsight features`. Objects that have a file are not cut again,
    so a second call continues a first one that was stopped.

    Args:
        folder: aPY in the GBU layout, of the benchmark `xlsa17`.
        pictures: folder that `firstsight data fetch aPY` made: pictures, and `attribute_data` with the boxes.
        out: folder for the objects, JPEG files named PICTURE-1.jpg, PICTURE-2.jpg and so on.
        json: print one JSON document.
    """
    from firstsight.datasets.objects import cut_objects
    from firstsight.progress import Display

    with Display() as display:
        cut = cut_objects(folder, pictures, out, display.stage("crop"))
    if json:
        print(as_json({"out": str(cut.folder), "objects": cut.objects, "new": cut.new}))
        return
    print(f"{cut.objects:,} objects, {cut.new:,} of them new, are at {cut.folder}")


def data_fetch(name: str | None = None, /, out: Path = Path("data"), keep: bool = False, json: bool = False) -> None:
    """Download a public data set: the GBU benchmark, or the pictures of CUB, AWA2, SUN or aPY.

    Without a name, lists the data sets. A download that was stopped is continued; if a server fails, a mirror is tried.
    Archives are checked against the publisher's checksum. Without one, the sha256 of the first download is kept in
    OUT/NAME/fetched.json and checked the next time. Who downloads a data set agrees to its terms.

    Args:
        name: name of the data set.
        out: folder of data sets; this one is unpacked to OUT/NAME.
        keep: keep the archives after unpacking.
        json: print one JSON document.
    """
    from firstsight.datasets.fetch import RECORD, SOURCES, fetch, source_named
    from firstsight.progress import Display

    if name is None:
        if json:
            print(as_json({"sources": {one: {"what": it.what, "home": it.home} for one, it in SOURCES.items()}}))
            return
        for one, source in SOURCES.items():
            print(f"{one:<14}{source.about or 'unknown':<9}{source.what}")
        return
    name = source_named(name)
    with Display() as display:
        display.say(f"{name}: {SOURCES[name].what}; its terms are at {SOURCES[name].home}")
        try:
            folder, fetched = fetch(name, out, keep, display)
        except KeyboardInterrupt:
            display.say(f"stopped; what came is kept in {out / name}; the same command goes on")
            raise
    if json:
        print(as_json({"out": str(folder), "files": list(map(vars, fetched))}))
        return
    for file in fetched:
        was = "checked" if file.is_known else f"no checksum is published; kept in {folder / RECORD} for the next time"
        print(f"{file.name}  sha256 {file.sha256} ({was if file.is_new else 'is there already'})")
    print(f"The data set is at {folder}")
