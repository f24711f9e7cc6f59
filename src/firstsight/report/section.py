"""What the page shows of one data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from markupsafe import Markup

from firstsight.report import charts, classes, comparison, names, tables
from firstsight.report.analyses import Analysis, analyses_of
from firstsight.report.charts import ClassBars
from firstsight.report.classes import ClassRow, Portrait, VarianceView
from firstsight.report.comparison import Leader, Rival, Standing
from firstsight.report.curves import Riding, Series, curve_of, harmonic, riding
from firstsight.report.tables import MethodRow
from firstsight.results.numbers import METRICS
from firstsight.results.records import DataRecord, PicturesRecord, Sample

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
    """One data set."""

    place: int  # number of the section, from 1
    about: DataRecord
    rows: Sequence[MethodRow]  # the best first
    standing: Standing
    key: str  # the number that ranks the methods
    series: Sequence[Series]
    classes: Sequence[ClassRow]  # unseen ones by the best method, the best first
    portraits: Sequence[Portrait]  # of the best and the worst classes
    variance: VarianceView | None
    samples: Sequence[Sample]
    analyses: Sequence[Analysis]
    forest: Markup | None  # chart of intervals
    trade: Markup | None  # chart of the curves with the ray of the slider
    bars: ClassBars | None  # charts of the unseen classes
    strips: Markup | None  # chart of the variances

    @property
    def name(self) -> str:
        """Return the name of the data set."""
        return self.about.name

    @cached_property
    def marks(self) -> dict[tuple[str, str], str]:
        """Return the mark of each number that has one, by method and key."""
        return comparison.marks(self.rows, self.standing)

    @cached_property
    def leaders(self) -> list[Leader]:
        """Say who leads by each headline number."""
        return comparison.leaders(self.rows, self.standing)

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

    @property
    def is_many(self) -> bool:
        """Tell whether there are more curves than a chart shows at once."""
        return len(self.series) > FEW

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


def section_of(
    place: int, rows: Sequence[MethodRow], about: DataRecord, pictures: PicturesRecord, slots: Mapping[str, int]
) -> Section:
    """Compute and draw what is shown of one data set.

    Args:
        place: number of the section, from 1.
        rows: the methods, the best first.
        about: the record of the data set.
        pictures: its sample pictures.
        slots: colours by method.
    """
    name, best, key = about.name, rows[0], tables.headline_key(rows)
    standing = comparison.assess(rows, about)
    unseen = classes.unseen_classes(best)
    variance = classes.variance_view(about.variance)
    series = [curve for row in rows if (curve := curve_of(row, slots[row.method])) is not None]
    forest = trade = bars = strips = None
    if standing.intervals:
        forest = charts.forest(rows, standing, key, f"{METRICS[key].name} on {name} with 95 % intervals")
    if series:
        label = f"Seen-unseen curves on {name}"
        trade = charts.curve_chart(series, label, with_seeds=len(series) <= FEW, balance=START)
    if unseen:
        bars = charts.class_bars(unseen, f"Accuracy of unseen classes of {name}, {best.name}")
    if variance and len(variance.names) <= MOST_STRIPES:
        strips = charts.variance_strips(variance, f"Attribute variances of {name}")
    return Section(
        place=place,
        about=about,
        rows=rows,
        standing=standing,
        key=key,
        series=series,
        classes=unseen,
        portraits=classes.portraits(unseen, pictures, best.method),
        variance=variance,
        samples=pictures.samples,
        analyses=analyses_of([row.shown for row in rows], about, slots),
        forest=forest,
        trade=trade,
        bars=bars,
        strips=strips,
    )
