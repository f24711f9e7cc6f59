"""Gains and losses of classes against a baseline (as the per-class tables of Xian et al., TPAMI 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from firstsight.errors import InputError


def class_gains(
    classes: Sequence[Mapping[str, Any]], baseline: Sequence[Mapping[str, Any]], number: str | None = None
) -> list[dict[str, Any]]:
    """Subtract the accuracy of each class by a baseline from that by a method; the largest gain first.

    Args:
        classes: a row per class, as `classes` of a run: `name`, `seen`, `images` and accuracies in percent.
        baseline: the same rows of the method to compare with, for the same classes.
        number: the accuracy to compare: `accuracy`, `accuracy_calibrated` or `t1`; if None, the calibrated one if both
            tables have it. Classes without it in either table are left out.

    Returns:
        rows of `name`, `seen`, `images`, `accuracy`, `baseline` and `gain` in points.
    """
    other = {row["name"]: row for row in baseline}
    strays = {row["name"] for row in classes} ^ other.keys()
    if strays:
        raise InputError(
            f"baseline must have the same classes as the method; got {len(strays)} in one alone, "
            f"the first {min(strays)!r}"
        )
    if number is None:
        rows = [*classes, *baseline]
        has_calibrated = all(row.get("accuracy_calibrated") is not None for row in rows)
        number = "accuracy_calibrated" if has_calibrated else "accuracy"
    gains = [
        {
            "name": row["name"],
            "seen": bool(row.get("seen")),
            "images": row.get("images"),
            "accuracy": row[number],
            "baseline": other[row["name"]][number],
            "gain": row[number] - other[row["name"]][number],
        }
        for row in classes
        if row.get(number) is not None and other[row["name"]].get(number) is not None
    ]
    return sorted(gains, key=lambda row: (-row["gain"], row["name"]))
