"""The losses of SP-AEN as functions of tensors; equation numbers of Chen et al., CVPR 2018.

b images in a batch, s seen classes, a columns of the class embeddings, w reconstruction features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import logsigmoid


def ranking_loss(
    compatibility: Tensor, labels: Tensor, margin: float, negatives: Literal["random", "violating"]
) -> Tensor:
    """Return L_cls (Eq. 2): mean of max(0, margin - y_l.E(x) + y_l'.E(x)), one wrong class l' drawn per image.

    It is drawn among all wrong classes (paper), or among those that violate the margin (authors' code), by [b, s]
    compatibilities of images and classes.
    """
    right = compatibility.gather(1, labels[:, None])  # [b, 1]
    hinge = (margin - right + compatibility).clamp(min=0)  # [b, s]
    weights = torch.ones_like(hinge) if negatives == "random" else (hinge > 0).float()
    weights = weights.scatter(1, labels[:, None], 0.0)
    has_any = weights.sum(dim=1, keepdim=True) > 0
    drawn = torch.multinomial(torch.where(has_any, weights, 1.0), 1)  # [b, 1]
    return (hinge.gather(1, drawn) * has_any).mean()


def softmax_loss(compatibility: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy over the seen classes of [b, s] compatibilities times their temperature."""
    return functional.cross_entropy(compatibility, labels)


def reconstruction_loss(reconstructed: Tensor, features: Tensor, over: Literal["sum", "mean"] = "sum") -> Tensor:
    """Return L_rec (Eq. 3) on features: ||G(F(x)) - x||^2 of [b, w] features, mean over the batch.

    `over` the w features it is a sum, or a mean as in the authors' code.
    """
    errors = (reconstructed - features).square()
    return errors.sum(dim=1).mean() if over == "sum" else errors.mean()


def picture_loss(drawn: Tensor, pictures: Tensor) -> Tensor:
    """Return ||G(F(x)) - x||^2 of pictures [b, 3, side, side] as a mean over pixels, or of phi's activations.

    The two terms of Eq. 3, which the paper sums over pixels and activations; as means, their weights and alpha mean the
    same at every size of the picture.
    """
    return functional.mse_loss(drawn.float(), pictures.float())


def norm_loss(embeddings: Tensor) -> Tensor:
    """Return (||F(x)|| - 1)^2, mean over the batch: class embeddings have unit length, so should F's (authors)."""
    return (embeddings.norm(dim=1) - 1).square().mean()


CriticOutput = Literal["linear", "sigmoid", "log"]


def of_encoded(logits: Tensor, output: CriticOutput) -> Tensor:
    """Return the term of L_adv (Eq. 4) with D(F(x)), of [b, 1] logits; E and F descend it where they learn.

    `output` is linear for the Wasserstein form (WGAN), sigmoid for D's sigmoid in that form (authors' code), or log
    for the form of Eq. 4: mean log D(F(x)).
    """
    return (logits if output == "linear" else logits.sigmoid() if output == "sigmoid" else logsigmoid(logits)).mean()


def of_embedded(logits: Tensor, output: CriticOutput) -> Tensor:
    """Return the term of L_adv (Eq. 4) with D(E(x')), of [b, 1] logits: -mean D(E(x')), or mean log[1 - D(E(x'))]."""
    return logsigmoid(-logits).mean() if output == "log" else -of_encoded(logits, output)


def adversarial_loss(
    critic: Callable[[Tensor], Tensor], encoded: Tensor, embedded: Tensor, output: CriticOutput = "linear"
) -> Tensor:
    """Return L_adv (Eq. 4) of F(x) and E(x'), both [b, a], which the critic ascends: it is large if D tells them apart.

    With a linear output it is mean D(F(x)) - mean D(E(x')).
    """
    return of_encoded(critic(encoded), output) + of_embedded(critic(embedded), output)


def gradient_penalty(critic: Callable[[Tensor], Tensor], encoded: Tensor, embedded: Tensor, mix: Tensor) -> Tensor:
    """Return the mean (||grad D|| - 1)^2 at random points between F(x) and E(x') (Gulrajani et al., NIPS 2017).

    `mix` [b, 1] in 0..1 is how much of F(x), both [b, a], there is in each point.
    """
    between = (mix * encoded + (1 - mix) * embedded).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.norm(dim=1) - 1).square().mean()
