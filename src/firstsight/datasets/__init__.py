"""Data sets: one file per layout, one function to load them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from firstsight.data import Dataset
from firstsight.datasets.data_files import DEFAULT, DataFiles, Vectors
from firstsight.errors import InputError
from firstsight.progress import Progress

__all__ = ["DataFiles", "atlas_settings", "data_name", "load", "load_files"]


def load(
    path: str | Path,
    features: str | Path | Sequence[str | Path] | None = None,
    semantics: str | None = None,
    reconstruction_features: str | Path | None = None,
    progress: Progress | None = None,
    pictures: str | Path | None = None,
    vectors: Vectors | None = None,
) -> Dataset:
    """Load a data set by its folder or name. None stands for the default everywhere, an empty choice for none.

    Args:
        path: a folder in the GBU layout, a folder of pictures with a `classes.csv`, or `atlas`, rendered on the spot;
            `atlas:0.5` sets its semantic loss.
        features: a feature file by name or path, or several whose columns are joined; where None, `res101.mat` or else
            the only file in the folder that holds features. There are labels alone where there is no such file, or
            where `features` is empty.
        semantics: which class embeddings: `att` (where None), `sent`, `binaryAtt`, ... or the name of a file; of a
            folder of pictures `attributes`; of both layouts `text` or `attributes+text`, for which `vectors` is needed.
        reconstruction_features: the feature file on which F and G work; `features` where None.
        progress: handed to `atlas`, which takes a while; folders ignore it.
        pictures: folder with the pictures of a GBU data set, as their authors packed them.
        vectors: class embeddings of text: [c, a] numbers, or a function of the classes' names and descriptions, and for
            `attributes+text` of their attributes as `ClassEmbeddings`, such as `semantics.text.ClassText`. What it
            has as `source` becomes the data set's `text_source`.
    """
    files = DataFiles(
        features=features,
        semantics=semantics,
        reconstruction_features=reconstruction_features,
        pictures=pictures,
        vectors=vectors,
    )
    return load_files(path, files, progress)


def load_files(path: str | Path, files: DataFiles = DEFAULT, progress: Progress | None = None) -> Dataset:
    """Load a data set by its folder or name, made of these files; see `load`."""
    settings = atlas_settings(path)
    if settings is not None:
        for argument, value in vars(files).items():
            _refuse(argument.replace("_", " "), value, "atlas, which renders its own")
        from firstsight.datasets.atlas import atlas

        data = atlas(**settings, progress=progress)
        return data if files.features is None else replace(data, features=None, feature_widths=())
    if is_own_pictures(path):
        from firstsight.datasets.folder import load_folder

        _refuse("pictures", files.pictures, "a folder of pictures, which holds its own")
        data = load_folder(path, files)
    else:
        from firstsight.datasets.gbu import load_gbu

        data = load_gbu(path, files)
    source = getattr(files.vectors, "source", None)  # the text model that described the classes
    if source is None:
        return data
    weight = f", weight {source['weight']:g}" if "weight" in source else ""
    return replace(data, text_source=source, description=f"{data.description} by {source['model']}{weight}")


def _refuse(argument: str, value: Any, by: str) -> None:
    """Refuse a choice of files that is not empty."""
    if value is not None and (not isinstance(value, str | Sequence) or value):
        shown = repr(str(value)) if isinstance(value, str | Path | Sequence) else "some"
        raise InputError(f"{argument} must be left out for {by}; got {shown}")


def is_own_pictures(path: str | Path) -> bool:
    """Return whether the folder holds pictures with a `classes.csv`, not a data set in the GBU layout."""
    folder = Path(path)
    if not folder.is_dir() or any(folder.glob("*_splits.mat")):
        return False
    if (folder / "classes.csv").is_file():
        return True
    if (folder / "images").is_dir():
        raise InputError(
            f"{folder} must hold classes.csv beside images, with a column 'class' and columns of attributes; "
            "got images alone"
        )
    return False


def data_name(path: str | Path, semantics: str | None = None) -> str:
    """Return the name that `load` gives the data set, without loading it."""
    settings = atlas_settings(path)
    if settings is None and is_own_pictures(path):
        from firstsight.datasets.folder import folder_name

        return folder_name(Path(path), semantics)
    if settings is None:
        from firstsight.datasets.gbu import gbu_name

        return gbu_name(Path(path), semantics or "att")
    loss = settings.get("semantic_loss", 0.0)
    return f"atlas {loss:g}" if loss else "atlas"


def atlas_settings(path: str | Path) -> dict[str, Any] | None:
    """Return the settings in `atlas` or `atlas:0.5`, which name the rendered data set; None for a folder."""
    word, colon, loss = str(path).partition(":")
    if word != "atlas":
        return None
    if not colon:
        return {}
    try:
        return {"semantic_loss": float(loss)}
    except ValueError as error:
        raise InputError(f"atlas must be followed by a number, as in atlas:0.5; got {str(path)!r}") from error
