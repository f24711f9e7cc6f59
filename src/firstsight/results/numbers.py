"""The numbers that an evaluation gives: one table of them all, those of one class, and gains over a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from firstsight.errors import InputError


class Metric(NamedTuple):
    """One number of an evaluation."""

    key: str  # its name in results, files and options
    name: str  # as people write it
    digits: int  # after the point
    unit: str  # empty on the scale of a method's scores
    meaning: str
    higher_is_better: bool = True

    @property
    def hint(self) -> str:
        """Say what the number is, with its unit."""
        return ", ".join(filter(None, (self.meaning, self.unit)))


METRICS = {
    metric.key: metric
    for metric in (
        Metric("t1", "T1", 1, "percent", "unseen images, unseen classes to choose from"),
        Metric("u", "u", 1, "percent", "unseen images, all classes to choose from"),
        Metric("s", "s", 1, "percent", "seen images, all classes to choose from"),
        Metric("h", "H", 1, "percent", "harmonic mean of u and s"),
        Metric("ausuc", "AUSUC", 3, "0 to 1", "area under the seen-unseen curve"),
        Metric("ausuc_per_sample", "AUSUC per sample", 3, "0 to 1", "the same area with per-sample accuracies"),
        Metric("gamma", "gamma", 3, "", "subtracted from seen scores, chosen on validation classes", False),
        Metric("u_cal", "u calibrated", 1, "percent", "u with gamma"),
        Metric("s_cal", "s calibrated", 1, "percent", "s with gamma"),
        Metric("h_cal", "H calibrated", 1, "percent", "h with gamma"),
    )
}
PLAIN = ("t1", "u", "s", "h", "ausuc")  # without gamma
CALIBRATED = ("u_cal", "s_cal", "h_cal")  # with it


@dataclass(frozen=True)
class ClassResult:
    """Accuracies on the test images of one class, in percent."""

    name: str
    seen: bool = False  # whether it has training images
    images: int = 0  # tested
    accuracy: float | None = None  # among all classes
    accuracy_calibrated: float | None = None  # the same with gamma
    t1: float | None = None  # among the unseen classes, where it is one


@dataclass(frozen=True)
class Gain:
    """Accuracy of one class by two methods, in percent; `gain` is the difference in points."""

    name: str
    seen: bool
    images: int
    accuracy: float
    baseline: float
    gain: float


def class_gains(
    classes: Sequence[ClassResult], baseline: Sequence[ClassResult], number: str | None = None
) -> list[Gain]:
    """Subtract the accuracies of each class by two methods, and list the largest gain first.

    `number` is the accuracy to compare: `accuracy`, `accuracy_calibrated` or `t1`; where None, the calibrated one if
    both have it. Classes without it are left out. Per-class tables are as those of Xian et al., TPAMI 2019.

    Raises:
        InputError: the tables are of different classes.
    """
    other = {row.name: row for row in baseline}
    strays = {row.name for row in classes} ^ other.keys()
    if strays:
        raise InputError(
            f"baseline must have the same classes as the method; got {len(strays)} in one alone, "
            f"the first {min(strays)!r}"
        )
    if number is None:
        has_calibrated = all(row.accuracy_calibrated is not None for row in (*classes, *baseline))
        number = "accuracy_calibrated" if has_calibrated else "accuracy"
    pairs = ((row, getattr(row, number), getattr(other[row.name], number)) for row in classes)
    gains = [
        Gain(row.name, row.seen, row.images, own, base, own - base)
        for row, own, base in pairs
        if own is not None and base is not None
    ]
    return sorted(gains, key=lambda row: (-row.gain, row.name))
