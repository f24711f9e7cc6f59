"""Uncertainty from the test images alone: bootstrap intervals and paired comparisons.

Two facts about each test image are enough: the lead of its best seen score over its best unseen score, and whether the
best class on its own side (seen or unseen) is correct. With gamma, the prediction is a seen class if the lead exceeds
gamma. Accuracies, the seen-unseen curve and its area all follow from this.

The bootstrap draws images with replacement within each class: n - 1 of its n, with weight n / (n - 1). Without the
weight, intervals would be too narrow for small classes (Rao and Wu, JASA 1988). All methods and seeds get the same
draws, so differences are paired. The intervals do not cover other classes, since those of the data set are taken as
given, nor other trainings, since seeds are averaged and not drawn.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstsight.errors import InputError
from firstsight.results.numbers import CALIBRATED, PLAIN
from firstsight.results.records import DataRecord, ImageBytes, RunRecord

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

METRICS = (*PLAIN, *CALIBRATED)  # numbers that follow from the two facts
LEVEL = 0.95  # coverage of the intervals
ALPHA = 0.05  # differences with a lower corrected p are significant
MOST_RESAMPLES = 20_000
CELLS = 1 << 20  # images x resamples in memory at a time


@dataclass(frozen=True, eq=False)
class Images:
    """Outcome of one run for each test image of a data set."""

    lead: NDArray[np.float32]  # [n] best score among seen classes minus best among unseen ones
    right: Flags  # [n] whether the best class on the image's own side is its own
    labels: NDArray[np.int64]  # [n] rows of the classes
    is_seen: Flags  # [c] whether the class has training images

    @classmethod
    def decode(cls, run: RunRecord, data: DataRecord) -> Images | None:
        """Read the images of a run from its record and its data set's; None if either has none or they do not match.

        Raises:
            InputError: the records contradict each other.
        """
        images, labels, is_seen = run.images, data.labels, data.is_seen
        if not images or labels is None or is_seen is None or run.fingerprint != data.fingerprint:
            return None
        n, c = len(labels), len(is_seen)
        lead = np.frombuffer(_bytes("lead", images.lead, 4 * n), dtype="<f4")
        right = np.unpackbits(np.frombuffer(_bytes("right", images.right, (n + 7) // 8), dtype=np.uint8), count=n)
        rows = np.asarray(labels, dtype=np.int64)
        if not np.isfinite(lead).all():
            raise InputError(f"images.lead must be finite; {np.count_nonzero(~np.isfinite(lead))} of {n} are not")
        if n and not (rows.min() >= 0 and rows.max() < c):
            raise InputError(f"labels must be rows of the {c} classes; got {rows.min()} to {rows.max()}")
        flags = np.asarray(is_seen, dtype=bool)
        if len(set(flags[rows].tolist())) < 2:
            raise InputError("labels must be of seen and of unseen classes; got one side only")
        return cls(lead, right.astype(bool), rows, flags)

    @staticmethod
    def encode(lead: NDArray[Any], right: NDArray[Any]) -> ImageBytes:
        """Return the part of a run's record that `decode` reads, from lead [n] and right [n]."""
        return ImageBytes(
            lead=base64.b64encode(np.asarray(lead, dtype="<f4").tobytes()).decode(),
            right=base64.b64encode(np.packbits(np.asarray(right, dtype=bool)).tobytes()).decode(),
        )

    @cached_property
    def of_seen(self) -> Flags:
        """Tell of each image [n] whether it is of a seen class."""
        return self.is_seen[self.labels]

    @cached_property
    def share(self) -> Floats:
        """Return the percent [n] that a right image adds to the mean per-class accuracy of its side."""
        counts = np.bincount(self.labels, minlength=len(self.is_seen))
        n_classes = np.where(self.is_seen, *(np.count_nonzero(counts[side]) for side in (self.is_seen, ~self.is_seen)))
        return 100.0 / (counts * n_classes)[self.labels]

    def hits(self, gamma: float) -> Flags:
        """Tell of each image [n] whether it is recognised among all classes with gamma subtracted from seen scores."""
        return self.right & ((self.lead > np.float32(gamma)) == self.of_seen)

    def metrics(self, gamma: float | None = None) -> dict[str, float]:
        """Return the numbers of METRICS; those of CALIBRATED only where gamma is given."""
        found = {name: values.sum() for name, values in self.shares(gamma).items()}
        found |= _harmonic(found) | {"ausuc": _Area(self).of(np.ones((len(self.lead), 1)))[0]}
        return {name: float(value) for name, value in _in_order(found).items()}

    def shares(self, gamma: float | None) -> dict[str, Floats]:
        """Return what each image [n] adds to the numbers that are sums over images."""
        unseen = ~self.of_seen
        plain = self.share * self.hits(0.0)
        parts = {"t1": self.share * (self.right & unseen), "u": plain * unseen, "s": plain * self.of_seen}
        if gamma is not None:
            calibrated = self.share * self.hits(gamma)
            parts |= {"u_cal": calibrated * unseen, "s_cal": calibrated * self.of_seen}
        return parts


