"""The pictures of a GBU data set on this machine, found by the names they had on its authors' disks.

`image_files` holds paths such as `/BS/.../CUB_200_2011/images/001.Black_footed_Albatross/..._0001.jpg`. The authors of
the pictures pack them in folders of their own, so a picture is found by the end of its path: the file that agrees with
the most folders, and at least with as many as it takes to tell the data set's pictures apart.

The images of aPY are objects, several to a picture. Where they were cut out (`firstsight.datasets.objects`), each has a
file of its own, which is then found instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath

from firstsight.errors import InputError
from firstsight.pictures.find import TWICE, walk


@dataclass(frozen=True)
class FoundPictures:
    """Which file is which picture."""

    root: Path  # the folder that was searched
    paths: tuple[str, ...]  # n files relative to it, with forward slashes; empty text where there is none
    missing: tuple[str, ...]  # distinct names of the pictures that were not found, as short as they are told apart

    @property
    def n_files(self) -> int:
        """Count the files that were found; images cut from the same picture share one."""
        return len(set(self.paths) - {""})


def find_pictures(root: str | Path, image_files: Sequence[str]) -> FoundPictures:
    """Find the file under `root`, at any depth, for each of n paths on somebody's disk.

    Raises:
        InputError: there is no such folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"pictures must be a folder; got {str(root)!r}, {'a file' if root.exists() else 'nothing'}")
    below = [file.path for file in walk(root) if file.fault in ("", TWICE)]
    image_files = names_in(image_files, below)
    wanted = [_parts(path) for path in image_files]
    depth = distinct_depth(image_files)
    ends = {parts[-depth:] for parts in wanted}
    lengths = {len(end) for end in ends}
    there: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for path in below:
        parts = _parts(path)
        for end in {parts[-length:] for length in lengths} & ends:
            there.setdefault(end, []).append(parts)
    found: dict[tuple[str, ...], str] = {}
    for parts in set(wanted):
        # Of two copies that agree as far, the one that lies less deep, so that the order of files is no matter.
        candidates = sorted(there.get(parts[-depth:], ()), key=lambda other: (len(other), other))
        best = max(candidates, key=lambda other: _agreement(parts, other), default=())
        found[parts] = "/".join(best)
    missing = ["/".join(parts[-max(depth, 2) :]) for parts in dict.fromkeys(wanted) if not found[parts]]
    return FoundPictures(root, tuple(found[parts] for parts in wanted), tuple(missing))


def object_names(image_files: Sequence[str]) -> list[str]:
    """Name the files that hold each object alone: `horses-1.jpg` and `horses-2.jpg` of two in `horses.jpg`."""
    names, counts = [], Counter[str]()
    for path in image_files:
        counts[path] += 1
        picture = PurePosixPath(path.replace("\\", "/"))
        names.append(str(picture.with_name(f"{picture.stem}-{counts[path]}.jpg")))
    return names


def names_in(image_files: Sequence[str], files: Iterable[str]) -> Sequence[str]:
    """Return the names to look for among files: of pictures, or where these repeat and were cut, of their objects."""
    if len(set(image_files)) == len(image_files):
        return image_files
    objects = object_names(image_files)
    return image_files if {tail(path, 1) for path in files}.isdisjoint(tail(path, 1) for path in objects) else objects


def distinct_depth(image_files: Sequence[str]) -> int:
    """Count the parts from the end of a path that tell the pictures apart: 1, unless folders share names."""
    distinct = {_parts(path) for path in image_files}
    depth = 1
    while len({parts[-depth:] for parts in distinct}) < len(distinct):
        depth += 1
    return depth


def tail(path: str, depth: int) -> str:
    """Return the last parts of a path, without what differs from disk to disk."""
    return "/".join(_parts(path)[-depth:])


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", ".")) or ("",)


def _agreement(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Count the parts that agree from the end."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
