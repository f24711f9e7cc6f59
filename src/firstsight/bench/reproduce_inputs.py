"""Which data sets can serve the paper's tables and figures: what is there, what is missing, what stands in for it.

A source is one data set in one role: its class embeddings and splits alone, its features, or its pictures too. The
paper's input is `res101.mat` of its four data sets and their pictures. Where a role has no source, the atlas takes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from firstsight.data import Dataset
from firstsight.datasets import DataFiles, data_name, is_own_pictures, load_files
from firstsight.errors import InputError, did_you_mean
from firstsight.features.feature_file import SUFFIXES, files_with_features
from firstsight.pictures.cache import with_pictures
from firstsight.progress import Display
from firstsight.report.reproduction import PAPER_DATA, Column

Role = Literal["splits", "features", "pictures"]
FEATURES = "res101.mat"
SPLITS = "att_splits.mat"
ZIP = f"{FEATURES} and {SPLITS}: `firstsight data fetch xlsa17`, then `--gbu`"
PICTURES = {
    "CUB": "pictures of CUB: `firstsight data fetch CUB_200_2011`, then `--pictures`",
    "SUN": "pictures of SUN: `firstsight data fetch SUN`, then `--pictures`",
    "AWA2": "pictures of AWA2: `firstsight data fetch AWA2`, then `--pictures`",
    "APY": "pictures of aPY: `firstsight data fetch aPY` and `firstsight data crop`, then `--pictures`",
}


@dataclass(frozen=True, eq=False)
class Source:
    """A data set in one role, or the reason why there is none.

    Attributes:
        data: name of the data set, as `firstsight.load` gives it.
        printed: the paper's data set whose printed numbers stand beside; empty where it has none.
        differs: what it has instead of the paper's input, in words; empty where it is that.
        missing: what is not there, in words; empty for a source that can be loaded.
        supply: what would supply each of the paper's inputs that is not there, in words.
        reads: the files that it is made of, in words.
        path: the folder, or `atlas`.
        files: which of its files.
    """

    data: str
    printed: str = ""
    differs: str = ""
    missing: str = ""
    supply: tuple[str, ...] = ()
    reads: str = ""
    path: str = ""
    files: DataFiles = field(default_factory=DataFiles)

    def load(self, display: Display, side: int | None = None) -> Dataset:
        """Load it, with pictures for a method of this side where there is one."""
        data = load_files(self.path, self.files, display)
        if side is None:
            return data
        with_all, _ = with_pictures(data, side, progress=display.stage(f"pictures of {data.name}"))
        return with_all

    @property
    def column(self) -> Column:
        """Return its column of a table."""
        return Column(self.data, self.printed, self.differs)

    @property
    def name(self) -> str:
        """Return its name as the paper writes it, where it is the paper's data set."""
        return PAPER_DATA[self.printed] if self.data.upper() == self.printed else self.data

    @property
    def said(self) -> str:
        """Say what it is made of, or what is missing."""
        return self.missing or self.differs or self.reads


class Loaded:
    """The data set that was loaded last, so that items in a row share it."""

    def __init__(self, display: Display) -> None:
        self.display = display
        self._last: tuple[Any, Dataset] | None = None

    def of(self, source: Source, side: int | None) -> Dataset:
        """Load a source, with pictures for this side where there is one."""
        key = (source.path, source.files.features, side)
        if self._last is None or self._last[0] != key:
            self._last = None  # frees the memory first
            self._last = key, source.load(self.display, side)
        return self._last[1]


def sources(role: Role, gbu: Path | None, pictures: Path | None, wanted: Sequence[str]) -> list[Source]:
    """Find the sources of a role, the missing ones among them.

    Args:
        role: what is read of them.
        gbu: folder with a folder for each data set in the GBU layout.
        pictures: a folder of pictures with a `classes.csv`, or one with the pictures of the data sets of `gbu`.
        wanted: names of folders in `gbu`; the paper's four where empty.

    Raises:
        InputError: `gbu`, `pictures` or a wanted folder is not there.
    """
    own = pictures is not None and _is_own(pictures)
    found = [_of_gbu(role, name, folder, None if own else pictures) for name, folder in _folders(gbu, wanted)]
    if role == "splits":
        return found
    there = any(not one.missing for one in found)
    if own and pictures is not None and (role == "pictures" or not there):
        found.append(_of_folder(pictures))
        there = there or not found[-1].missing
    return found if there else [*found, ATLAS]


