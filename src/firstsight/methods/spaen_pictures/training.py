"""The training loop of SP-AEN on pictures: that of SP-AEN on features, with F and G on crops of the pictures.

Pictures stay where they are, as bytes, and only a batch of them goes to the device, where it is cut and scaled. A
batch may be split into pieces whose gradients are summed, or shared by several processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from firstsight.errors import InputError
from firstsight.methods import distributed as ranks
from firstsight.methods.fitting import FitControls, TrainingTensors
from firstsight.methods.spaen import losses
from firstsight.methods.spaen.training import Stage, Training, total
from firstsight.methods.spaen_pictures.crops import N_CROPS, random_crops, whole

if TYPE_CHECKING:
    from firstsight.methods.spaen_pictures import SPAENPictures

HASHED = 256  # pictures at once
AUTOENCODER_BETAS = (0.9, 0.999)  # Adam's own; with .5, pixel error of held-out classes was .043 where it is .037
SHOWN = 16  # pictures of the training set that a log shows
Losses = tuple[Tensor, dict[str, Tensor]]  # what goes down, and the parts of it that are shown
GPU_SHARE = 0.3  # of a GPU's free memory that the pictures may take, where they then stay


class PictureTraining(Training):
    """Networks, optimisers and position of one training on pictures."""

    method: SPAENPictures

    def __init__(
        self, method: SPAENPictures, networks: nn.ModuleDict, training: TrainingTensors, phi: nn.Module | None
    ) -> None:
        assert training.pictures is not None  # the method has looked
        self.pictures, self.phi = training.pictures, phi
        self.variant = method.variant
        super().__init__(method, networks, training.features, training.features, training.labels, training.vectors)
        for name, size in (("batch", method.batch), ("autoencoder_batch", method.autoencoder_batch)):
            if size % (n := ranks.n_ranks()):
                raise InputError(f"{name} must be a multiple of {n}, the processes that share it; got {size}")
        self.on_device = self._held()

    def run(self, controls: FitControls) -> None:
        """Train to the end; a batch that is too large is refused with one to try."""
        try:
            super().run(controls)
        except RuntimeError as error:  # of which torch.OutOfMemoryError is one
            if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
                raise
            raise self._too_large() from error

    def _too_large(self) -> InputError:
        """What to say where the pieces of a batch do not fit into memory."""
        batch, pieces = self.method.autoencoder_batch // ranks.n_ranks(), self.method.accumulate
        more = min(2 * pieces, batch)
        advice = (
            f"--accumulate {more} takes {-(-batch // more)} at once with the same result, --autoencoder-batch a "
            "smaller batch"
            if more > pieces
            else "a smaller --side or --width takes less"
        )
        return InputError(
            f"device {self.labels.device} must have memory for {-(-batch // pieces)} pictures at once; "
            f"got too little; {advice}"
        )

    def take_autoencoder(self, trained: nn.ModuleDict) -> None:
        """Begin where the first stage has ended, with the F and G it made."""
        for part in ("encoder", "generator"):
            if part in trained:
                self.networks[part].load_state_dict(trained[part].state_dict())
        self.step = self.stages[0].steps

    def _groups(self) -> dict[str, tuple[str, ...]]:
        groups = super()._groups()
        if self.variant == "direct-map":
            groups = {"embedder": ("embedder",), "generator": ("generator",)}
        if self.variant in ("sae-image", "split-branch"):
            groups = {"embedder": ("embedder", "generator")}
        if "backbone" in self.networks:
            groups["embedder"] += ("backbone",)
        return groups

    def _stages(self) -> list[Stage]:
        method = self.method
        pictures = self._steps(method.autoencoder_epochs, method.autoencoder_batch)
        features = self._steps(method.epochs)
        if self.variant == "direct-map":
            return [Stage(1, features, self._embedder_step), Stage(2, pictures, self._generator_step)]
        if self.variant in ("sae-image", "split-branch"):
            return [Stage(2, pictures, self._bottleneck_step)]
        if self.two_stage:
            return [Stage(0, pictures, self._autoencoder_step), Stage(1, features, self._embedder_step)]
        return [Stage(1, features, self._embedder_step)]

    def _features(self, rows: Tensor) -> Tensor:
        if "backbone" not in self.networks:
            return super()._features(rows)
        which = self._mine(torch.randint(N_CROPS, (len(rows) * ranks.n_ranks(),)))
        with self._precision():
            return self.networks["backbone"](self._crops(rows, which)).float()

    def _adam(self, part: str) -> dict[str, Any]:
        if part in ("encoder", "generator"):
            return {"rate": self.method.autoencoder_rate, "betas": AUTOENCODER_BETAS}
        if part == "backbone":
            return {"rate": self.method.backbone_rate, "betas": AUTOENCODER_BETAS}
        return super()._adam(part)

    def _autoencoder_step(self) -> dict[str, Tensor]:
        """F and G learn to reconstruct."""
        shown: dict[str, Tensor] = {}

        def loss(pictures: Tensor, _: Tensor) -> Losses:
            parts = self._reconstruction_losses(pictures, self._read(pictures))
            return total(parts), parts

        self._descend("autoencoder", self._pieces(loss, shown))
        return shown

    def _embedder_step(self) -> dict[str, Tensor]:
        """E learns to classify and to pass for F; in `joint`, F and G learn beside it (Eq. 5 and 6)."""
        shown: dict[str, Tensor] = {}

        def loss(pictures: Tensor, _: Tensor) -> Losses:
            parts: dict[str, Tensor] = {}
            return self._encoder_loss(parts, pictures, self._read(pictures)), parts

        def terms() -> Iterator[Tensor]:
            yield self._embedder_loss(shown)
            if "encoder" in self.networks and not self.two_stage:
                yield from self._pieces(loss, shown)

        self._descend("embedder", terms())
        return shown

    def _generator_step(self) -> dict[str, Tensor]:
        """DirectMap: G learns to draw from the E(x) of an E that has learned to classify."""
        shown: dict[str, Tensor] = {}
        self.networks["embedder"].eval()  # no dropout: as E(x) is when pictures are drawn from it

        def loss(pictures: Tensor, rows: Tensor) -> Losses:
            with torch.no_grad():
                code = self.method.code(self.networks, self._features(rows))
            parts = self._drawing_losses(pictures, code)
            return total(parts), parts

        self._descend("generator", self._pieces(loss, shown))
        return shown

    def _bottleneck_step(self) -> dict[str, Tensor]:
        """SAE-image and SplitBranch: E learns to classify and, with G, to reconstruct, from one code."""
        shown: dict[str, Tensor] = {}

        def loss(pictures: Tensor, rows: Tensor) -> Losses:
            code = self.method.code(self.networks, self._features(rows))
            scores = code[:, : self.vectors.shape[1]] @ self.vectors.T
            parts = {"classification": self.method.classification_loss(scores, self.labels[rows])}
            parts |= self._drawing_losses(pictures, code)
            return parts["classification"] + self.method.alpha * parts["reconstruction"], parts

        self._descend("embedder", self._pieces(loss, shown))
        return shown

    def _pieces(self, loss: Callable[[Tensor, Tensor], Losses], shown: dict[str, Tensor]) -> Iterator[Tensor]:
        """The loss of a batch of pictures, in pieces that sum to it.

        Args:
            loss: of crops and their rows.
            shown: where the means of its parts over the batch go.
        """
        batch, n = self.method.autoencoder_batch, self.method.accumulate
        rows, which = self._draw(batch), self._mine(torch.randint(N_CROPS, (batch,)))
        for piece, crops in zip(rows.chunk(n), which.chunk(n), strict=True):
            share = len(piece) / len(rows)
            value, parts = loss(self._crops(piece, crops), piece)
            for name, part in parts.items():
                shown[name] = shown.get(name, 0.0) + share * part.detach()
            yield share * value

    def _reconstruction_losses(self, targets: Tensor, encoded: Tensor) -> dict[str, Tensor]:
        norm = {"norm": self.method.norm_weight * losses.norm_loss(encoded)}
        return norm | (self._drawing_losses(targets, encoded) if self.method.alpha else {})

    def _drawing_losses(self, pictures: Tensor, code: Tensor) -> dict[str, Tensor]:
        """L_rec (Eq. 3) of what G draws from a code."""
        with self._precision():
            drawn = self.networks["generator"](code)
            loss = self.method.pixel_weight * losses.picture_loss(drawn, pictures)
            if self.phi is not None:
                with torch.no_grad():
                    wanted = self.phi(pictures)
                loss = loss + self.method.perceptual_weight * losses.picture_loss(self.phi(drawn), wanted)
        return {"reconstruction": loss}

    def _read(self, pictures: Tensor) -> Tensor:
        """[b, a] F(x) of pictures."""
        with self._precision():
            return self.networks["encoder"](pictures).float()

    def _precision(self) -> AbstractContextManager:
        return self.method.autocast(self.labels.device)

    def _encode(self, rows: Tensor) -> Tensor:
        """[b, a] F(x); once F is frozen, of the whole pictures, looked up."""
        if not self.two_stage:
            which = self._mine(torch.randint(N_CROPS, (len(rows) * ranks.n_ranks(),)))
            return self._read(self._crops(rows, which))
        if self.encoded is None:
            with torch.no_grad():
                self.encoded = torch.cat(
                    [
                        self._read(whole(self._bytes(part), self.method.side))
                        for part in torch.arange(len(self.labels), device=rows.device).split(HASHED)
                    ]
                )
        return self.encoded[rows]

    def _crops(self, rows: Tensor, which: Tensor) -> Tensor:
        """[b, 3, side, side] one crop of each picture."""
        return random_crops(self._bytes(rows), self.method.side, which)

    def _bytes(self, rows: Tensor) -> Tensor:
        """[b, h, h, 3] pictures on the device."""
        if self.on_device is not None:
            return self.on_device[rows]
        return torch.from_numpy(self.pictures[rows.cpu().numpy()]).to(self.labels.device, non_blocking=True)

    def _held(self) -> Tensor | None:
        """All pictures on the GPU where they leave room for the rest; a CPU reads them where they are."""
        device = self.labels.device
        if device.type != "cuda":
            return None
        size = len(self.pictures) * self.pictures.store[0].nbytes
        if size > GPU_SHARE * torch.cuda.mem_get_info(device)[0]:
            return None
        held = torch.empty((len(self.pictures), *self.pictures.store.shape[1:]), dtype=torch.uint8, device=device)
        for start in range(0, len(held), HASHED):
            held[start : start + HASHED] = torch.from_numpy(self.pictures[start : start + HASHED]).to(device)
        return held

    def _show(self, controls: FitControls) -> None:
        """Some pictures beside what is left of them."""
        if controls.draw is None or ranks.rank() or self.variant != "spaen" or "generator" not in self.networks:
            return
        self.networks.eval()
        with torch.no_grad(), self._precision():
            evenly = torch.linspace(0, len(self.labels) - 1, min(SHOWN, len(self.labels))).long()
            pictures = whole(self._bytes(evenly), self.method.side)
            drawn = self.networks["generator"](self.networks["encoder"](pictures)).float().clamp(0, 1)
        self.networks.train()
        pair = torch.stack([pictures.float(), drawn]).mul(255).round().to(torch.uint8)
        controls.draw(self.step, pair.permute(0, 1, 3, 4, 2).cpu().numpy())

    def _is_there(self, path: Path) -> bool:
        return ranks.any_of_all(super()._is_there(path), self.labels.device)  # who does not see it then says so

    def _save(self, path: Path) -> None:
        with ranks.first_goes_ahead():  # nobody goes on to look for the file before it is there
            if not ranks.rank():
                super()._save(path)

    def _mine(self, drawn: Tensor) -> Tensor:
        return super()._mine(ranks.share(drawn))

    def _share_gradients(self, parameters: list[nn.Parameter]) -> None:
        ranks.average_gradients(parameters)

    def _means(self, n_summed: int) -> dict[str, float]:
        names = list(self.sums)
        values = torch.stack([self.sums[name].float() for name in names]) / n_summed
        return dict(zip(names, ranks.mean_of_all(values).tolist(), strict=True))

    def _stopped(self, interrupted: bool) -> bool:
        return ranks.any_of_all(interrupted, self.labels.device)

    def _learned_from(self) -> Iterator[memoryview]:
        yield from super()._learned_from()
        for start in range(0, len(self.pictures), HASHED):
            yield np.ascontiguousarray(self.pictures[start : start + HASHED]).data.cast("B")
