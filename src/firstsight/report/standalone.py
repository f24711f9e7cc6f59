"""A drawing of the page as an SVG file of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from firstsight.report.charts import style

MARGIN = 18  # around the figure


def standalone(figure: Markup) -> str:
    """Return the figure as an SVG file that looks right alone: light, with its style inside.

    Programs other than browsers know no CSS variables, so they are replaced by what they stand for.
    """
    match = re.match(r'<svg class="(\w+)" viewBox="0 0 ([\d.]+) ([\d.]+)"', figure)
    if match is None:
        raise ValueError("figure must be one drawing of firstsight.report")
    width, height = (float(size) + 2 * MARGIN for size in match.group(2, 3))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{match[1]}" width="{width:g}" height="{height:g}" '
        f'viewBox="{-MARGIN} {-MARGIN} {width:g} {height:g}"'
    )
    tag, _, body = figure[match.end() :].partition(">")
    paper = f'<rect class="paper" x="{-MARGIN}" y="{-MARGIN}" width="{width:g}" height="{height:g}"/>'
    slots = sorted({int(slot) for slot in re.findall(r'class="m(\d+) ', figure)})
    return f"{head}{tag}><style>{_without_variables(slots)}</style>{paper}{body}\n"


def _without_variables(slots: Sequence[int]) -> str:
    """Return the charts' style sheet with every var() replaced; rules that a slot colours come once for each slot."""
    sheet = " ".join(str(style(slots)).split())
    rules = re.findall(r"([^{}]+?) *{([^{}]*)}", sheet)
    values = {selector.strip(): dict(re.findall(r"--([\w-]+): *([^;]+);", body)) for selector, body in rules}
    lines = ["svg .paper { fill: var(--paper); }"]
    for selector, body in rules:
        name = selector.strip()
        if name.startswith("svg") and "var(--c)" not in body:
            lines.append(f"{name} {{{body}}}")
        elif name.startswith("svg"):
            lines += [
                f"{name.replace('svg .', f'svg .m{slot}.')} {{{_filled(body, values[f'.m{slot}'])}}}" for slot in slots
            ]
    flat = "\n".join(lines)
    while (filled := _filled(flat, values[":root"])) != flat:  # values name other values
        flat = filled
    return flat


def _filled(sheet: str, values: Mapping[str, str]) -> str:
    """Return the style with the variables of these names replaced by their values."""
    return re.sub(r"var\(--([\w-]+)\)", lambda found: values.get(found[1], found[0]), sheet)
