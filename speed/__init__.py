"""Speed measurements: firstsight and another way side by side, one file for each comparison; `__main__` runs them."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A comparison of two ways to do the same work.

    Attributes:
        name: of the case.
        ours: does all the work with firstsight.
        other: does the work in another way, or one part of it.
        repeats: number of runs; the median counts.
        times: number of equal parts of the work, of which `other` does one.
    """

    name: str
    ours: Callable[[], object]
    other: Callable[[], object]
    repeats: int = 3
    times: float = 1
