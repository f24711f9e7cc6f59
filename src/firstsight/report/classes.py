"""Single classes and single attributes: accuracy per class, explanations, variances."""

from __future__ import annotations

import statistics
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
    for run in row.runs:
        for one in run.classes:
            if not one.seen and one.accuracy is not None:
                grouped.setdefault(one.name, []).append(one)
    classes = []
    for name, found in grouped.items():
        calibrated = Stat.of(one.accuracy_calibrated for one in found)
        mean = statistics.fmean(one.accuracy for one in found if one.accuracy is not None)
        classes.append(ClassRow(plain_name(name), found[0].images, mean, calibrated.mean if calibrated else None))
    return sorted(
        classes,
        key=lambda one: (-(one.accuracy if one.calibrated is None else one.calibrated), -one.accuracy, one.name),
    )


class Portrait(NamedTuple):
    """A class at one end of the ranking, with what there is to see of it.

    Attributes:
        pictures: base64 PNG or JPEG of test images; that of the answer explained where there are no others.
        explained: single answers with their explanations.
    """

    row: ClassRow
    place: str
    pictures: Sequence[str]
    explained: Sequence[Explanation]


def portraits(classes: Sequence[ClassRow], pictures: PicturesRecord, method: str, n: int = 3) -> list[Portrait]:
    """Pick the best n and the worst n unseen classes of which the results hold pictures or explanations.

    Args:
        classes: the best first.
        pictures: the record of the data set's pictures.
        method: whose explanations come first; of each class one is shown.
        n: of each end.
    """
    shown: dict[str, list[str]] = {}
    explained: dict[str, list[Explanation]] = {}
    for sample in pictures.samples:
        if not sample.seen:
            shown.setdefault(plain_name(sample.truth), []).append(sample.picture)
    for one in sorted(pictures.explained, key=lambda one: one.method != method):
        explained.setdefault(plain_name(one.truth), []).append(one)
    known = [(place, row) for place, row in enumerate(classes, start=1) if row.name in shown or row.name in explained]
    ends = [*known[:n], *known[max(n, len(known) - n) :]]
    found = []
    for place, row in ends:
        told = explained.get(row.name, [])[:1]
        own = shown.get(row.name, [])[:2] or [why.picture for why in told if why.picture]
        found.append(Portrait(row, f"{place} of {len(classes)}", own, told))
    return found


@dataclass(frozen=True)
class VarianceView:
    """Attribute variances, ascending by trainval variance.

    Attributes:
        names: a attribute names, or a numbers counted from 1 in the order of the data set.
        trainval: [a] variance over training images.
        test_unseen: [a] variance over images of unseen classes.
        cosine: between the two vectors.
        quiet_share: percent of the variance among unseen classes that lies in the half of the attributes that
            vary less in training.
        rising: attributes of that half that vary most among unseen classes.
    """

    names: Sequence[str]
    trainval: Sequence[float]
    test_unseen: Sequence[float]
    cosine: float | None
    quiet_share: float
    rising: Sequence[str]


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
