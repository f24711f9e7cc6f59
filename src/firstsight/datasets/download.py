"""One file from the web, through broken connections: resumed, checked, from whichever mirror has it.

What has come is in `FILE.part`, and `FILE.part.json` says from where and which version, so that a later call goes on:
only where the server says that the file is still the same (`If-Range`), or a known checksum will tell.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from firstsight.errors import InputError
from firstsight.files import write_text
from firstsight.progress import Progress

MEGABYTE = 1_000_000

_BLOCK = 1 << 18
_TIMEOUT = 30  # seconds without a byte
_MARGIN = 50 * MEGABYTE  # left free on the disk
_TRIES = 5  # rounds over the mirrors in a row that bring no byte
_PASSING = (408, 425, 429)  # and all of 500 and more: the server may answer later


@dataclass(frozen=True)
class Remote:
    """A file on the web.

    Attributes:
        name: what it is called here.
        urls: where it is, the best first.
        checksum: `sha256:...` or `md5:...` from its publisher, or None where none is known.
        size: bytes, or None where unknown.
    """

    name: str
    urls: tuple[str, ...]
    checksum: str | None = None
    size: int | None = None


class _PassingError(Exception):
    """This did not work, and may work the next time."""


class _FinalError(Exception):
    """This will not work from this place."""


def download(
    remote: Remote, folder: str | Path, progress: Progress | None = None, pause: Callable[[float], None] = time.sleep
) -> str:
    """Fetch the file to the folder, or find it there; its sha256.

    Args:
        remote: what to fetch.
        folder: where to; made if it is not there.
        progress: called with (`name, MB`, megabytes done, megabytes in all).
        pause: waits some seconds before another round.

    Raises:
        InputError: no mirror has it, the disk is full, or what is there has another checksum.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / remote.name
    if path.exists():
        return _check_there(path, remote, progress)
    part = _Part(path.with_name(f"{path.name}.part"), remote)
    mirrors, empty_rounds, furthest = list(remote.urls), 0, part.size
    reasons: dict[str, str] = {}
    while mirrors and empty_rounds < _TRIES:
        for url in list(mirrors):
            try:
                part.fetch(url, progress)
                digest = part.finish(path, progress)
            except _FinalError as error:
                mirrors.remove(url)
                reasons[url] = str(error)
            except (_PassingError, http.client.HTTPException, OSError) as error:  # what networks do
                reasons[url] = str(getattr(error, "reason", error)) or type(error).__name__
            else:
                return digest
        # Further than ever, not than before: a file that is fetched again and again from the start is no progress.
        empty_rounds = empty_rounds + 1 if part.size <= furthest else 0
        furthest = max(furthest, part.size)
        if mirrors and empty_rounds < _TRIES:
            pause(min(2.0**empty_rounds, 30.0))
    kept = f"; what came is kept in {part.path}" if part.size else ""
    got = ", ".join(f"{why} from {url}" for url, why in reasons.items())
    raise InputError(
        f"{remote.name} must be on one of its servers; got {got}{kept}; try again later, or put the file into {folder}"
    )


def _check_there(path: Path, remote: Remote, progress: Progress | None) -> str:
    found = path.stat().st_size
    if remote.size is not None and found != remote.size:
        raise InputError(f"{path} must have {remote.size:,} bytes; got {found:,}; delete it to fetch it again")
    digests = digests_of(path, remote.checksum, progress)
    if remote.checksum and remote.checksum not in digests:
        raise InputError(
            f"{path} must have the checksum {remote.checksum}; got {_same_kind(digests, remote.checksum)}; "
            "delete it to fetch it again"
        )
    return digests[0].removeprefix("sha256:")


def digests_of(path: Path, checksum: str | None = None, progress: Progress | None = None) -> list[str]:
    """`sha256:...` of the file, then `md5:...` where that is the kind of checksum asked for."""
    hashes = [hashlib.sha256()]
    if checksum and checksum.startswith("md5:"):
        hashes.append(hashlib.md5(usedforsecurity=False))
    total, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            for one in hashes:
                one.update(block)
            done += len(block)
            _tell(progress, f"check {path.name.removesuffix('.part')}", done, total)
    return [f"{one.name}:{one.hexdigest()}" for one in hashes]


