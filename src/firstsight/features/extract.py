"""Pictures of a folder to one file of features; stopped work is continued, and known pictures are not computed again.

A picture is known by the sha256 of its file, so one that was moved, or renamed, or is there twice, is computed once.
Rows that are new go to the end of OUT.partial as they come; at the end they are put in order in OUT. Only names and
digests are kept in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from firstsight.data import is_bad_row
from firstsight.errors import InputError
from firstsight.features.backbone import AHEAD, N_VIEWS, Backbone, Crops, check_crops
from firstsight.features.feature_file import FeatureFile
from firstsight.files import replacing, writing
from firstsight.parallel import prefetch
from firstsight.pictures.decode import read_picture
from firstsight.pictures.find import File, list_pictures
from firstsight.pictures.ten_crops import N_CROPS
from firstsight.progress import StageProgress

SHA = 32  # bytes of a digest
ROWS = 4096  # that are copied at once


@dataclass
class Extracted:
    """Result of an extraction."""

    files: list[str] = field(default_factory=list)  # n pictures in the file of features, in order
    computed: int = 0  # how many went through the network
    skipped: dict[str, str] = field(default_factory=dict)  # the message of each picture that could not be read


@dataclass(frozen=True)
class _Read:
    """A picture's file as it was read, with `crops` where its features are not known yet."""

    file: str
    digest: bytes
    crops: NDArray[np.uint8] | None = None
    error: InputError | None = None


def pictures_of(folder: str | Path) -> tuple[File, ...]:
    """List the pictures of a data set's folder, those that cannot be used too; raise InputError if there is none."""
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
        folder: of the pictures.
        backbone: that makes the features.
        out: the file; rows of one that is there are used again where they fit.
        crops: 1, the middle of each picture; 10, averaged; or `kept`: the file then has `features` [n, v] of the
            central squares, and `crops` [n, 10, v] of the ten crops of each, as `firstsight.pictures.ten_crops` orders
            them.
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
        "crops": "whole" if crops == "kept" else str(crops),
        "transform": backbone.transform,
        "precision": backbone.precision,
    }
    key |= {"kept": str(N_CROPS)} if crops == "kept" else {}
    n_views = N_VIEWS[crops]
    done = Extracted()
    digests: list[bytes] = []
    with ExitStack() as stack:
        before = _earlier(out, key, backbone.width) if out.exists() else None
        old = before.rows_by_digest() if before else {}
        width = n_views * backbone.width
        part = stack.enter_context(_Partial(out.with_name(out.name + ".partial"), key, width))

        def is_known(digest: bytes) -> bool:
            return digest in old or digest in part.known

        read = partial(_read, folder, backbone, crops, is_known)
        per_pass = backbone.per_pass(crops)
        pictures = stack.enter_context(closing(prefetch(read, files, AHEAD * per_pass)))
        while group := list(islice(pictures, per_pass)):
            for one in group:
                if one.error is None:
                    done.files.append(one.file)
                    digests.append(one.digest)
                elif skip_bad:
                    done.skipped[one.file] = str(one.error)
                else:
                    raise one.error
            done.computed += _compute(group, backbone, part)
            if progress:
                progress(len(done.files) + len(done.skipped), len(files), {})
        if not done.files:
            raise InputError(f"pictures of {folder} must be readable; got none of {len(files)} that is")
        computed = part.rows()

        def views_of(digest: bytes) -> np.ndarray:
            """Return [n_views, v] features of a picture: of the one view of it, or of the whole, then of its crops."""
            if before is None or digest not in old:
                return computed[part.known[digest]].reshape(n_views, -1)
            whole = before.stored[old[digest]][None]
            return whole if before.crops is None else np.concatenate([whole, before.crops[old[digest]]])

        names = {"files": json.dumps(done.files), "sha256": json.dumps([digest.hex() for digest in digests])}
        _write(out, key | names, digests, n_views, backbone.width, views_of)
        part.finished = True
    return done


def _read(folder: Path, backbone: Backbone, crops: Crops, is_known: Callable[[bytes], bool], file: File) -> _Read:
    """Read a picture file; prepare its crops unless the features of its digest are known."""
    digest = b""
    try:
        if file.fault:
            raise InputError(file.problem)
        content = read_picture(folder / file.path, file.path)
        digest = hashlib.sha256(content).digest()
        prepared = None if is_known(digest) else backbone.prepared(content, crops, file.path)
        return _Read(file.path, digest, prepared)
    except InputError as error:
        return _Read(file.path, digest, error=error)


