"""Pictures of a folder to one file of features; stopped work is continued, and known pictures are not computed again.

A picture is known by the sha256 of its file, so one that was moved, or renamed, or is there twice, is computed once.
Rows that are new go to the end of OUT.partial as they come; at the end they are put in order in OUT. Only names and
digests are kept in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from firstsight.errors import InputError
from firstsight.features.backbone import AHEAD, Backbone, check_crops
from firstsight.features.feature_file import FeatureFile
from firstsight.features.preparation import Crops
from firstsight.files import replacing
from firstsight.parallel import prefetch
from firstsight.pictures.find import File, list_pictures
from firstsight.progress import StageProgress

SHA = 32  # bytes of a digest
ROWS = 4096  # that are copied at once


@dataclass
class Extracted:
    """Result of an extraction.

    Attributes:
        path: the file of features.
        files: n pictures in it, in order.
        computed: how many went through the network.
        skipped: pictures that could not be read, each with the sentence that says why.
    """

    path: Path
    files: list[str] = field(default_factory=list)
    computed: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Read:
    """A picture's file as it was read, with `crops` where its features are not known yet."""

    file: str
    digest: bytes
    crops: NDArray[np.uint8] | None = None
    error: InputError | None = None


def pictures_of(folder: str | Path) -> tuple[File, ...]:
    """List the pictures of a data set's folder, those that cannot be used too.

    Raises:
        InputError: there is none.
    """
    found = list_pictures(folder)
    if not found.pictures:
        raise InputError(found.problems[0])
    return found.pictures


def extract(
    folder: str | Path,
    backbone: Backbone,
    out: str | Path,
    crops: Crops = 1,
    skip_bad: bool = False,
    progress: StageProgress | None = None,
    paths: Iterable[str] | None = None,
) -> Extracted:
    """Write the features of pictures of a folder.

    Args:
        folder: that the pictures are in.
        backbone: that makes the features.
        out: the file; rows of one that is there are used again where they fit.
        crops: 1, the middle of each picture, or 10, averaged.
        skip_bad: leave out pictures that cannot be read, instead of stopping at the first.
        progress: called with (pictures done, pictures in all, {}).
        paths: pictures, relative to the folder; all under its `images` where None.

    Raises:
        InputError: no pictures, one that cannot be read, or a file in the way that is not of features.
    """
    check_crops(crops)
    folder, out = Path(folder), Path(out)
    files = pictures_of(folder) if paths is None else tuple(map(File, paths))
    key = {
        "backbone": backbone.name,
        "crops": str(crops),
        "transform": backbone.transform,
        "precision": backbone.precision,
    }
    done = Extracted(out)
    digests: list[bytes] = []
    with ExitStack() as stack:
        before = _earlier(out, key, backbone.width) if out.exists() else None
        old = before.rows_by_digest() if before else {}
        part = stack.enter_context(_Partial(out.with_name(out.name + ".partial"), key, backbone.width))

        def read(file: File) -> _Read:
            digest = b""
            try:
                content = _content(folder, file)
                digest = hashlib.sha256(content).digest()
                is_known = digest in old or digest in part.known
                return _Read(file.path, digest, None if is_known else backbone.prepared(content, crops, file.path))
            except InputError as error:
                return _Read(file.path, digest, error=error)

        per_pass = backbone.per_pass(crops)
        pictures = stack.enter_context(closing(prefetch(read, files, AHEAD * per_pass)))
        while group := list(islice(pictures, per_pass)):
            _check(group, skip_bad, done)
            done.computed += _compute(group, backbone, part)
            for one in group:
                if one.error is None:
                    done.files.append(one.file)
                    digests.append(one.digest)
            if progress:
                progress(len(done.files) + len(done.skipped), len(files), {})
        if not done.files:
            raise InputError(f"pictures of {folder} must be readable; got none of {len(files)} that is")
        computed = part.rows()
        kept = before.stored if before else computed

        def row_of(digest: bytes) -> NDArray[np.float32]:
            return kept[old[digest]] if digest in old else computed[part.known[digest]]

        _write(out, key, done.files, digests, backbone.width, row_of)
        part.finished = True
    return done


def _content(folder: Path, file: File) -> bytes:
    """Read the file of a picture.

    Raises:
        InputError: it cannot be read.
    """
    if file.fault:
        raise InputError(file.problem)
    try:
        return (folder / file.path).read_bytes()
    except OSError as error:
        raise InputError(f"{file.path} must be a picture; got a file that cannot be read: {error.strerror}") from error


