"""Picture files to upright RGB, opened safely: whatever cannot be read is refused with the file's name.

    picture = open_picture("images/owl/1.jpg")

Files come from anywhere, so only formats of pictures are tried, and the size is looked at before anything is decoded.
"""

from __future__ import annotations

import io
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from firstsight.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")  # of the files that are taken for pictures
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
DRAFT = 2  # times as large as needed a JPEG is decoded at least, so that shrinking still averages
STORED = 256, 224  # pixels that are kept for crops of so many (paper, section 5.2)
MOST_PIXELS = 100_000_000  # of a picture that is decoded: 300 MB of memory
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
    source: str | Path | bytes,
    name: str | None = None,
    enough: int | None = None,
    most_pixels: int = MOST_PIXELS,
) -> Image.Image:
    """A picture as upright RGB; of an animation the first frame, transparency on white, 16 bits brought down to 8.

    Args:
        source: a file, or what is in it.
        name: what messages call it; the file's path where None.
        enough: pixels of the shorter side that are needed: a large JPEG is then decoded at a half, a quarter or an
            eighth of its size, never smaller than this.
        most_pixels: larger pictures are refused before they are decoded.

    Raises:
        InputError: not a picture, not a whole one, or too large a one.
    """
    name = name or (str(source) if not isinstance(source, bytes) else "picture")
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise InputError(f"{name} must be a picture; got a file that cannot be read: {error.strerror}") from error
    picture = _header(content, name)
    width, height = picture.size
    if width * height > most_pixels:
        raise InputError(
            f"{name} must be a picture of at most {most_pixels:,} pixels; got {width:,} x {height:,}; make it smaller"
        )
    if enough:
        picture.draft(None, (enough, enough))
    return upright_rgb(picture, name)


def upright_rgb(picture: Image.Image, name: str = "picture") -> Image.Image:
    """A picture decoded, in colours, and turned as it was taken.

    Raises:
        InputError: it breaks off, is damaged, or has no colours.
    """
    try:
        picture.load()
        orientation = _orientation(picture)
        picture = as_rgb(picture)
    except Exception as error:  # decoders of broken files raise anything
        raise InputError(f"{name} must be a whole picture; got one that is broken: {error}") from error
    picture = picture.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else picture.copy()
    picture.info.pop("exif", None)  # it is upright now, and must not be turned again
    return picture


def _header(content: bytes, name: str) -> Image.Image:
    """The picture, not decoded yet; Pillow's own limit, which warns, is set aside for this moment."""
    with _opening:
        theirs, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(content), formats=FORMATS)
        except Exception as error:  # as above
            found = "an empty file" if not content else "something else"
            raise InputError(f"{name} must be a picture (JPEG, PNG, WebP, BMP, TIFF or GIF); got {found}") from error
        finally:
            Image.MAX_IMAGE_PIXELS = theirs


def _orientation(picture: Image.Image) -> int | None:
    """How the camera was held, where the file says so and can be understood."""
    try:
        return picture.getexif().get(ORIENTATION)
    except Exception:  # what cameras and editors write there is not always EXIF
        return None


def as_rgb(picture: Image.Image) -> Image.Image:
    """A decoded picture of any mode as RGB.

    Raises:
        ValueError: a mode that has no colours to convert, such as floats.
    """
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
    """[side, side, 3] the whole of an RGB picture, stretched to a square, averaged where it shrinks."""
    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0))


def stored_side(side: int) -> int:
    """Pixels of the sides of the pictures from which crops of `side` pixels are cut: 256 for 224."""
    if side < 1:
        raise InputError(f"side must be 1 or more; got {side}")
    return round(side * STORED[0] / STORED[1])
