"""What a method is given: settings and how tuning searches them, the training set as tensors, controls of a fit."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from firstsight.data import Crops, Floats, Pictures
from firstsight.errors import InputError
from firstsight.methods.distributed import Ranks
from firstsight.progress import StageProgress

Made = TypeVar("Made")
NUMBERS = {int: "a whole number", float: "a number"}
PIECE = 256  # images whose crops are read at once
LARGEST = {int: 2**63 - 1, float: sys.float_info.max}  # what torch takes


@dataclass(frozen=True)
class Span:
    """The positive numbers from low to high, on a logarithmic scale; whole numbers where `low` is whole."""

    low: float
    high: float


@dataclass(frozen=True)
class Search:
    """Search of a method's settings by tuning.

    Attributes:
        space: choices, or a `Span` of numbers, by setting.
        trials: settings to try where not all can be tried; fewer where a fit takes long.
        objective: number of a result to maximise.
        shares_fits: fits of several settings share their work (`TrainingTensors.once`), so that all can be tried.
    """

    space: Mapping[str, Sequence[Any] | Span] = field(default_factory=dict)
    trials: int = 12
    objective: str = "ausuc"
    shares_fits: bool = False


def check_settings(method: Any) -> None:
    """Refuse a setting that is not of its field's type or, where choices are named, not one of them."""
    hints = get_type_hints(type(method))
    for setting in dataclasses.fields(method):
        value, kind = getattr(method, setting.name), hints[setting.name]
        if get_origin(kind) is Literal:
            if value not in get_args(kind):
                raise InputError(f"{setting.name} must be one of {', '.join(get_args(kind))}; got {value!r}")
        elif kind in (int, float):
            is_number = isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
            if not is_number or not 0 <= value <= LARGEST[kind]:
                raise InputError(f"{setting.name} must be {NUMBERS[kind]} of 0 or more; got {value!r}")
            setattr(method, setting.name, kind(value))
        elif not isinstance(value, kind):
            raise InputError(f"{setting.name} must be {kind.__name__}; got {value!r}")


def check_counts(method: Any, *names: str) -> None:
    """Refuse a 0 in the settings of these names."""
    for name in names:
        if getattr(method, name) < 1:
            raise InputError(f"{name} must be 1 or more; got {getattr(method, name)}")


@dataclass(frozen=True)
class FitControls:
    """Progress and checkpoints of a fit; nothing here changes what is learned.

    Attributes:
        progress: called with (steps done, steps in all, losses by name) as training advances.
        checkpoint: file that keeps an unfinished training; one that is there already is continued.
        checkpoint_every: steps between two checkpoints.
        draw: called now and then with (steps done, [2, k, side, side, 3] pictures and their reconstructions) by
            methods that draw.
        ranks: the processes that share the fit.
    """

    progress: StageProgress | None = None
    checkpoint: Path | None = None
    checkpoint_every: int = 500
    draw: Callable[[int, NDArray[np.uint8]], None] | None = None
    ranks: Ranks = field(default_factory=Ranks)


@dataclass(frozen=True)
class CropFeatures:
    """Features of the crops of the training images, read and scaled where they are used.

    A crop has one number: k times the row of its image, plus 0 to k - 1.
    """

    stored: Crops
    scaled: Callable[[Floats], Tensor]  # scales them like the features of whole pictures, and brings them to the device

    @property
    def n_each(self) -> int:
        """Return k, the number of crops of an image."""
        return self.stored.n_crops

    def __getitem__(self, numbers: Tensor) -> Tensor:
        """Return [b, v] features of the crops of these numbers [b]."""
        rows, which = np.divmod(numbers.cpu().numpy(), self.n_each)
        return self.scaled(self.stored.of(rows, which))

    def pieces(self) -> Iterator[NDArray[Any]]:
        """Yield all of them as they are stored, piece by piece."""
        for start in range(0, len(self.stored), PIECE):
            yield self.stored[start : start + PIECE]


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
        crops: features of k crops of each image, for methods that learn from crops; where the data set has them and F
            and G work on the same features as E.
        n_settings: number of variants that are fitted to these tensors, one after the other.
        shared: results that their fits share, by key; see `once`.
    """

    features: Tensor
    labels: Tensor
    vectors: Tensor
    targets: Tensor
    target_widths: tuple[int, ...]
    pictures: Pictures | None = None
    crops: CropFeatures | None = None
    n_settings: int = 1
    shared: dict[Any, Any] = field(default_factory=dict)

    def once(self, key: Any, make: Callable[[], Made]) -> Made:
        """Return what `make` returns; it runs once per key, later calls get the same object; do not modify it."""
        if key not in self.shared:
            self.shared[key] = make()
        made: Made = self.shared[key]
        return made