def _bytes(name: str, text: str, n: int) -> bytes:
    """Return the n bytes of a text in base64."""
    try:
        found = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise InputError(f"images.{name} must be base64; got {error}") from error
    if len(found) != n:
        raise InputError(f"images.{name} must hold {n} bytes for the test images; got {len(found)}")
    return found


class _Area:
    """AUSUC for any weights of the images: leads are sorted once, and each resample only sums."""

    def __init__(self, images: Images) -> None:
        order = np.argsort(images.lead, kind="stable")
        order = order[images.right[order]]  # an image that is wrong on its own side does not change the curve
        of_seen = images.of_seen[order]
        self.seen, self.unseen = order[of_seen], order[~of_seen]
        self.seen_share, self.unseen_share = images.share[self.seen, None], images.share[self.unseen, None]
        seen_leads, unseen_leads = images.lead[self.seen], images.lead[self.unseen]
        # seen images lost before each unseen one is gained; images with equal leads make a slanted step
        self.before, self.with_ties = (np.searchsorted(seen_leads, unseen_leads, side) for side in ("left", "right"))

    def of(self, weights: Floats) -> Floats:
        """Return areas [b] in [0, 1], for weights [n, b] of the images."""
        lost = np.zeros((len(self.seen) + 1, weights.shape[1]))
        np.multiply(weights[self.seen], self.seen_share, out=lost[1:])
        np.cumsum(lost, axis=0, out=lost)
        height = lost[self.before]
        if not np.array_equal(self.before, self.with_ties):
            height = (height + lost[self.with_ties]) / 2
        width = weights[self.unseen]
        width *= self.unseen_share
        return (lost[-1] * width.sum(axis=0) - np.einsum("ib,ib->b", height, width)) / 1e4


def bootstrap(
    methods: Mapping[str, Sequence[tuple[Images, float | None]]], resamples: int = 1000, seed: int = 0
) -> dict[str, dict[str, Floats]]:
    """Resample the test images and compute the numbers of every method, as means over its seeds.

    Args:
        methods: by name, each seed's images with its gamma; all of the same test images.
        resamples: number of draws.
        seed: of the draws.

    Returns:
        by method, by metric, [resamples] values; entry i of all of them uses the same draw.
    """
    runs = [(name, images, gamma) for name, seeds in methods.items() for images, gamma in seeds]
    if not runs:
        return {}
    first = runs[0][1]
    for name, images, _ in runs:
        if not (np.array_equal(images.labels, first.labels) and np.array_equal(images.is_seen, first.is_seen)):
            raise InputError(f"methods must answer the same test images; got others in {name!r}")
    prepared = [(name, images.shares(gamma), _Area(images), 1 / len(methods[name])) for name, images, gamma in runs]
    found: dict[str, dict[str, Floats]] = {name: {} for name in methods}
    for part, weights in _draws(first.labels, resamples, np.random.default_rng(seed)):
        for name, linear, area, share in prepared:
            values = dict(zip(linear, np.stack(list(linear.values())) @ weights, strict=True))
            values |= {"ausuc": area.of(weights)} | _harmonic(values)
            for metric, of_part in values.items():
                found[name].setdefault(metric, np.zeros(resamples))[part] += share * of_part
    return {name: _in_order(numbers) for name, numbers in found.items()}


