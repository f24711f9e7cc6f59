"""The contract of a method: `fit` on seen classes, `scores` for any classes.

A method is a dataclass. Its fields are its settings: the command line's flags, the saved metadata and the report's
row all come from them. It writes `_fit` and `_scores`; what it learns are tensors in attributes that end in `_`.
"""

from __future__ import annotations

import dataclasses
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firstsight import checkpoint
from firstsight.data import ClassEmbeddings, Dataset, Floats, Indices, Pictures, TrainingSet, as_matrix
from firstsight.devices import torch_device
from firstsight.errors import InputError
from firstsight.methods.scaling import ClassScaling, FeatureScaling, scale_classes, scale_features, unit_rows
from firstsight.progress import StageProgress

if TYPE_CHECKING:
    from firstsight.features.backbone import Backbone

PREPARED = ("feature_widths_", "feature_deviation_", "feature_mean_", "class_mean_")  # learned by scaling
ROWS = 8192  # images scored at once, so that memory does not grow with their number


@dataclass(frozen=True)
class Run:
    """How a fit is carried out; nothing in it changes what is learned.

    Attributes:
        progress: called with (steps done, steps in all, losses by name) as training advances.
        checkpoint: file that keeps an unfinished training; one that is there already is continued.
        checkpoint_every: steps between two checkpoints.
        draw: called now and then with (steps done, [2, k, side, side, 3] some pictures and what is left of them) by
            methods that draw.
    """

    progress: StageProgress | None = None
    checkpoint: Path | None = None
    checkpoint_every: int = 500
    draw: Callable[[int, NDArray[np.uint8]], None] | None = None


@dataclass(frozen=True)
class TrainingTensors:
    """A training set as `_fit` receives it: scaled, on the method's device.

    Attributes:
        features: [n, v] visual features.
        labels: [n] rows of `vectors`.
        vectors: [s, a] class embeddings of the seen classes.
        targets: [n, w] features to reconstruct; `features` itself where the data set names no others.
        target_widths: columns of each set joined into `targets`.
        pictures: the n pictures, where the data set has them; not on the device.
    """

    features: Tensor
    labels: Tensor
    vectors: Tensor
    targets: Tensor
    target_widths: tuple[int, ...]
    pictures: Pictures | None = None


@dataclass(frozen=True)
class Span:
    """Positive numbers from low to high, looked at on a logarithmic scale; whole ones where `low` is whole."""

    low: float
    high: float


