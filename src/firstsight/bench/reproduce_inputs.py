"""Which data sets can serve the paper's tables and figures: what is there, what is missing, what stands in for it.

A source is one data set in one role: its class embeddings and splits alone, its features, or its pictures too. The
paper's input is `res101.mat` of its four data sets and their pictures. Where a role has no source, the atlas takes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from firstsight.data import Dataset
from firstsight.datasets import DataFiles, data_name, is_own_pictures, load_files
from firstsight.errors import InputError, did_you_mean
from firstsight.features.feature_file import files_with_features
from firstsight.pictures.cache import with_pictures
from firstsight.progress import Display
from firstsight.report.reproduction import PAPER_DATA, Column

Role = Literal["splits", "features", "pictures"]
FEATURES = "res101.mat"
SPLITS = "att_splits.mat"
ZIP = "`firstsight data fetch xlsa17`, then `--gbu` with the folder `data` of it"
PICTURES = {
    "CUB": "`firstsight data fetch CUB_200_2011`",
    "SUN": "`firstsight data fetch SUN`",
    "AWA2": "`firstsight data fetch AWA2`",
    "APY": "`firstsight data fetch aPY` and `firstsight data crop`",
}


@dataclass(frozen=True, eq=False)
class Source:
    """A data set in one role, or the reason why there is none.

    Attributes:
        data: name of the data set, as `firstsight.load` gives it.
        printed: the paper's data set whose printed numbers stand beside; empty where it has none.
        differs: what it has instead of the paper's input, in words; empty where it is that.
        missing: what is not there, in words; empty for a source that can be loaded.
        supply: what would supply the paper's input; empty where it is there.
        path: the folder, or `atlas`.
        files: which of its files.
    """

    data: str
    printed: str = ""
    differs: str = ""
    missing: str = ""
    supply: str = ""
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
    def said(self) -> str:
        """Say what it is made of, or what is missing."""
        return self.missing or self.differs or "the paper's input"


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
    differs="the atlas, rendered pictures of imaginary birds with features of a small network, which the paper has not",
    supply=ZIP,
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
    if folder is None or not (folder / SPLITS).is_file():
        return Source(shown, printed, missing=f"{SPLITS} of {shown} is missing", supply=ZIP)
    data, path = data_name(folder), str(folder)
    if role == "splits":
        own = DataFiles(features=()) if (folder / "labels.mat").is_file() else DataFiles()
        return Source(data, printed, path=path, files=own)
    there = [file.name for file in files_with_features(folder)]
    if FEATURES not in there and len(there) != 1:
        several = f"; it holds {', '.join(there)}, none of which is chosen for you" if there else ""
        return Source(data, printed, missing=f"{FEATURES} of {shown} is missing{several}", supply=ZIP)
    name_of = FEATURES if FEATURES in there else there[0]
    differs = "" if name_of == FEATURES else f"{data}: features of {name_of}, not of {FEATURES}"
    supply = "" if name_of == FEATURES else ZIP
    if role == "features":
        return Source(data, printed, differs, supply=supply, path=path, files=DataFiles(features=name_of))
    if pictures is None:
        what = f"pictures of {shown} are missing"
        return Source(data, printed, missing=what, supply=f"{PICTURES.get(name, 'its pictures')}, then `--pictures`")
    files = DataFiles(features=name_of, pictures=pictures)
    return Source(data, printed, differs, supply=supply, path=path, files=files)


def _of_folder(folder: Path) -> Source:
    """Find what a folder of pictures with a `classes.csv` has; its name tells which data set it stands for."""
    data = data_name(folder)
    printed = next((key for key in PAPER_DATA if data.upper().startswith(key)), "")
    there = [file.name for file in files_with_features(folder)]
    if len(there) != 1:
        got = f"it holds {', '.join(there)}" if there else "there are none"
        supply = "" if there else f"`firstsight features {folder}`"
        return Source(data, printed, missing=f"one file of features of {data} is missing; {got}", supply=supply)
    instead = f", instead of {PAPER_DATA[printed]}" if printed else ", which the paper has not"
    return Source(
        data,
        printed,
        f"{data}{instead}: own pictures, split and attributes; features of {there[0]}",
        supply=f"{PICTURES[printed]} and {ZIP}" if printed else "",
        path=str(folder),
        files=DataFiles(features=there[0]),
    )
