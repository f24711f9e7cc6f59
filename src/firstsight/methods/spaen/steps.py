"""The steps of SP-AEN on features: two stages or one, each handed to `firstsight.methods.loop`.

The features of the training set live on the device and a batch is a row of random indices, so there is no data
loader. E meets the same batches and dropout with and without F, G and D, which makes the comparison of the full
objective with `Cls. only` a paired one. `Batches`, `Embedder` and `Critic` are parts of SP-AEN on pictures too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from firstsight.methods.distributed import Ranks
from firstsight.methods.fitting import CropFeatures, TrainingTensors
from firstsight.methods.loop import Loop, Rate, Stage, descend, parameters_of
from firstsight.methods.spaen import losses

if TYPE_CHECKING:
    from firstsight.methods.spaen import SPAEN

ADAM_BETAS = (0.5, 0.999)  # authors' code
LONGEST = 10.0  # norm of a gradient, authors' code
Shown = dict[str, Tensor]  # losses by name, as the progress display shows them


@dataclass
class Batches:
    """Random row numbers, 0 to n - 1, drawn on the CPU so that every device and every rank draws the same.

    Where images have crops, a row is one of them: `n_crops` times the image, plus the crop.
    """

    n: int
    device: torch.device
    ranks: Ranks
    n_crops: int = 1

    def rows(self, batch: int) -> Tensor:
        """Return this rank's share of `batch` random rows."""
        return self.share(torch.randint(self.n * self.n_crops, (batch,)))

    def images(self, rows: Tensor) -> Tensor:
        """Return [b] images of which these rows are."""
        return rows // self.n_crops

    def share(self, drawn: Tensor) -> Tensor:
        """Return this rank's share of random numbers drawn for the whole batch, on the device."""
        return self.ranks.share(drawn).to(self.device)


@dataclass
class Embedder:
    """E, which learns to classify; `features` returns [b, v] features of rows of the training set."""

    settings: SPAEN
    network: nn.Module
    features: Callable[[Tensor], Tensor]
    training: TrainingTensors

    def embed(self, rows: Tensor) -> Tensor:
        """Return [b, a] E(x) of rows of the training set."""
        return embedded(self.settings, self.network, self.features(rows))

    def loss(self, batches: Batches, critic: Critic | None, shown: Shown) -> Tensor:
        """Return the weighted L_cls plus E's side of beta * L_adv; note losses in `shown`.

        The critic learns first, where it is its turn `before` E.
        """
        settings, rows = self.settings, batches.rows(self.settings.batch)
        embeddings = self.embed(rows)
        compatibility, labels = embeddings @ self.training.vectors.T, self.training.labels[batches.images(rows)]
        shown["classification"] = classification_loss(settings, compatibility, labels)
        loss = settings.classification_weight * shown["classification"]
        if critic is not None:
            critic.turn("before", shown)
            loss = loss + settings.beta * losses.of_embedded(critic.network(embeddings), settings.critic_output)
        return loss


@dataclass
class Critic:
    """D, which learns to tell F(x) from E(x'); `encode` and `embed` return these, [b, a], of training rows."""

    settings: SPAEN
    network: nn.Module
    optimiser: torch.optim.Optimizer
    batches: Batches
    embed: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor]

    def turn(self, order: Literal["before", "after"], shown: Shown) -> None:
        """Learn where it is the critic's turn, before or after E's step; note the gap in `shown`."""
        if self.settings.critic_order == order:
            shown["critic gap"] = self.learn()

    def learn(self) -> Tensor:
        """Maximise L_adv, the gap of D between F(x) and E(x'), D kept Lipschitz; return it before the last step.

        E and F do not change here, so one pass of each serves all steps.
        """
        settings, n = self.settings, self.settings.critic_steps
        rows = torch.cat([self.batches.rows(settings.batch) for _ in range(n)])
        others = rows
        if settings.critic_rows == "independent":
            others = torch.cat([self.batches.rows(settings.batch) for _ in range(n)])
        with torch.no_grad():
            fakes, reals = self.embed(rows).chunk(n), self.encode(others).chunk(n)
        gap = torch.zeros(())
        for fake, real in zip(fakes, reals, strict=True):
            gap = losses.adversarial_loss(self.network, real, fake, settings.critic_output)
            penalty: Tensor | float = 0.0
            if settings.lipschitz == "penalty":
                mix = self.batches.share(torch.rand(settings.batch, 1))
                penalty = losses.gradient_penalty(self.network, real, fake, mix)
            loss = settings.critic_weight * (settings.penalty * penalty - gap)
            descend(self.optimiser, [loss], self.batches.ranks, LONGEST, settings.clip_each)
            if settings.lipschitz == "clip":
                with torch.no_grad():
                    for parameter in self.network.parameters():
                        parameter.clamp_(-settings.clip, settings.clip)
        return gap


