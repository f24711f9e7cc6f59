"""Which files a data set is made of, beside its folder: one object that every layout's loader is handed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from firstsight.errors import InputError
from firstsight.semantics.given import Vectors

FeatureNames = str | Path | Sequence[str | Path] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class DataFiles:
    """The files that a data set is made of; None stands for the default, an empty choice for none.

    Attributes:
        features: feature files by name or path, whose columns are joined; no features where empty.
        semantics: which class embeddings.
        reconstruction_features: the feature file on which F and G work; they work on `features` where None or empty.
        pictures: folder with the pictures of a GBU data set; none are looked for where None or empty.
        vectors: class embeddings made of text; see `firstsight.load`.
    """

    features: FeatureNames = None
    semantics: str | None = None
    reconstruction_features: str | Path | None = None
    pictures: str | Path | None = None
    vectors: Vectors | None = None

    def __post_init__(self) -> None:
        if self.semantics is not None and not self.semantics:
            raise InputError("semantics must name class embeddings, or be left out for the default; got ''")

    @property
    def feature_names(self) -> tuple[str | Path, ...] | None:
        """Return the names of the feature files; None for the default, none for no features."""
        if isinstance(self.features, str | Path):
            return (self.features,) if str(self.features) else ()
        return None if self.features is None else tuple(self.features)


DEFAULT = DataFiles()
