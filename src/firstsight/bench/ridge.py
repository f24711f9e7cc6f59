"""A control for Table 3: the pixels of a picture by ridge regression from the features that E works on.

Whatever draws from E's features by gradient descent should do at least as well as this linear map, which is exact. Its
penalty is chosen on validation classes. One eigendecomposition serves all penalties: with X'X = Q diag(s) Q', the error
of every penalty is a quadratic form in the same two matrices. Pixels are taken a block of columns at a time, so memory
does not grow with the size of the pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from firstsight.data import Dataset, Indices, Pictures
from firstsight.methods.scaling import FeatureScaling, scale_features
from firstsight.methods.spaen_pictures.crops import whole

if TYPE_CHECKING:
    from firstsight.methods.spaen_pictures import SPAENPictures

PENALTIES = tuple(float(f"{10.0**power:.3g}") for power in np.arange(-3, 5.1, 0.5))  # features have length 1 or more
CELLS = 1 << 26  # of the largest table of pixels at once: 256 MB
AT_ONCE = 256  # pictures


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """How well a linear map from features draws."""

    mse: float  # of unseen-class test pictures over pixels and pictures, colours in 0..1
    mse_seen: float  # of seen-class test pictures
    penalty: float  # chosen on validation classes


def ridge(data: Dataset, settings: SPAENPictures) -> Ridge:
    """Measure the ridge from features, scaled as E of these settings has them, to pictures of `settings.view` pixels.

    Args:
        data: with features and pictures; `validation_set` holds out the classes on which the penalty is chosen.
        settings: of which `scaling` and `view` count.
    """
    held_out = data.validation_set()
    [found] = ridge_errors(held_out, settings.scaling, settings.view, PENALTIES, [held_out.test_unseen])
    penalty = PENALTIES[int(np.argmin(found))]
    tests = [data.test_unseen, data.test_seen]
    unseen, seen = ridge_errors(data, settings.scaling, settings.view, [penalty], tests)
    return Ridge(mse=float(unseen[0]), mse_seen=float(seen[0]), penalty=penalty)


def ridge_errors(
    data: Dataset,
    scaling: FeatureScaling,
    side: int,
    penalties: list[float] | tuple[float, ...],
    tests: list[Indices],
) -> list[np.ndarray]:
    """Return for each list of test images the mean squared error of a pixel [len(penalties)] of ridges on `trainval`.

    The map has an intercept, on which there is no penalty.
    """
    assert isinstance(data.pictures, Pictures)
    training = torch.tensor(data.inputs(data.trainval), dtype=torch.float64)
    deviation, mean = torch.std_mean(training, dim=0, correction=0)

    def scaled(images: Indices) -> Tensor:
        """Return [n, v] features as E has them."""
        features = torch.tensor(data.inputs(images), dtype=torch.float64)
        return scale_features(scaling, features, data.feature_widths, mean, deviation)

    x = scaled(data.trainval)
    centre = x.mean(dim=0)
    x -= centre
    spectrum, basis = torch.linalg.eigh(x.T @ x)  # [v], [v, v]
    x = (x @ basis).float()  # [n, v] columns at right angles
    others = [((scaled(images) - centre) @ basis).float() for images in tests]
    shrinkage = 1 / (spectrum.clamp(min=0) + torch.tensor(penalties, dtype=torch.float64)[:, None])  # [p, v]
    squares = [torch.zeros(len(penalties), dtype=torch.float64) for _ in tests]
    for columns in _blocks(side, len(data.trainval)):
        y = _pixels(data.pictures.take(data.trainval), side, columns)
        average = y.mean(dim=0)
        weight = (x.T @ (y - average)).double()  # [v, pixels]
        gram = weight @ weight.T
        for total, other, images in zip(squares, others, tests, strict=True):
            wanted = (_pixels(data.pictures.take(images), side, columns) - average).double()
            other = other.double()
            # ||wanted - other diag(d) weight||^2 for each row d of `shrinkage`
            linear = (other.T @ wanted * weight).sum(dim=1)
            total += wanted.square().sum() - 2 * shrinkage @ linear
            total += ((shrinkage @ (other.T @ other * gram)) * shrinkage).sum(dim=1)
    n_pixels = 3 * side * side
    return [(total / (len(images) * n_pixels)).numpy() for total, images in zip(squares, tests, strict=True)]


def _blocks(side: int, n: int) -> Iterator[slice]:
    """Yield the pixels of a picture in blocks of which n pictures fit into memory."""
    size = max(1, CELLS // n)
    for start in range(0, 3 * side * side, size):
        yield slice(start, start + size)


def _pixels(pictures: Pictures, side: int, columns: slice) -> Tensor:
    """Return [n, pixels] some pixels of the whole of each picture, in 0..1."""
    starts = range(0, len(pictures), AT_ONCE)
    blocks = (torch.from_numpy(np.ascontiguousarray(pictures[start : start + AT_ONCE])) for start in starts)
    return torch.cat([whole(block, side).flatten(1)[:, columns] for block in blocks])
