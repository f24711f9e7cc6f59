"""Safe unpacking of archives: nothing is written outside the folder, and no link is made."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from firstsight.errors import InputError
from firstsight.files import FREE_BYTES, check_free_space
from firstsight.progress import Progress

Entry = tuple[str, int, Callable[[], IO[bytes] | None]]  # name, size in bytes, function that opens it


def unpack(archive: str | Path, folder: str | Path, progress: Progress | None = None) -> list[str]:
    """Unpack a .zip or .tar archive, compressed or not; return the names that it added to the folder.

    Everything is unpacked to a temporary folder and then moved, so what is in the folder is complete. Links become
    copies of the files in the archive that they point to. Anything that points out of the archive is refused, and so is
    everything but files, folders and links.

    Args:
        archive: the file.
        folder: where to unpack; it must not hold what the archive adds.
        progress: called with (`unpack ARCHIVE`, files done, files in total); the total is a guess for a .tar archive.

    Raises:
        InputError: the archive is broken, points out of the folder or holds something that is there already.
    """
    archive, folder = Path(archive), Path(folder)
    unfinished = folder / f".{archive.name}.{os.getpid()}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        _unpack_into(archive, unfinished, progress)
        names = sorted(entry.name for entry in unfinished.iterdir())
        if not names:
            raise InputError(f"{archive} must hold files; got none")
        for name in names:
            if (folder / name).exists():
                raise InputError(f"{folder} must not hold {name!r} yet to unpack {archive.name}; move it away")
        for name in names:
            os.replace(unfinished / name, folder / name)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{archive} must be a whole archive; got {error}; delete it to fetch it again") from error
    except OSError as error:
        raise InputError(f"{archive} must be unpacked to {folder}; got {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return names


def _unpack_into(archive: Path, folder: Path, progress: Progress | None) -> None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            total = len(zipped.infolist())
            needed = sum(info.file_size for info in zipped.infolist())
            check_free_space(folder.parent, needed, f"to unpack {archive.name}")
            _write_all(_zip_files(zipped, archive), folder, archive, progress, total)
    elif _is_tar(archive):
        with tarfile.open(archive) as packed:
            _write_all(_tar_files(packed, archive), folder, archive, progress, None)
    else:
        raise InputError(f"{archive} must be a whole .zip or .tar archive; got another kind of file; delete it")


def _is_tar(archive: Path) -> bool:
    try:
        return tarfile.is_tarfile(archive)
    except (OSError, EOFError, zlib.error):  # compressed, and broken at its start
        return False


def _write_all(
    files: Iterator[Entry], folder: Path, archive: Path, progress: Progress | None, total: int | None
) -> None:
    for done, (name, size, opened) in enumerate(files, start=1):
        target = folder / _check_name(name, archive)
        target.parent.mkdir(parents=True, exist_ok=True)
        if done % 100 == 1 or size > FREE_BYTES:
            check_free_space(folder.parent, size, f"to unpack {archive.name}")
        source = opened()
        if source is None:
            raise InputError(f"{archive} must hold files only; got {name!r}, which has no content")
        with source, target.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        if progress:
            progress(f"unpack {archive.name}", done, total or done + 1)
    if progress:
        progress(f"unpack {archive.name}", 1, 1)


def _zip_files(zipped: zipfile.ZipFile, archive: Path) -> Iterator[Entry]:
    for info in zipped.infolist():
        if info.is_dir():
            _check_name(info.filename, archive)
            continue
        if stat.S_ISLNK(info.external_attr >> 16):
            raise InputError(f"{archive} must hold no links; got {info.filename!r}")
        yield info.filename, info.file_size, lambda info=info: zipped.open(info)  # type: ignore[misc]


def _tar_files(packed: tarfile.TarFile, archive: Path) -> Iterator[Entry]:
    for member in packed:
        if member.isdir():
            _check_name(member.name, archive)
            continue
        if not (member.isreg() or member.issym() or member.islnk()):
            raise InputError(f"{archive} must hold files, folders and links only; got {member.name!r}, a device")

        def opened(member: tarfile.TarInfo = member) -> IO[bytes] | None:
            try:
                return packed.extractfile(member)  # of a link: the file in the archive that it points to
            except KeyError as error:
                raise InputError(
                    f"links in {archive} must point into it; got {member.name!r} to {member.linkname!r}"
                ) from error

        yield member.name, member.size, opened


def _check_name(name: str, archive: Path) -> str:
    """Return the name of an entry; raise InputError if it points out of the folder."""
    parts = PurePosixPath(name).parts
    if name in (".", "./"):
        return name
    if not parts or name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:|.*[\\\0]", name, re.DOTALL):
        raise InputError(f"names in {archive} must stay in its folder; got {name!r}")
    return name
