"""The contract of a method: `fit` on seen classes, `scores` for any classes.

A method is a dataclass. Its fields are its settings: the command line's flags, the saved metadata and the report's
row all come from them. It writes `_fit` and `_scores`, or `_fit`, `_project` and `_describe` where its scores are
products of an image's and a class's vector. What it learns are tensors in attributes that end in `_`. Drawing pictures
and making features are abilities of a few methods (`abilities`).
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from firstsight import checkpoint
from firstsight.data import ClassEmbeddings, Floats, Indices, TrainingSet, as_matrix
from firstsight.devices import torch_device
from firstsight.errors import InputError
from firstsight.methods.fitting import CropFeatures, FitControls, Search, TrainingTensors, check_settings
from firstsight.methods.scaling import ClassScaling, FeatureScaling, scale_classes, scale_features, unit_rows

PREPARED = ("feature_widths_", "feature_deviation_", "feature_mean_", "class_mean_")  # learned by scaling
PARTS = ("_scores", "_project", "_describe")
ROWS = 8192  # images scored at once, so that memory does not grow with their number


@dataclass(kw_only=True)
class Method(ABC):
    """A zero-shot recogniser.

    Attributes:
        scaling: scaling of the features: none, rows to unit length, columns standardised, or columns, then rows.
        class_scaling: scaling of the class embeddings: none, rows to unit length, or centred on the seen classes.
        seed: seed of all random numbers in training.
        device: torch device to work on; `auto` takes a GPU where there is one.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""  # the name as people write it; in capitals where empty
    source: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    search: ClassVar[Search] = Search()
    is_random: ClassVar[bool] = True  # the seed changes what is learned
    generalized_only: ClassVar[bool] = False  # it needs seen classes among the candidates, so it has no t1
    one_space: ClassVar[bool] = False  # features and class embeddings must come from one model, of equal width
    dtype: ClassVar[torch.dtype] = torch.float32
    widens: ClassVar[bool] = False  # float32 features stay so in the fit; only sums over them use `dtype` (`gram`)

    scaling: FeatureScaling = "none"
    class_scaling: ClassScaling = "l2"
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_settings(self)
        self.trained_on_: tuple[str, ...]  # names of the seen classes, set by `fit`

    @property
    def shares_fits(self) -> bool:
        """Tell whether fits of several settings share their work, so that tuning can try all."""
        return self.search.shares_fits

    @abstractmethod
    def _fit(self, training: TrainingTensors, controls: FitControls) -> None:
        """Learn, into attributes that end in `_`."""

    @abstractmethod
    def _scores(self, features: Tensor, vectors: Tensor) -> Tensor:
        """Return [n, k] scores of scaled features [n, v] against scaled class embeddings [k, a]."""

    @property
    def product(self) -> ProductMethod | None:
        """Return this method where its scores are products of images and classes, else None."""
        return None

    def fit(self, training: TrainingSet, controls: FitControls | None = None) -> Self:
        """Learn from the images of the seen classes, `Dataset.training_set()`, and return self."""
        (fitted,) = self.fit_each([self], training, controls)
        return fitted

    @classmethod
    def fit_each(
        cls, variants: Sequence[Self], training: TrainingSet, controls: FitControls | None = None
    ) -> Iterator[Self]:
        """Fit variants, this method with different settings, to the same images, sharing what can be shared.

        Yields:
            each variant as soon as it is fitted, in any order.
        """
        groups: dict[tuple[str, ...], list[Self]] = {}
        for variant in variants:
            vars(variant).pop("trained_on_", None)  # a fit that fails leaves nothing fitted
            groups.setdefault((variant.scaling, variant.class_scaling, variant.device), []).append(variant)
        for group in groups.values():
            tensors = dataclasses.replace(group[0]._prepared(training), n_settings=len(group))
            prepared = {name: getattr(group[0], name) for name in PREPARED}
            for variant in group:
                vars(variant).update(prepared)
                variant._fit(tensors, controls or FitControls())
                learned = {
                    name: value.contiguous() for name, value in vars(variant).items() if isinstance(value, Tensor)
                }
                vars(variant).update(learned)  # in memory as a file gives them back, so that it scores the same
                variant.trained_on_ = training.classes.names
                yield variant

    def _prepared(self, training: TrainingSet) -> TrainingTensors:
        """Scale a training set, on the device; keep what scaling learns."""
        if not training.features.shape[1]:
            raise InputError(f"training set must have features for {self.name}; got pictures only; name a feature file")
        features = self._tensor(training.features, not self.widens)
        vectors = self._tensor(training.classes.vectors)
        self.feature_widths_ = torch.tensor(training.feature_widths)
        self.feature_deviation_, self.feature_mean_ = torch.std_mean(features, dim=0, correction=0)
        self.class_mean_ = unit_rows(vectors).mean(dim=0)
        own = training.reconstruction_features is training.features
        features = self._scaled(features)
        crops = None
        if training.crops is not None and own:
            crops = CropFeatures(training.crops, lambda rows: self._scaled(self._tensor(rows, not self.widens)))
        return TrainingTensors(
            features=features,
            labels=torch.tensor(training.labels, device=features.device),
            vectors=scale_classes(self.class_scaling, vectors, self.class_mean_),
            targets=features if own else self._tensor(training.reconstruction_features, not self.widens),
            target_widths=training.feature_widths if own else (training.reconstruction_features.shape[1],),
            pictures=training.pictures,
            crops=crops,
        )

    def scores(self, inputs: Floats, candidates: ClassEmbeddings) -> Floats:
        """Score how well each candidate class fits each image.

        Args:
            inputs: [n, v] features like those of the training set.
            candidates: k classes, seen or not; any set whose vectors are as wide as those of the training set.

        Returns:
            [n, k] float32; higher is better, columns in the order of the candidates.

        Raises:
            InputError: not fitted, or a dimension or a value that does not fit.
        """
        inputs = self._checked_inputs(inputs)
        vectors = self._checked_vectors(candidates)
        scores = np.empty((len(inputs), len(candidates)), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(inputs), ROWS):
                block = slice(start, start + ROWS)
                scores[block] = self.score_tensors(self._tensor(inputs[block]), vectors).cpu().numpy()
        bad = np.count_nonzero(~np.isfinite(scores).all(axis=1))
        if bad:
            raise InputError(
                f"scores must be finite; {bad} of {len(scores)} rows overflow; scale inputs and candidates"
            )
        return scores

    def score_tensors(self, features: Tensor, vectors: Tensor) -> Tensor:
        """Return [n, k] scores of tensors of this device and `dtype`, without checks; scaling writes to `features`."""
        classes = scale_classes(self.class_scaling, vectors, self.class_mean_)
        return self._scores(self._scaled(features), classes).float()

    def predict(self, inputs: Floats, candidates: ClassEmbeddings) -> Indices:
        """Return [n] row of the best candidate for each image (Eq. 1 of the SP-AEN paper)."""
        return self.scores(inputs, candidates).argmax(axis=1)

    def settings(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dataclasses.asdict(self)

    def unfitted(self) -> Self:
        """Return a method with the same settings that has learned nothing."""
        return dataclasses.replace(self)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """Return a method with the settings published under this name, with changes."""
        if name not in cls.presets:
            raise InputError(f"preset of {cls.name} must be one of {', '.join(cls.presets) or 'none'}; got {name!r}")
        return cls(**{**cls.presets[name], **changes})

    def save(self, path: str | Path) -> Path:
        """Write settings, class names and everything learned as one .safetensors file; no pickle."""
        return checkpoint.write(path, *self.as_file())

    def as_file(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything learned, by name, and the metadata to keep with it: what `save` writes."""
        if not hasattr(self, "trained_on_"):
            raise InputError(f"{self.name} must be fitted before it is saved; got one without training; call fit")
        return self.state(), {"method": self.name, "settings": self.settings(), "classes": list(self.trained_on_)}

    def state(self) -> dict[str, Tensor]:
        """Return every tensor learned, by the name of its attribute."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state` returned, to this method's device; an invalid state raises an exception of any type."""
        strays = [name for name in state if name.startswith("_") or not name.endswith("_")]
        if strays:
            raise ValueError(f"{strays[0]!r}, which is not learned")
        mean, deviation, widths = (state[f"feature_{of}_"] for of in ("mean", "deviation", "widths"))
        sound = mean.ndim == state["class_mean_"].ndim == widths.ndim == 1 and mean.shape == deviation.shape
        if not sound or sum(widths.tolist()) != len(mean) or not len(state["class_mean_"]):
            raise ValueError("sizes of features and class embeddings that do not agree")
        device = torch_device(self.device)  # copy: aligned memory, as sums must not depend on the address
        vars(self).update({name: value.to(device, copy=True) for name, value in state.items()})

    def _checked_inputs(self, inputs: Floats) -> Floats:
        """Return features [n, v] as a matrix; refuse those unlike the ones of training."""
        if not hasattr(self, "trained_on_"):
            raise InputError(f"{self.name} must be fitted before it scores; got one without training; call fit")
        inputs = as_matrix(inputs, "inputs", rows="images")
        if inputs.shape[1] != (width := len(self.feature_mean_)):
            raise InputError(f"inputs must have {width} columns, as in training; got {inputs.shape[1]}")
        return inputs

    def _checked_vectors(self, candidates: ClassEmbeddings) -> Tensor:
        """Return class embeddings [k, a] on the device, not scaled; refuse others than those of training."""
        if (a := candidates.vectors.shape[1]) != (width := len(self.class_mean_)):
            raise InputError(f"candidates must have {width} columns, as in training; got {a}")
        return self._tensor(candidates.vectors)

    def _tensor(self, array: Floats, widen: bool = True) -> Tensor:
        """Copy to this method's device and `dtype`; without `widen` float32 stays float32."""
        keeps = not widen and array.dtype == np.float32
        return torch.tensor(
            np.asarray(array), dtype=torch.float32 if keeps else self.dtype, device=torch_device(self.device)
        )

    def _scaled(self, features: Tensor) -> Tensor:
        """Scale features [n, v] in place."""
        widths = tuple(self.feature_widths_.tolist())
        return scale_features(self.scaling, features, widths, self.feature_mean_, self.feature_deviation_)


class ProductMethod(Method):
    """A method whose scores are products: an image and a class become vectors, and a score is their inner product.

    The vectors of very many classes can be made once, block by block, or kept in an index. A method writes `_project`,
    and `_describe` where class embeddings do not stay as they are. The base makes `_scores` of them. For a class that
    writes `_scores` itself, `product` is None, and only these scores are used. If the same class writes all three
    methods, it is a product, and the three must agree up to rounding.
    """

    @property
    def product(self) -> ProductMethod | None:
        """Return this method where its scores are products of images and classes, else None."""
        scores, *parts = (next(kind for kind in type(self).__mro__ if name in vars(kind)) for name in PARTS)
        return self if scores is ProductMethod or parts == [scores, scores] else None

    @abstractmethod
    def _project(self, features: Tensor) -> Tensor:
        """Return [n, d] vectors of scaled features [n, v]."""

    def _describe(self, vectors: Tensor) -> Tensor:
        """Return [k, d] vectors of scaled class embeddings [k, a]; each row depends on its own class alone."""
        return vectors

    def _scores(self, features: Tensor, vectors: Tensor) -> Tensor:
        return self._project(features) @ self._describe(vectors).T  # [n, k]

    def project(self, inputs: Floats) -> Tensor:
        """Return [n, d] vectors of images [n, v], whose inner products with `describe` are `scores`."""
        self._check_product()
        with torch.inference_mode():
            return self._project(self._scaled(self._tensor(self._checked_inputs(inputs))))

    def describe(self, candidates: ClassEmbeddings) -> Tensor:
        """Return [k, d] vectors of classes."""
        self._check_product()
        with torch.inference_mode():
            vectors = scale_classes(self.class_scaling, self._checked_vectors(candidates), self.class_mean_)
            return self._describe(vectors)

    def _check_product(self) -> None:
        if self.product is None:
            raise InputError(f"method must score by a product of image and class to be split; got {self.name}")
