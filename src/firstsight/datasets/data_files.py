"""Which files a data set is made of, beside its folder: one object that every layout's loader is handed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from firstsight.data import ClassEmbeddings
from firstsight.errors import InputError

TEXT, BOTH = "text", "attributes+text"
# [c, a] numbers, or a function of c names and c descriptions that makes them; for BOTH it is given attributes too.
Vectors = np.ndarray | Callable[..., np.ndarray]


@dataclass(frozen=True, kw_only=True, eq=False)
class DataFiles:
    """The files that a data set is made of; None stands for the default, an empty choice for none."""

    # feature files by name or path, whose columns are joined; no features where empty
    features: str | Path | Sequence[str | Path] | None = None
    semantics: str | None = None  # which class embeddings
    # the feature file on which F and G work; they work on `features` where None or empty
    reconstruction_features: str | Path | None = None
    # folder with the pictures of a GBU data set; none are looked for where None or empty
    pictures: str | Path | None = None
    vectors: Vectors | None = None  # class embeddings made of text; see `firstsight.load`

    def __post_init__(self) -> None:
        if self.semantics is not None and not self.semantics:
            raise InputError("semantics must name class embeddings, or be left out for the default; got ''")

    @property
    def feature_names(self) -> tuple[str | Path, ...] | None:
        """Return the names of the feature files; None for the default, none for no features."""
        if isinstance(self.features, str | Path):
            return (self.features,) if str(self.features) else ()
        return None if self.features is None else tuple(self.features)

    @property
    def reconstruction_names(self) -> tuple[str | Path, ...]:
        """Return the name of the feature file on which F and G work, or nothing."""
        return (self.reconstruction_features,) if self.reconstruction_features else ()

    def check_vectors(self, kind: str, where: Path) -> None:
        """Raise InputError for class embeddings of text without vectors, or for vectors without text."""
        if kind in (TEXT, BOTH) and self.vectors is None:
            raise InputError(
                f"vectors must be given for class embeddings of text; got none for {where}; "
                "give numbers or a function of names and descriptions"
            )
        if kind not in (TEXT, BOTH) and self.vectors is not None:
            raise InputError(
                f"vectors must be left out for semantics {kind}, which are in the files of {where}; got both"
            )

    def made_vectors(
        self, kind: str, names: Sequence[str], descriptions: Sequence[str], known: np.ndarray, attributes: Sequence[str]
    ) -> np.ndarray:
        """Return the given vectors [c, a], or call the given function for them.

        Args:
            kind: `TEXT`, or `BOTH`: then the function is given `known` vectors and their `attributes` too.
            names: of the c classes.
            descriptions: one for each name, empty for a class without one.
            known: [c, a] attributes of the same classes, as the files have them.
            attributes: names of the columns of `known`, or empty.
        """
        beside = [ClassEmbeddings(tuple(names), known, tuple(attributes))] if kind == BOTH else []
        return np.asarray(self.vectors(names, descriptions, *beside) if callable(self.vectors) else self.vectors)


def vectors_problem(vectors: Any, c: int) -> str | None:
    """Return the message that says why these are no vectors of c classes, or None."""
    if vectors is None or vectors.ndim != 2 or len(vectors) != c or vectors.dtype.kind not in "fiub":
        shape = None if vectors is None else list(vectors.shape)
        return f"vectors must be numbers of [{c} classes, columns]; got shape {shape}"
    return None


DEFAULT = DataFiles()
