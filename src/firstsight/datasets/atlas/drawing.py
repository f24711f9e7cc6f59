"""Drawing of one picture of one bird: scenery, perch, bird, light.

Shapes are splines in the coordinates of the bird (unit: length of its body, x to its front, y down), placed by nested
`Frame`s and drawn with Pillow on a canvas a few times larger than the picture. The random differences between pictures
of one class are drawn first, into a `Moment`, so that changing a trait changes nothing else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

from firstsight.datasets.atlas.scenery import draw_perch, draw_scenery
from firstsight.datasets.atlas.shapes import Color, Frame, Pen, blend, circle, fill, rgb, soften, spline, tint

PLUMAGE = {
    "red": "#cf3f2e",
    "yellow": "#f0bf3a",
    "black": "#2a2a31",
    "white": "#f6f0e2",
    "blue": "#3b78bd",
    "olive": "#838a4c",
    "slate": "#6f889a",
    "brown": "#8d6140",
    "green": "#35806a",
    "orange": "#e7853a",
    "rose": "#e2909a",
    "grey": "#b1b2ae",
    "rust": "#ad5430",
}
BARE = {"black": "#2c2a2d", "yellow": "#efb233", "red": "#d2492f", "grey": "#6b6763"}  # bill and legs
CREAM, INK = "#fbf3df", "#211d20"

# Tables for `Image.point`.
_SHARPEN = [min(255, max(0, (v - 118) * 14)) for v in range(256)]
_FAINT, _HALF = [v // 6 for v in range(256)], [v // 2 for v in range(256)]


class Moment:
    """All random properties of one picture, drawn from one generator in one order."""

    def __init__(self, rng: np.random.Generator) -> None:
        hue = rng.normal(0, 9, 3)  # shared by all parts: one bird is redder than another as a whole
        self.flip = 1 if rng.random() < 0.5 else -1  # -1 if the bird faces left
        self.lean = rng.normal(0.5, 0.13)  # how upright it stands, in radians
        self.nod = rng.normal(0.0, 0.13)  # how far its bill points down from level, in radians
        self.turn = rng.random() ** 2  # 0 in full profile to 1 turned towards us or away: the bill looks shorter
        self.zoom = rng.normal(1, 0.06)  # its scale, before its size trait
        self.spot = rng.normal(0, 0.025, 2)  # offset of its body from the usual place, in picture widths
        self.stretch = np.exp(rng.normal(0, 0.06, 6))  # factors on depth of body, head, bill, tail, legs, crest
        self.hues = hue + rng.normal(0, 10, (9, 3))  # colour offsets of its parts, in 0..255
        self.boldness = float(np.clip(rng.normal(0.95, 0.15), 0.55, 1.2))  # strength of its markings
        self.warmth = float(np.clip(rng.normal(0, 0.45), -1, 1))  # the light, from -1 cold to 1 warm
        self.brightness = float(np.clip(rng.normal(1, 0.07), 0.82, 1.15))  # the light, near 1
        self.seeds = rng.integers(2**31, size=3)  # of the scenery, the feathers and the grain


def draw_bird(traits: dict[str, str], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one bird with these traits, at a random moment, as a picture [size, size, 3]."""
    moment = Moment(rng)
    side = size * (3 if size < 128 else 2)  # antialiasing by drawing larger
    scenery_rng, feather_rng, grain_rng = map(np.random.default_rng, moment.seeds)
    canvas, scene = draw_scenery(side, scenery_rng)
    bird = _Bird(traits, moment, side)
    draw_perch(canvas, scene, bird.feet, bird.body.unit, scenery_rng)
    bird.draw(canvas, feather_rng)
    small = canvas.resize((size, size), Image.Resampling.BOX)
    return _add_light(small, moment, grain_rng)


