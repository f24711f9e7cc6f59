"""The figures of the analyses, each one SVG drawn from what `firstsight.analysis` returns.

They stand in the page, where its style sheet colours them, or in files of their own (`export.standalone`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from markupsafe import Markup

from firstsight.report.charts import circle, legend, line, path, rect, shortened, svg, text
from firstsight.report.names import plain_name
from firstsight.results.analyses import AttributeQuality, Confusion, Hubness, Lost, Projection, Reliability, RiskCurve
from firstsight.results.numbers import Gain

WIDE, NARROW = 960, 480
MOST_TITLED = 300  # classes; beyond them, seen ones do not say their names, which keeps the page light
MINUS = "\N{MINUS SIGN}"
PANEL, PANEL_TOP = 465, 30  # side and top of each of two maps
PICKED = (1, 2, 4)  # colours of the classes that lose most, far from that of unseen images
TENTHS = (0, 0.2, 0.4, 0.6, 0.8, 1)

Point = tuple[float, float]
Place = Callable[[float, float], tuple[float, float]]
Found = TypeVar("Found")


class Shown(NamedTuple, Generic[Found]):
    """One method in a figure: its colour, its name, and what an analysis found for it."""

    slot: int
    name: str
    found: Found


def _frame(
    box: tuple[float, float, float, float],
    reach: tuple[float, float],
    ticks: tuple[Sequence[float], Sequence[float]],
    labels: tuple[str, str],
) -> tuple[Markup, Place]:
    """Draw axes from 0, and return the function that places a point.

    Args:
        box: left, top, right and bottom of the field.
        reach: the highest x and y.
        ticks: on x and on y.
        labels: of x, below, and of y, above the axis.
    """
    left, top, right, bottom = box

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * x / reach[0], bottom - (bottom - top) * y / reach[1]

    parts = []
    for tick in ticks[1]:
        y = place(0, tick)[1]
        parts += [line("grid", f"M{left:.1f} {y:.1f}H{right:.1f}"), text("tick end", left - 8, y + 4, f"{tick:g}")]
    parts.append(line("axis", f"M{left:.1f} {bottom:.1f}H{right:.1f}"))
    parts += [text("tick middle", place(tick, 0)[0], bottom + 17, f"{tick:g}") for tick in ticks[0]]
    parts.append(text("label middle", (left + right) / 2, bottom + 36, labels[0]))
    parts.append(text("label", left - 32, top - 12, labels[1]))
    return Markup("").join(parts), place


def _with_legend(
    css: str, shown: Sequence[Shown[Any]], box: tuple[int, int, int], label: str, parts: Sequence[Markup]
) -> Markup:
    """Put a drawing together with its legend; `box` has left, top and right of the legend."""
    left, top, right = box
    entries, below = legend([(one.slot, one.name) for one in shown], left, top, right - left)
    return svg(css, right, top + below - 12, label, [*parts, entries])


def _round_ticks(reach: float, most: int = 5) -> list[float]:
    """List at most so many round numbers from 0 to the reach."""
    size = 10 ** math.floor(math.log10(reach))
    step = next(step for factor in (0.1, 0.2, 0.5, 1, 2, 5) if reach / (step := factor * size) <= most)
    return [number * step for number in range(int(reach / step + 1e-9) + 1)]


def projection_maps(maps: Projection, names: Sequence[str], is_seen: Sequence[Any], label: str) -> Markup:
    """Draw two t-SNE maps of the test classes or images side by side: by all attributes, by the high-variance ones.

    Of classes, dots are unseen ones, paler ones seen; the area is the number of test images. Broken lines lead from the
    unseen classes that lose most to their nearest neighbour. Of images, those of these classes have colours of their
    own. `names` and `is_seen` are those of all classes.
    """
    parts = []
    panels = ((maps.all, "all attributes"), (maps.high, "the half that varies in training"))
    for number, (panel, title) in enumerate(panels):
        left = number * (PANEL + WIDE - 2 * PANEL)
        points = _fitted(panel, left + 12, PANEL_TOP + 12, PANEL - 24)
        parts += [text("title", left, 14, title), rect("axis", left, PANEL_TOP, PANEL, PANEL)]
        if maps.of == "images":
            parts += _swarms(maps, names, is_seen, points)
        else:
            parts += _class_dots(maps, names, is_seen, points, left + PANEL / 2)
    key_y = PANEL_TOP + PANEL + 22
    if maps.of == "images":
        lost = [(slot, shortened(plain_name(one.class_), 24)) for slot, one in zip(PICKED, maps.lost, strict=False)]
        entries, tall = _swarm_key(lost, key_y)
        return svg("images", WIDE, key_y + tall, label, [*parts, *entries])
    key = ((8, "point", "unseen class"), (122, "known", "seen class; the larger, the more test images"))
    for x, kind, words in key:
        parts += [circle(kind, x, key_y, 6), text("label", x + 12, key_y + 4, words)]
    if _drawn_losses(maps, names):
        parts.append(line("cut", f"M430 {key_y}h24"))
        parts.append(text("label", 462, key_y + 4, "to the neighbour that comes closest without the other half"))
    return svg("maps", WIDE, key_y + 12, label, parts)


def _drawn_losses(maps: Projection, names: Sequence[str]) -> list[Lost]:
    """List the classes that lose most, where they and their neighbours are on the map."""
    there = {names[row] for row in maps.class_}
    return [one for one in maps.lost if {one.class_, one.neighbour} <= there]


def _class_dots(
    maps: Projection, names: Sequence[str], is_seen: Sequence[Any], points: Sequence[Point], middle: float
) -> list[Markup]:
    """Draw a dot for each class, and lines from those that lose most to their neighbours, on a map with this middle."""
    rows = maps.class_
    images = maps.images or [1] * len(rows)
    at = {names[row]: number for number, row in enumerate(rows)}
    lost = _drawn_losses(maps, names)
    parts = []
    for one in lost:
        (x0, y0), (x1, y1) = points[at[one.class_]], points[at[one.neighbour]]
        parts.append(line("cut", f"M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"))
    for place in sorted(range(len(rows)), key=lambda place: not is_seen[rows[place]]):
        kind = "known" if is_seen[rows[place]] else "point"
        is_titled = kind == "point" or len(rows) <= MOST_TITLED
        said = f"{plain_name(names[rows[place]])}, {images[place]} test images" if is_titled else None
        parts.append(circle(kind, *points[place], 2.5 + 4.5 * math.sqrt(images[place] / max(images)), said))
    return parts + _beside_points([(points[at[one.class_]], one.class_) for one in lost], middle)


def _swarms(maps: Projection, names: Sequence[str], is_seen: Sequence[Any], points: Sequence[Point]) -> list[Markup]:
    """Draw a dot for each image; the dots of one kind are one path, which keeps thousands of them light."""
    kinds = {one.class_: f"m{slot} swarm picked" for slot, one in zip(PICKED, maps.lost, strict=False)}
    swarms: dict[str, list[str]] = {
        kind: [] for kind in ("swarm", "swarm unseen", *kinds.values())
    }  # from the bottom up
    for row, (x, y) in zip(maps.class_, points, strict=True):
        kind = kinds.get(names[row], "swarm" if is_seen[row] else "swarm unseen")
        swarms[kind].append(f"M{x:.1f} {y:.1f}h0")
    return [line(kind, "".join(dots)) for kind, dots in swarms.items() if dots]


def _swarm_key(lost: Sequence[tuple[int, str]], top: float) -> tuple[list[Markup], int]:
    """Draw the key of a map of images, and return its height too."""
    kinds = [("swarm unseen", "image of an unseen class"), ("swarm", "of a seen class")]
    kinds += [(f"m{slot} swarm picked", name) for slot, name in lost]
    parts, x, row = [], 8.0, 0
    for kind, words in kinds:
        wide = 40 + 7.2 * len(words)
        if x + wide > WIDE:
            x, row = 8.0, row + 1
        y = top + 20 * row
        parts += [line(f"{kind} sample", f"M{x:.1f} {y:.1f}h0"), text("label", x + 12, y + 4, words)]
        x += wide
    return parts, 20 * row + 12


def _beside_points(points: Sequence[tuple[tuple[float, float], str]], middle: float) -> list[Markup]:
    """Write names beside their points, towards the middle, moved down where two would lie on one line."""
    parts: list[Markup] = []
    lines: list[float] = []  # on which names stand already
    for (x, y), name in points:
        side, shift = (" end", -9) if x > middle else ("", 9)
        while any(abs(y - other) < 14 for other in lines):
            y += 1
        lines.append(y)
        parts.append(text(f"haloed{side}", x + shift, y + 4, shortened(plain_name(name), 24)))
    return parts


def _fitted(points: Sequence[Sequence[float]], left: float, top: float, size: float) -> list[tuple[float, float]]:
    """Move and scale the points into a square, in proportion."""
    lows = [min(point[axis] for point in points) for axis in (0, 1)]
    spans = [max(point[axis] for point in points) - low for axis, low in enumerate(lows)]
    scale = size / (max(spans) or 1)
    x0, y0 = (start + (size - span * scale) / 2 for start, span in zip((left, top), spans, strict=True))
    return [(x0 + (x - lows[0]) * scale, y0 + (y - lows[1]) * scale) for x, y in points]


def hub_profiles(shown: Sequence[Shown[Hubness]], label: str) -> Markup:
    """Draw how often each class is predicted for unseen images, in falling order; a hub is a peak on the left."""
    parts = []
    panels = (
        ("among unseen classes", [one.found.uu.counts[0] for one in shown]),
        ("among all classes", [one.found.ut.counts[0] for one in shown]),
    )
    for number, (title, counts) in enumerate(panels):
        reach = max(map(len, counts)), max(map(max, counts))
        left = 44 + number * (NARROW + 12)
        box = (left, 64, left + NARROW - 66, 300)
        ticks = _round_ticks(reach[0]), _round_ticks(reach[1])
        axes, place = _frame(box, reach, ticks, ("classes, the most predicted first", "images predicted as this class"))
        parts += [text("title", left - 32, 14, f"Unseen images {title}"), axes]
        for one, own in zip(shown, counts, strict=True):
            corners = [(float(x), float(count)) for rank, count in enumerate(own) for x in (rank, rank + 1)]
            parts.append(path(place, corners, f"m{one.slot} line", one.name))
    return _with_legend("hubs", shown, (44, 356, WIDE), label, parts)


def confusion_tables(shown: Sequence[Shown[Confusion]], label: str) -> Markup:
    """Draw where seen and unseen images go, without and with gamma, a pair of tables per method; below, worst pairs."""
    wide, tall, left, top = min(190, (WIDE - 128) // (2 * len(shown))), 34, 116, 62
    parts: list[Markup] = []
    x = left
    for one in shown:
        both = (("no gamma", one.found.plain), ("gamma", one.found.calibrated))
        tables = [(words, table) for words, table in both if table]
        parts.append(text("title", x, 14, shortened(one.name, int(len(tables) * wide / 7.6))))
        for words, table in tables:
            parts.append(text("label", x, 36, words))
            for column, answer in enumerate(("seen", "unseen")):
                parts.append(text("tick middle", x + (column + 0.5) * (wide - 14) / 2, top - 6, answer))
                for row in (0, 1):
                    cell = (x + column * (wide - 14) / 2, top + row * tall, (wide - 14) / 2 - 2, tall - 2)
                    if (share := table[row][column]) is not None:  # None where a side has no images
                        parts += _cell(cell, share)
            x += wide
    parts += [
        text("label end", left - 12, top + 21 + row * tall, f"{kind} images")
        for row, kind in enumerate(("seen", "unseen"))
    ]
    bars, below = _pair_bars(shown[0], top + 2 * tall + 26)
    return svg("confusion", WIDE, below, label, [*parts, bars])


def _cell(box: tuple[float, float, float, float], share: float) -> list[Markup]:
    """Draw one share, in percent, as a shaded cell."""
    x, y, width, height = box
    shade = Markup('<rect class="high" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill-opacity="{:.2f}"/>')
    css = "on-high middle" if share > 55 else "on-low middle"
    number = text(css, x + width / 2, y + height / 2 + 5, f"{share:.0f} %")
    return [rect("low", x, y, width, height), shade.format(x, y, width, height, share / 100), number]


def _pair_bars(one: Shown[Confusion], top: float) -> tuple[Markup, float]:
    """Draw the most frequent mistakes among all classes and, beside them, of unseen images among unseen classes."""
    parts, row = [], 21
    panels = ((one.found.pairs, "among all classes"), (one.found.unseen_pairs, "unseen images, unseen classes"))
    for number, (pairs, title) in enumerate(panels):
        left = number * (NARROW + 12)
        parts.append(text("title", left, top, f"Most confused {title}, {one.name}"))
        for place, pair in enumerate(pairs):
            y = top + 12 + place * row
            words = f"{shortened(plain_name(pair.truth), 23)} → {shortened(plain_name(pair.answer), 23)}"
            parts.append(text("name end", left + 326, y + 13, words))
            parts += [rect("track", left + 334, y + 3, 90, 12), rect("plain", left + 334, y + 3, 0.9 * pair.share, 12)]
            parts.append(text("number", left + 430, y + 13, f"{pair.share:.0f} %"))
    return Markup("").join(parts), top + 16 + max(len(pairs) for pairs, _ in panels) * row


def gain_bars(rows: Sequence[Gain], label: str, most_named: int = 6) -> Markup:
    """Draw the gain of every class over a baseline in points, the largest first; pale are seen classes."""
    height, left, top, bottom = 330, 46, 34, 290
    reach = max(1.0, *(abs(row.gain) for row in rows))
    middle, scale = (top + bottom) / 2, (bottom - top) / 2 / reach
    step = (WIDE - left) / len(rows)
    parts = []
    for tick in _round_ticks(reach, 3):
        for sign in (1, -1) if tick else (1,):
            y = middle - sign * tick * scale
            parts.append(line("grid" if tick else "axis", f"M{left} {y:.1f}H{WIDE}"))
            parts.append(text("tick end", left - 8, y + 4, f"{sign * tick:+g}".replace("-", MINUS) if tick else 0))
    for place, row in enumerate(rows):
        tall = abs(row.gain) * scale
        kind = ("rise" if row.gain > 0 else "fall") + (" pale" if row.seen else "")
        wide = max(0.6, step - min(2, step / 4))
        bar = rect(kind, left + place * step, middle - max(0, row.gain) * scale, wide, tall)
        title = f"{_signed(row)}: {row.baseline:.1f} to {row.accuracy:.1f} %"
        is_titled = len(rows) <= MOST_TITLED or not row.seen
        parts.append(Markup("<g><title>{}</title>{}</g>").format(title, bar) if is_titled else bar)
    n_named = min(most_named, len(rows) // 2)
    for number, row in enumerate(rows[:n_named]):
        parts.append(text("haloed", left + 8, bottom - 18 * (n_named - 1 - number), _signed(row)))
    for number, row in enumerate(rows[len(rows) - n_named :]):
        parts.append(text("haloed end", WIDE - 2, top + 4 + 18 * number, _signed(row)))
    parts.append(text("label", left - 32, 14, "points gained or lost"))
    for x, kind, words in ((left, "rise", "unseen classes"), (left + 160, "rise pale", "seen classes")):
        parts += [rect(kind, x, height - 16, 22, 11), text("label", x + 30, height - 6, words)]
    return svg("gains", WIDE, height, label, parts)


def _signed(row: Gain) -> str:
    """Write a class with its gain."""
    return f"{plain_name(row.name)} " + f"{row.gain:+.1f}".replace("-", MINUS)


def attribute_profiles(shown: Sequence[Shown[AttributeQuality]], label: str) -> Markup:
    """Draw the area under the ROC curve of every attribute, the best first, a line per method."""
    found = [sorted((v for v in one.found.auc if v is not None), reverse=True) for one in shown]
    found = [values or [0.5] for values in found]
    floor = min(0.5, math.floor(10 * min(map(min, found))) / 10)
    ticks = [round(floor + 0.1 * step, 1) for step in range(round((1 - floor) / 0.1) + 1)]
    reach = max(map(len, found)), 1 - floor
    labels = "attributes, the best first", "area under the ROC curve"
    axes, place = _frame((44, 64, 520, 300), reach, (_round_ticks(reach[0]), ()), labels)
    parts = [axes]
    for tick in ticks:
        y = place(0, tick - floor)[1]
        parts.append(line("ideal" if tick == 0.5 else "grid", f"M44 {y:.1f}H520"))
        parts.append(text("tick end", 36, y + 4, tick))
    for one, values in zip(shown, found, strict=True):
        points = [(rank + 0.5, value - floor) for rank, value in enumerate(values)]
        parts.append(path(place, points, f"m{one.slot} line", one.name))
    y = 52.0
    for title, named in (("Predicted best", shown[0].found.best), ("Predicted worst", shown[0].found.worst)):
        parts.append(text("title", 560, y - 8, f"{title}, {shown[0].name}"))
        for row in named:
            parts.append(text("name end", 830, y + 13, shortened(plain_name(row.name), 40)))
            parts += [rect("track", 838, y + 3, 80, 12), rect("plain", 838, y + 3, 80 * row.auc, 12)]
            parts.append(text("number", 924, y + 13, f"{row.auc:.2f}"))
            y += 20
        y += 34
    return _with_legend("attributes", shown, (44, 356, WIDE), label, parts)


def reliability_diagram(shown: Sequence[Shown[Reliability]], label: str) -> Markup:
    """Draw accuracy against the probability of the answer; on the diagonal both agree. Dots grow with the images."""
    labels = "probability of the prediction", "accuracy"
    axes, place = _frame((46, 34, 456, 400), (1, 1), (TENTHS, TENTHS), labels)
    parts = [axes, path(place, [(0, 0), (1, 1)], "ideal")]
    for one in shown:
        bins = one.found.bins
        points = list(zip(bins.confidence, bins.accuracy, strict=True))
        parts.append(path(place, points, f"m{one.slot} line", one.name))
        for point, images in zip(points, bins.images, strict=True):
            radius = 2.5 + 6.5 * math.sqrt(images / sum(bins.images))
            title = f"{one.name}: {images} images with mean probability {point[0]:.2f}, accuracy {point[1]:.2f}"
            parts.append(circle(f"m{one.slot} dot", *place(*point), radius, title))
    return _with_legend("reliability", shown, (46, 456, NARROW), label, parts)


def risk_coverage_chart(shown: Sequence[Shown[RiskCurve]], label: str) -> Markup:
    """Draw the share of wrong answers against the share of images that are answered, the most certain first."""
    labels = "coverage: share of images with a prediction", "risk: share of errors among them"
    axes, place = _frame((46, 34, 456, 400), (1, 1), (TENTHS, TENTHS), labels)
    parts = [axes]
    for one in shown:
        points = list(zip(one.found.coverage, one.found.risk, strict=True))
        parts.append(path(place, points, f"m{one.slot} line", one.name))
    return _with_legend("risk", shown, (46, 456, NARROW), label, parts)
