"""The background of a bird: sky, hills, bokeh, and a perch on a branch, a reed, a rock, in grass or in water."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from firstsight.datasets.atlas.shapes import Color, Ink, Pen, Points, band, blend, disc, fill, line, rgb, tint

# The six colours of a scene: upper sky, lower sky, far, middle, near, bark.
_INKS = (
    ("#bcd9d4", "#f3ead0", "#a9c6b2", "#7fa78c", "#4d7a62", "#6b5141"),  # morning
    ("#f4c9a0", "#fbe9c8", "#dba98a", "#a9806f", "#6d5a57", "#59423b"),  # sunrise
    ("#9dc3d9", "#e4eee6", "#9fbfbf", "#6d9a98", "#3f6d70", "#705848"),  # clear day
    ("#d9d3e6", "#f6e3dc", "#b3abc9", "#8683a8", "#565a7d", "#5a4a52"),  # dusk
    ("#e9dfbc", "#f6efd6", "#cfc58d", "#a3a262", "#6d7a45", "#715739"),  # dry summer
    ("#cfdcdd", "#eef0ea", "#b7c8c9", "#8fa8ab", "#5f7e84", "#635650"),  # mist
    ("#f2d3b4", "#f7e8d2", "#dca36a", "#b5774a", "#7b5140", "#4f3d36"),  # autumn
)


@dataclass(frozen=True)
class Scene:
    """Properties of the scenery that the perch depends on."""

    place: str  # a key of `PERCHES`
    inks: Points  # [6, 3] colours, in the order of `_INKS`
    side: int  # width and height of the canvas, in pixels
    horizon: float  # upper edge of land or water, in pixels from the top


def draw_scenery(side: int, rng: np.random.Generator) -> tuple[Image.Image, Scene]:
    """Draw everything behind the bird; return the canvas and its description."""
    inks = np.array([rgb(ink) for ink in _INKS[rng.integers(len(_INKS))]]) + rng.normal(0, 5, (6, 3))
    place = list(PERCHES)[rng.integers(len(PERCHES))]
    horizon = rng.uniform(0.6, 0.72)
    small = max(48, side // 3)  # blurred things are drawn small: it is fast, and enlarging blurs them
    ramp = np.linspace(0, 1, 8)[:, None, None]
    sky = np.clip(inks[0] * (1 - ramp) + inks[1] * ramp, 0, 255).astype(np.uint8)
    back = Image.fromarray(sky).resize((small, small), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(back, "RGBA")
    if rng.random() < 0.6:
        disc(pen, rng.uniform(0.1, 0.9) * small, rng.uniform(0.08, 0.4) * small, 0.11 * small, (255, 252, 236, 150))
    _draw_clouds(pen, small, rng)
    for layer, ink in ((0.0, inks[2]), (0.09, inks[3])):
        _draw_hills(pen, small, horizon + layer - 0.12, ink, rng)
        if rng.random() < 0.5:
            _draw_trees(pen, small, horizon + layer - 0.09, ink, rng)
    if place in ("branch", "reeds"):
        _draw_bokeh(pen, small, inks, rng)
    back = back.filter(ImageFilter.GaussianBlur(small * 0.018))
    canvas = back.resize((side, side), Image.Resampling.BICUBIC)
    return canvas, Scene(place, inks, side, horizon * side)


def draw_perch(canvas: Image.Image, scene: Scene, feet: Points, unit: float, rng: np.random.Generator) -> None:
    """Draw the perch under the feet [2, 2] of the bird, whose body has a length of `unit` canvas pixels."""
    PERCHES[scene.place](ImageDraw.Draw(canvas, "RGBA"), scene, feet.mean(axis=0), unit, rng)


def _draw_hills(pen: Pen, side: int, level: float, ink: Points, rng: np.random.Generator) -> None:
    x = np.linspace(0, 1, 16)
    waves = sum(rng.uniform(0.01, 0.04) * np.sin(x * rng.uniform(2, 9) + rng.uniform(0, 6)) for _ in range(3))
    ridge = np.stack([x * side, (level + waves) * side], axis=1)
    pen.polygon([*ridge.ravel().tolist(), side, side, 0, side], fill=tint(ink))


def _draw_clouds(pen: Pen, side: int, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(0, 4)):
        x, y, wide = rng.uniform(0, side), rng.uniform(0.05, 0.4) * side, rng.uniform(0.1, 0.25) * side
        for shift, high in ((-0.5, 0.02), (0.1, 0.035), (0.6, 0.022)):
            box = [x + (shift - 0.8) * wide, y - high * side, x + (shift + 0.8) * wide, y + high * side]
            pen.ellipse(box, fill=(255, 253, 246, 70))


def _draw_trees(pen: Pen, side: int, level: float, ink: Points, rng: np.random.Generator) -> None:
    """Draw firs on a far ridge."""
    for x in rng.uniform(0, side, 9):
        tall, foot = rng.uniform(0.06, 0.16) * side, level * side + 0.06 * side
        outline = [x, foot - tall, x + 0.24 * tall, foot, x - 0.24 * tall, foot]
        pen.polygon(outline, fill=tint(blend(ink, "#20303a", 0.06)))


def _draw_bokeh(pen: Pen, side: int, inks: Points, rng: np.random.Generator) -> None:
    """Draw leaves out of focus."""
    for _ in range(16):
        x, y = rng.uniform(0, 1, 2) * side
        ink = inks[rng.integers(0, 5)]
        disc(pen, x, y, rng.uniform(0.03, 0.12) * side, tint(ink, int(rng.integers(50, 120))))


def _draw_branch(pen: Pen, scene: Scene, at: Points, unit: float, rng: np.random.Generator) -> None:
    inks, side = scene.inks, scene.side
    slope, thick = rng.uniform(-0.16, 0.16), side * rng.uniform(0.028, 0.04)
    x = np.linspace(-0.05, 1.05, 12) * side
    bend = side * 0.012 * np.sin(x / side * rng.uniform(4, 8) + rng.uniform(0, 6))
    bend -= np.interp(at[0], x, bend)
    y = at[1] + thick * 0.75 + slope * (x - at[0]) + bend
    half = thick * np.linspace(1.15, 0.75, 12) * 0.8
    corner = rng.choice([-0.02, 1.02]) * side
    for _ in range(9):  # leaves hanging into the picture, out of the bird's way
        spot = np.array([corner + rng.normal(0, 0.09) * side, rng.uniform(-0.02, 0.16) * side])
        _draw_leaf(pen, spot, side * rng.uniform(0.09, 0.15), inks, rng)
    for sign in (-1, 1):  # twigs with leaves
        root = rng.integers(2, 10)
        tip = np.array([x[root] + rng.uniform(-0.2, 0.2) * side, y[root] + sign * rng.uniform(0.1, 0.22) * side])
        pen.line([x[root], y[root], *tip], fill=tint(inks[5]), width=max(2, int(thick * 0.35)))
        for t in (0.45, 0.75, 1.0):
            _draw_leaf(pen, np.array([x[root], y[root]]) * (1 - t) + tip * t, side * rng.uniform(0.06, 0.1), inks, rng)
    band(pen, x, y - half, y + half, tint(inks[5]))
    band(pen, x, y - half, y - half * 0.35, tint(blend(inks[5], "#fff0d8", 0.22)))
    band(pen, x, y + half * 0.4, y + half, tint(blend(inks[5], "#1c1420", 0.3)))
    for _ in range(7):
        at_x = rng.uniform(0, 1) * side
        at_y = np.interp(at_x, x, y) + rng.uniform(-0.5, 0.5) * thick
        groove = [at_x, at_y, at_x + 0.05 * side, at_y + slope * 0.05 * side]
        pen.line(groove, fill=(30, 20, 25, 90), width=max(1, side // 190))


def _draw_reeds(pen: Pen, scene: Scene, at: Points, unit: float, rng: np.random.Generator) -> None:
    inks, side = scene.inks, scene.side
    brown = tint(blend(inks[5], "#6a4326", 0.5))
    for _ in range(9):
        x, lean, tall = rng.uniform(0, 1) * side, rng.normal(0, 0.1) * side, rng.uniform(0.35, 0.9) * side
        ink = inks[rng.integers(3, 5)]
        _blade(pen, (x, side * 1.02), (x + lean, side - tall), side * 0.02, tint(ink, 235))
        if rng.random() < 0.45:  # a cattail
            top = side - tall + np.array([0.03, 0.14]) * side
            line(pen, np.stack([np.full(2, x + lean), top], axis=1), side * 0.028, brown)
    # A fallen cattail lies across the others, highest under the bird's feet.
    t = np.linspace(-1, 1, 13) + rng.uniform(-0.25, 0.25)
    slope = rng.uniform(-0.12, 0.12)
    stem = np.stack([at[0] + 0.62 * side * t, at[1] + 0.016 * side + side * (0.14 * t**2 + slope * t)], axis=1)
    line(pen, stem, side * 0.03, tint(blend(inks[4], "#cdb878", 0.35)))
    line(pen, stem - (0, 0.007 * side), side * 0.009, (255, 250, 220, 110))
    line(pen, stem[9:11], side * 0.055, brown)


def _draw_grass(pen: Pen, scene: Scene, at: Points, unit: float, rng: np.random.Generator) -> None:
    inks, side = scene.inks, scene.side
    level = min(scene.horizon, at[1] - 0.05 * side)
    _draw_floor(pen, side, level, blend(inks[3], inks[4], 0.35), inks[4], rng)
    _shadow(pen, at, unit)
    for y in np.sort(rng.uniform(level + 0.04 * side, side * 1.06, 70)):
        x, near = rng.uniform(0, side), (y - level) / (side - level)
        ink = blend(inks[4], inks[rng.integers(1, 4)], rng.uniform(0.1, 0.45))
        tall = side * rng.uniform(0.04, 0.08) * (0.5 + near)
        _blade(pen, (x, y), (x + rng.normal(0, 0.02) * side, y - tall), side * 0.012, tint(ink, 220))
    for _ in range(5):
        x, y = rng.uniform(0, side), rng.uniform(level + 0.06 * side, side)
        disc(pen, x, y, side * 0.011, (255, 244, 214, 230))


def _draw_water(pen: Pen, scene: Scene, at: Points, unit: float, rng: np.random.Generator) -> None:
    inks, side = scene.inks, scene.side
    level = min(scene.horizon, at[1] - 0.06 * side)
    _draw_floor(pen, side, level, blend(inks[0], inks[3], 0.25), blend(inks[3], inks[0], 0.3), rng)
    reflection = [at[0] - 0.42 * unit, at[1] + 0.02 * unit, at[0] + 0.42 * unit, at[1] + 0.3 * unit]
    pen.ellipse(reflection, fill=tint(inks[4], 90))
    for number in range(3):
        rx, ry = unit * (0.2 + 0.17 * number), unit * (0.035 + 0.03 * number)
        ring = [at[0] - rx, at[1] - ry, at[0] + rx, at[1] + ry]
        pen.ellipse(ring, outline=(255, 255, 250, 150 - 40 * number), width=max(1, side // 150))
    for _ in range(14):
        x, y, w = rng.uniform(0, side), rng.uniform(level + 0.03 * side, side), rng.uniform(0.04, 0.14) * side
        pen.line([x, y, x + w, y], fill=(255, 255, 248, 95), width=max(1, side // 130))


def _draw_rock(pen: Pen, scene: Scene, at: Points, unit: float, rng: np.random.Generator) -> None:
    inks, side = scene.inks, scene.side
    level = min(scene.horizon + 0.08 * side, at[1] + 0.02 * side)
    _draw_floor(pen, side, level, inks[3], inks[4], rng)
    stone = blend(inks[5], "#b9b4ad", rng.uniform(0.45, 0.7))
    wide, deep = rng.uniform(0.26, 0.36) * side, side * 1.05 - at[1]
    t = np.linspace(-1, 1, 25)
    bumps = 0.02 * np.sin(5 * t + rng.uniform(0, 6)) + 0.012 * np.sin(11 * t + rng.uniform(0, 6))
    x = at[0] + 1.5 * wide * np.sign(t) * np.abs(t) ** 1.2
    y = at[1] + 0.004 * side + deep * np.abs(t) ** 2.6 + side * bumps * np.abs(t) * 2
    floor = np.full(25, side * 1.1)
    band(pen, x, y, floor, tint(stone))
    for first, shade in ((13, 0.12), (17, 0.2)):  # the side away from the light
        ridge = np.stack([x[first:], y[first:] + 0.04 * side], axis=1)
        foot = [[side * 1.3, side * 1.1], [x[first] - rng.uniform(0.02, 0.12) * side, side * 1.1]]
        crack = [[x[first] - 0.05 * side, (y[first] + side) / 2]]
        fill(pen, np.concatenate([ridge, foot, crack]), tint(blend(stone, "#2a2430", shade)))
    band(pen, x, y, y + 0.03 * side * (1 - np.abs(t)), tint(blend(blend(inks[4], "#8fa04e", 0.4), stone, 0.15)))
    _shadow(pen, at, unit * 0.6)
    for _ in range(12):
        px, py = at[0] + rng.uniform(-0.7, 0.7) * wide, at[1] + rng.uniform(0.2, 1) * deep
        disc(pen, px, py, side * rng.uniform(0.004, 0.012), (40, 34, 44, 50))


PERCHES = {"branch": _draw_branch, "reeds": _draw_reeds, "grass": _draw_grass, "water": _draw_water, "rock": _draw_rock}


def _draw_floor(pen: Pen, side: int, level: float, far: Ink, near: Ink, rng: np.random.Generator) -> None:
    steps = 7
    for step in range(steps):
        top = level + (side - level) * (step / steps) ** 1.4
        wobble = rng.normal(0, 0.006, 6) * side
        tone = tint(blend(far, near, step / (steps - 1)))
        band(pen, np.linspace(0, side, 6), top + wobble, np.full(6, side * 1.1), tone)


def _shadow(pen: Pen, at: Points, unit: float) -> None:
    for grow in (1.0, 0.75, 0.5):
        rx, ry = 0.45 * unit * grow, 0.075 * unit * grow
        pen.ellipse([at[0] - rx, at[1] - ry * 0.6, at[0] + rx, at[1] + ry * 1.4], fill=(30, 26, 48, 42))


def _draw_leaf(pen: Pen, at: Points, length: float, inks: Points, rng: np.random.Generator) -> None:
    angle = rng.uniform(0, 2 * np.pi)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    ink = blend(inks[4], inks[rng.integers(2, 4)], rng.uniform(0, 0.5))
    side = [(t, 0.26 * np.sin(np.pi * t**0.8)) for t in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    upper = [at + length * (t * along + w * across) for t, w in side]
    lower = [at + length * (t * along - w * across) for t, w in reversed(side)]
    fill(pen, np.concatenate([upper, lower]), tint(ink))
    fill(pen, np.concatenate([upper, [at + length * along, at]]), (255, 255, 235, 40))


def _blade(pen: Pen, foot: tuple[float, float], tip: tuple[float, float], width: float, color: Color) -> None:
    bend = ((foot[0] * 0.7 + tip[0] * 0.3), (foot[1] + tip[1]) / 2)
    pen.polygon([foot[0] - width / 2, foot[1], bend[0] - width / 2.6, bend[1], *tip, bend[0] + width / 2.6, bend[1],
                 foot[0] + width / 2, foot[1]], fill=color)  # fmt: skip
