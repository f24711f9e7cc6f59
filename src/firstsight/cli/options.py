"""What commands share: which data set, how options are read, how answers are written."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from firstsight.errors import InputError

if TYPE_CHECKING:
    from firstsight.data import Dataset
    from firstsight.progress import Display


@dataclass(kw_only=True)
class DataOptions:
    """Which data set.

    Attributes:
        data: a folder in the GBU layout or of pictures, or `atlas` (rendered; `atlas:0.5` sets its semantic loss).
        features: feature files, by name or path; several are joined. `res101.mat` where none is named.
        semantics: class embeddings: `att`, `sent`, `binaryAtt` or a file name.
        reconstruction_features: feature file on which F and G of SP-AEN work; `features` where none is named.
    """

    data: str
    features: tuple[str, ...] = ()
    semantics: str | None = None
    reconstruction_features: str | None = None

    def load(self, display: Display) -> Dataset:
        """The data set."""
        from firstsight.datasets import load

        return load(self.data, self.features or None, self.semantics, self.reconstruction_features, progress=display)


def parsed(form: Callable[..., Any], argv: Sequence[str], name: str, description: str | None = None) -> Any:
    """The function called, or the dataclass made, with the options in argv."""
    import tyro

    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)
    return tyro.cli(form, args=list(argv), prog=f"firstsight {name}", description=description, config=config)


def option(argv: Sequence[str], name: str) -> str | None:
    """The value of an option that must be known before the others can be parsed."""
    for at, word in enumerate(argv):
        if word == name and at + 1 < len(argv):
            return argv[at + 1]
        if word.startswith(name + "="):
            return word.removeprefix(name + "=")
    return None


def at_least_one(**counts: int) -> None:
    """Refuse an option that counts something and is not 1 or more."""
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"{name} must be 1 or more; got {count}")


def as_json(document: Any) -> str:
    """One JSON document; arrays become lists, NaN becomes null."""
    import numpy as np

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): plain(entry) for key, entry in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(entry) for entry in value]
        if isinstance(value, (np.ndarray, np.generic)):
            return plain(value.tolist())
        return None if isinstance(value, float) and value != value else value

    return jsonlib.dumps(plain(document), allow_nan=False)
