"""SSE (Zhang and Saligrama, ICCV 2015): classes and images as mixtures of seen classes.

A class is the mixture of seen classes that comes nearest to its embedding, an image has evidence for each seen
class, and the score is their product:

    z_c = argmin over the simplex of ||a_c - S' z||^2 + gamma ||z||^2        [s]
    pi_s(x) = w' min(x, v_s)    (intersection)    or    w' max(0, x - v_s)    (relu)
    f(x, c) = sum_s z_cs pi_s(x)

a_c [a] class embeddings, S [s, a] those of the seen classes, w [v] weights that all classes share, v_s [v] a reference
for each seen class. The weights and the references are learned with a margin of one:

    min  mean over i of max_c([c != y_i] + f(x_i, c) - f(x_i, y_i)) + lam / 2 (||w||^2 + mean over s of ||v_s||^2)

Since max(0, x - v) = x - min(x, v) and mixtures sum to one, relu with weights -w scores as intersection with w does,
but for a number per image. So the paper's two variants, SSE-INT and SSE-ReLU, are one problem with one solution.

Differences from the paper: one slack per image, that of the wrong class which comes closest, not one per wrong class;
no margins between averages of classes, whose hinge the images' own hinges bound; weights and references are learned
together by Adam from the class means, not in turn by a support vector machine and a convex-concave procedure; and
references may be negative, since features may be, as logits are. What the paper does is told from memory, without its
text at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from firstsight.methods.base import ProductMethod
from firstsight.methods.fitting import FitControls, Search, Span, TrainingTensors, check_counts
from firstsight.methods.scaling import FeatureScaling

MIXTURE_STEPS, MIXTURE_TOLERANCE = 10_000, 1e-9
WEIGHT_RATE = 30  # of the weights' first size per unit of learning rate: they have to grow tenfold, references to shift


@dataclass(kw_only=True)
class SSE(ProductMethod):
    """Semantic similarity embedding.

    Attributes:
        scaling: rows to unit length.
        transform: what an image shares with a reference, or has beyond it; both rank classes alike.
        gamma: how evenly a class is mixed from the seen classes.
        lam: weight of the penalty on weights and references, both in units of the features' spread.
        learning_rate: learning rate of Adam, falling to zero; in units of the features' spread.
        epochs: passes over the images.
        batch: images per step.
    """

    name = "sse"
    source = "Zhang and Saligrama, ICCV 2015"
    search = Search({"gamma": Span(0.2, 25.0), "lam": Span(1e-5, 1e-2)})

    scaling: FeatureScaling = "l2"
    transform: Literal["intersection", "relu"] = "intersection"
    gamma: float = 5.0
    lam: float = 3e-4
    learning_rate: float = 0.03
    epochs: int = 10
    batch: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, "batch")

    def _fit(self, training: TrainingTensors, controls: FitControls) -> None:
        labels, self.seen_ = training.labels, training.vectors  # [n], [s, a]
        mixtures = self._mixtures(self.seen_)  # [s, s]
        spread = training.features.var(dim=0, correction=0).mean().sqrt()
        spread = spread if spread > 0 else torch.ones_like(spread)
        features = training.features / spread  # [n, v]
        references = class_means(features, labels, len(mixtures))  # [s, v]
        weights = first_weights(references, mixtures)  # [v]
        rates = (self.learning_rate, WEIGHT_RATE * self.learning_rate * weights[0].item())
        if self.transform == "relu":
            weights = -weights
        optimizer = torch.optim.Adam(
            {"params": [each.requires_grad_()], "lr": rate}
            for each, rate in zip((references, weights), rates, strict=True)
        )
        steps = self.epochs * -(-len(labels) // self.batch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: 1 - done / max(1, steps))
        generator = torch.Generator().manual_seed(self.seed)
        done = 0
        for _ in range(self.epochs):
            order = torch.randperm(len(labels), generator=generator).to(labels.device)
            for rows in order.split(self.batch):
                scores = self._evidence(features[rows], references, weights) @ mixtures.T  # [b, s]
                size = weights.square().sum() + references.square().sum(dim=1).mean()
                loss = hinge_loss(scores, labels[rows]) + self.lam / 2 * size
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                done += 1
                if controls.progress and (done % max(1, steps // 100) == 0 or done == steps):
                    controls.progress(done, steps, {"loss": loss.item()})
        self.references_, self.weights_ = references.detach() * spread, weights.detach() / spread

    def _project(self, features: Tensor) -> Tensor:
        return self._evidence(features, self.references_, self.weights_)  # [n, s]

    def _describe(self, vectors: Tensor) -> Tensor:
        return self._mixtures(vectors)  # [k, s]

    def _mixtures(self, vectors: Tensor) -> Tensor:
        """Return [k, s] mixtures of the seen classes that come nearest to class embeddings."""
        return nearest_mixtures(vectors.double(), self.seen_.double(), self.gamma).to(vectors)

    def _evidence(self, features: Tensor, references: Tensor, weights: Tensor) -> Tensor:
        """Return [n, s] evidence of images for each seen class."""
        shared = weighted_intersection(features, references, weights)
        return shared if self.transform == "intersection" else (features * weights).sum(dim=1, keepdim=True) - shared


def weighted_intersection(features: Tensor, references: Tensor, weights: Tensor) -> Tensor:
    """Return [n, s] sum_d w_d min(x_d, v_sd).

    Under a positive weight w min(x, v) = (w x + w v - |w x - w v|) / 2, whose sum is an L1 distance for which nothing
    of size [n, s, v] has to be made; negative weights take their turn.
    """
    total = features.new_zeros(())
    for sign, columns in ((1, weights > 0), (-1, weights <= 0)):
        left, right = (matrix[:, columns] * (sign * weights[columns]) for matrix in (features, references))
        shared = left.sum(dim=1)[:, None] + right.sum(dim=1) - torch.cdist(left, right, p=1)
        total = total + sign * shared / 2
    return total


def hinge_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over images of max_c([c != y] + f_c - f_y), of scores [b, s]."""
    leads = 1 + scores - scores.gather(1, labels[:, None])  # [b, s]
    return leads.scatter(1, labels[:, None], 0.0).amax(dim=1).mean()


