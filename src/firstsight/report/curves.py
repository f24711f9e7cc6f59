"""Seen-unseen curves as the report shows them, and where a balance of unseen and seen accuracy meets them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from firstsight.report.tables import MethodRow, Record

STEP = 0.3  # percentage points between two points that are kept
Points = Sequence[tuple[float, float]]  # (u, s), u never falls and s never rises


class Series(NamedTuple):
    """One method's curve.

    Attributes:
        points: of the seed that stands for all.
        others: points of the other seeds.
        plain: (u, s) at gamma = 0.
        calibrated: (u, s) at the gamma from validation classes.
        gamma: one for each point, at which it begins; empty where the run does not say.
    """

    slot: int
    name: str
    points: Points
    others: Sequence[Points]
    plain: tuple[float, float] | None
    calibrated: tuple[float, float] | None
    gamma: Sequence[float] = ()


class Riding(NamedTuple):
    """Where a balance meets a curve; h is the harmonic mean of the two."""

    u: float
    s: float
    h: float
    gamma: float | None


def curve_of(row: MethodRow, slot: int) -> Series | None:
    """The curve of a method's median seed, where it has one."""
    shown = row.shown
    points = _points(shown)
    if not points:
        return None
    gamma = (shown.get("curve") or {}).get("gamma") or ()
    starts = [gamma[0], *gamma] if len(gamma) == len(points) - 1 and gamma else []
    kept = _kept(points)
    return Series(
        slot=slot,
        name=row.name,
        points=[points[place] for place in kept],
        gamma=[starts[place] for place in kept] if starts else [],
        others=[own for run in row.runs if run is not shown and (own := _points(run))],
        plain=_pair(shown, "u", "s"),
        calibrated=_pair(shown, "u_cal", "s_cal"),
    )


def _kept(points: Points) -> list[int]:
    """Places of points that are far enough from the one before to be told apart on the page."""
    kept = [0]
    for place, point in enumerate(points):
        if math.dist(point, points[kept[-1]]) >= STEP:
            kept.append(place)
    return kept if kept[-1] == len(points) - 1 else [*kept, len(points) - 1]


def riding(points: Points, percent: float, gamma: Sequence[float] = ()) -> Riding:
    """Where the curve meets the ray on which u is this percentage of u + s, on a straight line between points."""
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
    """Of two accuracies; 0 where both are."""
    return 2 * u * s / (u + s) if u + s else 0.0


def _points(run: Record) -> list[tuple[float, float]]:
    curve = run.get("curve") or {}
    return list(zip(curve.get("u") or (), curve.get("s") or (), strict=True))


def _pair(run: Record, x: str, y: str) -> tuple[float, float] | None:
    return None if run.get(x) is None or run.get(y) is None else (run[x], run[y])
