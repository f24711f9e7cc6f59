"""`firstsight reconstruct`: reconstruct pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from firstsight.cli.options import as_json, say_skipped
from firstsight.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from firstsight.methods.abilities import DrawsPictures
    from firstsight.pictures.find import File

BLOCK = 64  # pictures in one pass
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
    """Reconstruct pictures, G(F(x)), and show them below the originals.

    Args:
        model: file that `fit` wrote, of a method that draws.
        pictures: files, or folders of them.
        out: PNG file for all pictures; by default reconstructed.png, unless --out-folder is given.
        out_folder: folder for one PNG file per picture instead, for any number of pictures.
        skip_bad: leave out pictures that cannot be read, and list them; without it, the first one is an error.
        json: print one JSON document, with the mean square error per pixel of each picture, colours in 0..1.
        device: torch device to work on.
    """
    from firstsight.cli.predict import listed
    from firstsight.methods import load_method
    from firstsight.methods.abilities import drawing
    from firstsight.pictures.sheet import as_png
    from firstsight.progress import Display

    if out and out_folder:
        raise InputError(f"out must be left out where out_folder is named; got {out} and {out_folder}")
    if not pictures:
        raise InputError("pictures must be files or folders; got none")
    file = as_png(out or Path("reconstructed.png"))
    method = drawing(load_method(model, device), "have a size of them")
    files = {file.path: file for file in listed(pictures)}
    if not out_folder and len(files) > MOST:
        raise InputError(f"pictures must be {MOST} or fewer for one file; got {len(files)}; name --out-folder")
    names = dict(zip(files, _unique(Path(path).stem for path in files), strict=True))
    skipped: dict[str, str] = {}
    errors: dict[str, float] = {}  # by path
    pairs = []
    with Display() as display:
        for path, pair in _reconstruct(method, list(files.values()), skip_bad, skipped):
            before, after = pair / 255.0
            errors[path] = float(((before - after) ** 2).mean())
            if out_folder:
                _write(out_folder / f"{names[path]}.png", {path: errors[path]}, [pair])
            else:
                pairs.append(pair)
            display("reconstruct", len(errors) + len(skipped), len(files))
        say_skipped(display, skipped)
    if not errors:
        raise InputError(f"pictures must be readable; got none of {len(files)} that is")
    if not out_folder:
        _write(file, errors, pairs)
    if json:
        rows = [{"source": path, "mse": error} for path, error in errors.items()]
        print(as_json({"out": str(out_folder or file), "pictures": rows, "skipped": skipped}))
        return
    what = "picture above its reconstruction is" if len(errors) == 1 else "pictures above their reconstructions are"
    where = f"in {out_folder}" if out_folder else f"at {file}"
    mean = sum(errors.values()) / len(errors)
    print(f"{len(errors)} {what} {where}; mean square error of a pixel {mean:.4f}")


def _reconstruct(
    method: DrawsPictures, files: Sequence[File], skip_bad: bool, skipped: dict[str, str]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield the path, and the picture above its reconstruction [2, side, side, 3], of each picture that can be read.

    The messages about the others are added to `skipped`.
    """
    import numpy as np

    from firstsight.pictures.decode import open_picture, squared

    for start in range(0, len(files), BLOCK):
        read = {}
        for file in files[start : start + BLOCK]:
            try:
                if file.fault:
                    raise InputError(file.problem)
                read[file.path] = squared(open_picture(file.path, enough=2 * method.view), method.view)
            except InputError as error:
                if not skip_bad:
                    raise
                skipped[file.path] = str(error)
        if not read:
            continue
        originals = np.stack(list(read.values()))
        pairs = np.stack([originals, method.reconstructed(originals)], axis=1)  # [n, 2, side, side, 3]
        yield from zip(read, pairs, strict=True)


def _write(file: Path, errors: Mapping[str, float], pairs: Sequence[NDArray[np.uint8]]) -> None:
    """Write one sheet of pictures and reconstructions, with their errors by path."""
    import numpy as np

    from firstsight.pictures.sheet import grid

    originals, drawn = np.stack(pairs, axis=1)
    notes = [f"error {error:.4f}" for error in errors.values()]
    names = [" / ".join(Path(path).parts[-2:]) for path in errors]  # with the folder, which is often the class
    grid(file, [("original", originals), ("reconstructed", drawn)], names, notes)


def _unique(names: Iterator[str]) -> list[str]:
    """Make names unique: a repeated name gets a number."""
    made: dict[str, None] = {}
    for name in names:
        free, number = name, 2
        while free in made:
            free, number = f"{name}-{number}", number + 1
        made[free] = None
    return list(made)
