"""Results -> what the page shows, of each data set and of all -> the page's text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from firstsight.report import charts, classes, comparison, names, provenance, tables
from firstsight.report.analyses import Analysis, analyses_of
from firstsight.report.charts import ClassBars
from firstsight.report.classes import ClassRow, VarianceView
from firstsight.report.comparison import Rival, Standing
from firstsight.report.curves import Riding, Series, curve_of, harmonic, riding
from firstsight.report.tables import MethodRow
from firstsight.results.numbers import METRICS
from firstsight.results.records import DataRecord, PicturesRecord, Results, RunRecord

FEW = 6  # methods that a chart of curves shows at once; of more, the best by the headline number
START = 50  # where the slider stands: u = s
MOST_STRIPES = 480  # attributes in the variance figure: beyond it one is narrower than two pixels


class Rider(NamedTuple):
    """One method beside the slider."""

    curve: Series
    at: Riding  # where the ray of the slider meets the curve
    own_h: float | None  # H at the method's own gamma
    is_shown: bool  # whether the curve is drawn at first


@dataclass(frozen=True)
class Section:
    """What the page shows of one data set."""

    place: int  # number of the section, from 1
    about: DataRecord
    rows: Sequence[MethodRow]  # the best first
    standing: Standing
    pictures: PicturesRecord
    slots: Mapping[str, int]  # colours by method

    @property
    def name(self) -> str:
        """Return the name of the data set."""
        return self.about.name

    @cached_property
    def key(self) -> str:
        """Return the key of the number that ranks the methods."""
        return tables.headline_key(self.rows)

    @cached_property
    def tests(self) -> dict[str, tuple[MethodRow, list[Rival]]]:
        """Return by number the highest method and all below it; empty where nothing was tested."""
        keys = dict.fromkeys((self.key, *comparison.HEADLINES)) if self.standing.comparisons else ()
        found = ((key, comparison.rivals(self.rows, self.standing, key)) for key in keys)
        return {key: (tables.ranked(self.rows, key)[0][0], below) for key, below in found if below}

    @cached_property
    def published(self) -> dict[str, dict[str, float]]:
        """Return what the paper prints for this data set, by method."""
        return names.published_numbers(self.name)

    @cached_property
    def forest(self) -> Markup | None:
        """Draw the intervals."""
        label = f"{METRICS[self.key].name} on {self.name} with 95 % intervals"
        return charts.forest(self.rows, self.standing, self.key, label) if self.standing.intervals else None

    @cached_property
    def series(self) -> list[Series]:
        """List the curves of the methods that have one."""
        return [curve for row in self.rows if (curve := curve_of(row, self.slots[row.method])) is not None]

    @property
    def is_many(self) -> bool:
        """Tell whether there are more curves than a chart shows at once."""
        return len(self.series) > FEW

    @cached_property
    def trade(self) -> Markup | None:
        """Draw the curves with the ray of the slider."""
        label = f"Seen-unseen curves on {self.name}"
        return charts.curve_chart(self.series, label, False, not self.is_many, START) if self.series else None

    @cached_property
    def riders(self) -> list[Rider]:
        """Return the rows beside the slider."""
        return [
            Rider(
                curve,
                riding(curve.points, START, curve.gamma),
                harmonic(*curve.calibrated) if curve.calibrated else None,
                number < FEW,
            )
            for number, curve in enumerate(self.series)
        ]

    @property
    def curve_data(self) -> list[dict[str, Any]]:
        """Return the curves as the slider's script reads them."""
        return [
            {
                "slot": curve.slot,
                "name": curve.name,
                "gamma": [float(f"{gamma:.3g}") for gamma in curve.gamma],
                "u": [round(u, 2) for u, _ in curve.points],
                "s": [round(s, 2) for _, s in curve.points],
            }
            for curve in self.series
        ]

    @cached_property
    def classes(self) -> list[ClassRow]:
        """List the unseen classes by the best method, the best first."""
        return classes.unseen_classes(self.rows[0])

    @cached_property
    def bars(self) -> ClassBars | None:
        """Draw the unseen classes."""
        label = f"Accuracy of unseen classes of {self.name}, {self.rows[0].name}"
        return charts.class_bars(self.classes, label) if self.classes else None

    @cached_property
    def variance(self) -> VarianceView | None:
        """Sort the attribute variances."""
        return classes.variance_view(self.about.variance)

    @cached_property
    def strips(self) -> Markup | None:
        """Draw the attribute variances, where they are not too many."""
        if not self.variance or len(self.variance.names) > MOST_STRIPES:
            return None
        return charts.variance_strips(self.variance, f"Attribute variances of {self.name}")

    @cached_property
    def analyses(self) -> list[Analysis]:
        """Make the analyses beyond accuracies."""
        return analyses_of([row.shown for row in self.rows], self.about, self.slots)

    @property
    def figures(self) -> dict[str, Markup]:
        """Draw every figure as one SVG, by name."""
        bars = self.bars.drawings if self.bars else []
        numbered = {f"bars-{place}" if len(bars) > 1 else "bars": one for place, one in enumerate(bars, start=1)}
        label = f"Seen-unseen curves on {self.name}"
        curves = charts.curve_chart(self.series, label, True, not self.is_many) if self.series else None
        analyses = {f"analysis-{place}": one.figure for place, one in enumerate(self.analyses, start=1)}
        found = {"forest": self.forest, **numbered, "strips": self.strips, "curves": curves, **analyses}
        return {name: figure for name, figure in found.items() if figure}