def embedded(settings: SPAEN, network: nn.Module, features: Tensor) -> Tensor:
    """Return [b, a] E(x) of scaled features, of unit length under cosine compatibility."""
    embeddings = network(features)
    return functional.normalize(embeddings) if settings.compatibility == "cosine" else embeddings


def classification_loss(settings: SPAEN, compatibility: Tensor, labels: Tensor) -> Tensor:
    """Return L_cls of [b, s] compatibilities."""
    if settings.classification == "ranking":
        return losses.ranking_loss(compatibility, labels, settings.margin, settings.negatives)
    return losses.softmax_loss(settings.temperature * compatibility, labels)


def autoencoder_loss(settings: SPAEN, found: Shown) -> Tensor:
    """Return alpha * L_rec plus the norm loss, of the losses of F and G by name."""
    loss = settings.norm_weight * found["norm"]
    return loss + settings.alpha * found["reconstruction"] if "reconstruction" in found else loss


def encoder_loss(settings: SPAEN, found: Shown, encoded: Tensor, critic: Critic | None) -> Tensor:
    """Return the losses of F and G, and F's side of beta * L_adv, for [b, a] F(x): what `joint` adds to E's loss."""
    loss = autoencoder_loss(settings, found)
    if critic is None:
        return loss
    return loss + settings.beta * losses.of_encoded(critic.network(encoded), settings.critic_output)


def step_down(settings: SPAEN, optimiser: torch.optim.Optimizer, parts: Iterable[Tensor], ranks: Ranks) -> None:
    """Take one step down the sum of `parts` and, where it is a part of the loss, the weight decay."""
    descend(optimiser, chain(parts, weight_decay(settings, optimiser)), ranks, LONGEST, settings.clip_each)


def weight_decay(settings: SPAEN, optimiser: torch.optim.Optimizer) -> Iterator[Tensor]:
    """Yield half the squared length of all weights, biases apart, times its weight; nothing where it is decoupled."""
    if settings.weight_decay and settings.weight_decay_form == "loss":
        learning = (one for one in parameters_of(optimiser) if one.requires_grad and one.ndim > 1)
        yield settings.weight_decay / 2 * torch.stack([one.square().sum() for one in learning]).sum()


