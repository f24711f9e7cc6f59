"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from firstsight.errors import InputError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Hand out a path beside the file to write to, then move it there: a kill leaves the old file or the new one.

    Raises:
        InputError: the folder cannot be made or written to, or the disk is full.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        unfinished.chmod(0o666 & ~_umask())  # some libraries write files that only their owner may read
        os.replace(unfinished, path)
    except OSError as error:
        raise InputError(f"{path} must be a place to write to; got {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # where the folder is a file there is nothing to remove
            unfinished.unlink()


def _umask() -> int:
    """Return the permissions that the user takes away from new files."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def file_name(*parts: str) -> str:
    """Join parts, such as names that a user chose, with `-` to one name that every file system takes."""
    return "-".join(re.sub(r"[^A-Za-z0-9._]+", "_", part) for part in parts)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def cache_folder() -> Path:
    """Make the folder for what takes long to make, FIRSTSIGHT_CACHE or one in the user's cache, and return it.

    Raises:
        InputError: it cannot be made, which is better told before a minute of work.
    """
    chosen = os.environ.get("FIRSTSIGHT_CACHE")
    folder = Path(chosen or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "firstsight")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"FIRSTSIGHT_CACHE must name a folder that can be made; got {str(folder)!r} ({reason})"
        ) from error
    return folder
