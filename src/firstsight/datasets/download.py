"""Download of one file over unreliable connections: resumed, checked, from whichever mirror has it.

The bytes that have arrived are in `FILE.part`; `FILE.part.json` says from which server and of which version they are.
A later call continues them only if the server says that the file has not changed (`If-Range`), or if a checksum is
known.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from firstsight.errors import InputError
from firstsight.files import check_free_space, write_text, writing
from firstsight.progress import Progress

MEGABYTE = 1_000_000

_BLOCK = 1 << 18  # bytes per read
_TIMEOUT = 30  # seconds without a byte
_TRIES = 5  # rounds over the mirrors without a new byte before giving up
_TEMPORARY = (408, 425, 429)  # HTTP codes after which another try may work; so do all from 500 on


@dataclass(frozen=True)
class Remote:
    """A file on the web."""

    name: str  # of the file on this machine
    urls: tuple[str, ...]  # its addresses, the best first
    checksum: str | None = None  # `sha256:...` or `md5:...` from its publisher, or None
    size: int | None = None  # bytes, or None


class _TemporaryError(Exception):
    """A failure after which another try may work."""


class _PermanentError(Exception):
    """A failure that another try at the same server would repeat."""


def download(
    remote: Remote, folder: str | Path, progress: Progress | None = None, pause: Callable[[float], None] = time.sleep
) -> str:
    """Download a file to a folder, or check the one that is there; return its sha256.

    Args:
        remote: the file.
        folder: made if it does not exist.
        progress: called with (`name, MB`, megabytes done, megabytes in total).
        pause: function that waits for a number of seconds before another round.

    Raises:
        InputError: no mirror has the file, the disk is full, or an existing file has another checksum.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / remote.name
    if path.exists():
        return _check_existing(path, remote, progress)
    part = _Part(path.with_name(f"{path.name}.part"), remote)
    mirrors, empty_rounds, furthest = list(remote.urls), 0, part.size
    reasons: dict[str, str] = {}
    while mirrors and empty_rounds < _TRIES:
        for url in list(mirrors):
            try:
                part.fetch(url, progress)
                digest = part.finish(path, progress)
            except _PermanentError as error:
                mirrors.remove(url)
                reasons[url] = str(error)
            except (_TemporaryError, http.client.HTTPException, OSError) as error:  # any failure of the network
                reasons[url] = str(getattr(error, "reason", error)) or type(error).__name__
            else:
                return digest
        # Compare with the furthest round, not the last: restarting from zero again and again is no progress.
        empty_rounds = empty_rounds + 1 if part.size <= furthest else 0
        furthest = max(furthest, part.size)
        if mirrors and empty_rounds < _TRIES:
            pause(min(2.0**empty_rounds, 30.0))
    kept = f"; what came is kept in {part.path}" if part.size else ""
    got = ", ".join(f"{why} from {url}" for url, why in reasons.items())
    raise InputError(
        f"{remote.name} must be on one of its servers; got {got}{kept}; try again later, or put the file into {folder}"
    )


def _check_existing(path: Path, remote: Remote, progress: Progress | None) -> str:
    found = path.stat().st_size
    if remote.size is not None and found != remote.size:
        raise InputError(f"{path} must have {remote.size:,} bytes; got {found:,}; delete it to fetch it again")
    sha256, found_checksum = _digests(path, remote.checksum, progress)
    if remote.checksum not in (None, found_checksum):
        raise InputError(
            f"{path} must have the checksum {remote.checksum}; got {found_checksum}; delete it to fetch it again"
        )
    return sha256


def _digests(path: Path, checksum: str | None, progress: Progress | None) -> tuple[str, str]:
    """Return the sha256 of a file, and its `sha256:...` or `md5:...`, whichever kind the checksum is of."""
    hashes = [hashlib.sha256()]
    if checksum and checksum.startswith("md5:"):
        hashes.append(hashlib.md5(usedforsecurity=False))
    total, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            for one in hashes:
                one.update(block)
            done += len(block)
            _report(progress, f"check {path.name.removesuffix('.part')}", done, total)
    return hashes[0].hexdigest(), f"{hashes[-1].name}:{hashes[-1].hexdigest()}"


def _report(progress: Progress | None, stage: str, done: int, total: int | None) -> None:
    if progress and total:
        progress(f"{stage}, MB", done // MEGABYTE, max(total // MEGABYTE, 1))


@dataclass
class _Part:
    """The part of a file that has arrived, and notes on the whole file."""

    path: Path
    remote: Remote
    known: dict[str, Any] = field(default_factory=dict)  # url, validator and total of the part
    is_patched: bool = True  # joined from several downloads, perhaps of different versions

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
        """Delete the part and its notes."""
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)
        self.known = {}

    def fetch(self, url: str, progress: Progress | None) -> None:
        """Download the missing bytes from this server and append them."""
        if self.size and self.size == self.known.get("total"):
            return
        headers = {"User-Agent": "firstsight", "Accept-Encoding": "identity"}
        # Another server may have another version of the file, which only a checksum shows.
        same_server = url == self.known.get("url") and self.known.get("validator")
        if self.size and not same_server and not self.remote.checksum:
            self.forget()
        if start := self.size:
            headers["Range"] = f"bytes={start}-"
            if same_server:
                headers["If-Range"] = self.known["validator"]
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT) as answer:
                self._receive(answer, url, start, progress)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and start:  # no bytes after the part: it is of another file
                self.forget()
                raise _TemporaryError("a file of another size than the part") from error
            kind = _TemporaryError if error.code in _TEMPORARY or error.code >= 500 else _PermanentError
            raise kind(f"HTTP {error.code}") from error

    def _receive(self, answer: Any, url: str, start: int, progress: Progress | None) -> None:
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise _PermanentError("a web page")
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
        length = answer.headers.get("Content-Length")
        if answer.status == 206 and span and int(span[1]) == start:
            total = int(span[2]) if span[2] != "*" else None
            if total is not None and self.known.get("total", total) != total:
                self.forget()
                raise _TemporaryError("a file of another size than the part")
        elif answer.status == 206:
            self.forget()
            raise _TemporaryError("another range than the one asked for")
        else:  # the whole file: it has changed, or the server knows no ranges
            start, total = 0, int(length) if length and length.isdigit() else None
        if self.remote.size is not None and total not in (None, self.remote.size):
            raise _PermanentError(f"a file of {total:,} bytes instead of {self.remote.size:,}")
        total = total if total is not None else self.remote.size
        check_free_space(self.path.parent, (total or 0) - start, f"for {self.remote.name}")
        etag = answer.headers.get("ETag", "")
        validator = etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified")
        self.known = {"url": url, "validator": validator, "total": total}
        write_text(self._notes, json.dumps(self.known))
        self.is_patched = start > 0
        done = start
        with self.path.open("ab" if start else "wb") as file:
            while block := answer.read1(_BLOCK):
                with writing(self.path):  # a full disk is no failure of the network
                    file.write(block)
                done += len(block)
                _report(progress, self.remote.name, done, total)
        if total is not None and done != total:
            if done > total:
                self.forget()
            raise _TemporaryError(f"{done:,} of {total:,} bytes")

    def finish(self, path: Path, progress: Progress | None) -> str:
        """Check the complete file, give it its name and return its sha256."""
        expected = self.remote.checksum
        sha256, found = _digests(self.path, expected, progress)
        if expected not in (None, found):
            self.forget()
            kind = _TemporaryError if self.is_patched else _PermanentError
            raise kind(f"a file with the checksum {found} instead of {expected}")
        os.replace(self.path, path)
        self._notes.unlink(missing_ok=True)
        return sha256