def looked_up(make: Callable[[], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a function that looks rows up in a table, which is made when it is first needed."""
    table = cache(make)
    return lambda rows: table()[rows]


def optimiser_of(
    settings: SPAEN, networks: nn.ModuleDict, parts: Iterable[str], own: Mapping[str, Mapping[str, Any]] | None = None
) -> torch.optim.Optimizer:
    """Return an optimiser of the networks `parts`; `own`: for each, the `lr` and `betas` that differ from E's."""
    of_embedder = {"lr": settings.learning_rate, "betas": ADAM_BETAS}
    groups = [
        {"params": list(networks[part].parameters()), **of_embedder, **(own or {}).get(part, {})} for part in parts
    ]
    if settings.optimiser == "rmsprop":  # WGAN, algorithm 1
        return torch.optim.RMSprop([{name: group[name] for name in ("params", "lr")} for group in groups])
    decoupled = settings.weight_decay if settings.weight_decay_form == "decoupled" else 0.0
    return torch.optim.AdamW(groups, weight_decay=decoupled, fused=True)


def n_steps(epochs: float, training: TrainingTensors, batch: int) -> int:
    """Return the number of batches in `epochs` passes over the training images, 1 at least."""
    return max(1, round(epochs * len(training.labels) / batch))


class FeatureSteps:
    """SP-AEN on features; F and G work on the targets of the training set."""

    def __init__(self, settings: SPAEN, networks: nn.ModuleDict, training: TrainingTensors, ranks: Ranks) -> None:
        self.settings, self.networks, self.ranks, crops = settings, networks, ranks, training.crops
        features: Tensor | CropFeatures = training.features if crops is None else crops
        self.targets: Tensor | CropFeatures = training.targets if crops is None else crops
        n_crops = 1 if crops is None else crops.n_each
        self.batches = Batches(len(training.labels), training.labels.device, ranks, n_crops)
        self.embedder = Embedder(settings, networks["embedder"], lambda rows: features[rows], training)
        autoencoder = [part for part in ("encoder", "generator") if part in networks]
        self.is_joint = settings.schedule == "joint" and bool(autoencoder)
        self.optimisers = {
            "embedder": optimiser_of(settings, networks, ["embedder", *(autoencoder if self.is_joint else ())])
        }
        self.stages = [Stage("embedder", n_steps(settings.epochs, training, settings.batch), self.embedder_step, 1)]
        if autoencoder and not self.is_joint:
            steps = n_steps(settings.autoencoder_epochs, training, settings.batch)
            self.stages.insert(0, Stage("autoencoder", steps, self.autoencoder_step, 0))
            self.optimisers["autoencoder"] = optimiser_of(settings, networks, autoencoder)
        self.critic = None
        if "discriminator" in networks:
            network, optimiser = networks["discriminator"], optimiser_of(settings, networks, ["discriminator"])
            is_known = not self.is_joint and crops is None  # F(x) of every row
            encode = looked_up(lambda: networks["encoder"](training.targets)) if is_known else self.encode
            self.critic = Critic(settings, network, optimiser, self.batches, self.embedder.embed, encode)
            self.optimisers["discriminator"] = optimiser

    def autoencoder_step(self) -> Shown:
        """Train F and G to reconstruct: the first stage of `two-stage`."""
        targets = self.targets[self.batches.rows(self.settings.batch)]
        shown = self.reconstruction_losses(targets, self.networks["encoder"](targets))
        loss = autoencoder_loss(self.settings, shown)
        step_down(self.settings, self.optimisers["autoencoder"], [loss], self.ranks)
        return shown

    def embedder_step(self) -> Shown:
        """Train E to classify and to make E(x) look like F(x) to the critic; in `joint`, F and G too (Eq. 5, 6)."""
        shown: Shown = {}
        loss = self.embedder.loss(self.batches, self.critic, shown)
        if self.is_joint:
            targets = self.targets[self.batches.rows(self.settings.batch)]
            encoded = self.networks["encoder"](targets)
            parts = self.reconstruction_losses(targets, encoded)
            shown |= parts
            loss = loss + encoder_loss(self.settings, parts, encoded, self.critic)
        step_down(self.settings, self.optimisers["embedder"], [loss], self.ranks)
        if self.critic is not None:
            self.critic.turn("after", shown)
        return shown

    def reconstruction_losses(self, targets: Tensor, encoded: Tensor) -> Shown:
        """Return the losses of F and G on [b, w] targets and their [b, a] F(x), without their weights."""
        parts = {"norm": losses.norm_loss(encoded)}
        if self.settings.alpha:
            drawn = self.networks["generator"](encoded)
            parts["reconstruction"] = losses.reconstruction_loss(drawn, targets, self.settings.reconstruction)
        return parts

    def encode(self, rows: Tensor) -> Tensor:
        """Return [b, a] F(x) of rows of the training set."""
        return self.networks["encoder"](self.targets[rows])


def loop_of(
    settings: SPAEN,
    networks: nn.ModuleDict,
    stages: Sequence[Stage],
    optimisers: Mapping[str, torch.optim.Optimizer],
    data: Iterable[Tensor | NDArray[Any]],
) -> Loop:
    """Return the loop that takes these stages, of SP-AEN on features or on pictures; see `Loop`."""
    rate = Rate(settings.decay, settings.patience, ("classification", "reconstruction"))
    lower = "learning_rate, alpha or beta"
    return Loop(stages, networks, optimisers, settings.settings(), data, rate, lower)
