"""The steps of SP-AEN on pictures: E as on features, F and G on crops of the pictures.

Pictures stay where they are, as bytes, and only a batch of them goes to the device, where it is cut and scaled. A
batch may be split into pieces whose gradients are summed, or shared by several ranks. `Material` and `PictureBatches`
are parts of the rivals of Table 3 too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from firstsight.data import Pictures
from firstsight.errors import InputError
from firstsight.methods.distributed import Ranks
from firstsight.methods.fitting import TrainingTensors
from firstsight.methods.loop import Stage
from firstsight.methods.spaen import losses
from firstsight.methods.spaen import steps as parts
from firstsight.methods.spaen.steps import Shown, step_down
from firstsight.methods.spaen_pictures.crops import middle, random_crops, whole
from firstsight.pictures.ten_crops import N_CROPS

if TYPE_CHECKING:
    from firstsight.methods.spaen_pictures import SPAENPictures

AT_ONCE = 256  # pictures that are read at once
SHOWN = 16  # pictures of the training set that a log shows
GPU_SHARE = 0.3  # of a GPU's free memory that the pictures may take, where they then stay
Losses = tuple[Tensor, Shown]  # the loss that goes backward, and the parts of it that are shown


@dataclass(frozen=True)
class Material:
    """What every training on pictures is made of; phi is the perceptual network, where there is one."""

    settings: SPAENPictures
    networks: nn.ModuleDict
    images: TrainingTensors
    phi: nn.Module | None
    ranks: Ranks

    def drawing_loss(self, pictures: Tensor, code: Tensor) -> Tensor:
        """Return L_rec (Eq. 3) of what G draws of codes [b, d] against pictures [b, 3, view, view]."""
        with autocast(self.settings.precision, pictures.device):
            drawn = middle(draw(self.networks, code), pictures.shape[2])
            loss = self.settings.pixel_weight * losses.picture_loss(drawn, pictures)
            if self.phi is not None:
                with torch.no_grad():
                    wanted = self.phi(pictures)
                loss = loss + self.settings.perceptual_weight * losses.picture_loss(self.phi(drawn), wanted)
        return loss


class PictureSteps:
    """SP-AEN: E classifies, F reads pictures and G draws them again."""

    def __init__(self, material: Material) -> None:
        settings, networks, images = material.settings, material.networks, material.images
        self.settings, self.networks, self.ranks, self.material = settings, networks, material.ranks, material
        self.pictures = PictureBatches(material)
        self.embedder = parts.Embedder(settings, networks["embedder"], self.pictures.features, images)
        autoencoder = [part for part in ("encoder", "generator") if part in networks]
        self.is_joint = settings.schedule == "joint" and bool(autoencoder)
        learning = ["embedder", *(autoencoder if self.is_joint else ()), "backbone"]
        self.optimisers = {"embedder": optimiser_of(material, *learning)}
        show = self.show if "generator" in networks else None
        steps = parts.n_steps(settings.epochs, images, settings.batch)
        self.stages = [Stage("embedder", steps, self.embedder_step, 1, show)]
        if autoencoder and not self.is_joint:
            steps = parts.n_steps(settings.autoencoder_epochs, images, settings.autoencoder_batch)
            self.stages.insert(0, Stage("autoencoder", steps, self.autoencoder_step, 0, show))
            self.optimisers["autoencoder"] = optimiser_of(material, *autoencoder)
        self.critic = None
        if "discriminator" in networks:
            is_known = not self.is_joint and self.pictures.batches.n_crops == 1  # F(x) of every view
            encode = parts.looked_up(self.encode_all) if is_known else self.encode
            network, optimiser = networks["discriminator"], optimiser_of(material, "discriminator")
            self.critic = parts.Critic(settings, network, optimiser, self.pictures.batches, self.embedder.embed, encode)
            self.optimisers["discriminator"] = optimiser

    def autoencoder_step(self) -> Shown:
        """Let F and G learn to reconstruct: the first stage of `two-stage`."""

        def loss(pictures: Tensor, _: Tensor) -> Losses:
            found = self.reconstruction_losses(pictures, self.read(pictures))
            return parts.autoencoder_loss(self.settings, found), found

        shown: Shown = {}
        step_down(self.settings, self.optimisers["autoencoder"], self.pictures.pieces(loss, shown), self.ranks)
        return shown

    def embedder_step(self) -> Shown:
        """Let E learn to classify and to pass for F; in `joint`, F and G learn beside it (Eq. 5 and 6)."""

        def loss(pictures: Tensor, _: Tensor) -> Losses:
            encoded = self.read(pictures)
            found = self.reconstruction_losses(pictures, encoded)
            return parts.encoder_loss(self.settings, found, encoded, self.critic), found

        def losses_in_turn() -> Iterator[Tensor]:
            yield self.embedder.loss(self.pictures.batches, self.critic, shown)
            if self.is_joint:
                yield from self.pictures.pieces(loss, shown)

        shown: Shown = {}
        step_down(self.settings, self.optimisers["embedder"], losses_in_turn(), self.ranks)
        if self.critic is not None:
            self.critic.turn("after", shown)
        return shown

    def reconstruction_losses(self, pictures: Tensor, encoded: Tensor) -> Shown:
        """Return the losses of F and G on pictures [b, 3, view, view] and their [b, a] F(x), without their weights."""
        found = {"norm": losses.norm_loss(encoded)}
        if self.settings.alpha:
            found["reconstruction"] = self.material.drawing_loss(pictures, encoded)
        return found

    def read(self, pictures: Tensor) -> Tensor:
        """Return [b, a] F(x) of pictures [b, 3, view, view]."""
        with autocast(self.settings.precision, pictures.device):
            return self.networks["encoder"](pictures).float()

    def encode(self, rows: Tensor) -> Tensor:
        """Return [b, a] F(x) of the views in these rows."""
        return self.read(self.pictures.views(rows))

    def encode_all(self) -> Tensor:
        """Return [n, a] F(x) of the whole of every training picture."""
        every = torch.arange(self.pictures.batches.n, device=self.pictures.batches.device)
        return torch.cat([self.read(self.pictures.whole(rows)) for rows in every.split(AT_ONCE)])

    def show(self) -> NDArray[np.uint8]:
        """Return [2, k, view, view, 3] some training pictures and their reconstructions."""
        n = self.pictures.batches.n
        pictures = self.pictures.whole(torch.linspace(0, n - 1, min(SHOWN, n)).long())
        with autocast(self.settings.precision, pictures.device):
            drawn = middle(draw(self.networks, self.networks["encoder"](pictures)), pictures.shape[2])
        return np.stack([as_bytes(pictures), as_bytes(drawn)])


def draw(networks: nn.ModuleDict, code: Tensor) -> Tensor:
    """Return [b, 3, side, side] pictures that G draws of codes [b, d], merged first where there are two halves."""
    return networks["generator"](networks["merge"](code) if "merge" in networks else code)


class PictureBatches:
    """Random batches of views of the training set: each is a picture, and the features that E works on, of the same.

    Where E's features are of crops, or E makes them itself, a view is one of the ten crops of a picture, as in the
    paper. Where the data set has features of whole pictures alone, a view is a whole picture: else G would have to draw
    from E(x) a crop about which E(x) says nothing.
    """

    def __init__(self, material: Material) -> None:
        images, networks = material.images, material.networks
        assert images.pictures is not None  # the method has looked
        device = images.labels.device
        self.settings, self.images, self.pictures = material.settings, images, images.pictures
        self.view = material.settings.view
        self.backbone = networks["backbone"] if material.settings.end_to_end else None
        n_crops = N_CROPS if self.backbone is not None else 1 if images.crops is None else images.crops.n_each
        if n_crops not in (1, N_CROPS):
            raise InputError(f"crops must be {N_CROPS} of each picture, as `firstsight features` keeps; got {n_crops}")
        self.batches = parts.Batches(len(images.labels), device, material.ranks, n_crops)
        self.on_gpu = held(self.pictures, device)

    def features(self, rows: Tensor) -> Tensor:
        """Return [b, v] features of the views in these rows."""
        if self.backbone is None:
            return self.images.features[rows] if self.images.crops is None else self.images.crops[rows]
        views = self.views(rows)
        with autocast(self.settings.precision, views.device):
            return self.backbone(views).float()

    def pieces(self, loss: Callable[[Tensor, Tensor], Losses], shown: Shown) -> Iterator[Tensor]:
        """Draw a batch of views and yield its loss, of pictures and their rows, in pieces that sum to it.

        The means of the losses over the batch are noted in `shown`.
        """
        batch, n = self.settings.autoencoder_batch, self.settings.accumulate
        rows = self.batches.rows(batch)
        for piece in rows.chunk(n):
            share = len(piece) / len(rows)
            value, found = loss(self.views(piece), piece)
            for name, one in found.items():
                shown[name] = shown.get(name, 0.0) + share * one.detach()
            yield share * value

    def views(self, rows: Tensor) -> Tensor:
        """Return [b, 3, view, view] pictures of the views in these rows."""
        if self.batches.n_crops == 1:
            return self.whole(rows)
        return random_crops(self.read(self.batches.images(rows)), self.view, rows % N_CROPS)

    def whole(self, images: Tensor) -> Tensor:
        """Return [b, 3, view, view] the whole of each picture."""
        return whole(self.read(images), self.view)

    def read(self, images: Tensor) -> Tensor:
        """Return [b, h, h, 3] bytes of the pictures, on the device."""
        if self.on_gpu is not None:
            return self.on_gpu[images]
        return torch.from_numpy(self.pictures[images.cpu().numpy()]).to(self.batches.device, non_blocking=True)

    def data(self) -> Iterator[Tensor | NDArray[np.uint8]]:
        """Yield all that is learned from, piece by piece, as a checkpoint's digest takes it."""
        images = self.images
        yield from (images.features, images.features, images.labels, images.vectors)
        yield from () if images.crops is None else images.crops.pieces()
        for start in range(0, len(self.pictures), AT_ONCE):
            yield self.pictures[start : start + AT_ONCE]


