"""A fitted method with what it takes to name things in pictures: classes, calibration, and where features came from.

It is one .safetensors file, the method's own with the classes beside what was learned, so whatever reads a method's
file reads this one too. Classes are data: more can be added, and answers can be kept to some, without training.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from firstsight.data import ClassEmbeddings, Dataset, Floats, Indices, frozen, unit_rows
from firstsight.errors import InputError
from firstsight.evaluation.calibration import fit_calibration, probabilities
from firstsight.evaluation.evaluate import check_trained_on
from firstsight.evaluation.explanation import Explanation, attribute_weights, strongest
from firstsight.methods import FitControls, Method
from firstsight.methods.abilities import own_backbone, with_own_features
from firstsight.recogniser.recogniser_file import SOURCE, read_recogniser, write_recogniser
from firstsight.recogniser.topk import Top, top_classes

BATCH = 32  # pictures at once
EXPLAINED = 8  # images at once, for which a variant of each class is made per attribute


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of images, and all that follows from them."""

    known: Recogniser
    features: Floats  # [n, v] of the images
    scores: Floats  # [n, c] of all its classes, gamma subtracted

    @cached_property
    def probabilities(self) -> Floats:
        """Return the calibrated probabilities [n, c]; rows sum to 1."""
        return probabilities(self.scores, self.known.temperature)

    @cached_property
    def rows(self) -> Indices:
        """Return [n, c] rows of the classes, the most probable first."""
        return np.argsort(-self.probabilities, axis=1, kind="stable")

    @property
    def rejected(self) -> NDArray[np.bool_]:
        """Return [n] whether an image is rejected, as in `Recogniser.rejects`."""
        return self.known.rejects(self.scores.max(axis=1))

    def explain(self, n: int = 3) -> list[Explanation]:
        """Find the attributes that favour the best class of each image over the next, n for it and n against."""
        return self.known.explain(self.features, self.rows, n)


@dataclass(frozen=True)
class Answer:
    """The answer to one picture."""

    source: str  # the picture's file, or its number
    classes: tuple[str, ...] = ()  # names, best first
    probabilities: tuple[float, ...] = ()  # of these
    seen: tuple[bool, ...] = ()  # whether these were trained on
    rejected: bool | None = None  # whether even the best class fits too badly; None without a threshold
    because: Explanation | None = None  # attributes for and against the best class rather than the next, if asked for
    error: str | None = None  # why there is no answer


