"""What every method learns from: classes as data, images as rows, splits as indices.

A `Dataset` is frozen and checked once, when it is made; everything downstream trusts it. A method is only ever
handed a `TrainingSet`, which holds no trace of the unseen classes, so no method can peek.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstsight.errors import InputError
from firstsight.stored import Crops as Crops
from firstsight.stored import Pictures as Pictures
from firstsight.stored import as_pictures

Floats = NDArray[np.floating]
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ClassEmbeddings:
    """A set of classes, each with a name and a vector that describes it.

    Attributes:
        names: c class names, all different.
        vectors: [c, a] class embeddings, one row per class, finite.
        attributes: a names of the columns, or empty where they have none (sentence vectors).
    """

    names: tuple[str, ...]
    vectors: Floats
    attributes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = tuple(map(str, self.names))
        vectors = as_matrix(self.vectors, "class embeddings", rows="classes")
        if len(names) != len(vectors):
            raise InputError(f"class embeddings must have one row per class name; got {len(vectors)} for {len(names)}")
        if repeated := [name for name, count in Counter(names).items() if count > 1]:
            raise InputError(f"class names must be different; got {repeated[0]!r} more than once")
        if self.attributes and len(self.attributes) != vectors.shape[1]:
            raise InputError(
                f"attributes must name every column of the class embeddings; "
                f"got {len(self.attributes)} names for {vectors.shape[1]} columns"
            )
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "vectors", frozen(vectors))
        object.__setattr__(self, "attributes", tuple(map(str, self.attributes)))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, rows: ArrayLike) -> ClassEmbeddings:
        """Return the classes at these rows, in this order; a boolean mask works too."""
        chosen = np.arange(len(self))[np.asarray(rows)]
        return ClassEmbeddings(tuple(self.names[row] for row in chosen), self.vectors[chosen], self.attributes)


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Images of seen classes, as a method's `fit` receives them.

    Attributes:
        features: [n, v] visual features, on which E works; [n, 0] where there are pictures alone.
        labels: [n] row of `classes` for each image.
        classes: the s seen classes.
        reconstruction_features: [n, w] features of the same images for F and G; the same array as `features`
            unless the data set names others.
        feature_widths: columns of each feature set joined into `features`; they sum to v.
        pictures: the n pictures themselves, where the data set has them in memory, all of one size.
        crops: [n, k, v] features of crops of the same images, not read yet; `features` are then of the whole.
    """

    features: Floats
    labels: Indices
    classes: ClassEmbeddings
    reconstruction_features: Floats
    feature_widths: tuple[int, ...]
    pictures: Pictures | None = None
    crops: Crops | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images, their classes and the split, checked when it is made.

    Seen classes are those with images in `trainval`; all others are unseen, whether they have images or not.

    Attributes:
        name: what reports call it.
        classes: all c classes.
        labels: [n] row of `classes` for each image.
        trainval: indices of the training images.
        test_seen: indices of test images of seen classes.
        test_unseen: indices of test images of unseen classes.
        features: [n, v] visual features, or None where there are only pictures.
        reconstruction_features: [n, w] features for F and G; `features` where None.
        feature_widths: columns of each feature set joined into `features`; one set of v columns where empty.
        pictures: n pictures, [h, w, 3] colours in 0..255 each, or empty.
        description: one sentence for reports.
        validation_classes: partitions for model selection, each the names of seen classes to hold out.
        paths: n picture files relative to `root`, with forward slashes, or empty; images may share one.
        root: folder of the picture files.
        crops: [n, k, v] features of k crops of each image, for methods that learn from crops; not read yet.
        feature_source: what the feature file says of how it was made: backbone, crops, transform.
        text_source: the text model that described the classes, and `weight` and names of the `attributes` beside it.
    """

    name: str
    classes: ClassEmbeddings
    labels: Indices
    trainval: Indices
    test_seen: Indices
    test_unseen: Indices
    features: Floats | None = None
    reconstruction_features: Floats | None = None
    feature_widths: tuple[int, ...] = ()
    pictures: Pictures | Sequence[NDArray[np.uint8]] = ()
    description: str = ""
    validation_classes: tuple[tuple[str, ...], ...] = ()
    paths: tuple[str, ...] = ()
    root: str | None = None
    crops: Crops | None = None
    feature_source: Mapping[str, Any] | None = None
    text_source: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        labels = as_indices(self.labels, "labels", len(self.classes), "class")
        object.__setattr__(self, "labels", labels)
        n = len(labels)
        for split in ("trainval", "test_seen", "test_unseen"):
            object.__setattr__(self, split, as_indices(getattr(self, split), split, n, "image"))
        for kind in ("features", "reconstruction_features"):
            if (given := getattr(self, kind)) is not None:
                object.__setattr__(self, kind, frozen(as_matrix(given, kind, rows="images")))
                if len(given) != n:
                    raise InputError(f"{kind} must have one row per label; got {len(given)} for {n} labels")
        if self.features is not None:
            widths = self.feature_widths or (self.features.shape[1],)
            if sum(widths) != self.features.shape[1]:
                raise InputError(f"feature widths must sum to {self.features.shape[1]}; got {widths}")
            object.__setattr__(self, "feature_widths", tuple(map(int, widths)))
        if len(self.pictures) and not isinstance(self.pictures, Pictures):
            object.__setattr__(self, "pictures", as_pictures(self.pictures))
        object.__setattr__(self, "paths", tuple(self.paths))
        for kind in ("pictures", "paths"):
            if (size := len(getattr(self, kind))) not in (0, n):
                raise InputError(f"{kind} must be one per label; got {size} for {n} labels")
        if self.paths and self.root is None:
            raise InputError("root must be given with paths; got None")
        if self.crops is not None:
            got, width = [len(self.crops), *self.crops.store.shape[1:]], self.inputs(self.trainval[:1]).shape[1]
            if len(got) != 3 or got != [n, got[1], width]:
                raise InputError(f"crops must be [{n} labels, crops, {width} columns]; got {got}")
        self._check_splits()

    def _check_splits(self) -> None:
        if not len(self.trainval):
            raise InputError("trainval must have images; got none")
        for a, b in (("trainval", "test_seen"), ("trainval", "test_unseen"), ("test_seen", "test_unseen")):
            if shared := len(np.intersect1d(getattr(self, a), getattr(self, b))):
                raise InputError(f"{a} and {b} must not share images; got {shared} in both")
        for split, expected, allowed in (("test_seen", "seen", self.seen), ("test_unseen", "unseen", self.unseen)):
            strays = np.setdiff1d(self.labels[getattr(self, split)], allowed)
            if len(strays):
                raise InputError(
                    f"{split} must hold images of {expected} classes only; got {len(strays)} other classes, "
                    f"the first {self.classes.names[strays[0]]!r}"
                )
        seen = {self.classes.names[row] for row in self.seen}
        for names in self.validation_classes:
            for name in names:
                if name not in seen:
                    raise InputError(f"validation classes must be seen classes; got {name!r}")
            if not 0 < (n := len(set(names))) < len(seen):
                raise InputError(
                    f"validation classes must be some of the seen classes, not all; got {n} of {len(seen)}"
                )

    @property
    def seen(self) -> Indices:
        """Return the rows [s] of the classes that have training images."""
        return np.unique(self.labels[self.trainval])

    @property
    def unseen(self) -> Indices:
        """Return the rows [u] of all other classes."""
        return np.setdiff1d(np.arange(len(self.classes)), self.seen)

    @property
    def is_seen(self) -> NDArray[np.bool_]:
        """Tell of each class [c] whether it has training images."""
        return np.isin(np.arange(len(self.classes)), self.seen)

    @property
    def test_images(self) -> Indices:
        """Return the indices of all test images: `test_seen`, then `test_unseen`."""
        return np.concatenate([self.test_seen, self.test_unseen])

    @cached_property
    def fingerprint(self) -> str:
        """Return twelve hexadecimal digits of all that a run depends on: classes, labels, splits, features."""
        digest = hashlib.sha256(repr((self.classes.names, self.validation_classes, self.feature_widths)).encode())
        arrays = (self.classes.vectors, self.labels, self.trainval, self.test_seen, self.test_unseen)
        crops = () if self.crops is None else (self.crops[at : at + 256] for at in range(0, len(self.crops), 256))
        for array in chain(arrays, (self.features, self.reconstruction_features), crops):
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:12]

    def inputs(self, images: Indices) -> Floats:
        """Return the features [len(images), v] of these images, which a method scores."""
        if self.features is None:
            there = "pictures" if len(self.pictures) or self.paths else "labels"
            raise InputError(
                f"features must be given for data set {self.name!r}; got {there} only; name a feature file"
            )
        return self.features[images]

    def training_set(self) -> TrainingSet:
        """Return the training images with the seen classes, numbered from 0; nothing of the unseen classes is in it."""
        is_bare = self.features is None and isinstance(self.pictures, Pictures) and len(self.pictures) > 0
        features = np.empty((len(self.trainval), 0)) if is_bare else self.inputs(self.trainval)
        other = self.reconstruction_features
        seen, labels = np.unique(self.labels[self.trainval], return_inverse=True)
        return TrainingSet(
            features=features,
            labels=labels,
            classes=self.classes[seen],
            reconstruction_features=features if other is None else other[self.trainval],
            feature_widths=self.feature_widths,
            pictures=self.pictures.take(self.trainval) if isinstance(self.pictures, Pictures) else None,
            crops=None if self.crops is None else self.crops.take(self.trainval),
        )

    def subset(self, images: Indices, classes: Indices | None = None) -> Dataset:
        """Return the data set of some images, numbered anew; each stays in its split.

        Args:
            images: [m] which images, in their new order.
            classes: rows of the classes that are kept, in ascending order; they must include those of all `images`.
                All where None.
        """
        place = np.full(len(self.labels), -1)
        place[images] = np.arange(len(images))
        splits = {name: place[getattr(self, name)] for name in ("trainval", "test_seen", "test_unseen")}
        rows = np.arange(len(self.classes)) if classes is None else classes
        other = self.reconstruction_features
        return replace(
            self,
            classes=self.classes[rows],
            labels=np.searchsorted(rows, self.labels[images]),
            **{name: places[places >= 0] for name, places in splits.items()},
            features=None if self.features is None else self.features[images],
            reconstruction_features=None if other is None else other[images],
            pictures=self.pictures.take(images) if isinstance(self.pictures, Pictures) else (),
            crops=None if self.crops is None else self.crops.take(images),
            paths=tuple(self.paths[image] for image in images) if self.paths else (),
        )

    def without_test(self) -> Dataset:
        """Return the training images and the seen classes alone, on which settings may be chosen."""
        return self.subset(self.trainval, self.seen)

    def validation_set(self, partition: int = 0, seed: int = 0, n_held_out: int | None = None) -> Dataset:
        """Return a data set of the training images alone, in which some seen classes play the unseen ones.

        Its `test_unseen` are all images of the held-out classes, its `test_seen` a fifth of the other classes'
        images (the share of the GBU splits), one at least where there are two; the unseen classes and all test images
        are gone, so whatever is chosen on it was not chosen on test data.

        Args:
            partition: which of `validation_classes` to hold out; beyond them, a random draw.
            seed: for the images that become `test_seen`, and for random partitions.
            n_held_out: size of a random partition; a third of the seen classes where None (as CUB's 50 of 150).
        """
        rng = np.random.default_rng([seed, partition])
        training = self.without_test()
        names, labels = training.classes.names, training.labels
        if len(names) < 3:
            raise InputError(f"validation must have 3 seen classes or more to hold some out; got {len(names)}")
        if partition < len(self.validation_classes):
            wanted = set(self.validation_classes[partition])
            held_out = np.array([row for row, name in enumerate(names) if name in wanted], dtype=np.int64)
        else:
            size = round(len(names) / 3) if n_held_out is None else n_held_out
            if not 0 < size < len(names):
                raise InputError(f"n_held_out must be 1 or more and leave one of {len(names)} seen classes; got {size}")
            held_out = rng.choice(len(names), size, replace=False)
        is_unseen = np.isin(labels, held_out)
        is_test = np.zeros(len(labels), dtype=bool)
        for row in np.setdiff1d(np.arange(len(names)), held_out):
            images = np.flatnonzero(labels == row)
            is_test[rng.permutation(images)[: max(len(images) // 5, len(images) > 1)]] = True
        return replace(
            training,
            name=f"{self.name} validation",
            trainval=np.flatnonzero(~is_unseen & ~is_test),
            test_seen=np.flatnonzero(is_test),
            test_unseen=np.flatnonzero(is_unseen),
            validation_classes=(),
        )


def as_matrix(values: ArrayLike, what: str, rows: str) -> Floats:
    """Return values as a matrix [rows, columns] of finite floats: float32 stays, float16 becomes it, all else float64.

    Raises:
        InputError: another shape, no numbers, or some that are not finite.
    """
    matrix = np.asarray(values)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise InputError(f"{what} must be a table of [{rows}, columns]; got shape {list(matrix.shape)}")
    if matrix.dtype.kind not in "fiub":
        raise InputError(f"{what} must be numbers; got {matrix.dtype}")
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float32 if matrix.dtype == np.float16 else np.float64)
    if bad := int(is_bad_row(matrix).sum()):
        raise InputError(f"{what} must be finite; {bad} of {len(matrix)} rows contain NaN or inf")
    return matrix


def is_bad_row(table: np.ndarray) -> NDArray[np.bool_]:
    """Return [n] True for rows of [n, v] with NaN or inf."""
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf would warn
        return ~np.asarray(np.isfinite(table.sum(axis=1, dtype=np.float64)))


def as_indices(values: ArrayLike, what: str, n: int, of: str) -> Indices:
    """Return values as indices [m] in 0..n-1; raise an InputError about others, and about images named twice."""
    indices = np.asarray(values)
    if indices.ndim != 1:
        raise InputError(f"{what} must be a list of indices; got shape {list(indices.shape)}")
    if not len(indices):
        return indices.astype(np.int64)
    if indices.dtype.kind not in "iu":
        raise InputError(f"{what} must be whole numbers; got {indices.dtype}")
    if indices.min() < 0 or indices.max() >= n:
        wrong = indices.min() if indices.min() < 0 else indices.max()
        raise InputError(f"{what} must name one of {n} {of} rows, 0 to {n - 1}; got {wrong}")
    indices = indices.astype(np.int64)
    if of == "image" and (repeats := len(indices) - len(np.unique(indices))):
        raise InputError(f"{what} must name each image once; got {repeats} repeats")
    return frozen(indices)


def frozen(array: np.ndarray) -> np.ndarray:
    """Return a view of the array that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


def unit_rows(vectors: Floats) -> Floats:
    """Return [c, a] the rows with unit length; the same numbers where they all have it to a thousandth."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return vectors if (np.abs(lengths - 1) < 1e-3).all() else vectors / lengths
