"""A cache of the pictures of a data set as small squares in one file, so that each is decoded once.

    data, bad = with_pictures(load_folder("birds"), side=128, skip_bad=True)
    data.pictures[[3, 7]]                                       # [2, 146, 146, 3]

A folder of pictures has two files in the cache for each size: NAME.rows, pictures [m, h, h, 3] one after the other, and
NAME.index, 32 bytes for each of them. Rows are only appended, and the index is written after the rows are on the disk,
so a kill or a power cut leaves only complete pictures. The key of a picture is made of its path, size and time of
change: a second run needs no content of the files. New and changed pictures are added. Rows of deleted pictures stay
until the files of the cache are deleted, which is always safe.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from firstsight.data import Dataset, Pictures
from firstsight.errors import InputError
from firstsight.files import cache_folder, writing
from firstsight.parallel import prefetch
from firstsight.pictures.decode import DRAFT, open_picture, squared, stored_side
from firstsight.progress import StageProgress

try:
    import fcntl
except ImportError:  # on Windows, only one process at a time should fill a store
    fcntl = None  # type: ignore[assignment]

VERSION = 2  # raise it when pictures are shrunk in another way, so that old files of the cache are ignored
SHA = 32  # bytes of a digest
AT_ONCE = 32  # pictures per write
IN_MEMORY = 1 << 30  # bytes of resized pictures that are kept in memory; more go to a temporary file


def with_pictures(
    data: Dataset, side: int, cache: Path | None = None, skip_bad: bool = False, progress: StageProgress | None = None
) -> tuple[Dataset, dict[str, str]]:
    """Return the data set with the central squares of all pictures, shrunk to `stored_side(side)` pixels a side.

    The squares are kept in the cache, so a second call reads no picture, and a call that was stopped is continued.

    Args:
        data: with `paths`, which are preferred, or with `pictures`.
        side: pixels of the sides of the crops that a method takes.
        cache: folder of the cache; `pictures` in the user's cache folder if None.
        skip_bad: leave out images whose pictures cannot be read, instead of raising at the first.
        progress: called with (pictures done, pictures in total, {}) while pictures are shrunk.

    Returns:
        The data set, and the message of each file that was left out, by its path.

    Raises:
        InputError: there are no pictures, one cannot be read, or the cache cannot be written.
    """
    stored = stored_side(side)
    if not data.paths and not len(data.pictures):
        raise InputError(
            f"data set {data.name!r} must have pictures; got {'labels' if data.features is None else 'features'} only; "
            "name the folder with its pictures (for a GBU folder: --pictures FOLDER)"
        )
    cache = cache_folder() / "pictures" if cache is None else Path(cache)
    if isinstance(data.pictures, Pictures) and not data.paths:
        return replace(data, pictures=_resize(data.pictures, stored, cache, progress)), {}
    root = Path(data.root or "").resolve()
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
    store = _Store(cache / f"{root.name[:40]}-{digest}-{stored}-v{VERSION}", stored)
    rows, bad = _fill(store, root, sorted(set(data.paths)), skip_bad, progress)
    if not rows:
        raise InputError(f"pictures of {root} must be readable; got none of {len(bad)} that is")
    if bad:
        data = data.subset(np.flatnonzero([path not in bad for path in data.paths]))
    return replace(data, pictures=Pictures(store.rows(), np.array([rows[path] for path in data.paths]))), bad


def _fill(
    store: _Store, root: Path, files: Sequence[str], skip_bad: bool, progress: StageProgress | None
) -> tuple[dict[str, int], dict[str, str]]:
    """Add the new files to the store; return the row of each file and the messages of unreadable files."""
    keys = {file: _key(root, file) for file in files}
    bad: dict[str, str] = {}

    def shrink(file: str) -> NDArray[np.uint8] | InputError:
        try:
            return squared(open_picture(root / file, file, enough=DRAFT * store.side), store.side)
        except InputError as error:
            return error

    if any(key not in store.known for key in keys.values()):
        with store.adding() as add:
            new = [file for file in files if keys[file] not in store.known]
            done = len(files) - len(new)
            with closing(prefetch(shrink, new, 2 * AT_ONCE)) as made:
                for file, row in zip(new, made, strict=True):
                    if not isinstance(row, InputError):
                        add(keys[file], row)
                    elif skip_bad:
                        bad[file] = str(row)
                    else:
                        raise row
                    done += 1
                    if progress and (done % AT_ONCE == 0 or done == len(files)):
                        progress(done, len(files), {})
    return {file: store.known[keys[file]] for file in files if file not in bad}, bad


def _key(root: Path, file: str) -> bytes:
    """Return the key of a picture in the store; a missing file gets a random key, and opening it gives the message."""
    try:
        found = (root / file).stat()
        return hashlib.sha256(f"{found.st_size} {found.st_mtime_ns} ".encode() + os.fsencode(file)).digest()
    except OSError:
        return os.urandom(SHA)


class _Store:
    """Pictures on the disk: PATH.rows, and PATH.index with the keys of the complete ones."""

    def __init__(self, path: Path, side: int) -> None:
        self.side = side
        self.known: dict[bytes, int] = {}  # row of each key
        self._rows, self._index = (path.with_name(path.name + end) for end in (".rows", ".index"))
        self._bytes = side * side * 3  # of a row
        self._n = 0
        self._read()

    def _read(self) -> None:
        """Read the index as it is on the disk now."""
        try:
            index, room = self._index.read_bytes(), self._rows.stat().st_size // self._bytes
        except OSError:
            return
        self._n = min(len(index) // SHA, room)
        self.known = {index[at * SHA : (at + 1) * SHA]: at for at in range(self._n)}

    def rows(self) -> NDArray[np.uint8]:
        """Map the pictures [m, side, side, 3]; they are read from the disk when they are used."""
        return np.memmap(self._rows, np.uint8, "r", shape=(self._n, self.side, self.side, 3))

    @contextmanager
    def adding(self) -> Iterator[Callable[[bytes, NDArray[np.uint8]], None]]:
        """Lock the store and give a function that adds a row; other processes wait, then see the new rows.

        All added rows are on the disk at the end, also after an error; a kill loses the last few at most.
        """
        waiting: list[tuple[bytes, NDArray[np.uint8]]] = []

        def add(key: bytes, row: NDArray[np.uint8]) -> None:
            waiting.append((key, row))
            if len(waiting) == AT_ONCE:
                self._write(rows, index, waiting)

        with ExitStack() as stack:
            with writing(self._rows):
                self._rows.parent.mkdir(parents=True, exist_ok=True)
                rows, index = (stack.enter_context(path.open("ab")) for path in (self._rows, self._index))
                if fcntl:
                    fcntl.flock(index, fcntl.LOCK_EX)  # the system releases the lock of a killed process
                self._read()
                rows.truncate(self._n * self._bytes)  # a killed process may have left half a row
                index.truncate(self._n * SHA)
            try:
                yield add
            finally:
                self._write(rows, index, waiting)

    def _write(self, rows: IO[bytes], index: IO[bytes], waiting: list[tuple[bytes, NDArray[np.uint8]]]) -> None:
        """Append the waiting rows, then their keys, over any incomplete rest of an interrupted write."""
        if not waiting:
            return
        with writing(self._rows):
            rows.truncate(self._n * self._bytes)
            rows.write(b"".join(row.tobytes() for _, row in waiting))
            rows.flush()
            os.fsync(rows.fileno())  # a power cut must not leave a key without its picture
            index.truncate(self._n * SHA)
            index.write(b"".join(key for key, _ in waiting))
            index.flush()
        self.known |= {key: self._n + at for at, (key, _) in enumerate(waiting)}
        self._n += len(waiting)
        waiting.clear()


def _resize(pictures: Pictures, side: int, cache: Path, progress: StageProgress | None) -> Pictures:
    """Resize pictures; many are held in a temporary file that vanishes with its last use."""
    if pictures.store.shape[1:3] == (side, side):
        return pictures
    shape = (len(pictures), side, side, 3)
    if math.prod(shape) <= IN_MEMORY:
        store: NDArray[np.uint8] = np.empty(shape, np.uint8)
    else:
        with writing(cache):
            cache.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=cache) as file:
                store = np.memmap(file, np.uint8, "w+", shape=shape)
    made = prefetch(lambda at: squared(Image.fromarray(pictures[at]), side), range(len(pictures)), 2 * AT_ONCE)
    with closing(made):
        for at, row in enumerate(made):
            store[at] = row
            if progress and ((at + 1) % AT_ONCE == 0 or at + 1 == len(pictures)):
                progress(at + 1, len(pictures), {})
    return Pictures(store, np.arange(len(pictures)))
