"""What is to be recognised, and as what: pictures in folders, feature files, tables of classes.

All is read as it is asked for, so a million pictures take no more memory than one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from firstsight.data import Floats
from firstsight.errors import InputError

NOT_ATTRIBUTES = ("class", "split", "description")  # columns of a table of classes


@dataclass(frozen=True)
class FeatureFile:
    """Features in a .safetensors file, not read yet.

    Attributes:
        path: of the file.
        n: images.
        names: of the n pictures; their numbers where the file does not say.
        source: what else the file says, such as `backbone`.
    """

    path: Path
    n: int
    names: tuple[str, ...]
    source: dict[str, str]

    @classmethod
    def open(cls, path: str | Path) -> FeatureFile:
        """The file's header."""
        path = Path(path)
        if not path.is_file():
            raise InputError(f"feature file must exist; got {path}")
        try:
            with safe_open(path, framework="np") as file:
                shape = file.get_slice("features").get_shape()
                source = dict(file.metadata() or {})
            names = json.loads(source.pop("files", "null"))
        except (SafetensorError, OSError, ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path} must be a .safetensors file with a tensor 'features'; got {reason}") from error
        if len(shape) != 2:
            raise InputError(f"{path} must hold features [n, v]; got shape {shape}")
        if names is None:
            names = [f"{path}[{row}]" for row in range(shape[0])]
        if not isinstance(names, list) or len(names) != shape[0] or not all(isinstance(name, str) for name in names):
            raise InputError(f"{path} must name one file for each of {shape[0]} rows; got other names")
        return cls(path, shape[0], tuple(names), source)

    def blocks(self, rows: int) -> Iterator[tuple[tuple[str, ...], Floats]]:
        """Names and features [up to `rows`, v], one block after the other."""
        with safe_open(self.path, framework="np") as file:
            features = file.get_slice("features")
            for start in range(0, self.n, rows):
                some = slice(start, min(start + rows, self.n))
                yield self.names[some], features[some]
