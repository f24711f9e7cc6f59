"""A sheet of pictures with captions, such as originals above their reconstructions.

    grid("birds.png", [("original", pictures), ("reconstructed", drawn)], ["owl", "auk"])

A line of pictures has its label on the left, a column has its name on top. A line that would be too long is continued
below.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from firstsight.errors import InputError
from firstsight.files import replacing

Line = tuple[str, NDArray[np.uint8]]  # label, [k, h, h, 3] colours in 0..255

CELL = 192  # pixels of a picture's side on the sheet; smaller pictures are enlarged
WIDEST = 1600  # most pixels of a line of pictures
GAP, MARGIN, BETWEEN = 8, 24, 20  # pixels
TEXT, LEADING = 14, 18  # pixels
PAPER, INK, FAINT = "#ffffff", "#1f2933", "#6b7785"
ELLIPSIS = "\u2026"


def grid(file: str | Path, lines: Sequence[Line], names: Sequence[str], notes: Sequence[str] = ()) -> Path:
    """Write the sheet as a PNG file and return its path.

    Args:
        file: must end in .png.
        lines: pictures of one size, the same number in each line.
        names: of the columns.
        notes: text below each column, or nothing.

    Raises:
        InputError: the file has another ending, or cannot be written.
    """
    file = as_png(file)
    with replacing(file) as unfinished:
        sheet(lines, names, notes).save(unfinished, "PNG")
    return file


def as_png(file: str | Path) -> Path:
    """Return the path of a PNG file; raise InputError if it has another ending."""
    if Path(file).suffix.lower() != ".png":
        raise InputError(f"picture file must end in .png; got {file}")
    return Path(file)


def sheet(lines: Sequence[Line], names: Sequence[str], notes: Sequence[str] = ()) -> Image.Image:
    """Draw the sheet that `grid` writes."""
    n, side = lines[0][1].shape[:2]
    cell = max(side, CELL)
    columns = max(1, min(n, WIDEST // (cell + GAP)))
    captions = [wrapped(readable(name), cell) for name in names]
    labels = [label for label, _ in lines]
    left = MARGIN + (round(max(map(_width, labels))) + 2 * GAP if any(labels) else 0)
    above = LEADING * max(map(len, captions)) + GAP // 2
    height = above + len(lines) * (cell + GAP) - GAP + (LEADING + GAP // 2 if any(notes) else 0)  # of a band of columns
    n_bands = -(-n // columns)
    width = left + columns * (cell + GAP) - GAP + MARGIN
    image = Image.new("RGB", (width, 2 * MARGIN + n_bands * (height + BETWEEN) - BETWEEN), PAPER)
    draw = ImageDraw.Draw(image)
    for band in range(n_bands):
        top = MARGIN + band * (height + BETWEEN)
        for row, label in enumerate(labels):
            middle = top + above + row * (cell + GAP) + cell // 2
            draw.text((MARGIN, middle), label, FAINT, _font(), anchor="lm")
        for column, at in enumerate(range(band * columns, min(n, (band + 1) * columns))):
            x = left + column * (cell + GAP)
            bottom = top + above - GAP // 2
            for up, text in enumerate(reversed(captions[at])):
                draw.text((x, bottom - up * LEADING), text, INK, _font(), anchor="ld")
            for row, (_, pictures) in enumerate(lines):
                picture = Image.fromarray(pictures[at]).resize((cell, cell), Image.Resampling.BICUBIC)
                image.paste(picture, (x, top + above + row * (cell + GAP)))
            if any(notes):
                draw.text((x, top + height), wrapped(notes[at], cell, 1)[0], FAINT, _font(), anchor="ld")
    return image


def tiled(lines: NDArray[np.uint8], columns: int = 8) -> NDArray[np.uint8]:
    """Join lines [r, k, h, h, 3] of pictures into one picture [r * m * h, columns * h, 3] without captions.

    Args:
        lines: r lines of k pictures each, cut into m bands of `columns`; each band holds its part of all lines.
        columns: pictures beside each other.
    """
    n_lines, k, h = lines.shape[:3]
    bands = -(-k // columns)
    full = np.full((n_lines, bands * columns, h, h, 3), 255, np.uint8)
    full[:, :k] = lines
    full = full.reshape(n_lines, bands, columns, h, h, 3).transpose(1, 0, 3, 2, 4, 5)  # [m, r, h, columns, h, 3]
    return full.reshape(bands * n_lines * h, columns * h, 3)


def readable(name: str) -> str:
    """Return the name of a class with spaces instead of underscores."""
    return name.replace("_", " ")


def wrapped(text: str, width: int, most: int = 2) -> list[str]:
    """Break a text into at most `most` lines of `width` pixels; an ellipsis marks text that is cut off."""
    lines: list[str] = []
    for word in text.split() or [""]:
        if lines and _width(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    cut = [*lines[: most - 1], " ".join(lines[most - 1 :])] if len(lines) > most else lines
    return [_cut_to_width(line, width) for line in cut]


def _cut_to_width(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    while text and _width(text + ELLIPSIS) > width:
        text = text[:-1]
    return text + ELLIPSIS


def _width(text: str) -> float:
    return _font().getlength(text)


@cache
def _font() -> ImageFont.FreeTypeFont:
    """Return the font that comes with matplotlib."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", TEXT)
