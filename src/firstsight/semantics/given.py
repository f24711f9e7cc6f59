"""Class embeddings that are made of text, alone or beside attributes, and are in no file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from firstsight.data import ClassEmbeddings
from firstsight.errors import InputError

TEXT, BOTH = "text", "attributes+text"
# [c, a] numbers, or what makes them of c names and c descriptions, and for BOTH of the classes with their attributes.
Vectors = np.ndarray | Callable[..., np.ndarray]


def made_vectors(
    vectors: Vectors, kind: str, names: Sequence[str], descriptions: Sequence[str], attributes: ClassEmbeddings | None
) -> np.ndarray:
    """[c, a] what is given, or what the given function makes.

    Args:
        vectors: numbers, or a function.
        kind: `TEXT` or `BOTH`.
        names: of the c classes.
        descriptions: as many, empty where there are none.
        attributes: the same classes; None where they have none.
    """
    if not callable(vectors):
        return np.asarray(vectors)
    return np.asarray(vectors(names, descriptions, attributes) if kind == BOTH else vectors(names, descriptions))


def vectors_problem(vectors: Any, c: int) -> str | None:
    """Why these are no vectors of c classes, or None."""
    if vectors is None or vectors.ndim != 2 or len(vectors) != c or vectors.dtype.kind not in "fiub":
        shape = None if vectors is None else list(vectors.shape)
        return f"vectors must be numbers of [{c} classes, columns]; got shape {shape}"
    return None


def check_given(vectors: Vectors | None, kind: str, where: Any) -> None:
    """Refuse text without vectors, and vectors without text."""
    if kind in (TEXT, BOTH) and vectors is None:
        raise InputError(
            f"vectors must be given for class embeddings of text; got none for {where}; "
            "give numbers or a function of names and descriptions"
        )
    if kind not in (TEXT, BOTH) and vectors is not None:
        raise InputError(f"vectors must be left out for semantics {kind}, which are in the files of {where}; got both")
