"""Results -> what the page shows -> the page's text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from firstsight.report import charts, classes, comparison, names, provenance, tables
from firstsight.report.comparison import Standing
from firstsight.report.curves import Series, curve_of, harmonic, riding
from firstsight.report.records import Results
from firstsight.report.tables import MethodRow, Record

FEW = 6  # methods that a chart of curves shows at once; of more, the best by the headline number
START = 50  # where the slider stands: u = s
MOST_STRIPES = 480  # attributes in the variance figure: beyond it one is narrower than two pixels


def view(results: Results) -> dict[str, Any]:
    """Everything the page, the tables and the figures show."""
    by_data: dict[str, list[Record]] = {}
    for run in results.finished:
        by_data.setdefault(run["data"], []).append(run)
    groups = {name: tables.method_rows(by_data[name]) for name in sorted(by_data, key=str.lower)}
    about = {name: results.data.get(name, {}) for name in groups}
    standings = {name: comparison.assess(rows, about[name]) for name, rows in groups.items()}
    methods = _in_order(groups)
    slots = {method: number for number, method in enumerate(methods)}
    runs = results.finished
    return {
        "verdict": comparison.verdict(groups, standings),
        "sections": [
            _section(place, name, rows, about[name], results.pictures.get(name, {}), slots, standings[name])
            for place, (name, rows) in enumerate(groups.items(), start=1)
        ],
        "never_shown": [
            one for name in groups for one in results.pictures.get(name, {}).get("samples", ()) if not one.get("seen")
        ][:4],
        "methods": methods,
        "slots": slots,
        "settings": [provenance.settings_table(method, groups) for method in methods],
        "conduct": [provenance.conduct(name, row) for name, rows in groups.items() for row in rows],
        "failed": results.failed,
        "n_runs": len(runs),
        "seeds": sorted({run.get("seed") or 0 for run in runs}),
        "machine": provenance.machine(runs),
        "versions": provenance.versions(runs),
        "seconds": sum((run.get("seconds_fit") or 0.0) + (run.get("seconds_score") or 0.0) for run in runs),
    }


def render(shown: Mapping[str, Any]) -> str:
    """The page's text; the same results give the same bytes."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(source),
    )
    environment.filters.update(
        plain=names.plain_name, method=names.display_name, duration=names.duration, script=_in_script, picture=_inline
    )
    return environment.get_template("page.html.jinja").render(
        **shown,
        columns=tables.COLUMNS,
        column_groups=tables.COLUMN_GROUPS,
        column_of=tables.column_of,
        published_columns=tables.PUBLISHED_COLUMNS,
        headlines=comparison.HEADLINES,
        style=charts.style(shown["slots"].values()),
        start=START,
        few=FEW,
    )


def source(name: str) -> str:
    """The text of a template, style sheet or script beside this file."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _inline(picture: str) -> str:
    """The address of a picture, base64 of JPEG or PNG, that is in the page itself."""
    return f"data:image/{'jpeg' if picture.startswith('/9j/') else 'png'};base64,{picture}"


def _in_script(value: Any) -> Markup:
    """JSON for a script element: no `<` can end it."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))


def _in_order(groups: Mapping[str, Sequence[MethodRow]]) -> list[str]:
    """SP-AEN first, so that it keeps the first colour; then as high as a method stands anywhere: those shown differ."""
    best: dict[str, int] = {}
    for rows in groups.values():
        for place, row in enumerate(rows):
            best[row.method] = min(place, best.get(row.method, place))
    return sorted(best, key=lambda method: (method != "spaen", best[method], method))


def _section(
    place: int,
    name: str,
    rows: Sequence[MethodRow],
    about: Record,
    pictures: Record,
    slots: Mapping[str, int],
    standing: Standing,
) -> dict[str, Any]:
    """What is shown of one data set."""
    best = rows[0]
    unseen = classes.unseen_classes(best)
    variance = classes.variance_view(about.get("variance"))
    curves = [curve for row in rows if (curve := curve_of(row, slots[row.method])) is not None]
    key = tables.headline_key(rows)
    is_few = len(curves) <= FEW
    return {
        "place": place,
        "name": name,
        "about": about,
        "rows": rows,
        "standing": standing,
        "marks": comparison.marks(rows, standing),
        "leaders": comparison.leaders(rows, standing),
        "key": key,
        "tests": {
            metric: (tables.ranked(rows, metric)[0][0], found)
            for metric in dict.fromkeys((key, *comparison.HEADLINES))
            if standing.comparisons and (found := comparison.rivals(rows, standing, metric))
        },
        "forest": charts.forest(rows, standing, key, f"{_title(key)} on {name} with 95 % intervals")
        if standing.intervals
        else None,
        "published": names.published_numbers(name),
        "series": curves,
        "curves": charts.curve_chart(curves, f"Seen-unseen curves on {name}", with_seeds=is_few, balance=START)
        if curves
        else None,
        "riders": [
            {
                "curve": curve,
                "at": riding(curve.points, START, curve.gamma),
                "own_h": harmonic(*curve.calibrated) if curve.calibrated else None,
                "is_shown": number < FEW,
            }
            for number, curve in enumerate(curves)
        ],
        "is_many": not is_few,
        "curve_data": [_thin(curve) for curve in curves],
        "classes": unseen,
        "bars": charts.class_bars(unseen, f"Accuracy of unseen classes of {name}, {best.name}") if unseen else None,
        "portraits": classes.portraits(unseen, pictures, best.method),
        "variance": variance,
        "strips": charts.variance_strips(variance, f"Attribute variances of {name}")
        if variance and len(variance.names) <= MOST_STRIPES
        else None,
        "samples": pictures.get("samples") or [],
        "reconstructions": pictures.get("reconstructions") or [],
        "analyses": _analyses([row.shown for row in rows], about, slots),
    }


def _analyses(runs: Sequence[Record], data: Record, slots: Mapping[str, int]) -> Sequence[Any]:
    """Further sections on one data set, each with `title`, `text` and `figure`; the one place that knows of them.

    Args:
        runs: the run of each method that stands for all.
        data: the record of the data set.
        slots: colours by method.
    """
    from firstsight.report.analyses import sections

    return sections(runs, data, slots)


def _title(key: str) -> str:
    return comparison.HEADLINES[key]


def _thin(curve: Series) -> dict[str, Any]:
    """A curve as the slider needs it."""
    return {
        "slot": curve.slot,
        "name": curve.name,
        "gamma": [float(f"{gamma:.3g}") for gamma in curve.gamma],
        "u": [round(u, 2) for u, _ in curve.points],
        "s": [round(s, 2) for _, s in curve.points],
    }
