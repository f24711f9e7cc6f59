"""The pictures of a data set, small and square, in one file: shrunk once, then read where they are used.

    data, bad = with_pictures(load_folder("birds"), side=128, skip_bad=True)
    data.pictures[[3, 7]]                                       # [2, 146, 146, 3]

A folder of pictures has two files in the cache for each size: NAME.rows, pictures [m, h, h, 3] one after the other, and
NAME.index, 32 bytes for each of them. Rows are only ever added, and the index grows after the rows are on the disk, so
a kill or a power cut leaves whole pictures. A picture is known by its path, size and time of change: a second run asks
for these and opens no file, where digests of what is in the files would read all of them again. Pictures that are new
or changed are added; the rows of those that went stay until the files of the cache are deleted, which is always safe.
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
from firstsight.files import cache_folder
from firstsight.parallel import side_by_side
from firstsight.pictures.decode import DRAFT, open_picture, squared, stored_side
from firstsight.progress import StageProgress

try:
    import fcntl
except ImportError:  # Windows: there, one process at a time should fill a store
    fcntl = None  # type: ignore[assignment]

VERSION = 1  # raise it when pictures are shrunk in another way: old files of the cache are then ignored
SHA = 32  # bytes of a digest
AT_ONCE = 32  # pictures that are written at once
IN_MEMORY = 1 << 30  # bytes of resized pictures; more of them lie on the disk


def with_pictures(
    data: Dataset,
    side: int,
    cache: Path | None = None,
    skip_bad: bool = False,
    progress: StageProgress | None = None,
) -> tuple[Dataset, dict[str, str]]:
    """The data set with its pictures as squares of `stored_side(side)` pixels, each stretched as a whole.

    What was shrunk is kept in the cache, so a second call reads no picture, and one that was stopped goes on.

    Args:
        data: with `paths`, which are preferred, or with `pictures`.
        side: pixels of the sides of the crops that a method takes.
        cache: folder to keep them in; `pictures` in the user's cache folder where None.
        skip_bad: leave out images whose pictures cannot be read, instead of stopping at the first.
        progress: called with (pictures done, pictures in all, {}) while pictures are shrunk.

    Returns:
        The data set, and the files that were left out, each with the sentence that says why.

    Raises:
        InputError: no pictures, one that cannot be read, or a cache that cannot be written to.
    """
    stored = stored_side(side)
    if not data.paths and not len(data.pictures):
        raise InputError(
            f"data set {data.name!r} must have pictures; got {'labels' if data.features is None else 'features'} only; "
            "name the folder with its pictures (for a GBU folder: --pictures FOLDER)"
        )
    cache = cache_folder() / "pictures" if cache is None else Path(cache)
    if isinstance(data.pictures, Pictures) and not data.paths:
        return replace(data, pictures=_resized(data.pictures, stored, cache, progress)), {}
    root = Path(data.root or "").resolve()
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
    store = _Store(cache / f"{root.name[:40]}-{digest}-{stored}-v{VERSION}", stored)
    rows, bad = _filled(store, root, sorted(set(data.paths)), skip_bad, progress)
    if not rows:
        raise InputError(f"pictures of {root} must be readable; got none of {len(bad)} that is")
    if bad:
        data = data.subset(np.flatnonzero([path not in bad for path in data.paths]))
    return replace(data, pictures=Pictures(store.rows(), np.array([rows[path] for path in data.paths]))), bad


def _filled(
    store: _Store, root: Path, files: Sequence[str], skip_bad: bool, progress: StageProgress | None
) -> tuple[dict[str, int], dict[str, str]]:
    """Row of each file, after those that are new were added, and the sentences of those that are bad."""
    keys = {file: _key(root, file) for file in files}
    bad: dict[str, str] = {}

    def shrunk(file: str) -> NDArray[np.uint8] | InputError:
        try:
            return squared(open_picture(root / file, file, enough=DRAFT * store.side), store.side)
        except InputError as error:
            return error

    if any(key not in store.known for key in keys.values()):
        with store.adding() as add:
            new = [file for file in files if keys[file] not in store.known]
            done = len(files) - len(new)
            with closing(side_by_side(shrunk, new, 2 * AT_ONCE)) as made:
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
    """What a picture is known by; one that cannot be found is new each time, and opening it says why."""
    try:
        about = (root / file).stat()
        return hashlib.sha256(f"{about.st_size} {about.st_mtime_ns} ".encode() + os.fsencode(file)).digest()
    except OSError:
        return os.urandom(SHA)


class _Store:
    """Pictures on the disk: PATH.rows, and PATH.index with the keys of those that are whole.

    Attributes:
        known: row of each key.
        side: pixels of the sides.
    """

    def __init__(self, path: Path, side: int) -> None:
        self.side = side
        self.known: dict[bytes, int] = {}
        self._rows, self._index = (path.with_name(path.name + end) for end in (".rows", ".index"))
        self._bytes = side * side * 3  # of a row
        self._n = 0
        self._read()

    def _read(self) -> None:
        """What is there by now."""
        try:
            index, room = self._index.read_bytes(), self._rows.stat().st_size // self._bytes
        except OSError:
            return
        self._n = min(len(index) // SHA, room)
        self.known = {index[at * SHA : (at + 1) * SHA]: at for at in range(self._n)}

    def rows(self) -> NDArray[np.uint8]:
        """[m, side, side, 3] pictures, read from the disk where they are used."""
        return np.memmap(self._rows, np.uint8, "r", shape=(self._n, self.side, self.side, 3))

    @contextmanager
    def adding(self) -> Iterator[Callable[[bytes, NDArray[np.uint8]], None]]:
        """Hand out what adds a row; one process at a time, and the next one knows what this one added.

        All rows that were added are on the disk in the end, whatever ends it; after a kill all but the last few are.
        """
        waiting: list[tuple[bytes, NDArray[np.uint8]]] = []

        def add(key: bytes, row: NDArray[np.uint8]) -> None:
            waiting.append((key, row))
            if len(waiting) == AT_ONCE:
                self._write(rows, index, waiting)

        with ExitStack() as stack:
            with _writable(self._rows):
                self._rows.parent.mkdir(parents=True, exist_ok=True)
                rows, index = (stack.enter_context(path.open("ab")) for path in (self._rows, self._index))
                if fcntl:
                    fcntl.flock(index, fcntl.LOCK_EX)  # which the system takes back from a process that is killed
                self._read()
                rows.truncate(self._n * self._bytes)  # what a kill broke off
                index.truncate(self._n * SHA)
            try:
                yield add
            finally:
                self._write(rows, index, waiting)

    def _write(self, rows: IO[bytes], index: IO[bytes], waiting: list[tuple[bytes, NDArray[np.uint8]]]) -> None:
        """Rows first, then what names them; what an interruption left behind is written over."""
        if not waiting:
            return
        with _writable(self._rows):
            rows.truncate(self._n * self._bytes)
            rows.write(b"".join(row.tobytes() for _, row in waiting))
            rows.flush()
            os.fsync(rows.fileno())  # a power cut must not leave a name without its picture
            index.truncate(self._n * SHA)
            index.write(b"".join(key for key, _ in waiting))
            index.flush()
        self.known |= {key: self._n + at for at, (key, _) in enumerate(waiting)}
        self._n += len(waiting)
        waiting.clear()


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    """What the system says against writing there, as a sentence."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} must be a place to write to; got {error.strerror or error}") from error


def _resized(pictures: Pictures, side: int, cache: Path, progress: StageProgress | None) -> Pictures:
    """Pictures of this size, on the disk where they are many, and there no longer than they are used."""
    if pictures.store.shape[1:3] == (side, side):
        return pictures
    shape = (len(pictures), side, side, 3)
    if math.prod(shape) <= IN_MEMORY:
        store: NDArray[np.uint8] = np.empty(shape, np.uint8)
    else:
        with _writable(cache):
            cache.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=cache) as file:
                store = np.memmap(file, np.uint8, "w+", shape=shape)
    made = side_by_side(lambda at: squared(Image.fromarray(pictures[at]), side), range(len(pictures)), 2 * AT_ONCE)
    with closing(made):
        for at, row in enumerate(made):
            store[at] = row
            if progress and ((at + 1) % AT_ONCE == 0 or at + 1 == len(pictures)):
                progress(at + 1, len(pictures), {})
    return Pictures(store, np.arange(len(pictures)))
