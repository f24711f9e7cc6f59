"""Linear classifiers that give probabilities: softmax regression, and many logistic regressions at once.

    softmax    min  sum_i -log softmax(W'x_i + b)[y_i]                + penalty / 2 ||W||^2      W [v, s], b [s]
    logistic   min  sum_im log(1 + exp(-t_im (w_m'x_i + b_m)))        + penalty / 2 ||W||^2      W [v, m], b [m]

t_im is 1 or -1. The penalty is the 1 / C of LIBLINEAR; biases are free of it. Both are convex, and L-BFGS minimises
them on all images at once, in coordinates in which their Hessian is the identity as long as W = 0: the features
centred, rotated into the eigenvectors of X'X and each divided by the root of its curvature. That takes several times
fewer steps than plain coordinates.

In float32, but losses are summed in float64: near the optimum the line search compares values that agree in all
digits of float32. X'X may be summed in float32 because it only chooses the coordinates, in which the minimum is the
same: summed in float64 it changes none of the 3,255 predictions of DAP on CUB's first validation classes with a penalty
of 0.1 or 1, and 2 with 0.01, and no accuracy with any. Stopping later changes as many: 2 at a tenth of the tolerance.

Memory beside the features: a rotated copy of them, v^2 numbers and about 35 for each weight, of which L-BFGS remembers
20. Logits and their gradients are there for a block of images at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from firstsight.methods.fitting import FitControls

TOLERANCE = 3e-4  # root-mean-square change of the logits that the gradient may still ask for in a coordinate
STEPS = 500  # at most: with hardly a penalty, classes that a plane separates have no optimum within reach
HISTORY = 10  # steps that L-BFGS remembers, each at twice the size of the weights
BLOCK = 1024  # images whose logits and their gradients are there at once
COLUMNS = 128  # regressions solved at once, so that this memory does not outgrow the features
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0)  # that tuning tries, for features of unit length

Report = Callable[[float, float], None]
Loss = Callable[[Tensor, slice], Tensor]  # of logits [b, m] and the images they are of; a tensor to sum


def softmax_regression(
    features: Tensor, labels: Tensor, n_classes: int, penalty: float, controls: FitControls
) -> tuple[Tensor, Tensor]:
    """Fit one classifier of the classes: return [v, s] weights and [s] biases for features [n, v]."""

    def loss(logits: Tensor, images: slice) -> Tensor:
        return functional.cross_entropy(logits, labels[images], reduction="none")

    space = WhitenedSpace(features, penalty, curvature=1 / n_classes)
    return space.minimise(loss, n_classes, reporter(controls, 0.0, 1.0))


def logistic_regressions(
    features: Tensor, labels: Tensor, present: Tensor, penalty: float, controls: FitControls
) -> tuple[Tensor, Tensor]:
    """Fit one binary classifier for each attribute: return [v, m] weights and [m] biases for features [n, v].

    `present` [s, m] tells whether the images of a class have the attribute, which is not the same for all classes.
    """
    n_attributes = present.shape[1]
    space = WhitenedSpace(features, penalty, curvature=1 / 4)
    weights, biases = features.new_zeros(features.shape[1], n_attributes), features.new_zeros(n_attributes)
    for start in range(0, n_attributes, COLUMNS):
        block = slice(start, min(start + COLUMNS, n_attributes))
        targets = present[:, block].to(features.dtype)  # [s, m]

        def loss(logits: Tensor, images: slice, targets: Tensor = targets) -> Tensor:
            return functional.binary_cross_entropy_with_logits(logits, targets[labels[images]], reduction="none")

        report = reporter(controls, block.start / n_attributes, block.stop / n_attributes)
        weights[:, block], biases[block] = space.minimise(loss, targets.shape[1], report)
    return weights, biases


class WhitenedSpace:
    """Features [n, v] in coordinates in which the Hessian is the identity as long as the weights are zero.

    `curvature` is that of the loss of one image in a logit, at weights of zero.
    """

    def __init__(self, features: Tensor, penalty: float, curvature: float) -> None:
        self.penalty = penalty
        self.mean = features.mean(dim=0)  # [v]
        centred = features - self.mean  # the bias is a coordinate of its own
        self.basis, self.scale = white_basis(centred, curvature, penalty)  # [v, v], [v]
        self.bias_scale = (curvature * len(features)) ** -0.5
        for block in centred.split(BLOCK):  # in place: a third copy of the features may not fit
            block.copy_(block @ self.basis)
        self.features = centred  # [n, v]
        self.tolerance = TOLERANCE * math.sqrt(curvature * len(features))

    def minimise(self, loss: Loss, n_columns: int, report: Report) -> tuple[Tensor, Tensor]:
        """Find [v, m] weights and [m] biases of the plain features with the least loss and penalty.

        `report` receives the share of the way gone, in powers of the gradient, and loss and penalty per image.
        """
        weight = self.features.new_zeros(self.features.shape[1], n_columns, requires_grad=True)
        bias = self.features.new_zeros(n_columns, requires_grad=True)
        losses: list[float] = []
        to_go: list[float] = []  # powers by which the gradient exceeds the tolerance

        def evaluate() -> float:
            value, weight.grad, bias.grad = self.objective(loss, weight.detach(), bias.detach())
            steepest = max(float(weight.grad.abs().max()), float(bias.grad.abs().max()))
            to_go.append(math.log(max(steepest / self.tolerance, 1.0)))
            losses.append(value / len(self.features))
            report(1 - min(to_go) / to_go[0] if to_go[0] else 1.0, losses[-1])
            return value

        optimiser = torch.optim.LBFGS(
            [weight, bias],
            max_iter=STEPS,
            history_size=HISTORY,
            tolerance_grad=self.tolerance,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )
        optimiser.step(evaluate)
        report(1.0, losses[-1])
        weight = self.basis @ weight.detach()  # [v, m]
        return weight, bias.detach() * self.bias_scale - self.mean @ weight

    def objective(self, loss: Loss, weight: Tensor, bias: Tensor) -> tuple[float, Tensor, Tensor]:
        """Return loss and penalty at [v, m] weights and [m] biases of this space, and their gradients."""
        scaled = self.scale[:, None] * weight
        value = self.penalty / 2 * float(scaled.square().sum(dtype=torch.float64))
        slope, bias_slope = self.penalty * self.scale[:, None] * scaled, torch.zeros_like(bias)  # [v, m], [m]
        for start in range(0, len(self.features), BLOCK):
            images = slice(start, start + BLOCK)
            logits = torch.addmm(bias * self.bias_scale, self.features[images], weight).requires_grad_()  # [b, m]
            total = loss(logits, images).sum(dtype=torch.float64)
            (by_logits,) = torch.autograd.grad(total, logits)
            value += total.item()
            slope.addmm_(self.features[images].T, by_logits)
            bias_slope += self.bias_scale * by_logits.sum(dim=0)
        return value, slope, bias_slope


def white_basis(features: Tensor, curvature: float, penalty: float) -> tuple[Tensor, Tensor]:
    """Return T [v, v] with T' (curvature X'X + penalty I) T = I, and the [v] lengths of its columns.

    In these coordinates a loss curves about alike in every direction, and L-BFGS needs far fewer steps. Any basis has
    the same solution, so float32 is enough.
    """
    values, vectors = torch.linalg.eigh(features.T @ features)
    hessian = curvature * values.clamp(min=0) + penalty  # [v]
    precision = torch.finfo(features.dtype)
    scale = hessian.clamp(min=max(precision.eps * float(hessian.max()), precision.tiny)).rsqrt()
    return vectors.mul_(scale), scale


def reporter(controls: FitControls, begin: float, end: float) -> Report:
    """Return a function that reports the progress of one part of the work, which runs from `begin` to `end` of it."""

    def report(share: float, loss: float) -> None:
        if controls.progress is not None:
            controls.progress(round(100 * (begin + share * (end - begin))), 100, {"loss": loss})

    return report
