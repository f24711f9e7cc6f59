"""Where data sets come from: one file per layout, one function to load them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from firstsight.data import Dataset
from firstsight.errors import InputError

__all__ = ["atlas_settings", "data_name", "load"]


def load(
    path: str | Path,
    features: str | Path | Sequence[str | Path] | None = None,
    semantics: str | None = None,
    reconstruction_features: str | Path | None = None,
    progress: Callable[..., None] | None = None,
) -> Dataset:
    """A data set by its folder or name.

    Args:
        path: a folder in the GBU layout, or `atlas`, rendered on the spot; `atlas:0.5` sets its semantic loss.
        features: a feature file by name or path, or several whose columns are joined; where None, `res101.mat` or else
            the only file in the folder that holds features; the labels alone where there is none.
        semantics: which class embeddings: `att` (where None), `sent`, `binaryAtt`, ... or the name of a file.
        reconstruction_features: the feature file on which F and G work; `features` where None.
        progress: handed to `atlas`, which takes a while; folders ignore it.
    """
    settings = atlas_settings(path)
    if settings is None:
        from firstsight.datasets.gbu import load_gbu

        return load_gbu(path, features, semantics, reconstruction_features)
    given = {"features": features, "semantics": semantics, "reconstruction features": reconstruction_features}
    for argument, value in given.items():
        if value:
            raise InputError(f"{argument} must be left out for atlas, which renders its own; got {str(value)!r}")
    from firstsight.datasets.atlas import atlas

    return atlas(**settings, progress=progress)


def data_name(path: str | Path, semantics: str | None = None) -> str:
    """The name that `load` gives the data set, without loading it."""
    settings = atlas_settings(path)
    if settings is None:
        from firstsight.datasets.gbu import gbu_name

        return gbu_name(Path(path), semantics or "att")
    loss = settings.get("semantic_loss", 0.0)
    return f"atlas {loss:g}" if loss else "atlas"


def atlas_settings(path: str | Path) -> dict[str, Any] | None:
    """What `atlas` or `atlas:0.5` asks of the rendered data set; None for a folder."""
    word, colon, loss = str(path).partition(":")
    if word != "atlas":
        return None
    if not colon:
        return {}
    try:
        return {"semantic_loss": float(loss)}
    except ValueError as error:
        raise InputError(f"atlas must be followed by a number, as in atlas:0.5; got {str(path)!r}") from error
