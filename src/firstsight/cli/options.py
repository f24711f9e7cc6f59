"""Options that commands share, their parsing, and the output of answers."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firstsight.errors import InputError

if TYPE_CHECKING:
    from markupsafe import Markup

    from firstsight.data import Dataset
    from firstsight.datasets import DataFiles
    from firstsight.methods import Method
    from firstsight.progress import Display
    from firstsight.semantics.text import ClassText

SKIPPED_SHOWN = 20  # messages about left out pictures that are shown
TEXT, BOTH = "text", "attributes+text"  # semantics that need a text model


@dataclass(kw_only=True)
class TextOptions:
    """The text model for names and descriptions of classes, if semantics contains `text`.

    Attributes:
        text_model: for `--semantics text` or `attributes+text`: a name or a folder of sentence-transformers, or
            `openclip:MODEL/WEIGHTS`; all-MiniLM-L6-v2 by default.
        text_weight: weight of the text in `attributes+text`, 0 to 1; 0.5 by default.
    """

    text_model: str | None = None
    text_weight: float | None = None

    def texts(self, *semantics: str | None) -> list[ClassText | None]:
        """Return the maker of class embeddings for each kind of semantics, or None for a kind without text."""
        for name, value, kinds in (
            ("text model", self.text_model, (TEXT, BOTH)),
            ("text weight", self.text_weight, (BOTH,)),
        ):
            if value is not None and not set(kinds) & set(semantics):
                raise InputError(f"{name} must be left out unless semantics is {' or '.join(kinds)}; got {value!r}")
        if not {TEXT, BOTH} & set(semantics):
            return [None] * len(semantics)
        from firstsight.semantics.text import ClassText

        model = self.text_model or ClassText.model
        weight = ClassText.weight if self.text_weight is None else self.text_weight
        return [ClassText(model, weight) if kind in (TEXT, BOTH) else None for kind in semantics]


@dataclass(kw_only=True)
class FileOptions(TextOptions):
    """Files of a data set beside its folder.

    Attributes:
        features: feature files, by name or path; several are joined. By default `res101.mat`, or the only one.
        reconstruction_features: feature file for F and G of SP-AEN; by default the same as `features`.
        pictures: folder with the pictures of a GBU data set, as its authors packed them.
    """

    features: tuple[str, ...] = ()
    reconstruction_features: str | None = None
    pictures: Path | None = None

    def load_all(self, data: Sequence[str], semantics: Sequence[str | None], display: Display) -> list[Dataset]:
        """Load each data set with each kind of class embeddings."""
        from firstsight.datasets import load_files

        return [load_files(folder, files, display) for folder in data for files in self.chosen(*semantics)]

    def chosen(self, *semantics: str | None) -> list[DataFiles]:
        """Return the files of a data set with each kind of class embeddings."""
        from firstsight.datasets import DataFiles

        names = self.features or None
        files = DataFiles(features=names, reconstruction_features=self.reconstruction_features, pictures=self.pictures)
        kinds = zip(semantics, self.texts(*semantics), strict=True)
        return [replace(files, semantics=kind, vectors=text) for kind, text in kinds]


@dataclass(kw_only=True)
class Which:
    """The data set; a separate class so that `--help` lists it before the files.

    Attributes:
        data: a folder in the GBU layout or of pictures, or `atlas` (rendered; `atlas:0.5` sets its semantic loss).
        semantics: class embeddings: `att`, `sent`, `binaryAtt` or a file name; `text`, which a text model makes of
            names and descriptions; or `attributes+text`.
    """

    data: str
    semantics: str | None = None


@dataclass(kw_only=True)
class DataOptions(FileOptions, Which):
    """The data set and its files."""

    def load(self, display: Display) -> Dataset:
        """Load the data set."""
        return self.load_all((self.data,), (self.semantics,), display)[0]


@dataclass(kw_only=True)
class PictureOptions(DataOptions):
    """The data set, and its pictures for a method that learns from them.

    Attributes:
        backbone: network that computes the features of the pictures, instead of a feature file: a name as for
            `firstsight features`, or `compact`, a small network trained on the training pictures alone; the features
            are kept in the cache. Only for methods that learn from pictures.
        skip_bad: leave out pictures that cannot be read, and list them; without it, the first one is an error.
    """

    backbone: str | None = None
    skip_bad: bool = False

    def load_for(self, method: Method, display: Display, trains: bool = True) -> Dataset:
        """Load the data set, with pictures in the size of the method if it is trained on them."""
        self._check(method)
        from firstsight.methods.abilities import DrawsPictures, MakesFeatures

        if not isinstance(method, DrawsPictures) or not (trains or self.backbone or self.skip_bad):
            return self.load(display)
        from firstsight.datasets import load_files
        from firstsight.pictures.cache import with_pictures

        [files] = self.chosen(self.semantics)
        data = load_files(self.data, files if self.backbone is None else replace(files, features=()), display)
        if self.backbone is None and not (isinstance(method, MakesFeatures) and method.makes_features()):
            data.inputs(data.trainval[:1])  # report missing features before the pictures are shrunk
        data, bad = with_pictures(data, method.view, skip_bad=self.skip_bad, progress=display.stage("pictures"))
        say_skipped(display, bad)
        if self.backbone is None:
            return data
        from firstsight.features.of_dataset import with_frozen_features

        return with_frozen_features(data, self.backbone, method.device, display.stage("features"))

    def _check(self, method: Method) -> None:
        """Raise InputError for options that contradict each other or the method."""
        from firstsight.methods.abilities import needs_pictures

        if not needs_pictures(type(method)):
            for name in ("backbone", "skip_bad"):
                if value := getattr(self, name):
                    raise InputError(
                        f"{name} must be left out for {method.name}, which does not look at pictures; got {value}"
                    )
            return
        if self.backbone and self.features:
            raise InputError(
                f"features must be left out where a backbone makes them; got {self.features[0]!r} and {self.backbone!r}"
            )
        if self.backbone and self.data.partition(":")[0] == "atlas":
            raise InputError(f"backbone must be left out for atlas, which has features; got {self.backbone!r}")
        if self.reconstruction_features:
            raise InputError(
                f"reconstruction features must be left out for {method.name}, which reconstructs pictures; "
                f"got {self.reconstruction_features!r}"
            )


@contextmanager
def resumable(out: Path, display: Display) -> Iterator[Path]:
    """Give the file beside `out` that keeps unfinished work; say when work continues from it or is kept in it."""
    unfinished = out.with_name(out.name + ".partial")
    if unfinished.exists():
        display.say(f"continuing from {unfinished}")
    try:
        yield unfinished
    except KeyboardInterrupt:
        if unfinished.exists():
            display.say(f"stopped; kept in {unfinished}; the same command continues from there")
        raise


def say_skipped(display: Display, skipped: Mapping[str, str]) -> None:
    """Show why pictures were left out: the first messages, and the number of the others."""
    for sentence in list(skipped.values())[:SKIPPED_SHOWN]:
        display.say(f"skipped: {sentence}")
    if (more := len(skipped) - SKIPPED_SHOWN) > 0:
        display.say(f"skipped: {more} more")


def parsed(form: Callable[..., Any], argv: Sequence[str], name: str, description: str | None = None) -> Any:
    """Call the function, or make the dataclass, with the options in argv."""
    import tyro

    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)
    return tyro.cli(form, args=list(argv), prog=f"firstsight {name}", description=description, config=config)


def with_settings(method: Method, base: type) -> Any:
    """Add the settings of a method to the options of `base`; their defaults are those of the method.

    tyro would print the error of a bad setting in its own form, so the `of_method` made here does not check anything.
    """
    import tyro

    kind = type(method)
    unchecked = type(kind.__name__, (kind,), {"__post_init__": lambda _: None, "__doc__": kind.__doc__})
    start = unchecked(**method.settings())
    flat: Any = tyro.conf.OmitArgPrefixes
    fields = ("of_method", flat[unchecked], field(default_factory=lambda: start, kw_only=True))
    return make_dataclass(base.__name__, [fields], bases=(base,), kw_only=True)


def option(argv: Sequence[str], name: str) -> str | None:
    """Return the value of an option that is needed before the others can be parsed, or None."""
    for at, word in enumerate(argv):
        if word == name and at + 1 < len(argv):
            return argv[at + 1]
        if word.startswith(name + "="):
            return word.removeprefix(name + "=")
    return None


def at_least_one(**counts: int) -> None:
    """Raise InputError for a count below 1."""
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"{name} must be 1 or more; got {count}")


def as_json(document: Any) -> str:
    """Format one JSON document; arrays become lists, NaN becomes null."""
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


def write_figure(file: Path, figure: Markup) -> None:
    """Write a figure as a self-contained SVG file."""
    from firstsight.files import write_text
    from firstsight.report.export import standalone

    write_text(file, standalone(figure))


def say_figure(file: Path | None) -> None:
    """Print the path of the figure, if one was asked for."""
    if file:
        print(f"The figure is at {file}")
