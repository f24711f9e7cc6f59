"""The pictures of a folder -> one file of features; it goes on where it was stopped, and knows what it has seen.

A picture is known by the sha256 of its file, so one that was moved, or renamed, or is there twice, is not computed
again. Rows that are new go to the end of OUT.partial as they come; at the end they are put in order in OUT. Only names
and digests are kept in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from firstsight.errors import InputError
from firstsight.features.backbone import AHEAD, Backbone, check_crops
from firstsight.features.preparation import Crops
from firstsight.files import replacing
from firstsight.parallel import prefetch
from firstsight.pictures.decode import SUFFIXES
from firstsight.progress import StageProgress

SHA = 32  # bytes of a digest
ROWS = 4096  # that are copied at once

Known = Mapping[bytes, int]


@dataclass
class Extracted:
    """What was done.

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
    """A picture's file, read; `crops` where its features are not known yet."""

    file: str
    digest: bytes
    crops: NDArray[np.uint8] | None = None
    error: InputError | None = None


def picture_files(folder: str | Path) -> list[str]:
    """The pictures FOLDER/images/CLASS/NAME, sorted, relative to the folder, with forward slashes."""
    folder = Path(folder)
    if not (folder / "images").is_dir():
        raise InputError(f"{folder} must hold pictures as images/CLASS/NAME.jpg; got no folder images")
    found = sorted(
        path.relative_to(folder).as_posix()
        for path in (folder / "images").glob("*/*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not found:
        raise InputError(f"{folder} must hold pictures as images/CLASS/NAME.jpg; got none")
    return found


def extract(
    folder: str | Path,
    backbone: Backbone,
    out: str | Path,
    crops: Crops = 1,
    skip_bad: bool = False,
    progress: StageProgress | None = None,
) -> Extracted:
    """Write the features of all pictures of a folder.

    Args:
        folder: with pictures as images/CLASS/NAME.jpg.
        backbone: that makes the features.
        out: the file; rows of one that is there are used again where they fit.
        crops: 1, the middle of each picture, or 10, averaged.
        skip_bad: leave out pictures that cannot be read, instead of stopping at the first.
        progress: called with (pictures done, pictures in all, {}).

    Raises:
        InputError: no pictures, one that cannot be read, or a file in the way that is not of features.
    """
    check_crops(crops)
    folder, out = Path(folder), Path(out)
    files = picture_files(folder)
    key = {
        "backbone": backbone.name,
        "crops": str(crops),
        "transform": backbone.transform,
        "precision": backbone.precision,
    }
    done = Extracted(out)
    digests: list[bytes] = []
    with ExitStack() as stack:
        before = FeatureFile.opened(out) if out.exists() else None
        old: Known = before.rows_of(key, backbone.width) if before else {}
        part = stack.enter_context(_Partial(out.with_name(out.name + ".partial"), key, backbone.width))

        def read(file: str) -> _Read:
            try:
                content = (folder / file).read_bytes()
            except OSError as error:
                sentence = f"{file} must be a picture; got a file that cannot be read: {error.strerror}"
                return _Read(file, b"", error=InputError(sentence))
            digest = hashlib.sha256(content).digest()
            if digest in old or digest in part.known:
                return _Read(file, digest)
            try:
                return _Read(file, digest, backbone.prepared(content, crops, file))
            except InputError as error:
                return _Read(file, digest, error=error)

        per_pass = backbone.per_pass(crops)
        pictures = stack.enter_context(closing(prefetch(read, files, AHEAD * per_pass)))
        while group := list(islice(pictures, per_pass)):
            _check(group, skip_bad, done)
            new = {one.digest: one for one in group if one.crops is not None and one.digest not in part.known}
            if new:
                rows = backbone.rows([one.crops for one in new.values() if one.crops is not None])
                _check_finite(rows, [one.file for one in new.values()])
                part.append(list(new), rows)
                done.computed += len(new)
            for one in group:
                if one.error is None:
                    done.files.append(one.file)
                    digests.append(one.digest)
            if progress:
                progress(len(done.files) + len(done.skipped), len(files), {})
        if not done.files:
            raise InputError(f"pictures of {folder} must be readable; got none of {len(files)} that is")
        _write(out, key, done.files, digests, backbone.width, part, before, old)
        part.finished = True
    return done


def _check(group: list[_Read], skip_bad: bool, done: Extracted) -> None:
    for one in group:
        if one.error is not None:
            if not skip_bad:
                raise one.error
            done.skipped[one.file] = str(one.error)


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
    part: _Partial,
    before: FeatureFile | None,
    old: Known,
) -> None:
    """The rows in the order of the files, by way of a few thousand at a time."""
    metadata = {**key, "files": json.dumps(files), "sha256": json.dumps([digest.hex() for digest in digests])}
    computed = part.rows()
    kept = before.rows if before else computed[:0]
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
                block[at] = kept[old[digest]] if digest in old else computed[part.known[digest]]
            file.write(block.data)


class FeatureFile:
    """A file of features that `extract` wrote, as it lies on the disk.

    Attributes:
        metadata: backbone, crops, transform, precision, and as JSON files and sha256.
        rows: [n, v] features, read from the disk where they are used.
    """

    def __init__(self, metadata: Mapping[str, str], rows: NDArray[np.float32]) -> None:
        self.metadata, self.rows = metadata, rows

    @classmethod
    def opened(cls, path: str | Path) -> FeatureFile:
        """The file, checked.

        Raises:
            InputError: not a file of features.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if length > path.stat().st_size - 8:
                    raise ValueError("a header that breaks off")
                header = json.loads(file.read(length))
            about, metadata = header["features"], header["__metadata__"]
            n, v = about["shape"]
            if about["dtype"] != "F32" or 8 + length + about["data_offsets"][1] != path.stat().st_size:
                raise ValueError("another size")
            start = 8 + length + about["data_offsets"][0]
            rows: Any = np.memmap(path, "<f4", "r", start, (n, v))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} must be a file of features or not be there; got something else; name another file"
            ) from error
        return cls(metadata, rows)

    def rows_of(self, key: Mapping[str, str], width: int) -> dict[bytes, int]:
        """Row by digest, of features made in this way; none where they were made in another."""
        if any(self.metadata.get(name) != value for name, value in key.items()) or self.rows.shape[1] != width:
            return {}
        try:
            digests = [bytes.fromhex(text) for text in json.loads(self.metadata["sha256"])]
        except (KeyError, ValueError, TypeError):
            return {}
        return {digest: row for row, digest in enumerate(digests)} if len(digests) == len(self.rows) else {}


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
        """[m, v] rows, read from the disk where they are used."""
        if not self.known:
            return np.empty((0, self.width), dtype=np.float32)
        records: Any = np.memmap(self.path, self._record, "r", len(self._head), (len(self.known),))
        return records["row"]

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self.finished or not self.known:
            self.path.unlink(missing_ok=True)
