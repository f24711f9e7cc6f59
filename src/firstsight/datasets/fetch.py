"""The public data sets: their addresses, and the command that downloads them.

Checksums are those of the publishers or of widely used loaders. If there is none, the sha256 of the first download is
written to `fetched.json`, and every later download into that folder must have it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from firstsight.datasets.archives import unpack
from firstsight.datasets.download import Remote, download
from firstsight.errors import InputError, did_you_mean
from firstsight.files import write_text
from firstsight.progress import Progress

RECORD = "fetched.json"


@dataclass(frozen=True)
class Source:
    """A public data set."""

    what: str  # its content, in a few words
    about: str  # its approximate size as users report it, or empty
    home: str  # page of its publisher, with the terms of use
    files: tuple[Remote, ...]  # its archives


def _archive(name: str, *folders: str, checksum: str | None = None, size: int | None = None) -> Remote:
    """Return an archive that has the same name in each of these folders of servers."""
    return Remote(name, tuple(f"{folder}/{name}" for folder in folders), checksum, size)


SOURCES = {
    "xlsa17": Source(
        "GBU benchmark: features, splits and attributes of CUB, SUN, AWA1, AWA2, aPY",
        "0.9 GB",
        "https://www.mpi-inf.mpg.de/departments/computer-vision-and-machine-learning/research/zero-shot-learning/"
        "zero-shot-learning-the-good-the-bad-and-the-ugly",
        (_archive("xlsa17.zip", *(f"{scheme}://datasets.d2.mpi-inf.mpg.de/xian" for scheme in ("https", "http"))),),
    ),
    "CUB_200_2011": Source(
        "pictures of CUB: 11,788 of 200 birds",
        "1.2 GB",
        "https://www.vision.caltech.edu/datasets/cub_200_2011/",
        (
            _archive(
                "CUB_200_2011.tgz",
                "https://data.caltech.edu/records/65de6-vp158/files",
                "https://s3.amazonaws.com/fast-ai-imageclas",
                checksum="md5:97eceeb196236b17998738112f37df78",  # CaltechDATA
                size=1_150_585_339,
            ),
        ),
    ),
    "AWA2": Source(
        "pictures of AWA2: 37,322 of 50 animals",
        "13 GB",
        "https://cvml.ista.ac.at/AwA2/",
        (_archive("AwA2-data.zip", "https://cvml.ista.ac.at/AwA2", "https://cvml.ist.ac.at/AwA2"),),
    ),
    "SUN": Source(
        "pictures of SUN: 14,340 of 717 scenes",
        "1.8 GB",
        "https://cs.brown.edu/~gmpatter/sunattributes.html",
        (
            _archive(
                "SUNAttributeDB_Images.tar.gz",
                "https://cs.brown.edu/people/gmpatter/Attributes",
                "https://cs.brown.edu/~gmpatter/Attributes",
            ),
        ),
    ),
    "aPY": Source(
        "pictures of aPY: VOC 2008 and a-Yahoo, and where the objects are in them",
        "",
        "http://vision.cs.uiuc.edu/attributes/",
        (
            _archive(
                "VOCtrainval_14-Jul-2008.tar",
                "http://host.robots.ox.ac.uk/pascal/VOC/voc2008",
                "http://pascallin.ecs.soton.ac.uk/challenges/VOC/voc2008",
                # from widely used loaders of VOC
                checksum="sha256:7f0ca53c1b5a838fbe946965fc106c6e86832183240af5c88e3f6c306318d42e",
            ),
            _archive("ayahoo_test_images.tar.gz", "http://vision.cs.uiuc.edu/attributes"),
            _archive("attribute_data.tar.gz", "http://vision.cs.uiuc.edu/attributes"),
        ),
    ),
}


@dataclass(frozen=True)
class Fetched:
    """One archive that `fetch` has downloaded now or earlier."""

    name: str
    sha256: str
    is_known: bool  # it was checked against a checksum, from the publisher or from an earlier download
    is_new: bool  # this call downloaded it


def source_named(name: str) -> str:
    """Return the name of a data set as `SOURCES` spells it; upper and lower case do not matter."""
    known = {one.lower(): one for one in SOURCES}
    if name.lower() not in known:
        hint = did_you_mean(name, SOURCES) or f"; there are {', '.join(SOURCES)}"
        raise InputError(f"unknown data set {name!r}{hint}")
    return known[name.lower()]


def fetch(
    name: str,
    out: str | Path,
    keep: bool = False,
    progress: Progress | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> tuple[Path, list[Fetched]]:
    """Download a public data set and unpack it; return its folder, OUT/NAME, and its archives.

    Archives that are unpacked already are left alone, and a download that was stopped is continued. The archives are
    deleted after unpacking unless `keep`; `pause` waits for a number of seconds between tries.
    """
    name = source_named(name)
    folder = Path(out) / name
    record = _read_record(folder)
    fetched = []
    for remote in SOURCES[name].files:
        known = record.get(remote.name, {})
        checksum = remote.checksum or (f"sha256:{known['sha256']}" if known else None)
        unpacked = known.get("unpacked", [])
        if unpacked and all((folder / entry).exists() for entry in unpacked):
            fetched.append(Fetched(remote.name, known["sha256"], is_known=True, is_new=False))
            continue
        sha256 = download(replace(remote, checksum=checksum), folder, progress, pause)
        # An unpacked archive is complete, so its checksum can be recorded.
        record[remote.name] = {"sha256": sha256, "unpacked": unpack(folder / remote.name, folder, progress)}
        write_text(folder / RECORD, json.dumps(record, indent=2) + "\n")
        if not keep:
            (folder / remote.name).unlink()
        fetched.append(Fetched(remote.name, sha256, is_known=checksum is not None, is_new=True))
    return folder, fetched


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(name): {"sha256": str(one["sha256"]), "unpacked": list(one["unpacked"])} for name, one in record.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} must be what `data fetch` wrote; got a damaged file; delete it") from error
