"""The steps of SP-AEN's three rivals in Table 3, in which G draws from a code that E makes of features.

DirectMap      E learns to classify; then G learns to draw from E(x)
SAE-image      one code both classifies and draws
SplitBranch    the first half of the code classifies, the whole code draws
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from firstsight.methods.loop import Stage, descend
from firstsight.methods.spaen.steps import LONGEST, Embedder, Shown, classification_loss, embedded, n_steps
from firstsight.methods.spaen_pictures.networks import generator
from firstsight.methods.spaen_pictures.steps import Drawing, Losses, Material, PictureBatches, adam

if TYPE_CHECKING:
    from firstsight.methods.spaen_pictures import SPAENPictures


def generator_alone(settings: SPAENPictures, n_code: int) -> dict[str, nn.Module]:
    """Return the network beside E: G, which draws from codes of this width."""
    return {"generator": generator(settings.side, n_code, settings.width)}


class DirectMap:
    """E learns to classify; then G learns to draw from the E(x) of an E that stands still."""

    reads_pictures = False
    code_size = 1
    code = embed = staticmethod(embedded)
    build = staticmethod(generator_alone)

    def __init__(self, material: Material) -> None:
        settings, images = material.settings, material.images
        self.ranks, self.pictures, self.drawing = material.ranks, PictureBatches(material), Drawing(material)
        self.embedder = Embedder(settings, material.networks["embedder"], self.pictures.features, images)
        self.optimisers = {"embedder": adam(material, "embedder", "backbone"), "generator": adam(material, "generator")}
        n_pictures = n_steps(settings.autoencoder_epochs, images, settings.autoencoder_batch)
        self.stages = [
            Stage("embedder", n_steps(settings.epochs, images, settings.batch), self.embedder_step, 1),
            Stage("generator", n_pictures, self.generator_step, 2),
        ]

    def embedder_step(self) -> Shown:
        """Let E learn to classify."""
        shown: Shown = {}
        loss = self.embedder.loss(self.pictures.batches, None, shown)
        descend(self.optimisers["embedder"], [loss], self.ranks, LONGEST)
        return shown

    def generator_step(self) -> Shown:
        """Let G learn to draw, from E without dropout, as E is when pictures are drawn after training."""
        self.embedder.network.eval()

        def loss(pictures: Tensor, rows: Tensor) -> Losses:
            with torch.no_grad():
                code = self.embedder.embed(rows)
            value = self.drawing.loss(pictures, code)
            return value, {"reconstruction": value}

        shown: Shown = {}
        descend(self.optimisers["generator"], self.pictures.pieces(loss, shown), self.ranks, LONGEST)
        return shown


class SAEImage:
    """E and G learn together: one code, E(x), both classifies and draws."""

    reads_pictures = False
    code_size = 1
    code = embed = staticmethod(embedded)
    build = staticmethod(generator_alone)

    def __init__(self, material: Material) -> None:
        bottleneck = Bottleneck(material, self.code)
        self.pictures, self.stages, self.optimisers = bottleneck.pictures, bottleneck.stages, bottleneck.optimisers


class SplitBranch:
    """E and G learn together: the first half of a code is E(x) and classifies, the whole code draws."""

    reads_pictures = False
    code_size = 2
    build = staticmethod(generator_alone)

    def __init__(self, material: Material) -> None:
        bottleneck = Bottleneck(material, self.code)
        self.pictures, self.stages, self.optimisers = bottleneck.pictures, bottleneck.stages, bottleneck.optimisers

    @staticmethod
    def code(settings: SPAENPictures, network: nn.Module, features: Tensor) -> Tensor:
        """Return [b, 2 a] the code of scaled features; its first half has unit length under cosine compatibility."""
        first, second = network(features).chunk(2, dim=1)
        return torch.cat([functional.normalize(first) if settings.compatibility == "cosine" else first, second], dim=1)

    @staticmethod
    def embed(settings: SPAENPictures, network: nn.Module, features: Tensor) -> Tensor:
        """Return [b, a] E(x) of scaled features: the first half of the code."""
        return SplitBranch.code(settings, network, features).chunk(2, dim=1)[0]


class Bottleneck:
    """The part that trains E and G together, from one code.

    Args:
        material: of the training.
        code: return the code of scaled features, which begins with E(x).
    """

    def __init__(self, material: Material, code: Callable[[SPAENPictures, nn.Module, Tensor], Tensor]) -> None:
        self.material, self.code = material, code
        self.pictures, self.drawing = PictureBatches(material), Drawing(material)
        self.optimisers = {"embedder": adam(material, "embedder", "generator", "backbone")}
        settings = material.settings
        steps = n_steps(settings.autoencoder_epochs, material.images, settings.autoencoder_batch)
        self.stages = [Stage("bottleneck", steps, self.step, 2)]

    def step(self) -> Shown:
        """Let E learn to classify and, with G, to reconstruct."""
        settings, images = self.material.settings, self.material.images

        def loss(pictures: Tensor, rows: Tensor) -> Losses:
            code = self.code(settings, self.material.networks["embedder"], self.pictures.features(rows))
            compatibility = code[:, : images.vectors.shape[1]] @ images.vectors.T
            found = {"classification": classification_loss(settings, compatibility, images.labels[rows])}
            found["reconstruction"] = self.drawing.loss(pictures, code)
            return found["classification"] + settings.alpha * found["reconstruction"], found

        shown: Shown = {}
        descend(self.optimisers["embedder"], self.pictures.pieces(loss, shown), self.material.ranks, LONGEST)
        return shown
