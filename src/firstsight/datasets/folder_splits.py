"""Which picture of a folder trains and which tests: drawn once, written to `splits.csv`, read ever after."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from firstsight.errors import InputError, did_you_mean, first_of
from firstsight.files import write_text
from firstsight.pictures.find import key_of
from firstsight.semantics.class_table import read_table

SPLITS_FILE = "splits.csv"
NAMES = ("trainval", "test_seen", "test_unseen")


def draw_splits(paths: Sequence[str], classes: Sequence[str], is_unseen: Sequence[bool], seed: int = 0) -> list[str]:
    """Draw the split of every picture: of unseen classes `test_unseen`, of the others a fifth `test_seen`.

    The fifth (the share of the GBU splits) is at least one picture where a class has two, and all of a class's only
    picture trains. A hash of seed and name decides, so neither the machine, nor the library, nor the pictures of
    other classes matter. `classes` and `is_unseen` have an entry for each of the n pictures.
    """
    splits = ["test_unseen" if unseen else "trainval" for unseen in is_unseen]
    members: dict[str, list[int]] = {}
    for image, name in enumerate(classes):
        if not is_unseen[image]:
            members.setdefault(name, []).append(image)

    def lot(image: int) -> bytes:
        return hashlib.sha256(f"{seed}\n{key_of(paths[image])}".encode()).digest()

    for images in members.values():
        for image in sorted(images, key=lot)[: max(len(images) // 5, len(images) > 1)]:
            splits[image] = "test_seen"
    return splits


def write_splits(folder: Path, paths: Sequence[str], splits: Sequence[str]) -> bool:
    """Write `splits.csv`; False where the folder is not to be written to, which does not stop an administrator."""
    if not folder.stat().st_mode & 0o222:
        return False
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("file", "split"))
    table.writerows(zip(paths, splits, strict=True))
    with contextlib.suppress(InputError):
        write_text(folder / SPLITS_FILE, text.getvalue())
        return True
    return False


def read_splits(folder: Path) -> dict[str, str] | None:
    """Read the split of each picture, by its key, from `splits.csv`; None where there is no such file."""
    path = folder / SPLITS_FILE
    if not path.is_file():
        return None
    table = read_table(path, "file")
    if [name.lower() for name in table.header] != ["file", "split"]:
        raise InputError(f"{path} must begin with 'file,split'; got {','.join(table.header) or 'nothing'!r}")
    found: dict[str, str] = {}
    for line, (file, split) in table.rows:
        if split not in (*NAMES, ""):
            raise InputError(
                f"split in {path} must be one of {', '.join(NAMES)} or empty; "
                f"got {split!r} in line {line}{did_you_mean(split, NAMES)}"
            )
        if found.setdefault(key_of(file), split) != split:
            raise InputError(f"{path} must name each picture once; got {file!r} again in line {line}")
    return found


def split_problems(
    written: Mapping[str, str], paths: Sequence[str], classes: Sequence[str], is_unseen: Sequence[bool], where: str
) -> list[str]:
    """List what keeps a `splits.csv` from fitting the pictures and classes that are there now, as sentences."""
    anew = f"change its lines, or delete {SPLITS_FILE} to split anew"
    keys = [key_of(path) for path in paths]
    problems = []
    if new := [path for path, key in zip(paths, keys, strict=True) if key not in written]:
        problems.append(f"{where} must name every picture; got no line for {first_of(new, len(paths))}; {anew}")
    there = set(keys)
    if gone := [key for key in written if key not in there]:
        lost = first_of(gone, len(written))
        problems.append(f"{where} must name pictures that are there; got {lost}, that is not; {anew}")
    strays = [
        (path, name, written[key])
        for path, key, name, unseen in zip(paths, keys, classes, is_unseen, strict=True)
        if written.get(key) and (written[key] == "test_unseen") != unseen
    ]
    if strays:
        path, name, split = strays[0]
        kind = "unseen" if split != "test_unseen" else "seen"
        problems.append(
            f"{where} must agree with classes.csv; got {len(strays)} pictures in a split of the other kind, "
            f"the first {path!r} of the {kind} class {name!r} in {split}; {anew}"
        )
    trained = {name for name, key in zip(classes, keys, strict=True) if written.get(key) == "trainval"}
    seen = dict.fromkeys(name for name, unseen in zip(classes, is_unseen, strict=True) if not unseen)
    if (untrained := [name for name in seen if name not in trained]) and not new and not strays:
        problems.append(f"{where} must leave every seen class pictures in trainval; got none for {first_of(untrained)}")
    return problems
