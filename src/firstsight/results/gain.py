"""Which classes gain and which lose against a baseline (as the per-class tables of Xian et al., TPAMI 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from firstsight.errors import InputError
from firstsight.results.numbers import ClassResult


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

    Args:
        classes: a row per class.
        baseline: the same of the method to compare with, on the same classes.
        number: the accuracy to compare: `accuracy`, `accuracy_calibrated` or `t1`; where None, the calibrated one
            if both have it. Classes without it in either table are left out.

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
