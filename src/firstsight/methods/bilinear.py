"""Ranking with a bilinear compatibility: what DeViSE, ALE, SJE and LATEM share.

    score(x, y) = x' W y        loss of an image of class r = sum over wrong classes y of
                                c_y h_y,  h_y = max(0, margin + score(x, y) - score(x, r))

The methods differ in the weights c_y alone: which wrong classes count, and how much. LATEM has several maps W [v, a]
and scores by the best of them.

Training is plain stochastic gradient descent from small random maps, in mini-batches. A step takes the SUM of its
images' gradients, so a learning rate means what it means where images are taken one by one: on CUB's validation classes
batches of 8 to 64 images were as accurate, and so was a loop over single images. What makes it fast:

* a batch is two matrix products, X_b W on the way in and X_b' (C S) on the way out, where C [b, s] holds the
  derivatives of the loss by the scores and S [s, a] the seen class embeddings;
* gradients lie in the span of S, so W is trained in an orthonormal basis of it: r = min(s, a) columns instead of a,
  and the updates are the same;
* images without a violator change nothing, and cost nothing on the way out.

Multiplying margin, learning rate and random start by one number multiplies all scores and changes nothing else: of
margin and learning rate only the ratio matters, and tuning leaves the margin alone.

Differences from the papers: mini-batches; a fixed number of epochs instead of early stopping; the random start is
projected onto the span of S, so that what training cannot reach adds no noise to the scores of unseen classes.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from firstsight.errors import InputError
from firstsight.methods.base import ProductMethod
from firstsight.methods.fitting import FitControls, Search, Span, TrainingTensors, check_counts
from firstsight.methods.scaling import FeatureScaling


@dataclass(kw_only=True)
class Bilinear(ProductMethod):
    """A method that ranks classes by a bilinear compatibility.

    Attributes:
        margin: margin by which the right class should score above every other.
        learning_rate: learning rate of gradient descent, for the sum over a batch.
        batch: images per step.
        epochs: passes over the training set.
    """

    search = Search(
        {
            "scaling": ("l2", "standard-l2"),
            "class_scaling": ("l2", "centred"),
            "learning_rate": Span(1e-3, 1.0),
        }
    )
    n_maps = 1  # a method with more makes it a setting

    scaling: FeatureScaling = "l2"
    margin: float = 1.0
    learning_rate: float = 0.3
    batch: int = 64
    epochs: int = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, "batch", "epochs", "n_maps")

    @abstractmethod
    def _weights(self, hinges: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Return [b, s] weights of the wrong classes, 0 where the hinge is 0; no derivative is taken of them.

        Args:
            hinges: [b, s] max(0, margin + score - score of the right class); 0 for the right class.
            labels: [b] the right classes.
            generator: generator of random numbers, on the CPU so that every device draws the same.
        """

    def _fit(self, training: TrainingTensors, controls: FitControls) -> None:
        features, labels, vectors = training.features, training.labels, training.vectors  # [n, v], [n], [s, a]
        (n, v), a = features.shape, vectors.shape[1]
        generator = torch.Generator().manual_seed(self.seed)
        basis, coordinates = torch.linalg.qr(vectors.T)  # [a, r], [r, s]
        reduced = coordinates.T.contiguous()  # [s, r]
        start = torch.randn(self.n_maps, a, v, generator=generator) / math.sqrt(v)
        maps = (basis.T @ start.to(features)).flatten(0, 1)  # [m r, v]
        steps = self.epochs * math.ceil(n / self.batch)
        period = math.ceil(steps / 100)
        step, images, loss = 0, 0, features.new_zeros(())
        for _ in range(self.epochs):
            for rows in torch.randperm(n, generator=generator).to(labels.device).split(self.batch):
                loss += self._descend(maps, features.index_select(0, rows), labels[rows], reduced, generator)
                step, images = step + 1, images + len(rows)
                if step % period == 0 or step == steps:
                    self._report(controls, step, steps, float(loss) / images)
                    images, loss = 0, torch.zeros_like(loss)
        self.maps_ = basis @ maps.unflatten(0, (self.n_maps, -1))  # [m, a, v]

    def _descend(
        self, maps: Tensor, features: Tensor, labels: Tensor, vectors: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Take one step down the loss of a batch, and return the loss before it, summed over the batch.

        Features are [b, v], vectors [s, r], and maps [m r, v] the m maps, each transposed; these are written to.
        """
        by_map = (features @ maps.T).unflatten(1, (self.n_maps, -1)) @ vectors.T  # [b, m, s]
        scores, winners = by_map.max(dim=1)  # [b, s]
        right = labels[:, None]
        hinges = (self.margin + scores - scores.gather(1, right)).clamp(min=0).scatter(1, right, 0.0)  # [b, s]
        weights = self._weights(hinges, labels, generator)  # [b, s]
        slopes = weights.scatter(1, right, -weights.sum(dim=1, keepdim=True))  # [b, s] by scores
        moving = weights.any(dim=1).nonzero()[:, 0]  # the images that have violators
        slopes_by_map = by_map.new_zeros(len(moving), *by_map.shape[1:])
        slopes_by_map.scatter_(1, winners[moving, None], slopes[moving, None])
        steps = self.learning_rate * (slopes_by_map @ vectors).flatten(1)  # [moving, m r]
        maps.addmm_(steps.T, features.index_select(0, moving), alpha=-1)
        return (weights * hinges).sum()

    def _report(self, controls: FitControls, step: int, steps: int, loss: float) -> None:
        if not math.isfinite(loss):
            raise InputError(
                f"training must stay finite; got a loss of {loss} at step {step}; "
                "lower learning_rate or margin, or scale features"
            )
        if controls.progress is not None:
            controls.progress(step, steps, {"loss": loss})

    @property
    def product(self) -> ProductMethod | None:
        """Return this method where it has one map, else None."""
        return super().product if self.n_maps == 1 else None

    def _project(self, features: Tensor) -> Tensor:
        return features @ self.maps_[0].T  # [n, a]

    def _describe(self, vectors: Tensor) -> Tensor:
        return vectors

    def _scores(self, features: Tensor, vectors: Tensor) -> Tensor:
        return reduce(torch.maximum, (features @ (vectors @ weight).T for weight in self.maps_))  # [n, k]
