"""The charts of the report as inline SVG, drawn by hand: no plotting library, no script, colours from CSS variables.

Every function takes plain numbers and returns `Markup`. A method's colour and dash pattern come from the CSS class
`m0`, `m1`, ... it is given, so that light, dark and print differ in the style sheet alone. `charts.css` has the styles
that the page and figures of their own share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import resources
from typing import NamedTuple

from markupsafe import Markup

from firstsight.report.classes import ClassRow, VarianceView
from firstsight.report.comparison import Standing, tied
from firstsight.report.curves import Series, riding
from firstsight.report.tables import COLUMNS, MethodRow, ranked

Place = Callable[[float, float], tuple[float, float]]  # (u, s) -> (x, y)

DASHES = ("none", "8 3", "2.5 2.5", "10 3 2 3", "14 3", "5 5", "1.5 4", "12 3 2 3 2 3")
STEPS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)  # between ticks
MOST_NAMED_CLASSES = 60  # beyond them, bars lose their names and become a profile


def style(slots: Iterable[int]) -> Markup:
    """Return the style sheet of the charts, with a colour and a dash pattern for each slot.

    Dashes move on by one with every round of colours, so that no two of 64 methods share both.
    """
    sheet = resources.files(__package__).joinpath("charts.css").read_text(encoding="utf-8")
    colors = (f".m{n} {{ --c: var(--c{n % 8}); --dash: {DASHES[(n + n // 8) % 8]}; }}\n" for n in slots)
    return Markup(sheet + "".join(colors))  # the sheet is ours, and slots are numbers


def curve_chart(
    series: Sequence[Series],
    label: str,
    has_legend: bool = False,
    with_seeds: bool = True,
    balance: float | None = None,
) -> Markup:
    """Draw seen against unseen accuracy, u on x and s on y, over lines of equal H.

    A cross marks gamma = 0, a dot the calibrated point.

    Args:
        series: one a method.
        label: what the chart is called.
        has_legend: for a figure alone; the page has a table beside it.
        with_seeds: draw the other seeds too, fainter.
        balance: percent of u in u + s, for a ray with a ring where it meets each curve; the page's script moves both.
    """
    width, height, left, right, top, bottom = 480, 420, 46, 38, 10, 46
    others = {one.slot: one.others if with_seeds else () for one in series}
    points = [point for one in series for curve in (one.points, *others[one.slot]) for point in curve]
    reach = [max(10, 10 * math.ceil(max((point[axis] for point in points), default=100) / 10)) for axis in (0, 1)]
    scale = (width - left - right) / reach[0], (height - top - bottom) / reach[1]

    def place(u: float, s: float) -> tuple[float, float]:
        return left + u * scale[0], height - bottom - s * scale[1]

    parts = [_equal_h(place, *reach), _axes(place, *reach)]
    if balance is not None:
        parts.append(_ray(place, reach[0], reach[1], balance))
    group = '<g class="m{0}" data-slot="{0}">'
    for one in series:
        parts.append(Markup(group).format(one.slot))
        parts += [path(place, curve, f"m{one.slot} other") for curve in others[one.slot]]
        parts += [path(place, one.points, f"m{one.slot} line", one.name), Markup("</g>")]
    for one in series:  # marks lie on top of all lines
        parts += [Markup(group).format(one.slot), *_marks(place, one, balance), Markup("</g>")]
    numbers = f"{left} {height - bottom} {scale[0]:.4f} {scale[1]:.4f} {reach[0]} {reach[1]}"
    if has_legend:
        entries, below = legend([(one.slot, one.name) for one in series], left, height + 16, width - left)
        parts, height = [*parts, entries], height + below
    return svg("curve", width, height, label, parts, Markup(' data-frame="{}"').format(numbers))


def legend(entries: Sequence[tuple[int, str]], x: float, y: float, width: float) -> tuple[Markup, int]:
    """Draw line samples with names from (x, y) on, in as many rows as they need, and return their height too."""
    parts, at, row = [], 0.0, 0
    for slot, name in entries:
        wide = 40 + 7.2 * len(name)  # of 13 px letters, on the wide side
        if at and at + wide > width:
            at, row = 0.0, row + 1
        parts.append(line(f"m{slot} line", f"M{x + at:.1f} {y + 20 * row:.1f}h24"))
        parts += [text("label", x + at + 31, y + 20 * row + 4, name)]
        at += wide + 14
    return Markup("").join(parts), 20 * (row + 1) + 8


def _ray(place: Place, u_reach: float, s_reach: float, balance: float) -> Markup:
    """Draw a ray from the corner to the frame, where u is this percentage of u + s."""
    share = balance / 100
    length = min(reach / part if part else math.inf for reach, part in ((u_reach, share), (s_reach, 1 - share)))
    (x0, y0), (x1, y1) = place(0, 0), place(share * length, (1 - share) * length)
    return line("ray", f"M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}")


def _marks(place: Place, one: Series, balance: float | None) -> Iterator[Markup]:
    """Draw a cross at gamma = 0, a dot at the calibrated point and a ring on the ray, where there are these."""
    if one.plain is not None:
        x, y = place(*one.plain)
        title = f"{one.name} without calibration: u {one.plain[0]:.1f}, s {one.plain[1]:.1f}"
        arms = f"M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10"
        shape = '<g class="m{} mark"><title>{}</title><path class="halo" d="{}"/><path d="{}"/></g>'
        yield Markup(shape).format(one.slot, title, arms, arms)
    if one.calibrated is not None:
        title = f"{one.name} calibrated: u {one.calibrated[0]:.1f}, s {one.calibrated[1]:.1f}"
        yield circle(f"m{one.slot} dot", *place(*one.calibrated), 5.5, title)
    if balance is not None:
        yield circle(f"m{one.slot} ring", *place(*riding(one.points, balance)[:2]), 4.5)


def forest(rows: Sequence[MethodRow], standing: Standing, key: str, label: str) -> Markup:
    """Draw a row for each method: its number with the 95 % interval, the highest first; a line marks the highest."""
    found = ranked(rows, key)
    close = tied(rows, standing, key)
    digits = COLUMNS[key].digits
    intervals = [standing.interval(row.method, key) for row, _ in found]
    ends = [own or (stat.mean, stat.mean) for own, (_, stat) in zip(intervals, found, strict=True)]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    step = next((step for step in STEPS if (high - low) / step <= 7), STEPS[-1])
    low, high = step * math.floor(low / step), step * max(math.ceil(high / step), math.floor(low / step) + 1)
    names = [shortened(row.name, 36) for row, _ in found]
    width, right, row_height, top = 720, 150, 24, 6
    left = 24 + 7.2 * max(map(len, names))
    scale = (width - left - right) / (high - low)
    floor = top + row_height * len(found)

    def x(value: float) -> float:
        return left + (value - low) * scale

    parts = []
    for tick in range(round(low / step), round(high / step) + 1):
        shown = f"{tick * step:.{max(0, -math.floor(math.log10(step)))}f}"
        parts.append(line("grid", f"M{x(tick * step):.1f} {top}V{floor}"))
        parts.append(text("tick middle", x(tick * step), floor + 16, shown))
    parts.append(line("cut", f"M{x(found[0][1].mean):.1f} {top}V{floor}"))
    for number, (row, stat) in enumerate(found):
        y = top + row_height * (number + 0.5)
        css = "first" if not number else "close" if row.name in close else "below"
        parts.append(text("name", 0, y + 4, names[number]))
        numbers = f"{stat.mean:.{digits}f}"
        if own := intervals[number]:
            numbers += f"  [{own[0]:.{digits}f}, {own[1]:.{digits}f}]"
            parts.append(line(f"whisker {css}", f"M{x(own[0]):.1f} {y:.1f}H{x(own[1]):.1f}"))
        parts.append(circle(f"estimate {css}", x(stat.mean), y, 4.5))
        parts.append(text("number", width - right + 14, y + 4, numbers))
    return svg("forest", width, floor + 24, label, parts)


def _equal_h(place: Place, u_reach: float, s_reach: float) -> Markup:
    """Draw faint lines along which H is 10, 20, ..."""
    parts = []
    for h in range(10, 100, 10):
        # 1/u + 1/s = 2/h: with u = h / 2t and s = h / 2(1 - t), t runs from the right edge to the upper one.
        start, end = h / (2 * u_reach), 1 - h / (2 * s_reach)
        if start >= end:
            continue
        odds = [math.log(t / (1 - t)) for t in (start, end)]
        ts = [1 / (1 + math.exp(-(odds[0] + (odds[1] - odds[0]) * step / 30))) for step in range(31)]
        points = [place(h / (2 * t), h / (2 * (1 - t))) for t in ts]
        parts.append(line("equal", "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)))
        parts.append(text("faint", points[0][0] + 5, points[0][1] + 4, f"H {h}"))
    return Markup("").join(parts)


def _axes(place: Place, u_reach: float, s_reach: float) -> Markup:
    """Draw both axes with ticks and labels."""
    (x0, y0), (x1, y1) = place(0, 0), place(u_reach, s_reach)
    parts = [line("axis", f"M{x0:.1f} {y1:.1f}V{y0:.1f}H{x1:.1f}")]
    across, up = (range(0, int(reach) + 1, 10 if reach <= 60 else 20) for reach in (u_reach, s_reach))
    parts += [text("tick middle", place(tick, 0)[0], y0 + 17, tick) for tick in across]
    parts += [text("tick end", x0 - 8, place(0, tick)[1] + 4, tick) for tick in up]
    parts.append(text("label middle", (x0 + x1) / 2, y0 + 38, "u: unseen accuracy, %"))
    turned = Markup('<text class="label middle" transform="translate({:.0f} {:.1f}) rotate(-90)">{}</text>')
    parts.append(turned.format(13, (y0 + y1) / 2, "s: seen accuracy, %"))
    return Markup("").join(parts)


def path(place: Place, points: Sequence[tuple[float, float]], css: str, title: str = "") -> Markup:
    """Draw a path that leaves out steps too small to see: a curve has as many points as right test images."""
    kept: list[tuple[float, float]] = []
    placed = [place(*point) for point in points]
    for number, point in enumerate(placed):
        if not kept or number == len(placed) - 1 or math.dist(point, kept[-1]) >= 1.2:
            kept.append(point)
    d = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in kept) if kept else "M0 0"
    inside = Markup("<title>{}</title>").format(title) if title else ""
    return Markup('<path class="{}" d="{}">{}</path>').format(css, d, inside)


class ClassBars(NamedTuple):
    """Charts of unseen classes."""

    profile: Markup | None  # all of many classes side by side
    columns: Sequence[tuple[str, Markup]]  # bars with names, below a heading

    @property
    def drawings(self) -> list[Markup]:
        """List all charts."""
        return [*filter(None, [self.profile]), *(chart for _, chart in self.columns)]


def class_bars(classes: Sequence[ClassRow], label: str) -> ClassBars:
    """Draw bars of unseen classes in reading order; many classes as a profile, with names for both ends of it."""
    is_many = len(classes) > MOST_NAMED_CLASSES
    if is_many:
        parts = [("The best five", classes[:5]), ("The last five", classes[-5:])]
    else:
        half = len(classes) if len(classes) < 6 else (len(classes) + 1) // 2
        parts = [("", part) for part in (classes[:half], classes[half:]) if part]
    columns = [
        (title, _named_bars(part, f"{label}, part {number} of {len(parts)}"))
        for number, (title, part) in enumerate(parts, start=1)
    ]
    return ClassBars(_profile(classes, label) if is_many else None, columns)


def _named_bars(classes: Sequence[ClassRow], label: str) -> Markup:
    """Draw a row for each class: name, bar among all classes, thinner bar after calibration, numbers."""
    width, name_width, number_width, row = 480, 222, 70, 24
    scale = (width - name_width - number_width) / 100
    parts = []
    for number, one in enumerate(classes):
        y = number * row
        numbers = f"{one.accuracy:.0f}" + ("" if one.calibrated is None else f" → {one.calibrated:.0f}")
        parts += [
            Markup("<g><title>{}</title>").format(_class_title(one)),
            text("name end", name_width - 10, y + 16, shortened(one.name, 29)),
            rect("track", name_width, y + 5, 100 * scale, 14),
            rect("calibrated", name_width, y + 5, (one.calibrated or 0.0) * scale, 14),
            rect("plain", name_width, y + 8.5, one.accuracy * scale, 7),
            text("number", width - number_width + 8, y + 16, numbers),
            Markup("</g>"),
        ]
    return svg("bars", width, max(row, row * len(classes)), label, parts)


def _profile(classes: Sequence[ClassRow], label: str) -> Markup:
    """Draw all classes as thin bars side by side, sorted."""
    width, height, left, bottom, top = 960, 210, 40, 26, 8
    step = (width - left) / len(classes)
    scale = (height - bottom - top) / 100
    floor = height - bottom
    parts = []
    for tick in (0, 25, 50, 75, 100):
        y = floor - tick * scale
        parts.append(line("grid", f"M{left} {y:.1f}H{width}"))
        parts.append(text("tick end", left - 8, y + 4, tick))
    for number, one in enumerate(classes):
        x, wide = left + number * step, max(0.6, step - min(2.0, step / 4))
        tall = (one.calibrated or 0.0) * scale
        parts += [
            Markup("<g><title>{}</title>").format(_class_title(one)),
            rect("calibrated", x, floor - tall, wide, tall),
            rect("plain", x + wide * 0.2, floor - one.accuracy * scale, wide * 0.6, one.accuracy * scale),
            Markup("</g>"),
        ]
    parts.append(text("label", left, height - 6, f"{len(classes)} unseen classes, the best first; accuracy in percent"))
    return svg("profile", width, height, label, parts)


def _class_title(one: ClassRow) -> str:
    """Write the accuracies of a class."""
    after = "" if one.calibrated is None else f", {one.calibrated:.1f} % calibrated"
    return f"{one.name}: {one.accuracy:.1f} % of {one.images} images{after}"


def variance_strips(view: VarianceView, label: str) -> Markup:
    """Draw two strips of one cell per attribute, ordered by variance in training; lighter is lower.

    The shade follows the standard deviation, on one scale for both strips: variances are so skewed that most cells
    would look alike.
    """
    width, left, top, tall, gap = 960, 96, 20, 46, 10
    step = (width - left) / len(view.names)
    most = max(*view.trainval, *view.test_unseen) or 1.0
    parts = []
    for number, (name, values) in enumerate((("trainval", view.trainval), ("test unseen", view.test_unseen))):
        y = top + number * (tall + gap)
        parts.append(text("label end", left - 10, y + tall / 2 + 4, name))
        parts.append(rect("low", left, y, width - left, tall))
        for place, (attribute, value) in enumerate(zip(view.names, values, strict=True)):
            shade = math.sqrt(max(value, 0.0) / most)
            cell = '<rect class="high" x="{:.2f}" y="{}" width="{:.2f}" height="{}" fill-opacity="{:.3f}">{}</rect>'
            title = Markup("<title>{}</title>").format(f"{attribute}: variance {value:.2g} in {name}")
            parts.append(Markup(cell).format(left + place * step, y, step + 0.15, tall, shade, title))
    x = left + (len(view.names) // 2) * step
    end = top + 2 * tall + gap
    parts.append(line("cut", f"M{x:.1f} {top - 14}V{end + 4}"))
    parts.append(text("tick end", x - 6, top - 6, "lower variance in training"))
    parts.append(text("tick", x + 6, top - 6, "higher"))
    return svg("heat", width, end + 8, label, parts)


def line(css: str, d: str) -> Markup:
    """Draw a path of these commands."""
    return Markup('<path class="{}" d="{}"/>').format(css, d)


def circle(css: str, x: float, y: float, radius: float, title: str | None = None) -> Markup:
    """Draw a circle."""
    end = Markup("/>") if title is None else Markup("><title>{}</title></circle>").format(title)
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"{}').format(css, x, y, radius, end)


def shortened(name: str, most: int) -> str:
    """Cut a name where it has more letters."""
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"


def text(css: str, x: float, y: float, words: object) -> Markup:
    """Write words that start at (x, y), or end there or have their middle there with the classes `end` and `middle`."""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(css, x, y, words)


def rect(css: str, x: float, y: float, width: float, height: float) -> Markup:
    """Draw a rectangle; a negative size is none."""
    shape = '<rect class="{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>'
    return Markup(shape).format(css, x, y, max(0.0, width), max(0.0, height))


def svg(
    css: str, width: float, height: float, label: str, parts: Iterable[Markup], more: Markup | None = None
) -> Markup:
    """Put a drawing together; the label is what it says to those who do not see it."""
    head = Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}"{}><title>{}</title>').format(
        css, width, height, label, more or "", label
    )
    return head + Markup("").join(parts) + Markup("</svg>")