def _earlier(out: Path, key: Mapping[str, str], width: int) -> FeatureFile | None:
    """Open features that `extract` wrote, None if made in another way; raise InputError for any other file."""
    try:
        file = FeatureFile.open(out, ".safetensors").checked()
        if not file.metadata or file.stored.dtype != np.float32:
            raise InputError("features from elsewhere")
    except InputError as error:
        raise InputError(
            f"{out} must be a file of features or not be there; got something else; name another file"
        ) from error
    is_same = key.items() <= file.source.items() and file.stored.shape[1] == width
    return file if is_same and (file.crops is not None) == ("kept" in key) else None


def _compute(group: list[_Read], backbone: Backbone, part: _Partial) -> int:
    """Compute the rows of pictures that are new, keep them in `part`, and return how many they are."""
    new = {one.digest: one for one in group if one.crops is not None and one.digest not in part.known}
    if new:
        rows = backbone.rows([one.crops for one in new.values() if one.crops is not None])
        bad = is_bad_row(rows)
        if bad.any():
            first = list(new.values())[int(bad.argmax())].file
            raise InputError(
                f"features must be finite; {bad.sum()} of {len(rows)} rows contain NaN or inf, first of {first}"
            )
        part.append(list(new), rows)
    return len(new)


def _write(
    out: Path,
    metadata: Mapping[str, str],
    digests: list[bytes],
    n_views: int,
    width: int,
    views_of: Callable[[bytes], np.ndarray],
) -> None:
    """Write the rows in the order of the digests, a few thousand at a time: `features`, and `crops` where kept."""
    n, end = len(digests), 4 * len(digests) * width
    with replacing(out) as unfinished, unfinished.open("wb") as file:
        arrays: dict[str, Any] = {"features": {"dtype": "F32", "shape": [n, width], "data_offsets": [0, end]}}
        if n_views > 1:
            about = {"dtype": "F32", "shape": [n, n_views - 1, width], "data_offsets": [end, n_views * end]}
            arrays["crops"] = about
        header = json.dumps({"__metadata__": metadata, **arrays}).encode()
        header += b" " * (-len(header) % 8)
        file.write(len(header).to_bytes(8, "little") + header)
        for views in (slice(1), slice(1, None))[: len(arrays)]:
            for start in range(0, n, ROWS // n_views):
                rows = [views_of(digest)[views] for digest in digests[start : start + ROWS // n_views]]
                file.write(np.array(rows, dtype="<f4").data)


class _Partial:
    """OUT.partial: a line that says how features are made, then digest and row of each picture, as they come."""

    def __init__(self, path: Path, key: Mapping[str, str], width: int) -> None:
        self.path, self.width = path, width
        self.finished = False  # the file is of no more use
        self.known: dict[bytes, int] = {}  # row of each digest
        self._head = json.dumps({**key, "width": str(width)}, sort_keys=True).encode() + b"\n"
        self._record = np.dtype([("digest", "u1", SHA), ("row", "<f4", width)])
        self._file: IO[bytes]

    def __enter__(self) -> _Partial:
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("r+b" if self.path.exists() else "w+b")
        size = self._record.itemsize
        if self._file.read(len(self._head)) == self._head:
            while len(record := self._file.read(size)) == size:
                self.known[record[:SHA]] = len(self.known)
        else:  # made in another way
            self._file.seek(0)
            self._file.truncate()
            self._file.write(self._head)
        self._file.seek(len(self._head) + len(self.known) * size)
        self._file.truncate()  # of a record that breaks off
        self._file.flush()
        return self

    def append(self, digests: list[bytes], rows: NDArray[np.float32]) -> None:
        """Keep these rows, whatever happens from now on."""
        records = np.empty(len(digests), self._record)
        records["digest"] = [np.frombuffer(digest, np.uint8) for digest in digests]
        records["row"] = rows
        self._file.write(records.tobytes())
        self._file.flush()
        self.known |= {digest: len(self.known) + at for at, digest in enumerate(digests)}

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
