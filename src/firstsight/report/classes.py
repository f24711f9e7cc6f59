"""Single classes and single attributes: accuracy per class, explanations, variances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from firstsight.report.names import plain_name
from firstsight.report.tables import MethodRow, Stat
from firstsight.results.numbers import ClassResult
from firstsight.results.records import Explanation, PicturesRecord, Variance


class ClassRow(NamedTuple):
    """Accuracy of one class over seeds, in percent."""

    name: str
    images: int
    accuracy: float
    calibrated: float | None


def unseen_classes(row: MethodRow) -> list[ClassRow]:
    """List the unseen classes with their accuracy among all classes, the best first."""
    grouped: dict[str, list[ClassResult]] = {}
    for one in (one for run in row.runs for one in run.classes if not one.seen):
        grouped.setdefault(one.name, []).append(one)
    classes = []
    for name, found in grouped.items():
        known = [one for one in found if one.accuracy is not None]
        plain, stacked = Stat.of(one.accuracy for one in known), Stat.of(one.accuracy_calibrated for one in known)
        if plain:
            classes.append(ClassRow(plain_name(name), known[0].images, plain.mean, stacked.mean if stacked else None))
    best = {one: one.accuracy if one.calibrated is None else one.calibrated for one in classes}
    return sorted(classes, key=lambda one: (-best[one], -one.accuracy, one.name))


class Portrait(NamedTuple):
    """A class at one end of the ranking, with what there is to see of it."""

    row: ClassRow
    place: str
    pictures: Sequence[str]  # base64 of test images; that of the explained prediction where there are no others
    explained: Sequence[Explanation]


def portraits(classes: Sequence[ClassRow], pictures: PicturesRecord, method: str, n: int = 3) -> list[Portrait]:
    """Pick the best n and the worst n unseen classes of which the results hold pictures or explanations.

    `classes` come the best first. Of each class one explanation is shown, of `method` where there is one.
    """
    shown: dict[str, list[str]] = {}
    explained: dict[str, list[Explanation]] = {}
    for sample in pictures.samples:
        if not sample.seen:
            shown.setdefault(plain_name(sample.truth), []).append(sample.picture)
    for one in sorted(pictures.explained, key=lambda one: one.method != method):
        explained.setdefault(plain_name(one.truth), []).append(one)
    known = [(place, row) for place, row in enumerate(classes, start=1) if row.name in shown | explained]
    found = []
    for place, row in [*known[:n], *known[max(n, len(known) - n) :]]:
        told = explained.get(row.name, [])[:1]
        own = shown.get(row.name, [])[:2] or [why.picture for why in told if why.picture]
        found.append(Portrait(row, f"{place} of {len(classes)}", own, told))
    return found


@dataclass(frozen=True)
class VarianceView:
    """Attribute variances, ascending by the variance over training images."""

    names: Sequence[str]  # a attribute names, or numbers from 1 in the order of the data set
    trainval: Sequence[float]  # [a] variance over training images
    test_unseen: Sequence[float]  # [a] over images of unseen classes
    cosine: float | None  # between the two vectors
    quiet_share: float  # percent of the variance among unseen classes in the half that varies less in training
    rising: Sequence[str]  # attributes of that half that vary most among unseen classes


def variance_view(variance: Variance | None) -> VarianceView | None:
    """Return the heat map's numbers, or None where there are none."""
    if not variance or not variance.trainval or not variance.test_unseen:
        return None
    given, seen, unseen = variance.attributes, variance.trainval, variance.test_unseen
    names = [plain_name(name) for name in given] or [f"attribute {place + 1}" for place in range(len(seen))]
    order = sorted(range(len(seen)), key=seen.__getitem__)
    quiet = order[: len(order) // 2]
    rising = sorted(quiet, key=lambda place: -unseen[place])[:3] if given else ()
    return VarianceView(
        names=[names[place] for place in order],
        trainval=[seen[place] for place in order],
        test_unseen=[unseen[place] for place in order],
        cosine=variance.cosine,
        quiet_share=100 * sum(unseen[place] for place in quiet) / (sum(unseen) or 1.0),
        rising=[names[place] for place in rising],
    )
