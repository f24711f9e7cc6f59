"""Shapes and colours on a Pillow canvas: nested frames, splines, fills and inks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFilter

Ink = str | Sequence[float] | NDArray[np.floating]  # "#rrggbb", or red, green and blue in 0..255
Color = tuple[int, ...]  # red, green, blue and perhaps alpha
Points = NDArray[np.floating]
Pen = ImageDraw.ImageDraw


class Frame:
    """A coordinate system on the canvas: a scale, a turn and an origin."""

    def __init__(self, origin: ArrayLike, matrix: Points) -> None:
        self.origin, self.matrix = np.asarray(origin, dtype=float), matrix

    def within(self, x: float, y: float, scale: float = 1.0, angle: float = 0.0) -> Frame:
        """Return a frame at (x, y) of this one, `scale` as large and turned front-down by `angle` radians."""
        cos, sin = np.cos(angle), np.sin(angle)
        return Frame(self((x, y)), self.matrix @ (scale * np.array([[cos, -sin], [sin, cos]])))

    def __call__(self, points: ArrayLike) -> Points:
        """Return the canvas coordinates of points [p, 2]."""
        placed: Points = np.asarray(points, dtype=float) @ self.matrix.T + self.origin
        return placed

    @property
    def unit(self) -> float:
        """Return the length of one unit in canvas pixels."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))


@lru_cache(maxsize=8)
def _spline_basis(steps: int) -> Points:
    """Return weights [steps, 4] of four neighbouring control points (Catmull-Rom)."""
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    weights = np.hstack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3])
    return weights / 2


def spline(points: ArrayLike, steps: int = 8) -> Points:
    """Return [p * steps, 2] points of a smooth closed curve through p points."""
    points = np.asarray(points, dtype=float)
    around = points[(np.arange(len(points))[:, None] + np.arange(-1, 3)) % len(points)]  # [p, 4, 2]
    curve: Points = np.einsum("sk,pkd->psd", _spline_basis(steps), around)  # [p, steps, 2]
    return curve.reshape(-1, 2)


_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 24)), np.sin(np.linspace(0, 2 * np.pi, 24))], axis=1)


def circle(x: float = 0.0, y: float = 0.0, radius: float = 1.0) -> Points:
    """Return [24, 2] points on a circle."""
    return _CIRCLE * radius + (x, y)


def soften(mask: Image.Image, radius: float, shrink: int = 4) -> Image.Image:
    """Blur a mask, at a fraction of its size, which is faster and looks the same."""
    small = mask.reduce(shrink).filter(ImageFilter.GaussianBlur(radius / shrink))
    return small.resize(mask.size, Image.Resampling.BILINEAR)


def fill(pen: Pen, outline: Points, color: Color | int) -> None:
    """Fill an outline given in canvas coordinates."""
    pen.polygon(outline.ravel().tolist(), fill=color)


def line(pen: Pen, points: Points, width: float, color: Color) -> None:
    """Draw a line with round ends."""
    pen.line(points.ravel().tolist(), fill=color, width=max(1, round(width)), joint="curve")
    if color[3] == 255:
        for x, y in (points[0], points[-1]):
            disc(pen, x, y, width / 2, color)


def band(pen: Pen, x: Points, upper: Points, lower: Points, color: Color) -> None:
    """Fill the area between two curves over the same x."""
    fill(pen, np.concatenate([np.stack([x, upper], axis=1), np.stack([x, lower], axis=1)[::-1]]), color)


def disc(pen: Pen, x: float, y: float, radius: float, color: Color) -> None:
    """Fill a circle."""
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=color)


def rgb(color: Ink) -> tuple[float, ...]:
    """Return red, green and blue in 0..255 of "#rrggbb" or of three numbers."""
    return tuple(bytes.fromhex(color[1:])) if isinstance(color, str) else tuple(color[:3])


def blend(color: Ink, other: Ink, share: float) -> Color:
    """Mix two colours; `share` is the share of the second one."""
    pairs = zip(rgb(color), rgb(other), strict=True)
    return tuple(min(255, max(0, int(a * (1 - share) + b * share))) for a, b in pairs)


def tint(ink: Ink, alpha: int = 255) -> Color:
    """Return the ink with an alpha value, as Pillow takes it."""
    return (*(min(255, max(0, int(v))) for v in rgb(ink)), int(alpha))