def _earlier(out: Path, key: Mapping[str, str], width: int) -> FeatureFile | None:
    """Open features that `extract` wrote; None where they were made in another way.

    Raises:
        InputError: the file is something else.
    """
    try:
        file = FeatureFile.open(out, ".safetensors").checked()
        if not file.metadata or file.stored.dtype != np.float32:
            raise InputError("features from elsewhere")
    except InputError as error:
        raise InputError(
            f"{out} must be a file of features or not be there; got something else; name another file"
        ) from error
    return file if key.items() <= file.source.items() and file.stored.shape[1] == width else None


def _check(group: list[_Read], skip_bad: bool, done: Extracted) -> None:
    for one in group:
        if one.error is not None:
            if not skip_bad:
                raise one.error
            done.skipped[one.file] = str(one.error)


def _compute(group: list[_Read], backbone: Backbone, part: _Partial) -> int:
    """Compute the rows of pictures that are new, keep them in `part`, and return how many they are."""
    new = {one.digest: one for one in group if one.crops is not None and one.digest not in part.known}
    if new:
        rows = backbone.rows([one.crops for one in new.values() if one.crops is not None])
        _check_finite(rows, [one.file for one in new.values()])
        part.append(list(new), rows)
    return len(new)


def _check_finite(rows: NDArray[np.float32], files: list[str]) -> None:
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        first = files[int(bad.argmax())]
        raise InputError(
            f"features must be finite; {bad.sum()} of {len(rows)} rows contain NaN or inf, first of {first}"
        )


def _write(
    out: Path,
    key: Mapping[str, str],
    files: list[str],
    digests: list[bytes],
    width: int,
    row_of: Callable[[bytes], NDArray[np.float32]],
) -> None:
    """Write the rows in the order of the files, a few thousand at a time."""
    metadata = {**key, "files": json.dumps(files), "sha256": json.dumps([digest.hex() for digest in digests])}
    with replacing(out) as unfinished, unfinished.open("wb") as file:
        shape = [len(files), width]
        about = {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * len(files) * width]}
        header = json.dumps({"__metadata__": metadata, "features": about}).encode()
        header += b" " * (-len(header) % 8)
        file.write(len(header).to_bytes(8, "little") + header)
        for start in range(0, len(digests), ROWS):
            some = digests[start : start + ROWS]
            block = np.empty((len(some), width), dtype="<f4")
            for at, digest in enumerate(some):
                block[at] = row_of(digest)
            file.write(block.data)


class _Partial:
    """OUT.partial: a line that says how features are made, then digest and row of each picture, as they come.

    Attributes:
        known: row of each digest.
        finished: whether the file is of no more use.
    """

    def __init__(self, path: Path, key: Mapping[str, str], width: int) -> None:
        self.path, self.width, self.finished = path, width, False
        self.known: dict[bytes, int] = {}
        self._head = json.dumps({**key, "width": str(width)}, sort_keys=True).encode() + b"\n"
        self._record = np.dtype([("digest", "u1", SHA), ("row", "<f4", width)])
        self._file: IO[bytes]

    def __enter__(self) -> _Partial:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("r+b" if self.path.exists() else "w+b")
        except OSError as error:
            raise InputError(f"{self.path} must be a place to write to; got {error.strerror}") from error
        whole = 0
        if self._file.read(len(self._head)) == self._head:
            for digest in self._digests():
                self.known[digest] = whole
                whole += 1
        else:  # made in another way
            self._file.seek(0)
            self._file.truncate()
            self._file.write(self._head)
        self._file.seek(len(self._head) + whole * self._record.itemsize)
        self._file.truncate()  # of a record that breaks off
        self._file.flush()
        return self

    def _digests(self) -> Iterator[bytes]:
        while len(record := self._file.read(self._record.itemsize)) == self._record.itemsize:
            yield record[:SHA]

    def append(self, digests: list[bytes], rows: NDArray[np.float32]) -> None:
        """Keep these rows, whatever happens from now on."""
        records = np.empty(len(digests), self._record)
        records["digest"] = [np.frombuffer(digest, np.uint8) for digest in digests]
        records["row"] = rows
        self._file.write(records.tobytes())
        self._file.flush()
        for digest in digests:
            self.known[digest] = len(self.known)

    def rows(self) -> NDArray[np.float32]:
        """Return [m, v] rows, read from the disk where they are used."""
        if not self.known:
            return np.empty((0, self.width), dtype=np.float32)
        records: Any = np.memmap(self.path, self._record, "r", len(self._head), (len(self.known),))
        return records["row"]

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self.finished or not self.known:
            self.path.unlink(missing_ok=True)
