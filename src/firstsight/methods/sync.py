"""SYNC (Changpinyo et al., CVPR 2016): classifiers of all classes synthesised from those of phantom classes.

    w_c = sum_r s_cr v_r        s_c = softmax_r(-scale ||a_c - b_r||^2)        score = x' w_c

X [n, v] features, W [s, v] classifiers of the seen classes, V [r, v] those of the phantoms, a_c class embeddings in
units of their median distance. As in the authors' main experiments the phantoms sit at the seen classes: r = s, b = a.
Then W = S V with an invertible S [s, s], so that training

    min_V  loss(X W') + lam / 2 ||W||^2

is training W freely, whatever the scale, and V = S^-1 W is solved for afterwards, as in the authors' code. One
training therefore serves every scale. The losses, with y_i the class of image i and m_ic = x_i' w_c:

    one-vs-other    mean over i of sum_c max(0, 1 - t_ic m_ic)^2, t_ic = 1 for c = y_i and -1 otherwise
    crammer-singer  mean over i of max_c([c != y_i] + m_ic - m_iy_i)
    structured      mean over i of max_c(||a_c - a_y_i|| + m_ic - m_iy_i)

Differences from the paper: the max of the last two losses becomes a log-sum-exp at a temperature of 0.01, which adds
at most 0.01 log s and lets L-BFGS converge. The median distance is that of the seen classes, since training sees no
others. The authors' code divides the first loss by s too; here one range of lam suits all three.

Memory beside the scaled features: the larger of 5 v^2 numbers, while X'X falls into eigenvectors, and v^2 + 35 s v, of
which 20 s v are the steps that L-BFGS remembers and most others its line search. Scores and their gradients are made
for a block of images at a time, so nothing of size [n, s] is there. On CUB (n = 7,057, v = 1,000, s = 150) it is as
much as the features once more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from firstsight.errors import InputError
from firstsight.methods.base import ProductMethod
from firstsight.methods.fitting import FitControls, Search, TrainingTensors
from firstsight.methods.logistic import white_basis
from firstsight.methods.scaling import FeatureScaling

TEMPERATURE = 0.01
BLOCK = 1024  # images whose scores and their gradients are there at once
HISTORY = 10  # steps that L-BFGS remembers, each at twice the size of the classifiers


@dataclass(kw_only=True)
class SYNC(ProductMethod):
    """Synthesised classifiers.

    Attributes:
        scaling: rows to unit length, as the authors do.
        loss: squared hinge of each class against all others, hinge of the best wrong class, or that hinge with the
            distance of class embeddings as its margin.
        lam: weight of the penalty on the classifiers.
        scale: how fast similarity falls with the squared distance of class embeddings.
        steps: evaluations of the objective at most.
    """

    name = "sync"
    source = "Changpinyo et al., CVPR 2016"
    is_random = False
    search = Search(
        {
            "loss": ("one-vs-other", "structured"),
            "lam": tuple(2.0**power for power in (-15, -13, -11, -9)),
            "scale": tuple(2.0**power for power in range(-3, 3)),
        },
        shares_fits=True,
    )

    scaling: FeatureScaling = "l2"
    loss: Literal["one-vs-other", "crammer-singer", "structured"] = "structured"
    lam: float = 2.0**-13
    scale: float = 0.5
    steps: int = 150

    def _fit(self, training: TrainingTensors, controls: FitControls) -> None:
        if not self.lam:
            raise InputError("lam must be more than 0; got 0")
        self._place_phantoms(training.vectors)
        twin = training.once((self.loss, self.lam, self.steps), lambda: self)  # trained for another scale
        trained = self._train(training, controls) if twin is self else twin._synthesised(training.vectors)  # [s, v]
        self._solve_phantoms(trained, training.vectors)

    def _project(self, features: Tensor) -> Tensor:
        return features

    def _describe(self, vectors: Tensor) -> Tensor:
        return self._synthesised(vectors).to(self.dtype)  # [k, v]

    def _place_phantoms(self, vectors: Tensor) -> None:
        """Place the phantoms at the seen classes."""
        distances = torch.pdist(vectors.double())
        self.bandwidth_ = distances[distances > 0].median() if distances.any() else distances.new_ones(())
        self.phantoms_ = vectors.double() / self.bandwidth_  # [s, a]

    def _solve_phantoms(self, classifiers: Tensor, vectors: Tensor) -> None:
        """Solve for the phantoms' classifiers that synthesise those of the seen classes."""
        # A small scale makes the similarities nearly equal, which float64 resolves and float32 does not.
        self.phantom_classifiers_ = torch.linalg.pinv(self._similarities(vectors)) @ classifiers.double()  # [s, v]

    def _synthesised(self, vectors: Tensor) -> Tensor:
        """Return [k, v] classifiers of any classes."""
        return self._similarities(vectors) @ self.phantom_classifiers_

    def _similarities(self, vectors: Tensor) -> Tensor:
        """Return [k, s] similarities of classes to phantoms; rows sum to one."""
        return torch.softmax(-self.scale * self._distances(vectors).square(), dim=1)

    def _distances(self, vectors: Tensor) -> Tensor:
        """Return [k, s] distances between classes and phantoms."""
        return torch.cdist(vectors.double() / self.bandwidth_, self.phantoms_)

    def _train(self, training: TrainingTensors, controls: FitControls) -> Tensor:
        """Train classifiers [s, v] of the seen classes."""
        features, labels, n_seen = training.features, training.labels, len(training.vectors)
        distances = self._distances(training.vectors).to(features)
        margins = distances if self.loss == "structured" else 1 - torch.eye(n_seen).to(features)  # [s, s]
        basis, _ = white_basis(features, 2 / n_seen / len(features), self.lam)  # [v, v]

        def objective(weights: Tensor) -> tuple[float, Tensor]:
            classifiers = weights @ basis.T
            total = self.lam / 2 * float(classifiers.square().sum())
            slopes = self.lam * classifiers  # [s, v]
            for images, rows in zip(features.split(BLOCK), labels.split(BLOCK), strict=True):
                scores = (images @ classifiers.T).requires_grad_()  # [b, s]
                if self.loss == "one-vs-other":
                    loss = one_vs_other_loss(scores, rows)
                else:
                    loss = best_wrong_loss(scores, rows, margins)
                share = len(rows) / len(labels)
                total += share * loss.item()
                slopes.addmm_(torch.autograd.grad(loss, scores)[0].T, images, alpha=share)
            return total, slopes @ basis

        return minimise(objective, features.new_zeros(n_seen, features.shape[1]), self.steps, controls) @ basis.T