@dataclass(frozen=True)
class View:
    """Everything that the page, the tables and the figures show."""

    sections: Sequence[Section]
    groups: Mapping[str, Sequence[MethodRow]]  # by data set, the best first
    slots: Mapping[str, int]  # colours by method
    runs: Sequence[RunRecord]
    failed: Sequence[RunRecord]  # without numbers


def view(results: Results) -> View:
    """Compute what the page shows.

    Raises:
        InputError: the records of a run contradict each other.
    """
    by_data: dict[str, list[RunRecord]] = {}
    for run in results.finished:
        by_data.setdefault(run.data, []).append(run)
    groups = {name: tables.method_rows(by_data[name]) for name in sorted(by_data, key=str.lower)}
    slots = {method: number for number, method in enumerate(_in_order(groups))}
    sections = []
    for place, (name, rows) in enumerate(groups.items(), start=1):
        about, pictures = results.data.get(name) or DataRecord(name), results.pictures.get(name)
        standing = comparison.assess(rows, about)
        sections.append(Section(place, about, rows, standing, pictures or PicturesRecord(name, []), slots))
    return View(sections, groups, slots, results.finished, results.failed)


def render(shown: View) -> str:
    """Write the page's text; the same results give the same bytes."""
    titles = {row.method: row.name for rows in shown.groups.values() for row in rows}
    samples = [one for section in shown.sections for one in section.pictures.samples]
    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            **vars(shown),
            verdict=comparison.verdict(shown.groups, {section.name: section.standing for section in shown.sections}),
            never_shown=[one for one in samples if not one.seen][:4],
            names={method: titles[method] for method in shown.slots},
            seconds=sum((run.seconds_fit or 0.0) + (run.seconds_score or 0.0) for run in shown.runs),
            comparison=comparison,
            provenance=provenance,
            portraits=classes.portraits,
            tables=tables,
            metrics=METRICS,
            style=charts.style(shown.slots.values()),
            start=START,
            few=FEW,
        )
    )


def environment() -> jinja2.Environment:
    """Return what fills the templates beside this file."""
    found = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(source),
    )
    found.filters.update(
        plain=names.plain_name, method=names.display_name, duration=names.duration, script=_in_script, picture=_inline
    )
    return found


def source(name: str) -> str:
    """Read a template, style sheet or script beside this file."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _inline(picture: str) -> str:
    """Return the address of a picture, base64 of JPEG or PNG, that is in the page itself."""
    return f"data:image/{'jpeg' if picture.startswith('/9j/') else 'png'};base64,{picture}"


def _in_script(value: Any) -> Markup:
    """Write JSON for a script element: no `<` can end it."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))


def _in_order(groups: Mapping[str, Sequence[MethodRow]]) -> list[str]:
    """Sort methods: the paper's first, the others by their best rank on any data set, so that colours shown differ."""
    best: dict[str, int] = {}
    for rows in groups.values():
        for place, row in enumerate(rows):
            best[row.method] = min(place, best.get(row.method, place))
    return sorted(best, key=lambda method: (method != names.PAPER, best[method], method))
