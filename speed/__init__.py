"""Our way and another side by side, one file for each comparison; `__main__` runs them."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """What is compared.

    Attributes:
        name: of the case.
        ours: does all the work our way.
        other: does the work another way, or the first part of it.
        repeats: of which the median counts.
        times: how often `other` must be done for all the work; all parts take as long.
    """

    name: str
    ours: Callable[[], object]
    other: Callable[[], object]
    repeats: int = 3
    times: float = 1
