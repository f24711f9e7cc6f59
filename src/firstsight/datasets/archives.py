"""Archives unpacked so that nothing lands outside the folder and no link is made, whatever is in them."""

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
from firstsight.progress import Progress

_MARGIN = 50_000_000  # bytes left free on the disk
Opened = tuple[str, int, Callable[[], IO[bytes] | None]]  # name, bytes, what reads it


def unpack(archive: str | Path, folder: str | Path, progress: Progress | None = None) -> list[str]:
    """Unpack a .zip or .tar archive, compressed or not; the names of what is then in the folder from it.

    Everything is unpacked beside and then moved, so what is in the folder is whole. Links become copies of what they
    point to within the archive; anything that points out of it is refused, and so is what is neither file nor folder.

    Args:
        archive: the file.
        folder: where to; must not hold what the archive brings.
        progress: called with (`unpack ARCHIVE`, files done, files in all), or with as many in all as done where
            the archive does not say.

    Raises:
        InputError: the archive is broken, reaches out of the folder or holds what is there already.
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
            _check_disk(folder, sum(info.file_size for info in zipped.infolist()), archive)
            _write_all(_zip_files(zipped, archive), folder, archive, progress, total)
    elif _is_tar(archive):
        with tarfile.open(archive) as packed:
            _write_all(_tar_files(packed, archive), folder, archive, progress, None)
    else:
        raise InputError(f"{archive} must be a whole .zip or .tar archive; got another kind of file; delete it")


def _is_tar(archive: Path) -> bool:
    try:
        return tarfile.is_tarfile(archive)
    except (OSError, EOFError, zlib.error):  # compressed, and cut off at once
        return False


def _write_all(
    files: Iterator[Opened],
    folder: Path,
    archive: Path,
    progress: Progress | None,
    total: int | None,
) -> None:
    for done, (name, size, opened) in enumerate(files, start=1):
        target = folder / _inside(name, archive)
        target.parent.mkdir(parents=True, exist_ok=True)
        if done % 100 == 1 or size > _MARGIN:
            _check_disk(folder, size, archive)
        source = opened()
        if source is None:
            raise InputError(f"{archive} must hold files only; got {name!r}, which has no content")
        with source, target.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        if progress:
            progress(f"unpack {archive.name}", done, total or done + 1)
    if progress:
        progress(f"unpack {archive.name}", 1, 1)


def _zip_files(zipped: zipfile.ZipFile, archive: Path) -> Iterator[Opened]:
    for info in zipped.infolist():
        if info.is_dir():
            _inside(info.filename, archive)
            continue
        if stat.S_ISLNK(info.external_attr >> 16):
            raise InputError(f"{archive} must hold no links; got {info.filename!r}")
        yield info.filename, info.file_size, lambda info=info: zipped.open(info)  # type: ignore[misc]


def _tar_files(packed: tarfile.TarFile, archive: Path) -> Iterator[Opened]:
    for member in packed:
        if member.isdir():
            _inside(member.name, archive)
            continue
        if not (member.isreg() or member.issym() or member.islnk()):
            raise InputError(f"{archive} must hold files, folders and links only; got {member.name!r}, a device")

        def opened(member: tarfile.TarInfo = member) -> IO[bytes] | None:
            try:
                return packed.extractfile(member)  # of a link: what it points to in the archive
            except KeyError as error:
                raise InputError(
                    f"links in {archive} must point into it; got {member.name!r} to {member.linkname!r}"
                ) from error

        yield member.name, member.size, opened


def _inside(name: str, archive: Path) -> str:
    """The name, if it stays in the folder."""
    parts = PurePosixPath(name).parts
    if name in (".", "./"):
        return name
    if not parts or name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:|.*[\\\0]", name, re.DOTALL):
        raise InputError(f"names in {archive} must stay in its folder; got {name!r}")
    return name


def _check_disk(folder: Path, needed: int, archive: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed + _MARGIN > free:
        raise InputError(
            f"{folder.parent} must have {(needed + _MARGIN) / 1e6:,.0f} MB free to unpack {archive.name}; "
            f"got {free / 1e6:,.0f} MB"
        )
