"""Class embeddings that the caller gives: made of text, alone or beside attributes, and stored in no file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from firstsight.data import ClassEmbeddings
from firstsight.errors import InputError

TEXT, BOTH = "text", "attributes+text"
# [c, a] numbers, or a function of c names and c descriptions that makes them; for BOTH it is given attributes too.
Vectors = np.ndarray | Callable[..., np.ndarray]


def made_vectors(
    vectors: Vectors, kind: str, names: Sequence[str], descriptions: Sequence[str], attributes: ClassEmbeddings | None
) -> np.ndarray:
    """Return the given vectors [c, a], or call the given function for them.

    Args:
        vectors: numbers, or a function.
        kind: `TEXT` or `BOTH`.
        names: of the c classes.
        descriptions: one for each name, empty for a class without one.
        attributes: of the same classes, or None.
    """
    if not callable(vectors):
        return np.asarray(vectors)
    return np.asarray(vectors(names, descriptions, attributes) if kind == BOTH else vectors(names, descriptions))


def vectors_problem(vectors: Any, c: int) -> str | None:
    """Return the message that says why these are no vectors of c classes, or None."""
    if vectors is None or vectors.ndim != 2 or len(vectors) != c or vectors.dtype.kind not in "fiub":
        shape = None if vectors is None else list(vectors.shape)
        return f"vectors must be numbers of [{c} classes, columns]; got shape {shape}"
    return None


def check_given(vectors: Vectors | None, kind: str, where: Any) -> None:
    """Raise InputError for text without vectors, or for vectors without text."""
    if kind in (TEXT, BOTH) and vectors is None:
        raise InputError(
            f"vectors must be given for class embeddings of text; got none for {where}; "
            "give numbers or a function of names and descriptions"
        )
    if kind not in (TEXT, BOTH) and vectors is not None:
        raise InputError(f"vectors must be left out for semantics {kind}, which are in the files of {where}; got both")
