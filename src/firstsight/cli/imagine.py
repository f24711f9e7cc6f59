"""`firstsight imagine`: draw classes from their embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from firstsight.cli.options import TextOptions, as_json, parsed
from firstsight.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from firstsight.data import ClassEmbeddings
    from firstsight.recogniser.recogniser import Recogniser


@dataclass(kw_only=True)
class ImagineOptions(TextOptions):
    """The classes to draw, and the output.

    Attributes:
        data: folder that the model was trained on, for its classes; not needed for a recogniser.
        semantics: class embeddings of that folder, as in training.
        classes: CSV with more classes, as for `predict --classes`; all of them are drawn if no class is named.
        out: PNG file.
        json: print one JSON document.
        device: torch device to work on.
    """

    data: str | None = None
    semantics: str | None = None
    classes: Path | None = None
    out: Path = Path("imagined.png")
    json: bool = False
    device: str = "auto"


def imagine(argv: Sequence[str]) -> None:
    """Draw classes from their descriptions alone."""
    from firstsight.methods.abilities import drawing
    from firstsight.pictures.sheet import as_png, grid

    options = parsed(_form(), argv, "imagine", _ABOUT)
    file = as_png(options.out)
    known, more = _known(options)
    names = options.class_ or more
    if not names:
        raise InputError("class must be named; got none; --class NAME, or --classes FILE with others")
    rows = [_row(name, known.classes.names, "class") for name in names]
    changes = _changes(options.set, known.classes)
    chosen = known.classes[rows]
    artist = drawing(known.method, "imagine a class")
    lines = [("before" if changes else "imagined", artist.imagined(chosen))]
    if changes:
        lines.append(("after", artist.imagined(_changed(chosen, known.classes, changes))))
    seen = [bool(known.is_seen[row]) for row in rows]
    notes = ["seen in training" if is_seen else "never seen" for is_seen in seen]
    grid(file, lines, chosen.names, notes)
    if options.json:
        drawn = [{"class": name, "seen": is_seen} for name, is_seen in zip(chosen.names, seen, strict=True)]
        print(as_json({"out": str(file), "classes": drawn, "set": changes}))
        return
    listed = ", ".join(f"{name} = {value:g}" for name, value in changes.items())
    what = "class, as imagined, is" if len(rows) == 1 else "classes, as imagined, are"
    print(f"{len(rows)} {what} at {file}{f'; below, with {listed}' if changes else ''}")


_ABOUT = f"{imagine.__doc__} With --set, each is drawn a second time, with an attribute changed."


def _form() -> Any:
    """Add to ImagineOptions the options that need help by tyro: a Python keyword as name, and repeated options."""
    import tyro

    conf: Any = tyro.conf
    several = tuple[str, ...]
    of_class = conf.arg(name="class", help="name of a class to draw")
    of_set = conf.arg(
        help="ATTRIBUTE=VALUE: 0 is the lowest value of any known class, 1 the highest; values outside this range "
        "extrapolate"
    )
    fields: list[tuple[str, Any, Any]] = [
        ("model", conf.Positional[Path], field(metadata={"help": "file that `fit` or `recogniser` wrote"})),
        ("class_", Annotated[several, of_class, conf.UseAppendAction], field(default=())),
        ("set", Annotated[several, of_set, conf.UseAppendAction], field(default=())),
    ]
    return make_dataclass("Imagine", fields, bases=(ImagineOptions,), kw_only=True)


def _known(options: Any) -> tuple[Recogniser, tuple[str, ...]]:
    """Load the method with all its classes; return it and the names of the classes from --classes."""
    from firstsight import checkpoint
    from firstsight.datasets import load
    from firstsight.methods import load_method
    from firstsight.methods.abilities import drawing
    from firstsight.recogniser.recogniser import Recogniser

    method = load_method(options.model, options.device)
    drawing(method, "have a size of them")
    if options.data is not None:
        data = load(options.data, features=(), semantics=options.semantics, vectors=options.texts(options.semantics)[0])
        known = Recogniser.of(method, data, calibrate=False)
    elif "recogniser" in checkpoint.read(options.model)[1]:
        known = Recogniser.load(options.model, options.device)
    else:
        raise InputError(
            f"{options.model} must know classes to imagine one; got a method alone; name its training data with "
            f"--data, or make a recogniser: `firstsight recogniser {options.model} --data PATH --out FILE`"
        )
    if options.classes is None:
        return known, ()
    more = known.read_classes(options.classes)
    return known.with_classes(more), more.names


def _row(name: str, names: Sequence[str], what: str) -> int:
    """Return the row of a name, written with underscores or with spaces."""
    for written in (name, name.strip().replace(" ", "_")):
        if written in names:
            return list(names).index(written)
    raise InputError(f"{what} must be one of the {len(names)} known; got {name!r}{did_you_mean(name, names)}")


def _changes(words: Sequence[str], classes: ClassEmbeddings) -> dict[str, float]:
    """Parse ATTRIBUTE=VALUE; return the value of each attribute to change."""
    if words and not classes.attributes:
        width = classes.vectors.shape[1]
        raise InputError(
            f"attributes must have names to be set; got classes described by {width} numbers without names"
        )
    changes = {}
    for word in words:
        name, equals, text = word.rpartition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not equals or not math.isfinite(value):
            raise InputError(f"set must be ATTRIBUTE=VALUE with a number, as in red=1; got {word!r}")
        changes[classes.attributes[_row(name, classes.attributes, "attribute")]] = value
    return changes


def _changed(chosen: ClassEmbeddings, known: ClassEmbeddings, changes: dict[str, float]) -> ClassEmbeddings:
    """Return the classes with changed attributes, at unit length if all known ones have unit length."""
    import numpy as np

    from firstsight.data import ClassEmbeddings, unit_rows

    vectors = chosen.vectors.copy()
    for name, value in changes.items():
        column = known.attributes.index(name)
        low, high = known.vectors[:, column].min(), known.vectors[:, column].max()
        vectors[:, column] = low + value * (high - low)
    are_unit = np.allclose(np.linalg.norm(known.vectors, axis=1), 1, atol=1e-3)
    if are_unit and vectors.any(axis=1).all():
        vectors = unit_rows(vectors)
    return ClassEmbeddings(chosen.names, vectors, chosen.attributes)
