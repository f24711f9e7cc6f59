"""Commands that show what a method that draws has learned: pictures it has read, classes nobody has shown it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from firstsight.cli.options import TextOptions, as_json, parsed, say_skipped
from firstsight.errors import InputError, nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from firstsight.data import ClassEmbeddings
    from firstsight.methods import Method
    from firstsight.recogniser import Recogniser

BLOCK = 64  # pictures at once
MOST = 400  # pictures on one sheet


def reconstruct(
    model: Path,
    pictures: tuple[str, ...],
    /,
    out: Path | None = None,
    out_folder: Path | None = None,
    skip_bad: bool = False,
    json: bool = False,
    device: str = "auto",
) -> None:
    """Draw pictures again from what is left of them behind the embedding, below the originals.

    Args:
        model: file that `fit` wrote, of a method that draws.
        pictures: files, or folders of them.
        out: PNG file for all of them; reconstructed.png where neither this nor a folder is named.
        out_folder: folder for one PNG file for each of them instead, however many there are.
        skip_bad: leave out pictures that cannot be read, and list them; without it the first one ends the work.
        json: print one JSON document, with the mean square error of the pixels of each, colours in 0..1.
        device: torch device to work on.
    """
    import numpy as np

    from firstsight.cli.predict import picture_paths
    from firstsight.drawings import as_png
    from firstsight.methods import load_method
    from firstsight.progress import Display

    if out and out_folder:
        raise InputError(f"out must be left out where out_folder is named; got {out} and {out_folder}")
    if not pictures:
        raise InputError("pictures must be files or folders; got none")
    file = as_png(out or Path("reconstructed.png"))
    method = load_method(model, device)
    method.side  # noqa: B018 (a method that cannot draw says so before pictures are looked for)
    paths = list(dict.fromkeys(picture_paths(pictures)))
    if not out_folder and len(paths) > MOST:
        raise InputError(f"pictures must be {MOST} or fewer for one file; got {len(paths)}; name --out-folder")
    names = dict(zip(paths, _different(Path(path).stem for path in paths), strict=True))
    skipped: dict[str, str] = {}
    done: list[_Drawn] = []
    with Display() as display:
        for drawn in _reconstructed(method, paths, skip_bad, skipped):
            if out_folder:
                _write(out_folder / f"{names[drawn.source]}.png", [drawn])
                drawn = replace(drawn, pair=np.empty(0, np.uint8))  # however many there are
            done.append(drawn)
            display("reconstruct", len(done) + len(skipped), len(paths))
        say_skipped(display, skipped)
    if not done:
        raise InputError(f"pictures must be readable; got none of {len(paths)} that is")
    if not out_folder:
        _write(file, done)
    if json:
        rows = [{"source": drawn.source, "mse": drawn.error} for drawn in done]
        print(as_json({"out": str(out_folder or file), "pictures": rows, "skipped": skipped}))
        return
    what = "picture above its reconstruction is" if len(done) == 1 else "pictures above their reconstructions are"
    where = f"in {out_folder}" if out_folder else f"at {file}"
    mean = sum(drawn.error for drawn in done) / len(done)
    print(f"{len(done)} {what} {where}; mean square error of a pixel {mean:.4f}")


@dataclass(frozen=True)
class _Drawn:
    """A picture file, [2, side, side, 3] the picture and what is left of it, and the mean square error between them."""

    source: str
    pair: NDArray[np.uint8]
    error: float


def _reconstructed(method: Method, paths: Sequence[str], skip_bad: bool, skipped: dict[str, str]) -> Iterator[_Drawn]:
    """Each picture that can be read; the sentences about the others go to `skipped`."""
    import numpy as np

    from firstsight.images import open_picture, squared

    for start in range(0, len(paths), BLOCK):
        read = {}
        for path in paths[start : start + BLOCK]:
            try:
                read[path] = squared(open_picture(path, enough=2 * method.side), method.side)
            except InputError as error:
                if not skip_bad:
                    raise
                skipped[path] = str(error)
        if not read:
            continue
        originals = np.stack(list(read.values()))
        pairs = np.stack([originals, method.reconstructed(originals)], axis=1)  # [n, 2, side, side, 3]
        for source, pair in zip(read, pairs, strict=True):
            before, after = pair / 255.0
            yield _Drawn(source, pair, float(((before - after) ** 2).mean()))


def _write(file: Path, done: Sequence[_Drawn]) -> None:
    """One sheet of them."""
    import numpy as np

    from firstsight.drawings import grid

    originals, drawn = np.stack([one.pair for one in done], axis=1)
    notes = [f"error {one.error:.4f}" for one in done]
    names = [" / ".join(Path(one.source).parts[-2:]) for one in done]  # of folders of classes, the class too
    grid(file, [("original", originals), ("reconstructed", drawn)], names, notes)


def _different(names: Iterator[str]) -> list[str]:
    """The names, with a number where one is there already."""
    made: dict[str, None] = {}
    for name in names:
        free, number = name, 2
        while free in made:
            free, number = f"{name}-{number}", number + 1
        made[free] = None
    return list(made)


@dataclass(kw_only=True)
class ImagineOptions(TextOptions):
    """What is drawn.

    Attributes:
        data: the folder the model was trained on, for its classes; not needed where the model is a recogniser.
        semantics: class embeddings of that folder, as in training.
        classes: CSV with more classes, as `predict --classes` takes it; all of them are drawn where no class is named.
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
    """Draw classes that nobody has shown, from their descriptions alone."""
    from firstsight.drawings import as_png, grid

    options = parsed(_form(), argv, "imagine", _ABOUT)
    file = as_png(options.out)
    known, more = _known(options)
    names = options.class_ or more
    if not names:
        raise InputError("class must be named; got none; --class NAME, or --classes FILE with others")
    rows = [_row(name, known.classes.names, "class") for name in names]
    changes = _changes(options.set, known.classes)
    chosen = known.classes[rows]
    lines = [("before" if changes else "imagined", known.method.imagined(chosen))]
    if changes:
        lines.append(("after", known.method.imagined(_changed(chosen, known.classes, changes))))
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