def _same_kind(digests: Sequence[str], checksum: str) -> str:
    kind = checksum.partition(":")[0]
    return next(digest for digest in digests if digest.startswith(f"{kind}:"))


def _tell(progress: Progress | None, stage: str, done: int, total: int | None) -> None:
    if progress and total:
        progress(f"{stage}, MB", done // MEGABYTE, max(total // MEGABYTE, 1))


@dataclass
class _Part:
    """The part of a file that has come, and what is known of the whole."""

    path: Path
    remote: Remote
    known: dict[str, Any] = field(default_factory=dict)  # url, validator, total: of what is in the part
    is_patched: bool = True  # perhaps from several versions of the file

    def __post_init__(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(self._notes.read_text(encoding="utf-8"))
            self.known = known if isinstance(known, dict) else {}

    @property
    def _notes(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def forget(self) -> None:
        """Start from nothing."""
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)
        self.known = {}

    def fetch(self, url: str, progress: Progress | None) -> None:
        """Append what is missing from this server."""
        if self.size and self.size == self.known.get("total"):
            return
        headers = {"User-Agent": "firstsight", "Accept-Encoding": "identity"}
        # Another server's file may be another version: a checksum must be there to tell.
        same_server = url == self.known.get("url") and self.known.get("validator")
        if self.size and not same_server and not self.remote.checksum:
            self.forget()
        if start := self.size:
            headers["Range"] = f"bytes={start}-"
            if same_server:
                headers["If-Range"] = self.known["validator"]
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT) as answer:
                self._take(answer, url, start, progress)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and start:  # there is nothing after what we have: it is another file
                self.forget()
                raise _PassingError("a file of another size than the part") from error
            kind = _PassingError if error.code in _PASSING or error.code >= 500 else _FinalError
            raise kind(f"HTTP {error.code}") from error

    def _take(self, answer: Any, url: str, start: int, progress: Progress | None) -> None:
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise _FinalError("a web page")
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
        length = answer.headers.get("Content-Length")
        if answer.status == 206 and span and int(span[1]) == start:
            total = int(span[2]) if span[2] != "*" else None
            if total is not None and self.known.get("total", total) != total:
                self.forget()
                raise _PassingError("a file of another size than the part")
        elif answer.status == 206:
            self.forget()
            raise _PassingError("another range than the one asked for")
        else:  # the whole file: it has changed, or the server knows no ranges
            start, total = 0, int(length) if length and length.isdigit() else None
        if self.remote.size is not None and total not in (None, self.remote.size):
            raise _FinalError(f"a file of {total:,} bytes instead of {self.remote.size:,}")
        total = total if total is not None else self.remote.size
        self._check_disk((total or 0) - start)
        etag = answer.headers.get("ETag", "")
        validator = etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified")
        self.known = {"url": url, "validator": validator, "total": total}
        write_text(self._notes, json.dumps(self.known))
        self.is_patched = start > 0
        done = start
        with self.path.open("ab" if start else "wb") as file:
            while block := answer.read1(_BLOCK):
                try:
                    file.write(block)
                except OSError as error:  # no failing of the network
                    raise InputError(f"{self.path} must be a place to write to; got {error.strerror}") from error
                done += len(block)
                _tell(progress, self.remote.name, done, total)
        if total is not None and done != total:
            if done > total:
                self.forget()
            raise _PassingError(f"{done:,} of {total:,} bytes")

    def _check_disk(self, needed: int) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if needed + _MARGIN > free:
            raise InputError(
                f"{self.path.parent} must have {(needed + _MARGIN) / MEGABYTE:,.0f} MB free for {self.remote.name}; "
                f"got {free / MEGABYTE:,.0f} MB"
            )

    def finish(self, path: Path, progress: Progress | None) -> str:
        """Check the whole and give it its name; its sha256."""
        digests = digests_of(self.path, self.remote.checksum, progress)
        expected = self.remote.checksum
        if expected and expected not in digests:
            self.forget()
            kind = _PassingError if self.is_patched else _FinalError
            raise kind(f"a file with the checksum {_same_kind(digests, expected)} instead of {expected}")
        os.replace(self.path, path)
        self._notes.unlink(missing_ok=True)
        return digests[0].removeprefix("sha256:")
