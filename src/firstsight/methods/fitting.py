"""The arguments of a fit: the training set as tensors, and controls for progress and checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from firstsight.data import Pictures
from firstsight.methods.distributed import Ranks
from firstsight.progress import StageProgress


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
