"""The training loop of SP-AEN: two stages or one, resumable at any step.

The features of the training set live on the device and a batch is a row of random indices, so there is no data
loader. What is random in a step depends on the seed and the step's number alone. So a training that was killed and
continued ends in the same weights, bit for bit, on the CPU; and E meets the same batches and dropout with and without
F, G and D, which makes the comparison of the full objective with `Cls. only` a paired one.
"""

from __future__ import annotations

import hashlib
import math
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from firstsight import checkpoint
from firstsight.errors import InputError
from firstsight.methods.fitting import FitControls
from firstsight.methods.spaen import losses

if TYPE_CHECKING:
    from firstsight.methods.spaen import SPAEN

PERIOD = 100  # steps over which losses are averaged, for the progress display and the plateau rule
ADAM_BETAS = (0.5, 0.999)  # authors' code


@dataclass(frozen=True)
class Stage:
    """A part of a training in which the same networks learn.

    Attributes:
        stream: of random numbers; the same step of the same stream draws the same, whatever came before it.
        steps: how many there are.
        step: one of them; answers with its losses.
    """

    stream: int
    steps: int
    step: Callable[[], dict[str, Tensor]]


class Training:
    """Networks, optimisers and position of one training.

    Args:
        method: the settings.
        networks: E `embedder`; with alpha or beta also F `encoder` and G `generator`, with beta D `discriminator`.
        features: [n, v] scaled features for E.
        targets: [n, w] scaled features for F and G.
        labels: [n] rows of `vectors`.
        vectors: [s, a] class embeddings of the seen classes.
    """

    def __init__(
        self, method: SPAEN, networks: nn.ModuleDict, features: Tensor, targets: Tensor, labels: Tensor, vectors: Tensor
    ) -> None:
        self.method, self.networks = method, networks
        self.features, self.targets, self.labels, self.vectors = features, targets, labels, vectors
        self.two_stage = method.schedule == "two-stage" and "encoder" in networks
        self.optimisers = {name: self._optimiser(parts) for name, parts in self._groups().items()}
        self.stages = self._stages()
        self.steps = sum(stage.steps for stage in self.stages)
        self.step = 0
        self.sums: dict[str, Tensor] = {}  # of each loss since the period began
        self.best, self.waited, self.rate_factor = math.inf, 0, 1.0  # of the plateau rule
        self.encoded: Tensor | None = None  # [n, a] F(x) once F is frozen

    def _groups(self) -> dict[str, tuple[str, ...]]:
        """Which networks share an optimiser, by its name."""
        autoencoder = tuple(part for part in ("encoder", "generator") if part in self.networks)
        groups = {"embedder": ("embedder",) if self.two_stage else ("embedder", *autoencoder)}
        if self.two_stage:
            groups["autoencoder"] = autoencoder
        if "discriminator" in self.networks:
            groups["discriminator"] = ("discriminator",)
        return groups

    def _stages(self) -> list[Stage]:
        """What is learned after what."""
        stages = [Stage(1, self._steps(self.method.epochs), self._embedder_step)]
        if self.two_stage:
            stages.insert(0, Stage(0, self._steps(self.method.autoencoder_epochs), self._autoencoder_step))
        return stages

    def _optimiser(self, parts: tuple[str, ...]) -> torch.optim.Optimizer:
        groups = [{"params": list(self.networks[part].parameters()), **self._adam(part)} for part in parts]
        return torch.optim.AdamW(groups, 0.0, weight_decay=self.method.weight_decay, fused=True)

    def _adam(self, part: str) -> dict[str, Any]:
        """How a network learns: its learning rate before it decays, and Adam's betas."""
        return {"rate": self.method.learning_rate, "betas": ADAM_BETAS}

    def _steps(self, epochs: float, batch: int | None = None) -> int:
        """Batches in so many passes over the training images."""
        return max(1, round(epochs * len(self.labels) / (batch or self.method.batch)))

    def run(self, controls: FitControls) -> None:
        """Train to the end, from the checkpoint where there is one."""
        if controls.checkpoint is not None and self._is_there(controls.checkpoint):
            self._restore(controls.checkpoint)
        self.networks.train()
        with interrupts_deferred() as interrupted:
            while self.step < self.steps:
                self._advance(controls)
                due = self.step % controls.checkpoint_every == 0 and self.step < self.steps
                stopped = self._stopped(interrupted())
                if controls.checkpoint is not None and (due or stopped):
                    self._save(controls.checkpoint)
                if stopped:
                    raise KeyboardInterrupt
        self.networks.eval()

    def _advance(self, controls: FitControls) -> None:
        """One step of the stage we are in, then the bookkeeping that is due."""
        start, stage = self._now()
        if self.step == start:
            self.best, self.waited, self.rate_factor = math.inf, 0, 1.0
        self._set_rate((self.step - start) / stage.steps)
        torch.manual_seed(
            int(np.random.SeedSequence([self.method.seed, stage.stream, self.step - start]).generate_state(1)[0])
        )
        for name, value in stage.step().items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach()
        self.step += 1
        if (self.step - start) % PERIOD == 0 or self.step == start + stage.steps:
            n_summed = (self.step - start - 1) % PERIOD + 1
            means = self._means(n_summed)
            self.sums = {}
            self._watch(means)
            if controls.progress is not None:
                controls.progress(self.step, self.steps, means)
            self._show(controls)

    def _is_there(self, path: Path) -> bool:
        """Whether there is a checkpoint to continue from."""
        return path.exists()

    def _stopped(self, interrupted: bool) -> bool:
        """Whether to stop, where several processes train together because one of them was told to."""
        return interrupted

    def _show(self, controls: FitControls) -> None:
        """At the end of a period, what there is to see."""

    def _means(self, n_summed: int) -> dict[str, float]:
        """Of the losses since the period began."""
        return {name: float(value) / n_summed for name, value in self.sums.items()}

    def _now(self) -> tuple[int, Stage]:
        """The step at which the present stage began, and the stage."""
        start = 0
        for stage in self.stages:
            if self.step < start + stage.steps:
                break
            start += stage.steps
        return start, stage

    def _watch(self, means: dict[str, float]) -> None:
        """Stop a training that has blown up; note whether it still advances."""
        if not all(map(math.isfinite, means.values())):
            raise InputError(
                f"training must stay finite; got {means} at step {self.step}; lower learning_rate, alpha or beta"
            )
        error = sum(means[name] for name in ("classification", "reconstruction") if name in means)
        if error < self.best * 0.99:
            self.best, self.waited = error, 0
        else:
            self.waited += 1
        if self.method.decay == "plateau" and self.waited >= self.method.patience:
            self.rate_factor, self.waited = self.rate_factor * 0.1, 0  # paper, section 4.2

    def _set_rate(self, done: float) -> None:
        factor = {"constant": 1.0, "plateau": self.rate_factor, "cosine": (1 + math.cos(math.pi * done)) / 2}
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = group["rate"] * factor[self.method.decay]

    def _autoencoder_step(self) -> dict[str, Tensor]:
        """F and G learn to reconstruct: the first stage of `two-stage`."""
        targets = self.targets[self._draw()]
        parts = self._reconstruction_losses(targets, self.networks["encoder"](targets))
        self._descend("autoencoder", [total(parts)])
        return parts

    def _embedder_step(self) -> dict[str, Tensor]:
        """E learns to classify and to pass for F; in `joint`, F and G learn beside it (Eq. 5 and 6)."""
        shown: dict[str, Tensor] = {}
        loss = self._embedder_loss(shown)
        if "encoder" in self.networks and not self.two_stage:
            targets = self.targets[self._draw()]
            loss = loss + self._encoder_loss(shown, targets, self.networks["encoder"](targets))
        self._descend("embedder", [loss])
        return shown

    def _embedder_loss(self, shown: dict[str, Tensor]) -> Tensor:
        """L_cls and what E has of beta L_adv; the critic takes its steps before."""
        method, networks = self.method, self.networks
        batch = self._draw()
        embeddings = method.embed(networks, self._features(batch))
        loss = shown["classification"] = method.classification_loss(embeddings @ self.vectors.T, self.labels[batch])
        if "discriminator" in networks:
            shown["critic gap"] = self._critic_steps()
            loss = loss - method.beta * networks["discriminator"](embeddings).mean()
        return loss

    def _encoder_loss(self, shown: dict[str, Tensor], targets: Tensor, encoded: Tensor) -> Tensor:
        """Alpha L_rec and what F has of beta L_adv."""
        parts = self._reconstruction_losses(targets, encoded)
        shown |= parts
        loss = self.method.alpha * total(parts)
        if "discriminator" in self.networks:
            loss = loss + self.method.beta * self.networks["discriminator"](encoded).mean()
        return loss

    def _features(self, rows: Tensor) -> Tensor:
        """[b, v] what E works on."""
        return self.features[rows]

    def _critic_steps(self) -> Tensor:
        """D ascends mean D(F(x)) - mean D(E(x')), kept Lipschitz by a gradient penalty or by clipping.

        E and F stand still meanwhile, so one pass of each serves all steps.

        Returns:
            the gap it reached.
        """
        method, critic = self.method, self.networks["discriminator"]
        rows, others = (torch.cat([self._draw() for _ in range(method.critic_steps)]) for _ in range(2))
        with torch.no_grad():
            embedded = method.embed(self.networks, self._features(rows)).chunk(method.critic_steps)
            encoded = self._encode(others).chunk(method.critic_steps)
        loss = torch.zeros(())
        for fake, real in zip(embedded, encoded, strict=True):
            loss = losses.critic_loss(critic, real, fake)
            penalty: Tensor | float = 0.0
            if method.lipschitz == "penalty":
                mix = self._mine(torch.rand(method.batch, 1))
                penalty = losses.gradient_penalty(critic, real, fake, mix)
            self._descend("discriminator", [loss + method.penalty * penalty])
            if method.lipschitz == "clip":
                with torch.no_grad():
                    for parameter in critic.parameters():
                        parameter.clamp_(-method.clip, method.clip)
        return -loss

    def _reconstruction_losses(self, targets: Tensor, encoded: Tensor) -> dict[str, Tensor]:
        parts = {"norm": self.method.norm_weight * losses.norm_loss(encoded)}
        if self.method.alpha:
            parts["reconstruction"] = losses.reconstruction_loss(self.networks["generator"](encoded), targets)
        return parts

    def _encode(self, rows: Tensor) -> Tensor:
        """[b, a] F(x); once F is frozen, looked up."""
        if not self.two_stage:
            return self.networks["encoder"](self.targets[rows])
        if self.encoded is None:
            with torch.no_grad():
                self.encoded = self.networks["encoder"](self.targets)
        return self.encoded[rows]

    def _draw(self, batch: int | None = None) -> Tensor:
        """[b] random rows of the training set, drawn on the CPU so that every device draws the same."""
        return self._mine(torch.randint(len(self.labels), (batch or self.method.batch,)))

    def _mine(self, drawn: Tensor) -> Tensor:
        """What of a batch's random numbers is for this process, on its device."""
        return drawn.to(self.labels.device)

    def _descend(self, group: str, parts: Iterable[Tensor]) -> None:
        """One step of an optimiser down the sum of the losses, each done with before the next is made."""
        optimiser = self.optimisers[group]
        optimiser.zero_grad()
        for loss in parts:
            loss.backward()
        parameters = [parameter for entry in optimiser.param_groups for parameter in entry["params"]]
        self._share_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, 10.0)  # authors' code
        optimiser.step()

    def _share_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Where several processes train together, their mean gradient."""

    @cached_property
    def _identity(self) -> str:
        """What a checkpoint must agree on to be continued here."""
        digest = hashlib.sha256(repr(sorted(self.method.settings().items())).encode())
        for block in self._learned_from():
            digest.update(block)
        return digest.hexdigest()

    def _learned_from(self) -> Iterator[memoryview]:
        """All that is learned from, piece by piece."""
        for tensor in (self.features, self.targets, self.labels, self.vectors):
            yield np.ascontiguousarray(tensor.cpu().numpy()).data.cast("B")

    def _save(self, path: Path) -> None:
        tensors = {f"network.{name}": value for name, value in self.networks.state_dict().items()}
        for group, optimiser in self.optimisers.items():
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"adam.{group}.{index}.{name}": value for name, value in state.items()}
        tensors |= {f"sum.{name}": value for name, value in self.sums.items()}
        position = {"step": self.step, "best": self.best, "waited": self.waited, "rate_factor": self.rate_factor}
        checkpoint.write(path, tensors, {"training": self._identity, **position})

    def _restore(self, path: Path) -> None:
        tensors, metadata = checkpoint.read(path)
        if metadata.get("training") != self._identity:
            raise InputError(
                f"checkpoint must come from this training; got {path}, made with other settings or data; "
                "delete it to start anew"
            )
        self.networks.load_state_dict(under("network.", tensors))
        for group, optimiser in self.optimisers.items():
            parameters = [parameter for entry in optimiser.param_groups for parameter in entry["params"]]
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in under(f"adam.{group}.", tensors).items():
                index, _, entry = name.partition(".")
                own = parameters[int(index)]
                if value.shape == own.shape:  # in memory as the parameter is: the fused step does not look
                    value = torch.empty_like(own).copy_(value)
                state.setdefault(int(index), {})[entry] = value
            optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        self.sums = under("sum.", tensors)
        self.step, self.waited = metadata["step"], metadata["waited"]
        self.best, self.rate_factor = metadata["best"], metadata["rate_factor"]


def total(parts: dict[str, Tensor]) -> Tensor:
    """The sum of the losses."""
    return torch.stack(list(parts.values())).sum()


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@contextmanager
def interrupts_deferred() -> Iterator[Callable[[], bool]]:
    """Ctrl-C waits for the end of the step, so that what is saved then is whole.

    Yields:
        a function that says whether Ctrl-C was pressed. Outside the main thread signals cannot be caught: it says no.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pressed = threading.Event()
    previous = signal.signal(signal.SIGINT, lambda *_: pressed.set())
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