@dataclass(frozen=True, eq=False)
class Recogniser:
    """A fitted method, the classes it chooses from, and its calibration.

    Attributes:
        method: fitted.
        classes: all c classes, seen and unseen.
        is_seen: [c] whether the method was trained on the class.
        gamma: subtracted from the scores of seen classes.
        temperature: of the softmax that makes probabilities of scores.
        threshold: answers with a score below this, gamma subtracted, are "none of these"; None where it was not
            calibrated.
        caught: percent of the validation images whose class was no candidate that were rejected, or None.
        feature_source: `backbone`, `crops` and `transform` of the features trained on, where known.
        text_source: the text `model` that described the classes, and `weight` and names of the `attributes` beside it.
    """

    method: Method
    classes: ClassEmbeddings
    is_seen: NDArray[np.bool_]
    gamma: float = 0.0
    temperature: float = 1.0
    threshold: float | None = None
    caught: float | None = None
    feature_source: Mapping[str, str] | None = None
    text_source: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        is_seen = np.asarray(self.is_seen)
        if is_seen.dtype != bool or is_seen.shape != (len(self.classes),):
            raise InputError(f"is_seen must say yes or no for each of {len(self.classes)} classes; got {is_seen.shape}")
        object.__setattr__(self, "is_seen", frozen(is_seen))
        if not math.isfinite(self.gamma):
            raise InputError(f"gamma must be a finite number; got {self.gamma}")
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise InputError(f"temperature must be a number above 0; got {self.temperature}")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise InputError(f"threshold must be a finite number; got {self.threshold}")
        if self.caught is not None and not 0 <= self.caught <= 100:
            raise InputError(f"caught must be in percent; got {self.caught}")
        width, got = len(self.method.class_mean_), self.classes.vectors.shape[1]
        if got != width:
            raise InputError(f"classes must have {width} columns, as in training; got {got}")

    @classmethod
    def of(cls, method: Method, data: Dataset, calibrate: bool = True, controls: FitControls | None = None) -> Self:
        """Make a recogniser of all classes of a data set.

        Args:
            method: fitted on `data.training_set()`.
            data: whose classes it is to know. Its test images are not looked at.
            calibrate: choose gamma, temperature and threshold on validation classes, for which the same settings are
                fitted a second time; without it, gamma is 0, probabilities are a plain softmax of the scores
                (not meaningful as probabilities), and no answer is rejected.
            controls: progress of that second fit.
        """
        check_trained_on(method, data)
        if not (trained_on := set(getattr(method, "trained_on_", ()))):
            raise InputError(f"{method.name} must be fitted before it recognises; got one without training; call fit")
        if own := own_backbone(method):
            source = {"backbone": own.name, "crops": "1", "transform": own.transform}
        else:
            source = getattr(data, "feature_source", None) or {}
        start = cls(
            method,
            data.classes,
            np.array([name in trained_on for name in data.classes.names]),
            feature_source={key: str(source[key]) for key in SOURCE if key in source} or None,
            text_source=getattr(data, "text_source", None),
        )
        if not calibrate:
            return start
        chosen = fit_calibration(method, with_own_features(method, data), controls)
        return replace(
            start,
            gamma=chosen.gamma,
            temperature=chosen.temperature,
            threshold=chosen.rejection.threshold,
            caught=chosen.rejection.caught,
        )

    def save(self, path: str | Path) -> Path:
        """Write one .safetensors file, which `load_method` reads as well; no pickle."""
        return write_recogniser(vars(self), path)

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        """Read a recogniser from a file that `save` wrote; raise InputError for another. Nothing in it is executed."""
        return read_recogniser(cls, path, device)

    def with_classes(self, more: ClassEmbeddings) -> Self:
        """Return a recogniser with more classes, all unseen; no training; vectors must be scaled as in training."""
        ours, theirs = self.classes, more
        width, got = ours.vectors.shape[1], theirs.vectors.shape[1]
        if got != width:
            raise InputError(f"more classes must have {width} columns, as in training; got {got}")
        if ours.attributes and theirs.attributes and ours.attributes != theirs.attributes:
            pairs = zip(ours.attributes, theirs.attributes, strict=True)
            expected, found = next((own, other) for own, other in pairs if own != other)
            raise InputError(
                f"more classes must have the same attributes in the same order; got {found!r} for {expected!r}"
            )
        known = set(ours.names)
        if double := next((name for name in theirs.names if name in known), None):
            raise InputError(f"more classes must have new names; got {double!r}, which is known")
        vectors = np.concatenate([ours.vectors, theirs.vectors])
        return replace(
            self,
            classes=ClassEmbeddings(ours.names + theirs.names, vectors, ours.attributes or theirs.attributes),
            is_seen=np.append(self.is_seen, np.zeros(len(theirs), dtype=bool)),
        )

    def read_classes(self, table: Path) -> ClassEmbeddings:
        """Read classes from a table, described as the known ones are: by attributes, by text, or by both."""
        from firstsight.semantics.class_table import read_class_table, read_classes_like

        if self.text_source is None:
            more = read_classes_like(table, self.classes)
            are_unit = np.allclose(np.linalg.norm(self.classes.vectors, axis=1), 1, atol=1e-3)
            return replace(more, vectors=unit_rows(more.vectors)) if are_unit else more
        names, beside = self.text_source.get("attributes"), None
        # where the attributes have no names, all columns of the table are attributes
        found = read_class_table(table, () if names is None else names or None)
        if names is not None:
            beside = ClassEmbeddings(found.names, found.vectors, tuple(names))
        return ClassEmbeddings(found.names, self.words(found.names, found.descriptions, beside))

    def only(self, which: Literal["seen", "unseen"]) -> Self:
        """Return a recogniser that chooses among the seen or the unseen classes alone."""
        if which not in ("seen", "unseen"):
            raise InputError(f"only must be seen or unseen; got {which!r}")
        keep = np.flatnonzero(self.is_seen == (which == "seen"))
        if not len(keep):
            raise InputError(f"recogniser must know {which} classes to keep to them; got none")
        if which == "unseen" and self.method.generalized_only:
            raise InputError(f"method must choose among unseen classes alone; got {self.method.name}, which cannot")
        return replace(self, classes=self.classes[keep], is_seen=self.is_seen[keep])

    @property
    def handicap(self) -> Floats:
        """Return [c] numbers to subtract from scores: gamma where the class was seen."""
        return self.is_seen * np.float32(self.gamma)

    def probabilities(self, features: Floats) -> Floats:
        """Return the calibrated probabilities [n, c] of all classes for images [n, v]; rows sum to 1."""
        return self.score(features).probabilities

    def score(self, features: Floats) -> Scored:
        """Score all classes for images [n, v], once for probabilities, rejection and explanation."""
        return Scored(self, features, self.method.scores(features, self.classes) - self.handicap)

    def top(self, features: Floats, k: int = 5) -> Top:
        """Find the k most probable classes of images [n, v]; memory does not grow with the number of classes."""
        return top_classes(self.method, features, self.classes, k, self.handicap, self.temperature)

    def rejects(self, scores: Floats) -> NDArray[np.bool_]:
        """Return [n] whether images are rejected, as even their best scores [n] are too low: "none of these".

        In calibration, each third of the classes is left out of the candidates in turn. The threshold keeps 95 % of the
        images whose class is a candidate. More candidates never lead to more rejections.
        """
        if self.threshold is None:
            raise InputError("recogniser must be calibrated to refuse answers; got one without a threshold")
        return scores < self.threshold

    def answers(self, features: Floats, sources: Iterable[str], k: int = 5, explain: bool = False) -> list[Answer]:
        """Answer for images [n, v] in words, with the k best classes; the images are scored once."""
        top = self.top(features, max(k, 2) if explain and k > 0 else k)
        rejected = [None] * len(features) if self.threshold is None else self.rejects(top.scores[:, 0]).tolist()
        because = self.explain(features, top.rows) if explain else [None] * len(features)
        found = zip(sources, top.rows[:, :k], top.probabilities[:, :k].tolist(), rejected, because, strict=True)
        names, is_seen = self.classes.names, self.is_seen
        return [
            Answer(source, tuple(names[row] for row in rows), tuple(chances), tuple(is_seen[rows].tolist()), *rest)
            for source, rows, chances, *rest in found
        ]

    def explain(self, features: Floats, rows: Indices, n: int = 3) -> list[Explanation]:
        """Find n attributes for, and n against, the first class of each row instead of the second.

        The images are features [n, v], the classes [n, 2 or more] rows, as in `Top`.
        """
        if not self.classes.attributes:
            raise InputError("recogniser must have named attributes to explain its answers; got none")
        if len(self.classes) < 2:
            raise InputError("recogniser must know 2 classes or more to explain its answers; got 1")
        found = []
        for start in range(0, len(features), EXPLAINED):
            part = slice(start, start + EXPLAINED)
            weights = attribute_weights(self.method, features[part], self.classes, rows[part, 0], rows[part, 1])
            found += [strongest(row, self.classes.attributes, n) for row in weights]
        return found

    def check_source(self, source: Mapping[str, str], what: str) -> None:
        """Refuse features made otherwise than those trained on, if both sources are known."""
        for key in SOURCE:
            expected, got = (self.feature_source or {}).get(key), source.get(key)
            if expected is not None and got is not None and expected != got:
                raise InputError(f"{key} of {what} must be {expected!r}, as in training; got {got!r}")

    @cached_property
    def backbone(self) -> Any:
        """Return the backbone that turns pictures into features like those trained on.

        Raises:
            InputError: not known, or one that prepares pictures otherwise than the one that was trained on.
        """
        from firstsight.features.load import load_backbone

        if own := own_backbone(self.method):
            return own
        source = self.feature_source or {}
        if "backbone" not in source:
            raise InputError(
                "recogniser must know the backbone of its features to look at pictures; got features from elsewhere; "
                "give a file of features, or train on features that `firstsight features` made"
            )
        backbone = load_backbone(source["backbone"], self.method.device)
        self.check_source({"transform": backbone.transform}, backbone.name)
        return backbone

    @cached_property
    def words(self) -> Any:
        """Return the `ClassText` that described the classes; its model is loaded when it is first called."""
        from firstsight.semantics.text import ClassText

        if self.text_source is None:
            raise InputError("recogniser must know a text model to read descriptions; got classes without one")
        return ClassText(**self.text_source, device=self.method.device)

    def features(self, pictures: list[Any]) -> Floats:
        """Return features [n, v] of pictures: files or images."""
        from firstsight.features.backbone import crops_of

        return np.asarray(self.backbone.features(pictures, crops=crops_of(self.feature_source)))

    def recognise(
        self, pictures: Iterable[Any], k: int = 5, explain: bool = False, batch: int = BATCH
    ) -> Iterator[Answer]:
        """Answer for pictures, files or images, with the k best classes; a batch is read when its answers are due.

        A picture that cannot be read becomes an answer with an `error`.
        """
        numbered = enumerate(pictures)
        while some := list(islice(numbered, batch)):
            sources = [str(each) if isinstance(each, (str, Path)) else f"picture {at}" for at, each in some]
            features, errors = self.readable([each for _, each in some])
            good = [source for source, error in zip(sources, errors, strict=True) if error is None]
            found = iter(self.answers(features, good, k, explain) if good else [])
            for source, error in zip(sources, errors, strict=True):
                yield next(found) if error is None else Answer(source, error=error)

    def readable(self, pictures: list[Any]) -> tuple[Floats, list[str | None]]:
        """Return features of the pictures that can be read, and for each picture why it cannot, or None."""
        _ = self.backbone  # loaded first: its errors must not be reported for a picture
        try:
            return self.features(pictures), [None] * len(pictures)
        except (InputError, OSError) as error:  # one of them cannot be read, or several
            if len(pictures) == 1:
                return np.zeros((0, len(self.method.feature_mean_)), np.float32), [" ".join(str(error).split())]
        rows, errors = zip(*(self.readable([picture]) for picture in pictures), strict=True)
        return np.concatenate(rows), [error for [error] in errors]
