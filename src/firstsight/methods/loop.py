"""A training loop that knows no network: stages of steps, learning rates that decay, reports, checkpoints and Ctrl-C.

    Loop(stages, network, optimisers, settings, data).run(controls)

What is random in a step depends on the seed, the stage and the number of the step alone. So a training that was killed
and continued ends in the same weights, bit for bit, on the CPU.
"""

from __future__ import annotations

import hashlib
import math
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from firstsight import checkpoint
from firstsight.errors import InputError
from firstsight.methods.distributed import Ranks
from firstsight.methods.fitting import FitControls

PERIOD = 100  # steps over which losses are averaged, for the progress display and the plateau rule


@dataclass(frozen=True)
class Stage:
    """A part of a training in which the same networks learn.

    Attributes:
        name: name of the stage, for `Loop.skip_to`.
        steps: number of steps.
        step: take one step and return its losses by name, as tensors of one number.
        stream: number of its random sequence; a step of a stream draws the same numbers, whatever came before.
        show: return [2, k, side, side, 3] pictures and their reconstructions, for `FitControls.draw`.
    """

    name: str
    steps: int
    step: Callable[[], Mapping[str, Tensor]]
    stream: int = 0
    show: Callable[[], NDArray[np.uint8]] | None = None


@dataclass
class Rate:
    """How all learning rates decay in a stage.

    Attributes:
        decay: not at all, x0.1 where the losses no longer fall, half a cosine to 0, or x0.1 in the second half.
        patience: periods without 1 % less loss before `plateau` cuts the rates.
        watched: losses whose sum `plateau` watches; all of them where empty.
    """

    decay: Literal["constant", "plateau", "cosine", "half"] = "constant"
    patience: int = 5
    watched: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Reset for a new stage."""
        self.best, self.waited, self.rate_factor = math.inf, 0, 1.0

    def factor(self, done: float) -> float:
        """Return the factor of every learning rate at this progress, 0 to 1, of the stage."""
        cosine, half = (1 + math.cos(math.pi * done)) / 2, 1.0 if done < 0.5 else 0.1
        return {"constant": 1.0, "plateau": self.rate_factor, "cosine": cosine, "half": half}[self.decay]

    def watch(self, means: Mapping[str, float]) -> None:
        """Note the losses of a period; cut the rate where they have stood still for long enough."""
        error = math.fsum(means[name] for name in self.watched or means if name in means)
        if error < self.best * 0.99:
            self.best, self.waited = error, 0
        else:
            self.waited += 1
        if self.decay == "plateau" and self.waited >= self.patience:
            self.rate_factor, self.waited = self.rate_factor * 0.1, 0  # SP-AEN's paper, section 4.2


class Loop:
    """A training: its stages, and the position in them.

    Args:
        stages: one after the other.
        network: all that learns; set to training mode, and to evaluation mode at the end.
        optimisers: by name; each stage begins with the learning rates that they have here.
        settings: those of the method, `seed` among them; a checkpoint made with other settings is refused.
        data: all that is learned from, piece by piece; a checkpoint made of other data is refused. It is read once,
            where there is a checkpoint.
        rate: how learning rates decay.
        lower: settings to lower where the losses become infinite, for the error message.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        network: nn.Module,
        optimisers: Mapping[str, torch.optim.Optimizer],
        settings: Mapping[str, Any],
        data: Iterable[Tensor | NDArray[Any]],
        rate: Rate | None = None,
        lower: str = "learning_rate",
    ) -> None:
        self.stages, self.network, self.optimisers = stages, network, optimisers
        self.settings, self.data, self.rate, self.lower = settings, data, rate or Rate(), lower
        self.steps = sum(stage.steps for stage in stages)
        self.step = 0
        self.sums: dict[str, Tensor] = {}  # of each loss since the period began

    def skip_to(self, name: str) -> None:
        """Begin with the stage of this name."""
        names = [stage.name for stage in self.stages]
        self.step = sum(stage.steps for stage in self.stages[: names.index(name)])

    def run(self, controls: FitControls) -> None:
        """Train to the end, from the checkpoint where there is one.

        Raises:
            InputError: a checkpoint of another training, or losses that are no longer finite.
            KeyboardInterrupt: Ctrl-C was pressed; the step was ended and a checkpoint written first.
        """
        path, ranks = controls.checkpoint, controls.ranks
        if path is not None and ranks.any_of_all(path.exists()):  # a rank without the file fails in `checkpoint.read`
            self._restore(path)
        self.network.train()
        with interrupts_deferred() as interrupted:
            while self.step < self.steps:
                self.advance(controls)
                due = self.step % controls.checkpoint_every == 0 and self.step < self.steps
                stopped = ranks.any_of_all(interrupted())
                if path is not None and (due or stopped):
                    with ranks.first_goes_ahead():  # nobody looks for the file before it is there
                        if not ranks.rank:
                            self._save(path)
                if stopped:
                    raise KeyboardInterrupt
        self.network.eval()

    def advance(self, controls: FitControls) -> None:
        """Take one step of the current stage; at the end of a period or stage, report it."""
        start, stage = self._now()
        at = self.step - start
        if at == 0:
            self.rate.begin()
        factor = self.rate.factor(at / stage.steps)
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
        seeds = np.random.SeedSequence([self.settings["seed"], stage.stream, at])
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        for name, value in stage.step().items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach()
        self.step, at = self.step + 1, at + 1
        if at % PERIOD == 0 or at == stage.steps:
            self._report(controls, stage, (at - 1) % PERIOD + 1)

    def _now(self) -> tuple[int, Stage]:
        """Return the step at which the current stage began, and the stage."""
        start = 0
        for stage in self.stages:
            if self.step < start + stage.steps:
                break
            start += stage.steps
        return start, stage

    def _report(self, controls: FitControls, stage: Stage, n_summed: int) -> None:
        """Report the mean losses of a period of `n_summed` steps, and show pictures where the stage has some.

        Raises:
            InputError: a loss that is not finite.
        """
        sums = controls.ranks.mean_of_all(torch.stack([value.float() for value in self.sums.values()]))
        means = {name: value / n_summed for name, value in zip(self.sums, sums.tolist(), strict=True)}
        self.sums = {}
        if not all(map(math.isfinite, means.values())):
            raise InputError(f"training must stay finite; got {means} at step {self.step}; lower {self.lower}")
        self.rate.watch(means)
        if controls.progress is not None:
            controls.progress(self.step, self.steps, means)
        if controls.draw is not None and stage.show is not None and not controls.ranks.rank:
            self.network.eval()
            with torch.no_grad():
                controls.draw(self.step, stage.show())
            self.network.train()

    @cached_property
    def _identity(self) -> str:
        """Return a digest of settings and training data; a checkpoint with another digest is refused."""
        digest = hashlib.sha256(repr(sorted(self.settings.items())).encode())
        for piece in self.data:
            array = piece.cpu().numpy() if isinstance(piece, Tensor) else piece
            digest.update(np.ascontiguousarray(array).data.cast("B"))
        return digest.hexdigest()

    def _save(self, path: Path) -> None:
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        for key, optimiser in self.optimisers.items():
            for index, state in optimiser.state_dict()["state"].items():
                kept = {name: value for name, value in state.items() if isinstance(value, Tensor)}
                tensors |= {f"adam.{key}.{index}.{name}": value for name, value in kept.items()}
        tensors |= {f"sum.{name}": value for name, value in self.sums.items()}
        rate = self.rate
        position = {"step": self.step, "best": rate.best, "waited": rate.waited, "rate_factor": rate.rate_factor}
        checkpoint.write(path, tensors, {"training": self._identity, **position})

    def _restore(self, path: Path) -> None:
        tensors, metadata = checkpoint.read(path)
        if metadata.get("training") != self._identity:
            raise InputError(
                f"checkpoint must come from this training; got {path}, made with other settings or data; "
                "delete it to start anew"
            )
        self.network.load_state_dict(under("network.", tensors))
        for key, optimiser in self.optimisers.items():
            parameters = parameters_of(optimiser)
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in under(f"adam.{key}.", tensors).items():
                index, _, entry = name.partition(".")
                own = parameters[int(index)]
                if value.shape == own.shape:  # fused Adam does not check the memory layout
                    value = torch.empty_like(own).copy_(value)
                state.setdefault(int(index), {})[entry] = value
            optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        self.sums, self.step, rate = under("sum.", tensors), metadata["step"], self.rate
        rate.best, rate.waited, rate.rate_factor = (metadata[name] for name in ("best", "waited", "rate_factor"))


def descend(
    optimiser: torch.optim.Optimizer,
    losses: Iterable[Tensor],
    ranks: Ranks,
    longest: float | None = None,
    each: bool = False,
) -> None:
    """Take one step of an optimiser down the sum of losses.

    Args:
        optimiser: the optimiser of the parameters to change.
        losses: tensors of one number; each goes backward before the next is asked for, so that memory is freed.
        ranks: whose mean gradient is followed.
        longest: norm to which the gradient of all parameters together is clipped.
        each: clip the gradient of each tensor alone to that norm.
    """
    optimiser.zero_grad()
    for loss in losses:
        loss.backward()
    parameters = parameters_of(optimiser)
    ranks.average_gradients(parameters)
    if longest is not None:
        for clipped in [[parameter] for parameter in parameters] if each else [parameters]:
            nn.utils.clip_grad_norm_(clipped, longest)
    optimiser.step()


def parameters_of(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    """List all parameters of an optimiser, in the order of its state."""
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw random numbers from a seed inside the block; after it, the generators are as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def interrupts_deferred() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C wait for the end of the step, so that a checkpoint written then is whole.

    Yields:
        a function that tells whether Ctrl-C was pressed. Outside the main thread signals cannot be caught: it says no.
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
