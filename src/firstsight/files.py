"""Files that are written whole or not at all, and the folder of the cache."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from firstsight.errors import InputError

FREE_BYTES = 50_000_000  # left free on a disk


def check_free_space(folder: Path, needed: int, purpose: str) -> None:
    """Raise InputError unless the disk of the folder has room for `needed` bytes; `purpose` ends the message."""
    free = shutil.disk_usage(folder).free
    if needed + FREE_BYTES > free:
        raise InputError(
            f"{folder} must have {(needed + FREE_BYTES) / 1e6:,.0f} MB free {purpose}; got {free / 1e6:,.0f} MB"
        )


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn an OSError on writing to `path` into an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} must be a place to write to; got {error.strerror or error}") from error


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside the file to write to, then move it there: a kill leaves the old file or the new one.

    Raises:
        InputError: the folder cannot be made or written to, or the disk is full.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield unfinished
            unfinished.chmod(0o666 & ~_umask())  # some libraries write files that only their owner may read
            os.replace(unfinished, path)
    finally:
        with contextlib.suppress(OSError):  # there is nothing to remove if the folder could not be made
            unfinished.unlink()


def _umask() -> int:
    """Return the permission bits that the user takes away from new files."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def file_name(*parts: str) -> str:
    """Join parts, such as names that a user chose, with `-` to one name that every file system takes."""
    return "-".join(re.sub(r"[^A-Za-z0-9._]+", "_", part) for part in parts)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file as a whole."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def cache_folder() -> Path:
    """Return the folder of the cache, made if needed: FIRSTSIGHT_CACHE, or `firstsight` in the user's cache folder."""
    chosen = os.environ.get("FIRSTSIGHT_CACHE")
    folder = Path(chosen or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "firstsight")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        got = f"{str(folder)!r} ({error.strerror or error})"
        raise InputError(f"FIRSTSIGHT_CACHE must name a folder that can be made; got {got}") from error
    return folder