class _Bird:
    """One bird on one canvas: its constructor places all parts, `draw` draws them from far to near."""

    def __init__(self, traits: dict[str, str], moment: Moment, side: int) -> None:
        self.traits, self.moment, self.side = traits, moment, side
        depth, head, bill, tail, legs, crest = moment.stretch
        bulk = {"small": 0.8, "medium": 0.98, "large": 1.2}[traits["size"]]
        self.depth = depth * {"slender": 0.82, "round": 1.2}[traits["body_shape"]]
        self.leg = legs * {"short": 0.1, "medium": 0.26, "long": 0.5}[traits["leg_length"]]
        # Small birds have large heads; the ratio shows size where zoom hides it.
        self.head_size = head * {"small": 0.26, "medium": 0.225, "large": 0.195}[traits["size"]]
        self.bill_scale = bill * (1 - 0.22 * moment.turn)
        self.tail_scale, self.crest_scale = tail, crest
        unit = side * 0.42 * bulk * moment.zoom
        # Tails need room behind, legs below, crests above; all in picture widths.
        x = 0.5 + moment.flip * 0.06 + moment.spot[0]
        crest_room = {"none": 0.0, "short": 0.02, "tall": 0.05}[traits["crest"]]
        y = 0.52 + crest_room + moment.spot[1] - 0.5 * (self.leg - 0.12) * unit / side
        flip = np.diag([moment.flip, 1.0])
        self.world = Frame(np.array([x, y]) * side, unit * flip)
        self.body = self.world.within(0, 0, 1, -moment.lean)
        slim = self.depth**0.5
        self.head = self.body.within(0.4, -0.25 * slim - 0.04, self.head_size, moment.lean + moment.nod)
        self.hips = self.world(np.array([[0.02, 0.22 * self.depth], [-0.09, 0.22 * self.depth]]))  # near, far
        self.feet = self.world(np.array([[0.08, 0.3 * self.depth + self.leg], [-0.05, 0.285 * self.depth + self.leg]]))
        inks = {part: PLUMAGE[traits[f"{part}_color"]] for part in ("crown", "back", "breast", "wing")}
        inks |= {part: BARE[traits[f"{part}_color"]] for part in ("bill", "leg")}
        inks |= {"cheek": PLUMAGE["rust"], "cream": CREAM, "ink": INK}
        hues = zip(inks.items(), moment.hues, strict=True)
        self.colors = {part: tint(np.array(rgb(ink)) + hue)[:3] for (part, ink), hue in hues}

    def draw(self, canvas: Image.Image, rng: np.random.Generator) -> None:
        """Draw the bird on the canvas."""
        pen = ImageDraw.Draw(canvas, "RGBA")
        self._draw_tail(pen)
        self._draw_leg(pen, 1, blend(self.colors["leg"], INK, 0.3))
        self._draw_leg(pen, 0, self.colors["leg"])
        self._draw_crest(pen)
        self._draw_bill(pen)
        silhouette = self._silhouette()
        canvas.paste(self._plumage(silhouette, rng), mask=silhouette)
        self._draw_wing(canvas, silhouette, rng)
        self._draw_eye(ImageDraw.Draw(canvas, "RGBA"))

    def _silhouette(self) -> Image.Image:
        """Make the mask of body, neck and head as one shape with soft edges."""
        d = self.depth
        mask = Image.new("L", (self.side, self.side))
        pen = ImageDraw.Draw(mask)
        outline = [(-0.58, 0.0), (-0.36, -0.15 * d), (0.0, -0.25 * d), (0.28, -0.27 * d), (0.46, -0.12 * d)]
        outline += [(0.49, 0.08 * d), (0.3, 0.27 * d), (0.0, 0.31 * d), (-0.3, 0.2 * d), (-0.52, 0.1 * d)]
        fill(pen, self.body(spline(outline)), 255)
        fill(pen, self.head(circle()), 255)
        fill(pen, self.body(circle(0.33, -0.15 * d, 0.095 * (d + 1))), 255)  # neck
        # Blurring and sharpening again fills the notches where the shapes meet.
        return soften(mask, self.body.unit * 0.045, 2).point(_SHARPEN)

    def _plumage(self, silhouette: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Paint the plumage, larger than the silhouette, which then cuts it out."""
        d, unit, colors = self.depth, self.body.unit, self.colors
        coat = Image.new("RGB", (self.side, self.side), colors["back"])
        belly = Image.new("L", (self.side, self.side))
        outline = [(0.66, -0.34), (0.44, -0.16), (0.28, -0.02 * d), (0.0, 0.07 * d), (-0.34, 0.08 * d), (-0.7, 0.1)]
        outline += [(-0.5, 0.6), (0.2, 0.8), (0.85, 0.4), (0.85, -0.2)]
        fill(ImageDraw.Draw(belly), self.body(spline(outline)), 255)
        coat.paste(colors["breast"], mask=soften(belly, unit * 0.025, 2))
        pen = ImageDraw.Draw(coat, "RGBA")
        self._draw_barbs(pen, rng)
        self._draw_breast_pattern(pen, rng)
        self._draw_face(pen)
        # Form: parts towards the light are brighter, parts below are cooler and darker.
        form = soften(ImageChops.offset(silhouette, int(-0.05 * unit), int(-0.13 * unit)), unit * 0.1)
        dark = ImageChops.multiply(coat, Image.new("RGB", coat.size, (150, 142, 168)))
        coat = Image.composite(coat, dark, form)
        sheen = ImageChops.invert(ImageChops.offset(silhouette, int(0.03 * unit), int(0.1 * unit)))
        sheen = soften(sheen, unit * 0.03).point(_FAINT)
        return Image.composite(Image.new("RGB", coat.size, (255, 250, 232)), coat, sheen)

    def _draw_barbs(self, pen: Pen, rng: np.random.Generator) -> None:
        """Draw short lighter and darker strokes along the body that look like feathers."""
        starts = rng.uniform((-0.55, -0.34), (0.55, 0.36), (70, 2)) * (1, self.depth)
        ends = starts + np.stack([rng.uniform(-0.09, -0.05, 70), rng.uniform(-0.005, 0.03, 70)], axis=1)
        width = max(1, round(self.body.unit * 0.012))
        for number, (start, end) in enumerate(zip(self.body(starts), self.body(ends), strict=True)):
            tone = (255, 255, 255, 46) if number % 2 else (25, 18, 40, 34)
            pen.line([*start, *end], fill=tone, width=width)

    def _draw_breast_pattern(self, pen: Pen, rng: np.random.Generator) -> None:
        d, kind = self.depth, self.traits["breast_pattern"]
        ink = (*blend(self.colors["ink"], self.colors["back"], 0.25), int(215 * min(1, self.moment.boldness)))
        if kind == "banded":
            band = [(0.66, -0.16), (0.5, -0.02), (0.36, 0.0), (0.22, 0.02), (0.24, 0.1), (0.4, 0.12), (0.6, 0.08)]
            fill(pen, self.body(spline([(x, y * d) for x, y in band])), ink)
            return
        if kind == "plain":
            return
        rows = [(0.42 - 0.115 * row, y) for row in range(7) for y in (0.0, 0.085, 0.17, 0.255)]
        marks = np.array([(x + 0.03 * (i % 2) - 0.25 * y, y * d) for i, (x, y) in enumerate(rows)])
        marks += rng.normal(0, 0.012, marks.shape)
        for x, y in marks:
            if kind == "spotted":
                fill(pen, self.body(circle(x, y, 0.024)), ink)
            else:
                fill(pen, self.body([(x + 0.045, y), (x, y - 0.016), (x - 0.06, y + 0.012), (x, y + 0.016)]), ink)

    def _draw_face(self, pen: Pen) -> None:
        """Draw crown and face on the head."""
        colors, kind = self.colors, self.traits["face_pattern"]
        alpha = int(235 * min(1, self.moment.boldness))
        crown = [(1.15, -0.3), (0.45, -0.42), (-0.3, -0.34), (-1.0, 0.1), (-1.5, 0.3), (-1.5, -1.0), (0.0, -1.6)]
        fill(pen, self.head(spline([*crown, (1.2, -1.0)])), colors["crown"])
        if kind == "masked":
            mask = [(1.1, -0.02), (0.4, -0.34), (-0.3, -0.22), (-1.0, 0.12), (-0.9, 0.36), (-0.2, 0.26), (0.5, 0.2)]
            fill(pen, self.head(spline([*mask, (1.1, 0.16)])), (*colors["ink"], alpha))
        elif kind == "cheeked":
            fill(pen, self.head(circle(-0.12, 0.4, 0.42)), (*colors["cheek"], alpha))
        elif kind == "ringed":
            fill(pen, self.head(circle(0.3, -0.1, 0.46)), (*colors["cream"], 255))

    def _draw_eye(self, pen: Pen) -> None:
        x, y, r = 0.3 - 0.06 * self.moment.turn, -0.1, 0.235
        fill(pen, self.head(circle(x, y, r + 0.06)), (*blend(self.colors["back"], INK, 0.5), 150))
        fill(pen, self.head(circle(x, y, r)), tint(INK))
        fill(pen, self.head(circle(x, y + 0.05, r * 0.62)), (74, 48, 38))
        fill(pen, self.head(circle(x, y, r * 0.5)), (16, 13, 16))
        fill(pen, self.head(circle(x + 0.07 * self.moment.flip, y - 0.09, 0.075)), (255, 255, 255))

    def _draw_bill(self, pen: Pen) -> None:
        upper, lower = {
            "cone": (
                [(0.7, -0.42), (1.15, -0.24), (1.62, 0.12), (0.8, 0.1)],
                [(0.7, 0.06), (1.6, 0.12), (1.2, 0.36), (0.75, 0.46)],
            ),
            "needle": (
                [(0.8, -0.17), (1.5, -0.06), (2.2, 0.02), (0.8, 0.03)],
                [(0.8, 0.02), (2.15, 0.03), (1.5, 0.1), (0.8, 0.17)],
            ),
            "hooked": (
                [(0.7, -0.42), (1.2, -0.42), (1.62, -0.2), (1.74, 0.14), (1.62, 0.44), (1.46, 0.12), (0.8, 0.08)],
                [(0.7, 0.06), (1.45, 0.12), (1.3, 0.28), (0.75, 0.36)],
            ),
            "curved": (
                [(0.8, -0.22), (1.5, -0.16), (2.15, 0.14), (2.55, 0.72), (2.05, 0.34), (1.5, 0.08), (0.8, 0.02)],
                [(0.8, 0.0), (1.5, 0.08), (2.05, 0.34), (2.5, 0.7), (1.95, 0.44), (1.4, 0.24), (0.8, 0.2)],
            ),
        }[self.traits["bill_shape"]]
        stretch = np.array([self.bill_scale, 1.0])
        color = self.colors["bill"]
        for outline, tone in ((lower, blend(color, INK, 0.3)), (upper, color)):
            points = (np.array(outline) - (0.8, 0)) * stretch + (0.8, 0)
            fill(pen, self.head(points), tone)
        shine = (np.array(upper[:3]) - (0.8, 0)) * stretch * (0.9, 0.6) + (0.84, 0)
        width = max(1, round(self.head.unit * 0.09))
        pen.line([tuple(p) for p in self.head(shine)], fill=(255, 255, 255, 90), width=width, joint="curve")

    def _draw_crest(self, pen: Pen) -> None:
        kind, color = self.traits["crest"], self.colors["crown"]
        plumes = []  # front, tip and back of each
        if kind == "short":
            plumes = [[(0.3, -0.8), (-0.75, -1.55), (-0.6, -0.6)], [(-0.1, -0.85), (-1.25, -1.2), (-0.8, -0.4)]]
        elif kind == "tall":
            plumes = [[(0.55, -0.7), (-0.35, -2.15), (-0.2, -0.7)], [(0.25, -0.8), (-1.1, -2.05), (-0.5, -0.6)]]
            plumes += [[(-0.1, -0.8), (-1.6, -1.55), (-0.8, -0.4)]]
        root = np.array([-0.2, -0.7])
        for number, (front, tip, back) in enumerate(plumes):
            tip = root + (np.array(tip) - root) * self.crest_scale
            bulge_out = (np.array(front) + tip) / 2 + (-0.02, -0.14)
            bulge_in = (np.array(back) + tip) / 2 + (0.12, -0.1)
            shape = spline([front, bulge_out, tip, tip, bulge_in, back, root], steps=5)
            fill(pen, self.head(shape), blend(color, INK, 0.12 * (len(plumes) - 1 - number)))

    def _draw_leg(self, pen: Pen, number: int, color: Color) -> None:
        unit, flip = self.body.unit, self.moment.flip
        hip, foot = self.hips[number], self.feet[number]
        ankle = hip + (foot - hip) * 0.45 + np.array([-0.05 * flip, 0.0]) * unit * (0.4 + self.leg)
        width = max(2, round(unit * 0.032))
        pen.line([*hip, *ankle, *foot], fill=color, width=width, joint="curve")
        for reach, drop in ((0.11, 0.015), (0.07, 0.035), (-0.06, 0.02)):
            toe = foot + np.array([reach * flip, drop]) * unit
            pen.line([*foot, *toe], fill=color, width=max(1, round(width * 0.8)))

    def _draw_tail(self, pen: Pen) -> None:
        """Draw the tail feathers from the outermost to the innermost."""
        feathers = {  # (tip x, tip y, half width) from the rump
            "square": [(-0.5, y, 0.05) for y in (0.075, -0.06, 0.045, -0.03, 0.01)],
            "fan": [(-0.5 + 1.2 * abs(y) ** 2, y, 0.075) for y in (0.25, -0.22, 0.16, -0.13, 0.08, -0.05, 0.01)],
            "forked": [(-0.66, 0.21, 0.045), (-0.66, -0.15, 0.045),
                       (-0.5, 0.13, 0.05), (-0.5, -0.08, 0.05), (-0.3, 0.02, 0.06)],
            "streamer": [(-0.94, 0.06, 0.03), (-0.9, -0.04, 0.03),
                         (-0.45, 0.07, 0.05), (-0.42, -0.05, 0.05), (-0.4, 0.01, 0.05)],
        }[self.traits["tail_shape"]]  # fmt: skip
        tail = self.body.within(-0.44, 0.02, self.tail_scale, 0.12)
        for number, (x, y, half) in enumerate(feathers):
            along = np.array([x, y]) / np.hypot(x, y)
            across = np.array([-along[1], along[0]]) * half
            tip = np.array([x, y])
            tone = blend(blend(self.colors["wing"], INK, 0.12), CREAM, 0.09 * (number % 2))
            vane = [across * 0.5, tip * 0.55 + across * 0.9, tip * 0.9 + across, tip + across * 0.3]
            vane += [tip - across * 0.3, tip * 0.9 - across, tip * 0.55 - across * 0.9, -across * 0.5]
            fill(pen, tail(spline(vane, steps=4)), tone)
            shaft = tail(np.array([tip * 0.1, tip * 0.95]))
            pen.line([*shaft[0], *shaft[1]], fill=(20, 16, 24, 90), width=max(1, round(self.body.unit * 0.01)))

    def _draw_wing(self, canvas: Image.Image, silhouette: Image.Image, rng: np.random.Generator) -> None:
        """Draw the folded wing, cut out of a painted layer by its outline, over its soft shadow on the body."""
        unit, d = self.body.unit, self.depth
        mask = Image.new("L", canvas.size)
        outline = [(0.31, -0.1 * d), (0.16, -0.19 * d), (-0.12, -0.17 * d), (-0.42, -0.08 * d), (-0.76, 0.1)]
        outline += [(-0.79, 0.14), (-0.5, 0.13 * d), (-0.2, 0.18 * d), (0.08, 0.15 * d), (0.27, 0.04 * d)]
        fill(ImageDraw.Draw(mask), self.body(spline(outline)), 255)
        shadow = soften(ImageChops.offset(mask, 0, int(0.035 * unit)), unit * 0.03)
        canvas.paste((38, 30, 52), mask=ImageChops.multiply(shadow.point(_HALF), silhouette))
        wing = Image.new("RGB", canvas.size, self.colors["wing"])
        self._draw_wing_feathers(ImageDraw.Draw(wing, "RGBA"), rng)
        canvas.paste(wing, mask=mask)

    def _draw_wing_feathers(self, pen: Pen, rng: np.random.Generator) -> None:
        d, color, unit = self.depth, self.colors["wing"], self.body.unit
        dark, pale = blend(color, INK, 0.35), blend(color, CREAM, 0.22)
        thin = max(1, round(unit * 0.012))
        flight = [(-0.05, -0.3 * d), (-0.08, 0.0), (-0.02, 0.3 * d), (-0.9, 0.4), (-0.95, -0.1)]
        fill(pen, self.body(flight), dark)
        for row in np.linspace(-0.12, 0.16, 7):  # flight feathers, each a pale edge
            edge = self.body(np.array([(0.0, row * d), (-0.4, row * 0.7 * d + 0.05), (-0.8, 0.1 + row * 0.3)]))
            pen.line([tuple(p) for p in edge], fill=(*pale, 170), width=thin)
        for column in range(3, -1, -1):  # coverts, like roof tiles from the tip to the shoulder
            x = 0.2 - 0.105 * column
            for y in np.linspace(-0.2, 0.2, 6) + 0.03 * (column % 2):
                tile = self.body(circle(x - 0.02, y * d, 0.062))
                fill(pen, tile, dark)
                fill(pen, tile + self.body.matrix @ (0.018, 0.0), blend(color, CREAM, 0.04 * (3 - column)))
        self._draw_wing_pattern(pen, rng)

    def _draw_wing_pattern(self, pen: Pen, rng: np.random.Generator) -> None:
        d, kind = self.depth, self.traits["wing_pattern"]
        cream = (*self.colors["cream"], int(240 * min(1, self.moment.boldness)))
        if kind == "spotted":
            spots = [(0.17, -0.09), (0.17, 0.03), (0.05, -0.12), (0.05, 0.0), (0.05, 0.1), (-0.08, -0.07)]
            spots += [(-0.08, 0.05), (-0.21, -0.08), (-0.21, 0.03), (-0.21, 0.12), (-0.35, -0.02)]
            spots += [(-0.35, 0.08), (-0.5, 0.06)]
            for x, y in np.array(spots) + rng.normal(0, 0.008, (len(spots), 2)):
                fill(pen, self.body(circle(x, y * d, 0.028)), cream)
        elif kind == "barred":
            for x in (0.08, -0.12, -0.32):
                bar = [(0.045, -0.22), (0, -0.05), (0.025, 0.2), (-0.025, 0.2), (-0.05, -0.05), (0, -0.22)]
                fill(pen, self.body(spline([(x + px, py * d) for px, py in bar], steps=4)), cream)
        elif kind == "patched":
            dark = (*blend(self.colors["wing"], INK, 0.35), 255)
            patch = [(0.06, -0.06), (-0.14, -0.1), (-0.44, -0.01), (-0.56, 0.08), (-0.3, 0.13), (-0.02, 0.12)]
            fill(pen, self.body(spline([(x, y * d) for x, y in patch])), cream)
            for y in (-0.03, 0.03, 0.085):  # feather edges across the patch
                edge = self.body([(0.04, y * d), (-0.2, y * d), (-0.52, 0.04 + 0.5 * y * d)])
                pen.line(edge.ravel().tolist(), fill=dark, width=max(1, round(self.body.unit * 0.012)), joint="curve")


def _add_light(picture: Image.Image, moment: Moment, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add the light to a picture [size, size, 3]: tint, brightness, vignette and paper grain."""
    pixels = np.asarray(picture, dtype=np.float32)
    light = moment.brightness * (1 + moment.warmth * np.array([0.07, 0.015, -0.08], dtype=np.float32))
    grain = rng.normal(0, 2.4, (*pixels.shape[:2], 1)).astype(np.float32)
    axis = np.linspace(-1, 1, len(pixels), dtype=np.float32)
    vignette = 1.045 - 0.11 * (axis[:, None] ** 2 + axis**2)  # [size, size], darkens the corners a little
    final: NDArray[np.uint8] = np.clip(pixels * light * vignette[..., None] + grain, 0, 255).astype(np.uint8)
    return final
