"""CMT and CMT* (Socher et al., NIPS 2013): a network that maps images among the class embeddings, and a gate.

    minimise  mean over images of ||y - theta2 tanh(theta1 x)||^2 + penalty (||theta1||^2 + ||theta2||^2)

x [v] features, y [a] the class embedding, theta1 [h, v], theta2 [a, h]. CMT takes the nearest class. CMT* first asks
whether the mapped image m is novel, compared with the mapped training images: if so, only unseen classes are
possible, otherwise only seen ones. Its two measures of novelty are

    gaussian   min over seen classes of ||m - y||^2 / (a var), var the class's mean square error per column: above a
               level where every density N(m; y, var I) is below one fraction of its peak
    loop       PLOF(m) / nPLOF, of which the local outlier probability (Kriegel et al., CIKM 2009) is a function that
               only grows, max(0, erf(. / sqrt 2)): the distance of m to its nearest training images, over their own

An image is novel above the level that a fraction `outliers` of the training images exceeds; no unseen image is needed.

Differences from the paper: mini-batches of Adam with a decaying rate, not L-BFGS (the same validation accuracy in a
tenth of the passes). Images that are not novel get the nearest seen class, not that of a softmax classifier on the
features. One level serves the Gaussians of all classes, so that `outliers` is the fraction that it says. Features are
standardised and class embeddings centred, as validation prefers; a network without bias fits those best.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from firstsight.errors import InputError
from firstsight.methods.base import ProductMethod
from firstsight.methods.fitting import FitControls, Search, Span, TrainingTensors, check_counts
from firstsight.methods.scaling import ClassScaling, FeatureScaling

ROWS = 512  # mapped images compared with all others at once, so that memory does not grow with the square
SAME = 1e-5  # of the largest number; vectors that differ less in every column are the same class
EXTENT = 3.0  # lambda of the local outlier probability, as in the paper; it scales novelties, not their order
TINY = 1e-12  # in place of a distance or a variance of 0


@dataclass(kw_only=True)
class CMT(ProductMethod):
    """Cross-modal transfer.

    Attributes:
        hidden: units of the hidden layer.
        penalty: weight of the squared length of both layers' weights.
        epochs: passes over the training images.
        batch: images per step.
        learning_rate: learning rate of Adam at the start; half a cosine takes it to 0.
    """

    name = "cmt"
    source = "Socher et al., NIPS 2013"
    search = Search({"penalty": Span(1e-6, 1e-2), "learning_rate": Span(5e-4, 2e-2)})

    hidden: int = 200
    penalty: float = 1e-4
    epochs: int = 20
    batch: int = 128
    learning_rate: float = 3e-3
    scaling: FeatureScaling = "standard-l2"
    class_scaling: ClassScaling = "centred"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, "hidden", "epochs", "batch")

    def _fit(self, training: TrainingTensors, controls: FitControls) -> None:
        features, labels, vectors = training.features, training.labels, training.vectors
        random = torch.Generator().manual_seed(self.seed)
        theta1, theta2 = (
            (torch.randn(rows, columns, generator=random) / math.sqrt(columns)).to(features.device).requires_grad_()
            for rows, columns in ((self.hidden, features.shape[1]), (vectors.shape[1], self.hidden))
        )
        optimiser = torch.optim.Adam([theta1, theta2], self.learning_rate, fused=True)
        steps = self.epochs * math.ceil(len(features) / self.batch)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        step = 0
        for _ in range(self.epochs):
            for rows in torch.randperm(len(features), generator=random).to(features.device).split(self.batch):
                error = mapped(features[rows], theta1, theta2) - vectors[labels[rows]]  # [b, a]
                loss = error.square().sum() / len(rows)
                penalty = self.penalty * (theta1.square().sum() + theta2.square().sum())
                optimiser.zero_grad()
                (loss + penalty).backward()
                optimiser.step()
                decay.step()
                step += 1
                if controls.progress is not None and (step % max(1, steps // 100) == 0 or step == steps):
                    controls.progress(step, steps, {"regression": loss.item()})
        self.theta1_, self.theta2_ = theta1.detach(), theta2.detach()  # [h, v], [a, h]

    def _project(self, features: Tensor) -> Tensor:
        points = mapped(features, self.theta1_, self.theta2_)  # -||m - y||^2 = (2 m, -1, -||m||^2) . (y, ||y||^2, 1)
        return torch.cat([2 * points, -torch.ones_like(points[:, :1]), -points.square().sum(1, True)], dim=1)

    def _describe(self, vectors: Tensor) -> Tensor:
        return torch.cat([vectors, vectors.square().sum(1, True), torch.ones_like(vectors[:, :1])], dim=1)

    def _scores(self, features: Tensor, vectors: Tensor) -> Tensor:
        return -squared_distances(mapped(features, self.theta1_, self.theta2_), vectors)  # [n, k]


@dataclass(kw_only=True)
class CMTStar(CMT):
    """Cross-modal transfer with novelty detection.

    Scores of the side that an image is not on lie below 0 and those of the other side above, so the nearest class of
    the right side wins; the farther the image is from the threshold, the lower they lie. So calibrated stacking and
    the seen-unseen curve move the threshold.

    Attributes:
        novelty: measured by a Gaussian around each seen class, or as local outlier probability.
        outliers: fraction of the training images that count as novel.
        neighbours: training images that an image is compared with, in the local outlier probability.
    """

    name = "cmt_star"
    title = "CMT*"
    search = Search(
        {"novelty": ("gaussian", "loop"), "outliers": (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)},
        objective="h",  # AUSUC runs over all thresholds, so it cannot choose one
        shares_fits=True,
    )
    generalized_only = True

    novelty: Literal["gaussian", "loop"] = "gaussian"
    outliers: float = 0.25
    neighbours: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.outliers > 1:
            raise InputError(f"outliers must be 1 or less; got {self.outliers}")
        check_counts(self, "neighbours")

    def _fit(self, training: TrainingTensors, controls: FitControls) -> None:
        """Learn once for settings that differ in `outliers` alone: nothing that is learned depends on it."""
        key = dataclasses.astuple(dataclasses.replace(self, outliers=0.0))
        vars(self).update(training.once(key, lambda: self._learned(training, controls)))

    def _learned(self, training: TrainingTensors, controls: FitControls) -> dict[str, Tensor]:
        """Learn, and return all that was learned by name."""
        super()._fit(training, controls)
        points = mapped(training.features, self.theta1_, self.theta2_)  # [n, a]
        self.seen_vectors_ = training.vectors  # [s, a]
        if self.novelty == "gaussian":
            self.variance_ = class_variances(points, training.labels, training.vectors)  # [s]
            self.training_novelty_ = self._novelty(points)  # [n]
        else:
            self.points_ = points
            distances, others = nearest(points, points, self.neighbours, exclude_self=True)
            self.reach_ = root_mean_square(distances)  # [n]
            factor = outlier_factor(self.reach_, self.reach_[others])  # [n]
            self.factor_scale_ = EXTENT * root_mean_square(factor).clamp(min=TINY)  # nPLOF
            self.training_novelty_ = factor / self.factor_scale_
        return self.state()

    def _novelty(self, points: Tensor) -> Tensor:
        """Return [n] how far mapped images [n, a] are from the training images; `outliers` says how far is novel."""
        if self.novelty == "gaussian":
            distances = squared_distances(points, self.seen_vectors_) / self.variance_  # [n, s]
            return distances.amin(dim=1) / points.shape[1]
        distances, others = nearest(points, self.points_, self.neighbours)
        return outlier_factor(root_mean_square(distances), self.reach_[others]) / self.factor_scale_

    def _scores(self, features: Tensor, vectors: Tensor) -> Tensor:
        points = mapped(features, self.theta1_, self.theta2_)  # [n, a]
        excess = self._novelty(points) - torch.quantile(self.training_novelty_, 1 - self.outliers)  # [n]
        is_seen = are_among(vectors, self.seen_vectors_)  # [k]
        is_excluded = is_seen == (excess > 0)[:, None]  # [n, k]
        unit = self.seen_vectors_.square().sum(dim=1).mean()
        closeness = unit / (unit + squared_distances(points, vectors))  # [n, k] in (0, 1], larger where nearer
        return closeness - is_excluded * (1 + excess.abs())[:, None]


def mapped(features: Tensor, theta1: Tensor, theta2: Tensor) -> Tensor:
    """Map features [n, v] to points [n, a] among the class embeddings."""
    return torch.tanh(features @ theta1.T) @ theta2.T


def squared_distances(points: Tensor, vectors: Tensor) -> Tensor:
    """Return [n, k] squared distances between points [n, a] and vectors [k, a]."""
    lengths = points.square().sum(dim=1)[:, None] + vectors.square().sum(dim=1)
    return (lengths - 2 * points @ vectors.T).clamp(min=0)


def are_among(vectors: Tensor, others: Tensor) -> Tensor:
    """Return [k] whether each vector [k, a] is one of the others up to rounding."""
    return torch.cdist(vectors, others, p=math.inf).amin(dim=1) <= SAME * others.abs().max()


def class_variances(points: Tensor, labels: Tensor, vectors: Tensor) -> Tensor:
    """Return [s] mean square of each class's errors per column; no class is so narrow that its density is infinite."""
    errors = (points - vectors[labels]).square().mean(dim=1)  # [n]
    variances = torch.zeros_like(vectors[:, 0]).index_add_(0, labels, errors)
    variances /= torch.bincount(labels, minlength=len(vectors))
    return variances.clamp(min=TINY + TINY**0.5 * float(errors.mean()))


def nearest(points: Tensor, others: Tensor, n_nearest: int, exclude_self: bool = False) -> tuple[Tensor, Tensor]:
    """Return [n, m] distances of each point to its nearest others, and their rows; fewer if there are not so many."""
    found = []
    # a graph that is exported takes any number of images, so it cannot hold one step for each block of them
    blocks = (points,) if torch.compiler.is_exporting() else points.split(ROWS)
    for number, block in enumerate(blocks):
        distances = torch.cdist(block, others)  # [r, n]
        if exclude_self:
            distances.diagonal(number * ROWS).fill_(math.inf)
        found.append(distances.topk(min(n_nearest, len(others) - exclude_self), largest=False))
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])


def outlier_factor(reach: Tensor, others: Tensor) -> Tensor:
    """Return [n] PLOF: a point's distance to its neighbours over theirs [n, m] to theirs, less 1."""
    return reach / others.mean(dim=1).clamp(min=TINY) - 1


def root_mean_square(values: Tensor) -> Tensor:
    """Take the root of the mean square over the last axis."""
    return values.square().mean(dim=-1).sqrt()