def class_means(features: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """Return [s, v] mean feature of each class."""
    sums = features.new_zeros(n_classes, features.shape[1]).index_add_(0, labels, features)
    return sums / labels.bincount(minlength=n_classes)[:, None]


def first_weights(references: Tensor, mixtures: Tensor) -> Tensor:
    """Return [v] equal weights with which the references win as their own class by one on average."""
    weights = torch.ones_like(references[0])
    scores = weighted_intersection(references, references, weights) @ mixtures.T  # [s, s]
    lead = (scores.diagonal() - scores.mean(dim=1)).mean()
    return weights / lead if lead > 0 else weights


def nearest_mixtures(targets: Tensor, atoms: Tensor, gamma: float) -> Tensor:
    """Find [k, s] argmin over the simplex of ||y - A' z||^2 + gamma ||z||^2, by accelerated projected gradient.

    Targets y are the rows of [k, a], atoms A [s, a].
    """
    gram = atoms @ atoms.T + gamma * torch.eye(len(atoms)).to(atoms)  # [s, s]
    pull = targets @ atoms.T  # [k, s]
    curvature = torch.linalg.eigvalsh(gram)[-1].clamp(min=torch.finfo(gram.dtype).tiny)
    mixtures = ahead = torch.full_like(pull, 1 / len(atoms))
    inertia = 1.0
    for _ in range(MIXTURE_STEPS):
        moved = simplex_projection(ahead - (ahead @ gram - pull) / curvature)
        step = moved - mixtures
        overshot = ((ahead - moved) * step).sum(dim=1, keepdim=True) > 0  # [k, 1]
        following = (1 + (1 + 4 * inertia**2) ** 0.5) / 2
        ahead = torch.where(overshot, moved, moved + (inertia - 1) / following * step)
        mixtures, inertia = moved, following
        if step.abs().max() <= MIXTURE_TOLERANCE:
            break
    return mixtures


def simplex_projection(points: Tensor) -> Tensor:
    """Return [k, s] the nearest points whose entries are not negative and sum to one."""
    descending = points.sort(dim=1, descending=True).values
    excess = descending.cumsum(dim=1) - 1  # [k, s]
    ranks = torch.arange(1, points.shape[1] + 1, device=points.device)
    support = (descending * ranks > excess).sum(dim=1, keepdim=True)  # [k, 1]
    return (points - excess.gather(1, support - 1) / support).clamp(min=0)