def one_vs_other_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return squared hinges of every class against the others in scores [n, s], the mean over images."""
    is_own = labels[:, None] == torch.arange(scores.shape[1], device=scores.device)  # [n, s]
    return torch.where(is_own, 1 - scores, 1 + scores).clamp(min=0).square().sum(dim=1).mean()


def best_wrong_loss(scores: Tensor, labels: Tensor, margins: Tensor) -> Tensor:
    """Return the smoothed hinge of the wrong class that comes closest in scores [n, s], the mean over images.

    `margins` [s, s] are those by which each class (row) has to win over each other; 0 on the diagonal.
    """
    leads = margins[labels] + scores - scores.gather(1, labels[:, None])  # [n, s]
    return TEMPERATURE * torch.logsumexp(leads / TEMPERATURE, dim=1).mean()


def minimise(
    objective: Callable[[Tensor], tuple[float, Tensor]], start: Tensor, steps: int, controls: FitControls
) -> Tensor:
    """Find where a smooth function, which comes with its gradient, is least, by L-BFGS."""
    point = start.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [point], max_iter=steps, max_eval=steps, history_size=HISTORY, line_search_fn="strong_wolfe"
    )
    losses: list[float] = []

    def evaluate() -> float:
        loss, point.grad = objective(point.detach())
        losses.append(loss)
        if controls.progress and len(losses) < steps:
            controls.progress(len(losses), steps, {"loss": losses[-1]})
        return losses[-1]

    optimizer.step(evaluate)
    if controls.progress:
        controls.progress(steps, steps, {"loss": losses[-1]})
    return point.detach()
