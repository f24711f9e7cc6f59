"""The best of very many classes, in memory that does not grow with their number.

Class embeddings are taken a block at a time, from memory or from a file that is mapped into it, and only the best k so
far are kept. The sum over all classes that a softmax needs is kept with them, so probabilities come out as they would
from all scores at once. Where a method's score is the inner product of a vector of the image and a vector of the class
(`Method.product`), the first is made once and the second once per block; other methods score block by block, as a
score does not depend on which other classes are asked about.

`ClassIndex` is for when even that is too slow: an approximate index of the classes' vectors (Johnson et al., IEEE Big
Data 2021), whose proposals are scored exactly. It may miss a class, so it gives no probabilities.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstsight.data import ClassEmbeddings, Floats, Indices
from firstsight.errors import InputError
from firstsight.methods import Method

CLASSES = 4096  # scored at once
IMAGES = 1024  # against that many
PROPOSED = 64  # images whose proposals are scored together


@dataclass(frozen=True, eq=False)
class Top:
    """The best classes of each image."""

    rows: Indices  # [n, k] of the candidates, best first; of equal ones the first comes first
    scores: Floats  # [n, k] of these, float32, handicaps subtracted
    log_total: Floats  # [n] log of the sum over all candidates of exp(score / temperature); NaN if not all were scored
    temperature: float

    @property
    def probabilities(self) -> Floats:
        """Return [n, k] the softmax over all candidates, of these."""
        return np.exp(self.scores.astype(np.float64) / self.temperature - self.log_total[:, None])


def top_classes(
    method: Method,
    inputs: Floats,
    candidates: ClassEmbeddings,
    k: int = 5,
    handicap: Floats | None = None,
    temperature: float = 1.0,
    block: int = CLASSES,
) -> Top:
    """Find the k best candidates of each image, exactly.

    Args:
        method: fitted.
        inputs: [n, v] features.
        candidates: c classes.
        k: how many; all where there are fewer.
        handicap: [c] numbers to subtract from the scores of each class, such as gamma for a seen class.
        temperature: of the softmax.
        block: classes scored at once; memory beside the answer grows with it alone.
    """
    if k < 1:
        raise InputError(f"k must be 1 or more; got {k}")
    if not (temperature > 0 and math.isfinite(temperature)):
        raise InputError(f"temperature must be a number above 0; got {temperature}")
    n, k = len(inputs), min(k, len(candidates))
    best, rows = np.full((n, k), -np.inf, dtype=np.float32), np.zeros((n, k), dtype=np.int64)
    highest, total = np.full(n, -np.inf), np.zeros(n)  # of score / temperature, and the sum of exp(that - highest)
    for images, first, scores in _blocks(method, inputs, candidates, block):
        if handicap is not None:
            scores = scores - handicap[first : first + scores.shape[1]].astype(np.float32)
        _merge(best[images], rows[images], scores, first)
        warm = scores.astype(np.float64) / temperature
        peak = np.maximum(highest[images], warm.max(axis=1))
        warm -= peak[:, None]
        total[images] = total[images] * np.exp(highest[images] - peak) + np.exp(warm, out=warm).sum(axis=1)
        highest[images] = peak
    return Top(rows, best, highest + np.log(total), temperature)


def _blocks(
    method: Method, inputs: Floats, candidates: ClassEmbeddings, block: int
) -> Iterator[tuple[slice, int, NDArray[np.float32]]]:
    """Yield images, the first class, and scores of these images against classes from there on; every pair once."""
    images = [slice(start, start + IMAGES) for start in range(0, len(inputs), IMAGES)]
    product = method.product
    points = [] if product is None else [product.project(inputs[which]) for which in images]
    for first in range(0, len(candidates), block):
        part = _part(candidates, slice(first, first + block))
        if product is None:
            for which in images:
                yield which, first, method.scores(inputs[which], part)
            continue
        vectors = product.describe(part).T
        for which, mapped in zip(images, points, strict=True):
            scores = (mapped @ vectors).float().cpu().numpy()
            if not np.isfinite(scores).all():
                raise InputError("scores must be finite; some overflow; scale inputs and candidates")
            yield which, first, scores


def _part(candidates: ClassEmbeddings, rows: slice) -> ClassEmbeddings:
    """Take neighbouring classes; no other rows are read."""
    return ClassEmbeddings(candidates.names[rows], candidates.vectors[rows], candidates.attributes)


def _merge(best: Floats, rows: Indices, scores: Floats, first: int) -> None:
    """Merge scores [n, b] of the classes from row `first` on into the best so far, [n, k] descending, and their rows.

    Of equal scores, the one that is there already comes first.
    """
    images, columns = np.nonzero(scores > best[:, -1:])  # few, but in the first blocks
    ends = np.searchsorted(images, np.arange(len(scores) + 1))
    for image in np.unique(images):
        new = columns[ends[image] : ends[image + 1]]
        values = np.concatenate([best[image], scores[image, new]])
        order = np.argsort(-values, kind="stable")[: best.shape[1]]
        best[image], rows[image] = values[order], np.concatenate([rows[image], first + new])[order]


class ClassIndex:
    """An approximate index over classes, of a method whose score is a product.

    Args:
        method: fitted, whose score is a product.
        candidates: c classes; their vectors are kept where they are, and one byte per column in the index.
        handicap: [c] numbers to subtract from the scores of each class.
        n_lists: clusters of the classes; about sqrt(c) where None.
        n_probe: clusters that are searched; more find more and take longer. May be set again later.
        block: classes added at once.
    """

    def __init__(
        self,
        method: Method,
        candidates: ClassEmbeddings,
        handicap: Floats | None = None,
        n_lists: int | None = None,
        n_probe: int = 32,
        block: int = 65536,
    ) -> None:
        if (product := method.product) is None:
            raise InputError(f"method must score by a product of image and class to be indexed; got {method.name}")
        self.method, self.candidates, self.handicap = product, candidates, handicap
        try:
            faiss = importlib.import_module("faiss")
        except ImportError as error:
            sentence = "faiss must be installed for an index; got none; pip install 'firstsight[faiss]'"
            raise InputError(sentence) from error
        c = len(candidates)
        self.n_lists = n_lists or max(1, min(round(math.sqrt(c)), c // 40))
        sample = np.sort(np.random.default_rng(0).choice(c, min(c, 64 * self.n_lists), replace=False))
        start = self._vectors(candidates[sample], sample)
        self._index: Any = faiss.index_factory(start.shape[1], f"IVF{self.n_lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        self._index.train(start)
        self.n_probe = n_probe
        for first in range(0, c, block):
            rows = slice(first, first + block)
            self._index.add(self._vectors(_part(candidates, rows), rows))

    @property
    def n_probe(self) -> int:
        """Return the number of clusters that are searched."""
        return int(self._index.nprobe)

    @n_probe.setter
    def n_probe(self, number: int) -> None:
        self._index.nprobe = min(number, self.n_lists)

    def top(self, inputs: Floats, k: int = 5, n_proposals: int = 100) -> Top:
        """Find the best k of the classes that the index proposes for images [n, v]; -1 where it proposes fewer.

        So many proposals per image are scored exactly.
        """
        points = self.method.project(inputs).float().cpu().numpy()
        if self.handicap is not None:
            points = np.column_stack([points, np.full(len(points), -1, dtype=np.float32)])
        _, found = self._index.search(np.ascontiguousarray(points), max(k, n_proposals))
        rows, scores = np.full((len(found), k), -1), np.full((len(found), k), -np.inf, dtype=np.float32)
        for start in range(0, len(found), PROPOSED):
            some = np.unique(found[start : start + PROPOSED])
            some = some[some >= 0]
            if not len(some):
                continue
            vectors = self._vectors(self.candidates[some], some)
            for image, proposed in enumerate(found[start : start + PROPOSED], start):
                proposed = np.sort(proposed[proposed >= 0])
                own = vectors[np.searchsorted(some, proposed)] @ points[image]
                order = np.argsort(-own, kind="stable")[:k]
                rows[image, : len(order)], scores[image, : len(order)] = proposed[order], own[order]
        return Top(rows, scores, np.full(len(found), np.nan), 1.0)

    def _vectors(self, part: ClassEmbeddings, rows: slice | Indices) -> NDArray[np.float32]:
        """Return [b, d] vectors of these classes, with the handicap as one more column where there is one."""
        vectors = self.method.describe(part).float().cpu().numpy()
        if self.handicap is not None:
            vectors = np.column_stack([vectors, self.handicap[rows].astype(np.float32)])
        return np.ascontiguousarray(vectors)
