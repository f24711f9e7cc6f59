"""The one error firstsight raises for bad input."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class InputError(ValueError):
    """Something given to firstsight cannot be used.

    The message is one sentence: `<argument> must be <expected>; got <actual>[; <what to do>]`. The command
    line prints it and exits with 2.
    """


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or nothing."""
    names = list(names)
    close = get_close_matches(name.lower(), [known.lower() for known in names], n=1)
    known = next((known for known in names if close and known.lower() == close[0]), None)
    return f"; did you mean {known!r}?" if known else ""


def first_of(entries: Sequence[str], total: int | None = None) -> str:
    """`3 of 10, the first 'x'`."""
    of = "" if total is None else f" of {total}"
    return f"{len(entries)}{of}, the first {entries[0]!r}"