ATLAS = Source(
    "atlas",
    differs="atlas, which the paper has not: rendered pictures of imaginary birds, features of a small network",
    supply=(ZIP,),
    path="atlas",
)


def _is_own(pictures: Path) -> bool:
    """Tell whether a folder of pictures is a data set of its own; raise InputError where it is no folder."""
    if not pictures.is_dir():
        raise InputError(f"pictures must be a folder; got {str(pictures)!r}, which is not one")
    return is_own_pictures(pictures)


def _folders(gbu: Path | None, wanted: Sequence[str]) -> Iterator[tuple[str, Path | None]]:
    """Yield the data sets by name, and their folders where they have one; upper and lower case do not matter."""
    if gbu is not None and not gbu.is_dir():
        raise InputError(f"gbu must be a folder of data sets; got {str(gbu)!r}, which is not one")
    there = {path.name.upper(): path for path in sorted(gbu.iterdir()) if path.is_dir()} if gbu else {}
    for name in wanted or PAPER_DATA:
        key = name.upper()
        if key not in there and key not in PAPER_DATA:
            raise InputError(
                f"data must name folders in gbu or data sets of the paper; got {name!r}"
                f"{did_you_mean(name, [*there, *PAPER_DATA])}"
            )
        yield key, there.get(key)


def _of_gbu(role: Role, name: str, folder: Path | None, pictures: Path | None) -> Source:
    """Find what a folder in the GBU layout has for a role."""
    printed = name if name in PAPER_DATA else ""
    shown = PAPER_DATA.get(name, name)
    there = [] if folder is None else [file.name for file in files_with_features(folder, SUFFIXES)]
    pictures_too = (PICTURES.get(name, f"pictures of {shown}: `--pictures`"),) if role == "pictures" else ()
    if folder is None or not (folder / SPLITS).is_file():
        return Source(name, printed, missing=f"no {SPLITS}", supply=(ZIP, *pictures_too))
    data, path = data_name(folder), str(folder)
    if role == "splits":
        own = DataFiles(features=()) if (folder / "labels.mat").is_file() else DataFiles()
        return Source(data, printed, reads=f"{SPLITS} and labels", path=path, files=own)
    needs = [] if FEATURES in there or len(there) == 1 else [FEATURES]
    if role == "pictures" and pictures is None:
        needs.append("pictures")
    supply = (*((ZIP,) if FEATURES not in there else ()), *(pictures_too if pictures is None else ()))
    if needs:
        several = f" ({', '.join(there)} are there; none is chosen for you)" if len(there) > 1 else ""
        return Source(data, printed, missing=f"no {' and no '.join(needs)}{several}", supply=supply)
    used = FEATURES if FEATURES in there else there[0]
    differs = "" if used == FEATURES else f"{shown} with features of {used}, not of {FEATURES}"
    reads = f"{SPLITS}, {used}" + (f", pictures in {pictures}" if role == "pictures" else "")
    files = DataFiles(features=used, pictures=pictures if role == "pictures" else None)
    return Source(data, printed, differs, supply=supply, reads=reads, path=path, files=files)


def _of_folder(folder: Path) -> Source:
    """Find what a folder of pictures with a `classes.csv` has; its name tells which data set it stands for."""
    data = data_name(folder)
    printed = next((key for key in PAPER_DATA if data.upper().startswith(key)), "")
    there = [file.name for file in files_with_features(folder)]
    if len(there) != 1:
        got = f"single feature file, but {', '.join(there)}" if there else "feature file"
        return Source(data, printed, missing=f"no {got}", supply=(f"a feature file: `firstsight features {folder}`",))
    of = f"in place of {PAPER_DATA[printed]}" if printed else "which the paper has not"
    return Source(
        data,
        printed,
        f"{data}, {of}: own pictures, split and attributes, features of {there[0]}",
        supply=(ZIP, PICTURES[printed]) if printed else (ZIP, *PICTURES.values()),
        path=str(folder),
        files=DataFiles(features=there[0]),
    )
