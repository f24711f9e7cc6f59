"""Decoding of picture files to upright RGB; what cannot be read is refused with the name of the file.

    picture = open_picture("images/owl/1.jpg")

Files may come from anybody: only picture formats are tried, and the size is checked before anything is decoded.
"""

from __future__ import annotations

import contextlib
import io
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from firstsight.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")  # endings of the files that count as pictures
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
A_PICTURE = "a picture (JPEG, PNG, WebP, BMP, TIFF or GIF)"
DRAFT = 2  # a JPEG is decoded at this many times the needed size or more, so that shrinking still averages
STORED = 256, 224  # pixels of a stored picture and of the crops cut from it (paper, section 5.2)
MOST_PIXELS = 100_000_000  # larger pictures are refused; decoded, this is 300 MB of memory
ORIENTATION = 0x0112  # EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_opening = threading.Lock()


def open_picture(
    source: str | Path | bytes, name: str | None = None, enough: int | None = None, most_pixels: int = MOST_PIXELS
) -> Image.Image:
    """Decode a picture as upright RGB: the first frame of an animation, transparency on white, 16 bits reduced to 8.

    Args:
        source: a file, or the bytes of one.
        name: its name in messages; the path if None.
        enough: pixels that the shorter side needs: a large JPEG is then decoded at a half, a quarter or an eighth of
            its size, never smaller than this.
        most_pixels: larger pictures are refused before they are decoded.

    Raises:
        InputError: the file is no picture, is incomplete or is too large.
    """
    name = name or (str(source) if not isinstance(source, bytes) else "picture")
    picture = _header(source if isinstance(source, bytes) else read_picture(source, name), name)
    width, height = picture.size
    if width * height > most_pixels:
        raise InputError(
            f"{name} must be a picture of at most {most_pixels:,} pixels; got {width:,} x {height:,}; make it smaller"
        )
    if enough:
        picture.draft(None, (enough, enough))
    return upright_rgb(picture, name)


def read_picture(path: str | Path, name: str) -> bytes:
    """Read the file of a picture; `name` is its name in messages."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{name} must be a picture; got a file that cannot be read: {error.strerror}") from error


def upright_rgb(picture: Image.Image, name: str = "picture") -> Image.Image:
    """Decode an opened picture as RGB, upright as its EXIF says; raise InputError if it is incomplete or damaged."""
    try:
        picture.load()
        orientation = None
        with contextlib.suppress(Exception):  # cameras and editors also write broken EXIF
            orientation = picture.getexif().get(ORIENTATION)
        picture = as_rgb(picture)
    except Exception as error:  # decoders of broken files raise anything
        raise InputError(f"{name} must be a whole picture; got one that is broken: {error}") from error
    picture = picture.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else picture.copy()
    picture.info.pop("exif", None)  # the picture is upright now and must not be turned a second time
    return picture


def _header(content: bytes, name: str) -> Image.Image:
    """Open a picture without decoding it; Pillow's own size limit, which only warns, is switched off meanwhile."""
    with _opening:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(content), formats=FORMATS)
        except Exception as error:  # decoders of broken files raise anything
            found = "an empty file" if not content else "something else"
            raise InputError(f"{name} must be {A_PICTURE}; got {found}") from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def as_rgb(picture: Image.Image) -> Image.Image:
    """Convert a decoded picture to RGB; raise ValueError for a mode that cannot be converted, such as floats."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I"):  # Pillow would clip all above 255
        grey = np.asarray(picture).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError(f"brightness must be 0 to 65,535; got {grey.min():,} to {grey.max():,}")
        picture = Image.fromarray((grey // 257).astype(np.uint8))
    if picture.mode == "F":
        raise ValueError("brightness must be whole numbers; got floats")
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def squared(picture: Image.Image, side: int) -> NDArray[np.uint8]:
    """Return the central square of an RGB picture as [side, side, 3], its shape kept; shrinking averages.

    It is what the authors' code keeps: the shorter side is shrunk to `side`, and the middle of the longer one stays.
    """
    square = central_square(*picture.size)
    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC, square, reducing_gap=3.0))


def central_square(width: int, height: int) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the largest square in the middle of a picture, in whole pixels."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def stored_side(side: int) -> int:
    """Return the side in pixels of the stored squares from which crops of `side` pixels are cut: 256 for 224."""
    if side < 1:
        raise InputError(f"side must be 1 or more; got {side}")
    return round(side * STORED[0] / STORED[1])