_ABOUT = f"{imagine.__doc__} With --set, each is drawn once more, with an attribute changed."


def _form() -> Any:
    """ImagineOptions with what tyro must be told: a word that Python keeps for itself, options said several times."""
    import tyro

    conf: Any = tyro.conf
    several = tuple[str, ...]
    of_class = conf.arg(name="class", help="name of a class to draw")
    of_set = conf.arg(
        help="ATTRIBUTE=VALUE: 0 is the least that any known class has of it, 1 the most; beyond these is beyond what "
        "was learned"
    )
    fields: list[tuple[str, Any, Any]] = [
        ("model", conf.Positional[Path], field(metadata={"help": "file that `fit` or `recogniser` wrote"})),
        ("class_", Annotated[several, of_class, conf.UseAppendAction], field(default=())),
        ("set", Annotated[several, of_set, conf.UseAppendAction], field(default=())),
    ]
    return make_dataclass("Imagine", fields, bases=(ImagineOptions,), kw_only=True)


def _known(options: Any) -> tuple[Recogniser, tuple[str, ...]]:
    """The method with all classes it can be asked for, and the names of those that --classes adds."""
    from firstsight import checkpoint
    from firstsight.cli.predict import more_classes
    from firstsight.datasets import load
    from firstsight.methods import load_method
    from firstsight.recogniser import Recogniser

    method = load_method(options.model, options.device)
    method.side  # noqa: B018 (a method that cannot draw says so first)
    if options.data is not None:
        data = load(options.data, (), options.semantics, vectors=options.texts(options.semantics)[0])
        known = Recogniser.of(method, data, calibrate=False)
    elif "recogniser" in checkpoint.read(options.model)[1]:
        known = Recogniser.load(options.model, options.device)
    else:
        raise InputError(
            f"{options.model} must know classes to imagine one; got a method alone; name what it was trained on with "
            f"--data, or make a recogniser: `firstsight recogniser {options.model} --data PATH --out FILE`"
        )
    if options.classes is None:
        return known, ()
    more = more_classes(options.classes, known)
    return known.with_classes(more), more.names


def _row(name: str, names: Sequence[str], what: str) -> int:
    """Which of the names it is; as people write it, with spaces, too."""
    for written in (name, name.strip().replace(" ", "_")):
        if written in names:
            return list(names).index(written)
    raise InputError(f"{what} must be one of the {len(names)} known; got {name!r}{nearest(name, names)}")


def _changes(words: Sequence[str], classes: ClassEmbeddings) -> dict[str, float]:
    """Value of each attribute that is to be set."""
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
    """The classes with these attributes, of unit length again where all known ones are."""
    import numpy as np

    from firstsight.data import ClassEmbeddings
    from firstsight.datasets.folder import unit_rows

    vectors = chosen.vectors.copy()
    for name, value in changes.items():
        column = known.attributes.index(name)
        low, high = known.vectors[:, column].min(), known.vectors[:, column].max()
        vectors[:, column] = low + value * (high - low)
    are_unit = np.allclose(np.linalg.norm(known.vectors, axis=1), 1, atol=1e-3)
    if are_unit and vectors.any(axis=1).all():
        vectors = unit_rows(vectors)
    return ClassEmbeddings(chosen.names, vectors, chosen.attributes)