def as_bytes(pictures: Tensor) -> NDArray[np.uint8]:
    """Return [b, h, w, 3] colours in 0..255 of pictures [b, 3, h, w] in 0..1."""
    colours = pictures.float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return colours.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def held(pictures: Pictures, device: torch.device) -> Tensor | None:
    """Return all pictures on the GPU where they leave room for the rest; None where they do not, and on a CPU."""
    if device.type != "cuda":
        return None
    if len(pictures) * pictures.store[0].nbytes > GPU_SHARE * torch.cuda.mem_get_info(device)[0]:
        return None
    held = torch.empty((len(pictures), *pictures.store.shape[1:]), dtype=torch.uint8, device=device)
    for start in range(0, len(held), AT_ONCE):
        held[start : start + AT_ONCE] = torch.from_numpy(pictures[start : start + AT_ONCE]).to(device)
    return held


def optimiser_of(material: Material, *names: str) -> torch.optim.Optimizer:
    """Return an optimiser of the networks of these names, those that there are."""
    settings, networks = material.settings, material.networks
    betas = (settings.autoencoder_beta1, parts.ADAM_BETAS[1])
    own = {part: {"lr": settings.autoencoder_rate, "betas": betas} for part in ("encoder", "generator", "merge")}
    own["backbone"] = {"lr": settings.backbone_rate, "betas": betas}
    return parts.optimiser_of(settings, networks, [name for name in names if name in networks], own)


def autocast(precision: Literal["float32", "bf16"], device: torch.device) -> AbstractContextManager:
    """Compute F, G and phi in this precision inside the block."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


@contextmanager
def enough_memory(material: Material) -> Iterator[None]:
    """Turn a lack of memory in the block into an InputError that says which batch to try."""
    try:
        yield
    except RuntimeError as error:  # of which torch.OutOfMemoryError is one
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        batch, pieces = material.settings.autoencoder_batch // material.ranks.n, material.settings.accumulate
        more = min(2 * pieces, batch)
        advice = (
            f"--accumulate {more} takes {-(-batch // more)} at once with the same result, --autoencoder-batch a "
            "smaller batch"
            if more > pieces
            else "a smaller --side or --width takes less"
        )
        raise InputError(
            f"device {material.images.labels.device} must have memory for {-(-batch // pieces)} pictures at once; "
            f"got too little; {advice}"
        ) from error
