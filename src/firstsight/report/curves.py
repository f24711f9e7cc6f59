"""Seen-unseen curves as the report shows them, and where a balance of unseen and seen accuracy meets them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from firstsight.report.tables import MethodRow

STEP = 0.3  # percentage points between two points that are kept
Points = Sequence[tuple[float, float]]  # (u, s), u never falls and s never rises


class Series(NamedTuple):
    """One method's curve."""

    slot: int
    name: str
    points: Points  # of the seed that stands for all
    others: Sequence[Points]  # of the other seeds
    plain: tuple[float, float] | None  # (u, s) at gamma = 0
    calibrated: tuple[float, float] | None  # at the gamma from validation classes
    gamma: Sequence[float] = ()  # for each point, at which it begins; empty where the run does not say


class Riding(NamedTuple):
    """Where a balance meets a curve; h is the harmonic mean of the two."""

    u: float
    s: float
    h: float
    gamma: float | None


def curve_of(row: MethodRow, slot: int) -> Series | None:
    """Return the curve of a method's median seed, where it has one."""
    shown = row.shown
    if not shown.curve or not shown.curve.points:
        return None
    points, gamma = shown.curve.points, shown.curve.gamma
    starts = [gamma[0], *gamma] if len(gamma) == len(points) - 1 and gamma else []
    kept = _kept(points)
    return Series(
        slot=slot,
        name=row.name,
        points=[points[place] for place in kept],
        gamma=[starts[place] for place in kept] if starts else [],
        others=[own for run in row.runs if run is not shown and run.curve and (own := run.curve.points)],
        plain=_pair(shown.u, shown.s),
        calibrated=_pair(shown.u_cal, shown.s_cal),
    )


def _kept(points: Points) -> list[int]:
    """List the places of points that are far enough from the one before to be told apart on the page."""
    kept = [0]
    for place, point in enumerate(points):
        if math.dist(point, points[kept[-1]]) >= STEP:
            kept.append(place)
    return kept if kept[-1] == len(points) - 1 else [*kept, len(points) - 1]


def riding(points: Points, percent: float, gamma: Sequence[float] = ()) -> Riding:
    """Find where the curve meets the ray on which u is this percentage of u + s, on a straight line between points."""
    share = percent / 100
    over = [(1 - share) * u - share * s for u, s in points]  # rises along the curve, 0 on the ray
    place = next((number for number, value in enumerate(over) if value >= 0), len(points) - 1)
    u, s = points[place]
    if place and over[place] > 0:
        part = over[place - 1] / (over[place - 1] - over[place])
        (u0, s0) = points[place - 1]
        u, s = u0 + part * (u - u0), s0 + part * (s - s0)
    return Riding(u, s, harmonic(u, s), gamma[place] if gamma else None)


def harmonic(u: float, s: float) -> float:
    """Return the harmonic mean of two accuracies; 0 where both are 0."""
    return 2 * u * s / (u + s) if u + s else 0.0


def _pair(u: float | None, s: float | None) -> tuple[float, float] | None:
    """Return the two accuracies where both are known."""
    return None if u is None or s is None else (u, s)