def _draws(labels: NDArray[np.int64], resamples: int, rng: np.random.Generator) -> Iterator[tuple[slice, Floats]]:
    """Yield parts of the resamples with weights [n, b] of the images, few enough at a time to bound memory."""
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
    width = max(1, CELLS // len(labels))
    for start in range(0, resamples, width):
        b = min(width, resamples - start)
        weights = np.ones((len(labels), b))
        for rows in by_class:
            if (n := len(rows)) > 1:  # a single image cannot vary
                drawn = rng.integers(n, size=(n - 1, b)) * b + np.arange(b)
                counts = np.bincount(drawn.ravel(), minlength=n * b).reshape(n, b)
                weights[rows] = counts * (n / (n - 1))
        yield slice(start, start + b), weights


def _harmonic(found: Mapping[str, Any]) -> dict[str, Any]:
    """Compute h, and h_cal where there is a calibrated pair."""
    return {
        h: 2 * found[u] * found[s] / np.maximum(found[u] + found[s], 1e-300)
        for h, u, s in (("h", "u", "s"), ("h_cal", "u_cal", "s_cal"))
        if u in found
    }


def _in_order(found: Mapping[str, Any]) -> dict[str, Any]:
    """Sort the numbers as in METRICS."""
    return {name: found[name] for name in METRICS if name in found}


def interval(values: Floats) -> tuple[float, float]:
    """Return the ends of the middle 95 % of the resamples."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


class Comparison(NamedTuple):
    """Comparison of the method with the highest value and another one."""

    best: str
    other: str
    difference: float  # of the values, 0 or more
    low: float  # end of the 95 % interval of the difference
    high: float
    p: float  # two-sided, from the paired bootstrap
    corrected: float  # p after Holm's correction for all pairs

    @property
    def is_better(self) -> bool:
        """Tell whether the difference is significant."""
        return self.corrected < ALPHA


def compare(values: Mapping[str, float], resampled: Mapping[str, Floats]) -> list[Comparison]:
    """Compare the highest method with every other one, the closest first.

    The highest method is known from the test images only, so the correction covers all pairs, not only those shown.
    Both arguments are by method; `resampled` comes from `bootstrap`.
    """
    ranked = sorted(values, key=lambda name: -values[name])
    pairs = list(combinations(ranked, 2))
    drawn = [resampled[best] - resampled[other] for best, other in pairs]
    p = [p_value(differences) for differences in drawn]
    found = zip(pairs, drawn, p, holm(p), strict=True)
    return [
        Comparison(best, other, values[best] - values[other], *interval(differences), own, corrected)
        for (best, other), differences, own, corrected in islice(found, max(0, len(ranked) - 1))
    ]


def p_value(differences: Floats) -> float:
    """Compute a two-sided p: 2 min(share <= 0, share >= 0) of the differences, with one added to each count."""
    rarer = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return min(1.0, 2 * (rarer + 1) / (len(differences) + 1))


def holm(p: Sequence[float]) -> list[float]:
    """Apply Holm's step-down correction (Scand. J. Statist. 1979); the order stays."""
    corrected, highest = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        highest = max(highest, min(1.0, (len(p) - rank) * p[place]))
        corrected[place] = highest
    return corrected


def enough_resamples(n_methods: int) -> int:
    """Return the number of resamples that suffices for a significant difference after Holm's correction."""
    pairs = n_methods * (n_methods - 1) // 2
    return min(MOST_RESAMPLES, max(1000, round(2.5 * pairs / ALPHA)))
