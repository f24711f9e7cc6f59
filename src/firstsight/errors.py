"""The error that bad input raises, and words for its messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class InputError(ValueError):
    """Input that firstsight cannot use.

    The message is one sentence: `<argument> must be <expected>; got <actual>[; <what to do>]`. The command
    line prints it and exits with code 2.
    """


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the known name that is most similar to an unknown one, ignoring case; None if none is similar."""
    lower = {known.lower(): known for known in reversed(list(names))}
    close = get_close_matches(name.lower(), lower, n=1)
    return lower[close[0]] if close else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the most similar known one, or an empty string."""
    known = nearest(name, names)
    return f"; did you mean {known!r}?" if known else ""


def first_of(entries: Sequence[str], total: int | None = None) -> str:
    """Return the number of entries and the first one, such as `3 of 10, the first 'x'`."""
    of = "" if total is None else f" of {total}"
    return f"{len(entries)}{of}, the first {entries[0]!r}"
