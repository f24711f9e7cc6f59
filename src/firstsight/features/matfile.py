"""Reader of MATLAB files, versions 5 and 7.3, as plain arrays and lists of strings.

Version 5 (`save -v6`, `-v7`, scipy's `savemat`) is parsed here, because scipy's reader crashes the whole process on
some damaged files (one flipped byte in a type tag is enough). Version 7.3 is HDF5, read with h5py: every array is
stored transposed, text as arrays of UTF-16 codes, cell arrays as references to other objects of the file. Only numbers
and text are read, no structs, objects or functions, so nothing in a file can run.

The format: "MAT-File Level 5 File Format", in MathWorks' "MAT-File Format" (R2023a).
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from firstsight.errors import InputError

Variable = np.ndarray | list[str]
Reader = Callable[[str], Variable | None]  # None where a variable is neither numbers nor text

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FOREIGN = {  # other files that people name .mat, by their first bytes
    b"PK": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x93NUMPY": "a numpy file",
    b"version https://git-lfs": "a Git LFS pointer",
    b"<": "a web page",
    b"MATLAB ": "a truncated or damaged one",
}
# Deflate, the only compression of MATLAB, reaches a ratio of 1032 at most: a larger array must be a false claim.
_LARGEST_RATIO = 1100
_NESTING = 3  # most cells around a string: some files hold {{'name'}}

# Types of stored elements and classes of arrays in version 5, by their numbers in the format.
_MATRIX, _COMPRESSED = 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXT = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _CHAR = 1, 4
_NUMERIC = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_LOGICAL_FLAG, _COMPLEX_FLAG = 0x200, 0x800


def read_mat(path: str | Path, wanted: Iterable[str], optional: Iterable[str] = ()) -> dict[str, Variable]:
    """Read some variables of a MATLAB file; the others are not loaded.

    Args:
        path: a file of version 5 or 7.3.
        wanted: names of variables that the file must hold.
        optional: names of variables that it may hold.

    Returns:
        By name: an array of MATLAB's shape and type for numbers, a list of strings (in MATLAB's order) for text.
    """
    path, wanted, optional = Path(path), list(wanted), list(optional)
    with _opened(path) as readers:
        for name in wanted:
            if name not in readers:
                raise InputError(f"{path} must hold {name!r}; got {', '.join(sorted(readers)) or 'no variables'}")
        found: dict[str, Variable] = {}
        for name in [*wanted, *(name for name in optional if name in readers)]:
            if (value := readers[name](name)) is None:
                raise InputError(
                    f"{name} in {path} must be a full array of numbers, text or a cell array of text; got another kind"
                )
            found[name] = value
        return found


def variable_names(path: str | Path) -> list[str]:
    """List the names of the variables in a MATLAB file, sorted; none of them is loaded."""
    with _opened(Path(path)) as readers:
        return sorted(readers)


@contextmanager
def _opened(path: Path) -> Iterator[dict[str, Reader]]:
    """Open a MATLAB file and give, for the name of each variable, a function that reads it."""
    opened = _opened_hdf5 if _is_hdf5(path) else _opened_v5
    # Damaged bytes make the parsers raise ValueError, KeyError, struct.error, zlib.error, MemoryError, OSError,
    # RuntimeError and more. All of them mean the same to the user.
    try:
        with opened(path) as readers:
            yield readers
    except InputError:
        raise
    except Exception as error:
        detail = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(
            f"{path} must be a whole MATLAB file; got a truncated or damaged one ({detail}); download or save it again"
        ) from error


def _is_hdf5(path: Path) -> bool:
    """Tell version 7.3 (True) from version 5 (False); raise InputError for all other files."""
    try:
        with path.open("rb") as file:
            head = file.read(520)
    except OSError as error:
        raise InputError(f"{path} must be a MATLAB file; got {(error.strerror or str(error)).lower()}") from error
    if _HDF5_SIGNATURE in (head[:8], head[512:520]):
        return True
    if len(head) > 128 and head[126:128] in (b"IM", b"MI"):
        return False
    kind = next((kind for start, kind in _FOREIGN.items() if head.startswith(start)), "another kind of file")
    if not head:
        kind = "an empty file"
    elif kind == "another kind of file" and all(byte > 8 for byte in head):
        kind = "a text file"
    raise InputError(f"{path} must be a MATLAB file of version 5 or 7.3; got {kind}; download or save it again")


@contextmanager
def _opened_v5(path: Path) -> Iterator[dict[str, Reader]]:
    """Open a version 5 file; see `_opened`. It is a row of elements, each a type, a size and that many bytes."""
    length = path.stat().st_size
    with path.open("rb") as file:
        file.seek(126)
        order = "<" if file.read(2) == b"IM" else ">"
        places = {}
        at = 128
        while at < length:
            kind, size = struct.unpack(order + "II", file.read(8))
            if kind not in (_MATRIX, _COMPRESSED) or at + 8 + size > length:
                raise ValueError(f"{length} bytes end within or after a wrong element at byte {at}")
            start = file.read(min(size, 1024))
            if kind == _COMPRESSED:  # it holds one matrix, whose own tag comes first
                start = zlib.decompressobj().decompress(start, 1024)[8:]
            places[_array_header(start, order)[-2]] = at, kind, size
            at += 8 + size
            file.seek(at)
        places.pop("", None)  # MATLAB's own workspace of functions has no name

        def read(name: str) -> Variable | None:
            at, kind, size = places[name]
            file.seek(at + 8)
            body = file.read(size)
            return _array(_inflated(body, order) if kind == _COMPRESSED else body, order)

        yield dict.fromkeys(places, read)


def _inflated(body: bytes, order: str) -> bytes:
    """Decompress the one matrix in a compressed element, without its tag."""
    stream = zlib.decompressobj()
    kind, size = struct.unpack(order + "II", stream.decompress(body, 8))
    if kind != _MATRIX:
        raise ValueError(f"a compressed element of type {kind}")
    inflated = stream.decompress(stream.unconsumed_tail, size) if size else b""
    stream.decompress(stream.unconsumed_tail, 1024)  # read up to the checksum, which zlib verifies
    if len(inflated) < size or not stream.eof:
        raise ValueError(f"{len(inflated)} of {size} compressed bytes")
    return inflated


def _element(buffer: bytes | memoryview, at: int, order: str) -> tuple[int, int, int, int]:
    """Return type, start and size in bytes of the element at this place, and the place of the next."""
    kind, size = struct.unpack_from(order + "II", buffer, at)
    if kind >> 16:  # up to 4 bytes are stored in the tag itself, the size in the upper half of the type
        kind, start, size, after = kind & 0xFFFF, at + 4, kind >> 16, at + 8
    else:
        start, after = at + 8, at + 8 + size + -size % 8
    if start + size > len(buffer):
        raise ValueError(f"an element of {size} bytes where {len(buffer) - start} are left")
    return kind, start, size, after


def _array_header(buffer: bytes | memoryview, order: str) -> tuple[int, list[int], str, int]:
    """Return flags, dimensions and name of an array, and the place of its data."""
    _, start, _, after = _element(buffer, 0, order)
    (flags,) = struct.unpack_from(order + "I", buffer, start)
    kind, start, size, following = _element(buffer, after, order)
    dimensions = []
    if kind == 5:  # MATLAB's newer objects have none
        dimensions = [int(size) for size in np.frombuffer(buffer, order + "i4", size // 4, start)]
        kind, start, size, following = _element(buffer, following, order)
    if any(size < 0 for size in dimensions):
        raise ValueError(f"dimensions {dimensions}")
    return flags, dimensions, bytes(buffer[start : start + size]).decode("ascii"), following


def _array(buffer: bytes | memoryview, order: str, nesting: int = 0) -> Variable | None:
    """Parse the body of a matrix element; None if it holds neither numbers nor text."""
    if not len(buffer):  # MATLAB's short form of [] in a cell
        return np.zeros((0, 0))
    flags, dimensions, _, at = _array_header(buffer, order)
    count = math.prod(dimensions)
    matlab_class = flags & 0xFF
    if matlab_class == _CELL and nesting < _NESTING:
        return _cells(memoryview(buffer), at, count, order, nesting)
    if flags & _COMPLEX_FLAG or matlab_class not in (*_NUMERIC, _CHAR) or len(dimensions) < 2:
        return None
    kind, start, size, _ = _element(buffer, at, order)
    if matlab_class == _CHAR:
        return _char_rows(bytes(buffer[start : start + size]), kind, dimensions, order)
    stored = np.frombuffer(buffer, order + _STORED[kind], size // int(_STORED[kind][1]), start)
    if len(stored) != count:
        raise ValueError(f"{len(stored)} numbers for an array of {dimensions}")
    # MATLAB stores whole numbers in fewer bytes than their type needs; the class is the type.
    as_class = "?" if flags & _LOGICAL_FLAG else _NUMERIC[matlab_class]
    return stored.astype(as_class, copy=False).reshape(dimensions, order="F")


def _cells(buffer: memoryview, at: int, count: int, order: str, nesting: int) -> list[str] | None:
    """Parse the strings of a cell array; None if a cell holds anything else."""
    if count > len(buffer):  # a cell takes 8 bytes at least
        raise ValueError(f"{count} cells in {len(buffer)} bytes")
    texts = []
    for _ in range(count):
        kind, start, size, at = _element(buffer, at, order)
        if kind != _MATRIX:
            raise ValueError(f"a cell of type {kind}")
        text = _one_string(_array(buffer[start : start + size], order, nesting + 1))
        if text is None:
            return None
        texts.append(text)
    return texts


def _one_string(value: Variable | None) -> str | None:
    """Return the text in one cell; an empty array of any kind is the empty text."""
    if value is None or len(value) > 1 or (isinstance(value, np.ndarray) and value.size):
        return None
    return value[0] if len(value) else ""


def _char_rows(stored: bytes, kind: int, dimensions: list[int], order: str) -> list[str] | None:
    """Return the rows of a char array, without the spaces that pad them to one length."""
    codec = _TEXT[kind]
    if codec in ("utf-16", "utf-32"):
        codec += "-le" if order == "<" else "-be"
    text = stored.decode(codec, "replace")
    if len(dimensions) != 2:
        return None
    rows, columns = dimensions
    if rows <= 1:
        return [text.rstrip(" ")] if rows * columns else []
    if len(text) != rows * columns:
        raise ValueError(f"{len(text)} characters for {rows} rows of {columns}")
    return [text[row::rows].rstrip(" ") for row in range(rows)]


@contextmanager
def _opened_hdf5(path: Path) -> Iterator[dict[str, Reader]]:
    """Open a version 7.3 file; see `_opened`."""
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            f"{path} must be read with h5py, as it is a MATLAB 7.3 file; got no h5py; pip install firstsight[hdf5]"
        ) from error

    with h5py.File(path, "r") as file:

        def read(name: str) -> Variable | None:
            # A link could lead into another file of this machine: only objects of this file are read.
            is_inside = isinstance(file.get(name, getlink=True), h5py.HardLink)
            return _hdf5_array(file, file[name], path) if is_inside else None

        yield {name: read for name in file if not name.startswith("#")}  # #refs# and #subsystem# are MATLAB's own


def _hdf5_array(file: Any, stored: Any, path: Path, nesting: int = 0) -> Variable | None:
    """Read one array of a version 7.3 file; None if it holds neither numbers nor text of this file."""
    import h5py

    if not isinstance(stored, h5py.Dataset) or stored.shape is None or stored.external or stored.is_virtual:
        return None  # a group is a struct or a sparse array
    if stored.nbytes > _LARGEST_RATIO * path.stat().st_size:
        raise ValueError(f"{stored.name} claims {stored.nbytes} bytes")
    matlab_class = stored.attrs.get("MATLAB_class", b"")
    matlab_class = matlab_class.decode("ascii") if isinstance(matlab_class, bytes) else str(matlab_class)
    if stored.attrs.get("MATLAB_empty", 0):  # an empty array: its data are its dimensions, one of which is 0
        dimensions = [int(size) for size in stored[()].ravel()]
        if math.prod(dimensions):
            raise ValueError(f"an empty array of {dimensions}")
        return [] if matlab_class in ("char", "cell") else np.zeros(dimensions)
    if h5py.check_ref_dtype(stored.dtype) is h5py.Reference:
        if nesting >= _NESTING:
            return None
        texts = [_one_string(_hdf5_array(file, file[cell], path, nesting + 1)) for cell in stored[()].ravel()]
        whole = [text for text in texts if text is not None]
        return whole if len(whole) == len(texts) else None
    if stored.dtype.kind not in "iufb":
        return None
    values = np.atleast_2d(stored[()].T)
    if matlab_class == "char":
        return [row.astype("<u2").tobytes().decode("utf-16-le", "replace").rstrip(" ") for row in values]
    return values.astype(bool) if matlab_class == "logical" else values
