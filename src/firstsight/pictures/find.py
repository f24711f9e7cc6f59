"""Walk through folders of picture files. No other code lists them, so every command sees the same pictures.

    for file in pictures_in("holiday"):       # of any folder, one after the other
    found = list_pictures("birds")            # of a data set: everything under birds/images

A picture is a file with one of `SUFFIXES`, at any depth. Pictures come in the order of their keys on every machine.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from firstsight.errors import InputError, first_of
from firstsight.pictures.decode import A_PICTURE, SUFFIXES

IMAGES_FOLDER = "images"
_BY_SYSTEMS = ("__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini")  # left by archives and file servers

# Why a file cannot be used: each is the end of a sentence that begins with the file's name.
EMPTY = f"must be {A_PICTURE}; got an empty file"
GONE = "must be a picture; got a link to nothing or a file that cannot be read"
NOT_UTF8 = "must have a name in UTF-8; got a name in another coding"
TWICE = "must have a name of its own; got one that differs from another only in the coding of its letters"
_OF_DATASETS = (  # faults, what a data set's pictures must be instead, and what to do
    ((EMPTY,), "not be empty files", "delete or replace them"),
    ((GONE, NOT_UTF8), "be files that are there, named in UTF-8", "mend or delete what links to nothing"),
    ((TWICE,), "have names that differ in more than the coding of their letters", "rename one of each two"),
)


class File(NamedTuple):
    """A file that the walk came to."""

    path: str  # relative to the folder of the walk, with forward slashes, spelled as the file can be opened
    fault: str = ""  # why it cannot be used, such as `EMPTY`; empty text where it can

    @property
    def is_picture(self) -> bool:
        """Tell a picture by its suffix."""
        return self.path.lower().endswith(SUFFIXES)

    @property
    def problem(self) -> str:
        """Return the sentence that says why the file cannot be used."""
        return f"{printable(self.path)} {self.fault}"


@dataclass(frozen=True, eq=False)
class Found:
    """The files under `images` of a data set."""

    folder: Path  # that holds `images`
    pictures: tuple[File, ...]  # all pictures, those with a fault too, in the order of their keys
    others: tuple[str, ...] = ()  # paths of files that are no pictures by their suffix

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the paths of the n pictures without a fault, in the order of their keys."""
        return tuple(file.path for file in self.pictures if not file.fault)

    @property
    def problems(self) -> list[str]:
        """Return a sentence for each kind of fault, and one where there is no picture to use."""
        found = []
        for faults, expected, remedy in _OF_DATASETS:
            if wrong := [file.path for file in self.pictures if file.fault in faults]:
                got = first_of(wrong, len(self.pictures))
                found.append(f"pictures must {expected}; got {got} in {self.folder}; {remedy}")
        if not self.paths:
            found.append(f"{self.folder / IMAGES_FOLDER} must hold pictures in a folder per class; got none")
        return found


def key_of(path: str) -> str:
    """Return the name of a picture that is the same on every machine.

    It is relative to `images`, with forward slashes and composed letters: some file systems keep an umlaut as a letter
    and its dots, most as one character.
    """
    return composed(path.replace("\\", "/")).removeprefix("./").removeprefix(f"{IMAGES_FOLDER}/")


def composed(text: str) -> str:
    """Return the text with each letter and its accents as one character (NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def printable(text: str) -> str:
    """Return a path with a backslash code for each byte that is no UTF-8, which no output would take."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def list_pictures(folder: str | Path) -> Found:
    """List the pictures under FOLDER/images; raise InputError if it is missing or a folder in it cannot be opened."""
    folder = Path(folder)
    if not (folder / IMAGES_FOLDER).is_dir():
        raise InputError(f"{folder} must hold a folder {IMAGES_FOLDER} with a folder of pictures per class; got none")
    files = list(walk(folder, IMAGES_FOLDER))
    others = tuple(file.path for file in files if not file.is_picture)
    return Found(folder, tuple(file for file in files if file.is_picture), others)


def pictures_in(folder: str | Path) -> Iterator[File]:
    """List the pictures in a folder one after the other, those with a fault too; raise InputError if there are none."""
    found = False
    for file in walk(folder):
        if file.is_picture:
            found = True
            yield file
    if not found:
        raise InputError(f"folder must hold pictures ({', '.join(SUFFIXES)}); got none in {folder}")


def walk(folder: str | Path, under: str = "") -> Iterator[File]:
    """List the files at any depth of a folder, in the order of their keys.

    Hidden files and what archives and file servers leave behind are passed over. Links are followed, to files and to
    folders, since pictures often lie on another disk. A folder is entered once, by its own name before any link to it.
    Only the names of the folders on the way are kept in memory. Paths are relative to `folder`; where `under` is given,
    the walk keeps to that folder in it.
    """
    place = os.path.join(folder, under)
    root = os.path.realpath(place)
    return _walk([_Place(place, root, f"{under}/" if under else "")], root, {root})


class _Place(NamedTuple):
    """A folder to list: its path to open, its path without links, and what the paths of its files begin with."""

    path: str
    real: str
    prefix: str


def _walk(places: list[_Place], root: str, entered: set[str]) -> Iterator[File]:
    """List the files below folders whose names differ only in the coding of their letters."""
    alike: dict[str, list[tuple[str, os.DirEntry[str], _Place]]] = {}  # a folder's name ends in a slash, as in its key
    for place in places:
        for entry in _entries(place.path):
            key = composed(entry.name) + "/" * _is_folder(entry)
            alike.setdefault(key, []).append((place.prefix + entry.name, entry, place))
    for key in sorted(alike):
        group = sorted(alike[key], key=lambda one: one[0])
        if not key.endswith("/"):
            yield from _with_faults((path, entry) for path, entry, _ in group)
            continue
        inside = []
        for path, entry, place in group:
            real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(place.real, entry.name)
            if real not in entered and not (entry.is_symlink() and _is_on_the_way(real, root)):
                entered.add(real)
                inside.append(_Place(entry.path, real, f"{path}/"))
        yield from _walk(inside, root, entered)


def _entries(place: str) -> list[os.DirEntry[str]]:
    """List what is in a folder, without hidden files and what systems leave behind."""
    try:
        with os.scandir(place) as entries:
            return [one for one in entries if not _is_passed_over(one.name)]
    except OSError as error:
        raise InputError(f"{printable(place)} must be a folder that can be opened; got {error.strerror}") from error


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name in _BY_SYSTEMS


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, or a link to one; a link that leads to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_on_the_way(real: str, root: str) -> bool:
    """Return whether the walk of `root` comes to this folder without a link."""
    place = Path(real)
    return place.is_relative_to(root) and not any(map(_is_passed_over, place.relative_to(root).parts))


def _with_faults(group: Iterable[tuple[str, os.DirEntry[str]]]) -> Iterator[File]:
    """Make a `File` of each path; of several whose keys are equal only the first has its name to itself."""
    taken = False
    for path, entry in group:
        fault = _fault(path, entry)
        yield File(path, fault or (TWICE if taken else ""))
        taken = taken or not fault


def _fault(path: str, entry: os.DirEntry[str]) -> str:
    """Return what is wrong with a file by itself; empty text for nothing."""
    if printable(path) != path:
        return NOT_UTF8
    try:
        return "" if entry.stat().st_size else EMPTY
    except OSError:
        return GONE