@dataclass(kw_only=True)
class Method(ABC):
    """A zero-shot recogniser.

    Attributes:
        scaling: of the features: none, rows to unit length, columns standardised, or both in turn.
        class_scaling: of the class embeddings: none, rows to unit length, or centred on the seen classes.
        seed: of everything random in training.
        device: torch device to work on; `auto` takes a GPU where there is one.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    space: ClassVar[Mapping[str, Sequence[Any] | Span]] = {}  # what tuning may choose, by setting
    trials: ClassVar[int] = 12  # that tuning makes where it cannot try all; fewer where a fit takes long
    objective: ClassVar[str] = "ausuc"  # number of a result that tuning maximises
    is_random: ClassVar[bool] = True  # whether the seed changes what is learned
    generalized_only: ClassVar[bool] = False  # it needs seen classes among the candidates, so it has no t1
    one_space: ClassVar[bool] = False  # features and class embeddings must be of one model, so equally wide
    needs_pictures: ClassVar[bool] = False  # it learns from the pictures themselves, beside their features
    dtype: ClassVar[torch.dtype] = torch.float32
    widens: ClassVar[bool] = False  # its sums widen float32 features block by block, so they need not come wide

    scaling: FeatureScaling = "none"
    class_scaling: ClassScaling = "l2"
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_settings(self)

    @abstractmethod
    def _fit(self, training: TrainingTensors, run: Run) -> None:
        """Learn, into attributes that end in `_`."""

    @abstractmethod
    def _scores(self, features: Tensor, vectors: Tensor) -> Tensor:
        """[n, k] scores of scaled features [n, v] against scaled class embeddings [k, a]."""

    def fit(self, training: TrainingSet, run: Run | None = None) -> Self:
        """Learn from the images of the seen classes.

        Args:
            training: what `Dataset.training_set()` returns.
            run: progress and checkpoints of a long training.

        Returns:
            self, fitted.
        """
        (fitted,) = self.fit_each([self], training, run)
        return fitted

    @classmethod
    def fit_each(cls, variants: Sequence[Self], training: TrainingSet, run: Run | None = None) -> Iterator[Self]:
        """Learn with several settings from the same images, sharing what can be shared.

        Args:
            variants: this method with different settings.
            training: what `Dataset.training_set()` returns.
            run: progress and checkpoints of each.

        Yields:
            each variant as soon as it is fitted, in any order.
        """
        if not training.features.shape[1] and not all(variant.makes_features for variant in variants):
            raise InputError(f"training set must have features for {cls.name}; got pictures only; name a feature file")
        groups: dict[tuple[str, ...], list[Self]] = {}
        for variant in variants:
            vars(variant).pop("trained_on_", None)  # a fit that fails leaves nothing fitted
            groups.setdefault((variant.scaling, variant.class_scaling, variant.device), []).append(variant)
        for group in groups.values():
            tensors = group[0]._prepared(training)
            for variant in group[1:]:
                vars(variant).update({name: value for name, value in vars(group[0]).items() if name in PREPARED})
            for variant in cls._fit_group(group, tensors, run or Run()):
                yield variant._fitted(training)

    @classmethod
    def _fit_group(cls, variants: Sequence[Self], training: TrainingTensors, run: Run) -> Iterator[Self]:
        """Learn with settings that scale the data alike; closed forms override it to share one factorisation."""
        for variant in variants:
            variant._fit(training, run)
            yield variant

    @classmethod
    def fits_share_work(cls) -> bool:
        """Whether fitting several settings together costs less than one after the other."""
        return cls._fit_group.__func__ is not Method._fit_group.__func__  # type: ignore[attr-defined]

    def _prepared(self, training: TrainingSet) -> TrainingTensors:
        """The training set scaled, on the device; what scaling learns stays with the method."""
        features = self._features(training.features)
        vectors = self._tensor(training.classes.vectors)
        self.feature_widths_ = torch.tensor(training.feature_widths)
        self.feature_deviation_, self.feature_mean_ = torch.std_mean(features, dim=0, correction=0)
        self.class_mean_ = unit_rows(vectors).mean(dim=0)
        own = training.reconstruction_features is training.features
        features = self._scaled(features)
        return TrainingTensors(
            features=features,
            labels=torch.tensor(training.labels, device=features.device),
            vectors=self._scaled_classes(vectors),
            targets=features if own else self._features(training.reconstruction_features),
            target_widths=training.feature_widths if own else (training.reconstruction_features.shape[1],),
            pictures=training.pictures,
        )

    def _fitted(self, training: TrainingSet) -> Self:
        self.trained_on_ = training.classes.names
        return self

    def scores(self, inputs: Floats, candidates: ClassEmbeddings) -> Floats:
        """How well each candidate class fits each image.

        Args:
            inputs: [n, v] features like those of the training set.
            candidates: k classes, seen or not; any set whose vectors are as wide as those of the training set.

        Returns:
            [n, k] float32; higher is better, columns in the order of the candidates.

        Raises:
            InputError: not fitted, or a dimension or a value that does not fit.
        """
        inputs = self._checked_inputs(inputs)
        self._check_candidates(candidates)
        scores = np.empty((len(inputs), len(candidates)), dtype=np.float32)
        with torch.inference_mode():
            vectors = self._scaled_classes(self._tensor(candidates.vectors))
            for start in range(0, len(inputs), ROWS):
                block = slice(start, start + ROWS)
                scores[block] = self._scores(self._scaled(self._tensor(inputs[block])), vectors).float().cpu().numpy()
        bad = np.count_nonzero(~np.isfinite(scores).all(axis=1))
        if bad:
            raise InputError(
                f"scores must be finite; {bad} of {len(scores)} rows overflow; scale inputs and candidates"
            )
        return scores

    @property
    def makes_features(self) -> bool:
        """Whether it learns to make features of pictures, so that a data set needs none."""
        return False

    def with_features(self, data: Dataset) -> Dataset:
        """The data set with the features that this method scores: its own where it has learned to make them."""
        return data

    def own_backbone(self) -> Backbone:
        """What makes these features of any picture, where the method has learned to make them."""
        raise InputError(f"method must make features of its own; got {self.name}, which works on those of a data set")

    def predict(self, inputs: Floats, candidates: ClassEmbeddings) -> Indices:
        """[n] row of the best candidate for each image (Eq. 1 of the SP-AEN paper)."""
        return self.scores(inputs, candidates).argmax(axis=1)

    @property
    def is_product(self) -> bool:
        """Whether a score is the inner product of a vector of the image and a vector of the class."""
        return type(self)._projected is not Method._projected

    def projected(self, inputs: Floats) -> Tensor:
        """[n, d] of images, whose inner products with `described` classes are `scores`, where `is_product`."""
        if not self.is_product:
            raise InputError(f"method must score by a product of image and class to be split; got {self.name}")
        with torch.inference_mode():
            return self._projected(self._scaled(self._tensor(self._checked_inputs(inputs))))

    def described(self, candidates: ClassEmbeddings) -> Tensor:
        """[k, d] of classes; each row depends on its own class alone."""
        self._check_candidates(candidates)
        with torch.inference_mode():
            return self._described(self._scaled_classes(self._tensor(candidates.vectors)))

    def _projected(self, features: Tensor) -> Tensor:
        """[n, d] of scaled features; written, with `_described`, by methods whose score is a product."""
        raise NotImplementedError

    def _described(self, vectors: Tensor) -> Tensor:
        """[k, d] of scaled class embeddings: as they are, where a method does not say otherwise."""
        return vectors

    def _checked_inputs(self, inputs: Floats) -> Floats:
        if not hasattr(self, "trained_on_"):
            raise InputError(f"{self.name} must be fitted before it scores; got one without training; call fit")
        inputs = as_matrix(inputs, "inputs", rows="images")
        if inputs.shape[1] != (width := len(self.feature_mean_)):
            raise InputError(f"inputs must have {width} columns, as in training; got {inputs.shape[1]}")
        return inputs

    def _check_candidates(self, candidates: ClassEmbeddings) -> None:
        if (a := candidates.vectors.shape[1]) != (width := len(self.class_mean_)):
            raise InputError(f"candidates must have {width} columns, as in training; got {a}")

    @property
    def draws(self) -> bool:
        """Whether it can draw: then it has `side`, `reconstructed` and `imagined`."""
        return False

    @property
    def side(self) -> int:
        """Pixels of a side of the square pictures that it draws and that it is shown."""
        raise InputError(f"method must draw pictures to have a size of them; got {self.name}; spaen-pictures does")

    def reconstructed(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """[n, side, side, 3] what is left of pictures [n, side, side, 3] behind the embedding, G(F(x)); in 0..255."""
        raise InputError(f"method must draw pictures to reconstruct one; got {self.name}; spaen-pictures does")

    def imagined(self, classes: ClassEmbeddings) -> NDArray[np.uint8]:
        """[k, side, side, 3] pictures of classes from their embeddings alone, G(y); colours in 0..255."""
        raise InputError(f"method must draw pictures to imagine a class; got {self.name}; spaen-pictures does")

    def settings(self) -> dict[str, Any]:
        """The fields by name."""
        return dataclasses.asdict(self)

    def unfitted(self) -> Self:
        """The same settings, nothing learned."""
        return dataclasses.replace(self)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """The settings published under this name, with changes."""
        if name not in cls.presets:
            raise InputError(f"preset of {cls.name} must be one of {', '.join(cls.presets) or 'none'}; got {name!r}")
        return cls(**{**cls.presets[name], **changes})

    def save(self, path: str | Path) -> Path:
        """Write settings, class names and everything learned as one .safetensors file; no pickle."""
        return checkpoint.write(path, *self.as_file())

    def as_file(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything learned, by name, and the metadata to keep with it: what `save` writes."""
        if not hasattr(self, "trained_on_"):
            raise InputError(f"{self.name} must be fitted before it is saved; got one without training; call fit")
        return self._state(), {"method": self.name, "settings": self.settings(), "classes": list(self.trained_on_)}

    def _state(self) -> dict[str, Tensor]:
        """Every tensor learned, by the name of its attribute."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def _restore(self, state: Mapping[str, Tensor]) -> None:
        """The reverse of `_state`, on this method's device; the state may come from any file."""
        strays = [name for name in state if name.startswith("_") or not name.endswith("_")]
        if strays:
            raise ValueError(f"{strays[0]!r}, which is not learned")
        mean, deviation, widths = (state[f"feature_{of}_"] for of in ("mean", "deviation", "widths"))
        sound = mean.ndim == state["class_mean_"].ndim == widths.ndim == 1 and mean.shape == deviation.shape
        if not sound or sum(widths.tolist()) != len(mean) or not len(state["class_mean_"]):
            raise ValueError("sizes of features and class embeddings that do not agree")
        device = torch_device(self.device)  # a copy is aligned, as sums that must not depend on where they are
        vars(self).update({name: value.to(device, copy=True) for name, value in state.items()})

    def _tensor(self, array: Floats) -> Tensor:
        """A copy on this method's device, in the precision it computes in; scaling may write to it."""
        return torch.tensor(np.asarray(array), dtype=self.dtype, device=torch_device(self.device))

    def _features(self, array: Floats) -> Tensor:
        """A copy for training."""
        if self.widens and array.dtype == np.float32:
            return torch.tensor(array, device=torch_device(self.device))
        return self._tensor(array)

    def _scaled(self, features: Tensor) -> Tensor:
        widths = tuple(self.feature_widths_.tolist())
        return scale_features(self.scaling, features, widths, self.feature_mean_, self.feature_deviation_)

    def _scaled_classes(self, vectors: Tensor) -> Tensor:
        return scale_classes(self.class_scaling, vectors, self.class_mean_)


def check_settings(method: Method) -> None:
    """Every setting is of its field's type and, where choices are named, one of them."""
    hints = get_type_hints(type(method))
    for field in dataclasses.fields(method):
        value, kind = getattr(method, field.name), hints[field.name]
        if get_origin(kind) is Literal:
            if value not in get_args(kind):
                raise InputError(f"{field.name} must be one of {', '.join(get_args(kind))}; got {value!r}")
        elif kind in (int, float):
            is_number = isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
            if not is_number or not 0 <= value <= LARGEST[kind]:
                raise InputError(f"{field.name} must be {NUMBERS[kind]} of 0 or more; got {value!r}")
            setattr(method, field.name, kind(value))
        elif not isinstance(value, kind):
            raise InputError(f"{field.name} must be {kind.__name__}; got {value!r}")


NUMBERS = {int: "a whole number", float: "a number"}
LARGEST = {int: 2**63 - 1, float: sys.float_info.max}  # what torch takes
