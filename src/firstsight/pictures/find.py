"""The walk through folders of picture files: which pictures there are, and by which name each is known."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from firstsight.errors import InputError, first_of
from firstsight.pictures.decode import SUFFIXES

IMAGES_FOLDER = "images"
_BY_SYSTEMS = ("__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini")  # what archives and file servers leave behind


@dataclass(frozen=True, eq=False)
class Pictures:
    """What lies under `images`.

    Attributes:
        paths: n picture files relative to the folder, with forward slashes, in the order of their keys.
        others: files that are no pictures by their extension.
        problems: sentences about files that should be pictures and cannot be.
    """

    paths: tuple[str, ...]
    others: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)


def key_of(path: str) -> str:
    """A picture's name that is the same on every machine: relative to `images`, forward slashes, composed letters.

    Some file systems keep an umlaut as a letter and its dots, most as one character.
    """
    path = path.replace("\\", "/")
    path = path if path.isascii() else unicodedata.normalize("NFC", path)
    return path.removeprefix("./").removeprefix(f"{IMAGES_FOLDER}/")


def read_pictures(folder: str | Path) -> Pictures:
    """Every picture under `images`, at any depth; hidden files and what systems leave behind are passed over.

    Links are followed, to files and to folders, since pictures often lie on another disk; a folder is entered once.
    """
    folder = Path(folder)
    root = folder / IMAGES_FOLDER
    if not root.is_dir():
        raise InputError(f"{folder} must hold a folder {IMAGES_FOLDER} with a folder of pictures per class; got none")
    found: dict[str, str] = {}
    others, empty, unreadable, twice = [], [], [], []
    for path, size in files_below(root, folder):
        if not path.lower().endswith(SUFFIXES):
            others.append(path)
        elif size is None or not _is_text(path):
            unreadable.append(path)
        elif not size:
            empty.append(path)
        elif key_of(path) in found:
            twice.append(path)
        else:
            found[key_of(path)] = path
    total = len(found) + len(empty) + len(unreadable) + len(twice)
    problems = [
        f"pictures must {expected}; got {first_of(sorted(wrong), total)} in {folder}; {remedy}"
        for wrong, expected, remedy in (
            (empty, "not be empty files", "delete or replace them"),
            (unreadable, "be files that are there, named in UTF-8", "mend or delete what links to nothing"),
            (twice, "have names that differ in more than the coding of their letters", "rename one of each two"),
        )
        if wrong
    ]
    return Pictures(tuple(found[key] for key in sorted(found)), tuple(sorted(others)), problems)


def files_below(root: Path, folder: Path) -> Iterator[tuple[str, int | None]]:
    """Files under `root` as paths relative to `folder`, and their sizes; None for a link to nothing."""
    entered = set()
    above = root.relative_to(folder).as_posix()
    waiting = [(str(root), "" if above == "." else f"{above}/")]
    while waiting:
        place, prefix = waiting.pop()
        real = os.path.realpath(place)
        if real in entered:
            continue
        entered.add(real)
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in _BY_SYSTEMS:
                    continue
                if entry.is_dir():
                    waiting.append((entry.path, f"{prefix}{entry.name}/"))
                    continue
                try:
                    size = entry.stat().st_size
                except OSError:
                    size = None
                yield prefix + entry.name, size


def _is_text(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:  # bytes of another coding
        return False
    return True


def pictures_in(folder: Path) -> Iterator[Path]:
    """The picture files in a folder and the folders in it, in order; hidden ones are left out."""
    found = False
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                found = True
                yield Path(place) / name
    if not found:
        raise InputError(f"folder must hold pictures ({', '.join(SUFFIXES)}); got none in {folder}")
