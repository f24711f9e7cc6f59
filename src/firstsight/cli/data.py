"""Commands that get, make and look at data sets."""

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
    """Look for what is wrong with a data set: shapes, NaN, overlapping splits, leaks.

    Exits with 0 where the data can be used and with 2 where it cannot. Writes nothing.

    Args:
        path: a folder in the GBU layout, a folder of pictures with a `classes.csv`, or `atlas`.
        text: how text is read.
        features: feature files, by name or path.
        semantics: class embeddings: `att`, `sent`, `binaryAtt` or a file name; of a folder of pictures `attributes`; of
            both `text` or `attributes+text`.
        pictures: folder with the pictures of a GBU data set; says which are missing.
        json: print one JSON document.
    """
    from firstsight.analysis.dataset_check import check, describe

    report = check(path, list(features) or None, semantics, pictures, *text.texts(semantics))
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
    """Write a folder of pictures in the GBU layout, for other people's code.

    FOLDER holds `images/CLASS/*.jpg` and `classes.csv`: a line per class with a column `class`, if wanted `split`
    (`seen` or `unseen`; a class without pictures is unseen), and a column of numbers per attribute. A fifth of the
    pictures of each seen class tests; `FOLDER/splits.csv` says which, is written the first time and read after that.

    OUT gets `res101.mat` (or `labels.mat` where there are no features), `att_splits.mat` and the lists of classes,
    MATLAB 5 files with indices from 1. Its `train_loc` and `val_loc` hold no test image.

    Args:
        folder: the pictures.
        out: a new or empty folder.
        text: how text is read.
        features: feature files, by name or path; the only one in FOLDER where none is named.
        semantics: class embeddings: `attributes`, the columns of numbers, where nothing is said; `text` or
            `attributes+text`.
        json: print one JSON document.
    """
    from firstsight.datasets.build import build

    built = build(folder, out, features or None, semantics, *text.texts(semantics))
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
    """Cut the objects of aPY out of their pictures, so that each image has a file of its own.

    OUT then takes the place of PICTURES, for `--pictures` and `firstsight features`. Objects that are there already are
    not cut again, so a second call goes on where the first was stopped.

    Args:
        folder: aPY in the GBU layout, of the benchmark `xlsa17`.
        pictures: what `firstsight data fetch aPY` downloaded: pictures, and `attribute_data` with the boxes.
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

    Without a name, lists what there is. Downloads go on where they were stopped, from a mirror where the first server
    fails, and are checked against the publisher's checksum; where there is none, the first download's sha256 is kept
    in OUT/NAME/fetched.json and checked the next time. Whoever downloads a data set agrees to its terms.

    Args:
        name: which one.
        out: folder of data sets; this one goes to OUT/NAME.
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
