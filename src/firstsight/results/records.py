"""The files of a results folder: what one run, one data set and its sample pictures are.

runs/<data>-<method>-<seed>.json     RunRecord
data/<data>.json                     DataRecord
pictures/<data>.json                 PicturesRecord, where the data set has pictures
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from firstsight.errors import InputError
from firstsight.results.analyses import Analyses, Projection
from firstsight.results.document import OMITTED, MisfitError, Record, check_even, document
from firstsight.results.numbers import ClassResult


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points of a seen-unseen curve, in percent."""

    gamma: list[float] = field(default_factory=list)  # [m] between two points
    u: list[float]  # [m + 1] accuracy of unseen test images
    s: list[float]  # [m + 1] of seen ones

    def __post_init__(self) -> None:
        if len(self.u) != len(self.s):
            raise MisfitError(f"lists of equal length; got {len(self.u)} u, {len(self.s)} s")

    @property
    def points(self) -> list[tuple[float, float]]:
        """Return the points as (u, s)."""
        return list(zip(self.u, self.s, strict=True))


@dataclass(frozen=True)
class ImageBytes:
    """The two facts of each test image in base64, as `results.bootstrap.Images` encodes them."""

    lead: str
    right: str


@dataclass(frozen=True)
class Guess:
    """One of the best classes for a picture; `score` has gamma subtracted for a seen class."""

    name: str
    seen: bool = False
    score: float | None = None


@dataclass(frozen=True)
class Explanation:
    """Why a method gave its answer for one picture."""

    truth: str
    predicted: str
    other: str | None = None  # class that the answer is compared with
    picture: str | None = field(default=None, metadata=OMITTED)  # base64 of PNG or JPEG
    for_: list[tuple[str, float]] = field(default_factory=list)  # attributes with weights, strongest first
    against: list[tuple[str, float]] = field(default_factory=list)  # that favour `other`
    method: str | None = field(default=None, metadata=OMITTED)  # its label; None in a run's own record


@dataclass(frozen=True, kw_only=True)
class RunRecord(Record):
    """One method on one data set with one seed. A run that failed has an error and no numbers."""

    data: str
    method: str  # label with the preset, as in `spaen:cls-only`
    title: str | None = field(default=None, metadata=OMITTED)  # as people write it; older files have none
    seed: int = 0
    error: str | None = field(default=None, metadata=OMITTED)  # why the run failed
    t1: float | None = None  # this and the next are as in `evaluation.evaluate.Result`
    u: float | None = None
    s: float | None = None
    h: float | None = None
    ausuc: float | None = None
    ausuc_per_sample: float | None = None
    gamma: float | None = None
    u_cal: float | None = None
    s_cal: float | None = None
    h_cal: float | None = None
    seconds_fit: float | None = None  # of training
    seconds_score: float | None = None  # of scoring all test images
    memory: float | None = None  # peak of the process, in bytes
    classes: list[ClassResult] = field(default_factory=list)
    temperature: float | None = None
    curve: Curve | None = None
    images: ImageBytes | None = None
    device: str | None = None  # in words
    analyses: Analyses | None = None
    guesses: list[list[Guess]] | None = field(default=None, metadata=OMITTED)  # three for each sample picture
    explained: list[Explanation] | None = field(default=None, metadata=OMITTED)
    settings: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)  # settings that the method has by itself
    settings_from: str | None = None  # where the settings come from, in words
    fingerprint: str | None = None  # of the data set's splits
    versions: dict[str, Any] = field(default_factory=dict)  # by program
    commit: str | None = None  # of the code; None outside a repository
    threads: int | None = None  # that the run could use
    finished: str | None = None  # local time

    def number(self, key: str) -> float | None:
        """Return a number of `results.numbers.METRICS`, or another of the record, by its key."""
        value: float | None = getattr(self, key)
        return value

    def document(self) -> dict[str, Any]:
        """Return the record as JSON holds it; a run that failed has only what is known of it."""
        found: dict[str, Any] = document(self)
        return {key: value for key, value in found.items() if not self.error or value not in (None, [], {})}


@dataclass(frozen=True)
class Variance:
    """Variance of each attribute among training images and among images of unseen classes."""

    attributes: list[str]  # empty where the class embeddings have no names
    trainval: list[float]  # [a] over the images of `trainval`
    test_unseen: list[float]  # [a]
    cosine: float | None = None  # between the two; 1 if the same attributes vary in both

    def __post_init__(self) -> None:
        check_even(trainval=self.trainval, test_unseen=self.test_unseen, attributes=self.attributes)


@dataclass(frozen=True)
class DataRecord(Record):
    """What a data set holds; None and empty where a file of an older version does not say."""

    name: str
    description: str = ""
    images: int | None = None  # this and the next ones are counts
    classes: int | None = None
    seen: int | None = None
    unseen: int | None = None
    attributes: int | None = None
    features: int | None = None  # columns
    trainval: int | None = None
    test_seen: int | None = None
    test_unseen: int | None = None
    fingerprint: str | None = None  # of the splits
    labels: list[int] | None = None  # [n] class rows of the test images, those of seen classes first
    names: list[str] | None = None  # [c] of the classes
    is_seen: list[int] | None = None  # [c] 1 for a class with training images, else 0
    projection: Projection | None = None  # None where there are too few classes or attributes
    variance: Variance | None = None  # None where the classes do not differ


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A test picture with the best classes for it by each method."""

    seen: bool = False  # whether its class is one of the training classes
    truth: str  # its class
    picture: str  # base64 of PNG or JPEG
    predictions: dict[str, list[Guess]] = field(default_factory=dict)  # by label of the method


@dataclass(frozen=True)
class PicturesRecord(Record):
    """Some test pictures of a data set with predictions, and answers with explanations."""

    name: str
    samples: list[Sample]
    explained: list[Explanation] = field(default_factory=list)


@dataclass(frozen=True)
class Results:
    """The records of a results folder."""

    finished: Sequence[RunRecord]  # runs with numbers, in the order of their files
    failed: Sequence[RunRecord]  # runs with an error
    data: Mapping[str, DataRecord]  # by name
    pictures: Mapping[str, PicturesRecord]  # by name of the data set

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `runs/*.json` and, where there are any, `data/*.json` and `pictures/*.json`.

        Raises:
            InputError: the folder is missing, has no finished runs, or holds a file that cannot be read.
        """
        advice = "run an experiment first"
        if not folder.is_dir():
            raise InputError(f"results must be a folder; got {str(folder)!r}, which is not one; {advice}")
        runs, data, pictures = (sorted((folder / kind).glob("*.json")) for kind in ("runs", "data", "pictures"))
        records = [RunRecord.read(path) for path in runs]
        failed = [run for run in records if run.error]
        finished = [run for run in records if not run.error]
        if not finished:
            found = f"{len(failed)} failed" if failed else "none"
            raise InputError(f"results must hold finished runs; got {found} in {str(folder)!r}; {advice}")
        by_name = {one.name: one for one in map(DataRecord.read, data)}
        return cls(finished, failed, by_name, {one.name: one for one in map(PicturesRecord.read, pictures)})
