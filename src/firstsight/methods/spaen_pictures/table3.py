"""The rows of Table 3: SP-AEN, and the steps of its three rivals, in which G draws from a code that E makes.

DirectMap      E learns to classify; then G learns to draw from E(x)
SAE-image      one code both classifies and draws
SplitBranch    the first half of the code classifies, the whole code draws
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from firstsight.methods.loop import Stage
from firstsight.methods.spaen.steps import Embedder, Shown, classification_loss, embedded, n_steps, step_down
from firstsight.methods.spaen_pictures.steps import Losses, Material, PictureBatches, PictureSteps, optimiser_of

if TYPE_CHECKING:
    from firstsight.methods.spaen_pictures import SPAENPictures


class DirectMap:
    """E learns to classify; then G learns to draw from the E(x) of an E that stands still."""

    def __init__(self, material: Material) -> None:
        settings, images = material.settings, material.images
        self.material, self.pictures = material, PictureBatches(material)
        self.embedder = Embedder(settings, material.networks["embedder"], self.pictures.features, images)
        self.optimisers = {
            "embedder": optimiser_of(material, "embedder", "backbone"),
            "generator": optimiser_of(material, "generator"),
        }
        n_pictures = n_steps(settings.autoencoder_epochs, images, settings.autoencoder_batch)
        self.stages = [
            Stage("embedder", n_steps(settings.epochs, images, settings.batch), self.embedder_step, 1),
            Stage("generator", n_pictures, self.generator_step, 2),
        ]

    def embedder_step(self) -> Shown:
        """Let E learn to classify."""
        shown: Shown = {}
        loss = self.embedder.loss(self.pictures.batches, None, shown)
        step_down(self.material.settings, self.optimisers["embedder"], [loss], self.material.ranks)
        return shown

    def generator_step(self) -> Shown:
        """Let G learn to draw from E(x), where E has learned and stands still.

        Dropout of E goes on, as noise: without it G learns the embeddings of the training images by heart, and draws
        those of other images no better than the mean picture.
        """
        if "backbone" in self.material.networks:
            self.material.networks["backbone"].eval()  # statistics of batches would go on changing

        def loss(pictures: Tensor, rows: Tensor) -> Losses:
            with torch.no_grad():
                code = self.embedder.embed(rows)
            value = self.material.drawing_loss(pictures, code)
            return value, {"reconstruction": value}

        shown: Shown = {}
        pieces = self.pictures.pieces(loss, shown)
        step_down(self.material.settings, self.optimisers["generator"], pieces, self.material.ranks)
        return shown


class Bottleneck:
    """E and G learn together from one code, which begins with E(x)."""

    def __init__(self, material: Material) -> None:
        settings, self.material, self.pictures = material.settings, material, PictureBatches(material)
        self.optimisers = {"embedder": optimiser_of(material, "embedder", "generator", "merge", "backbone")}
        steps = n_steps(settings.autoencoder_epochs, material.images, settings.autoencoder_batch)
        self.stages = [Stage("bottleneck", steps, self.step, 2)]

    def step(self) -> Shown:
        """Let E learn to classify and, with G, to reconstruct."""
        settings, images = self.material.settings, self.material.images

        def loss(pictures: Tensor, rows: Tensor) -> Losses:
            code = settings.way.code(settings, self.material.networks["embedder"], self.pictures.features(rows))
            compatibility = code[:, : images.vectors.shape[1]] @ images.vectors.T
            found = {
                "classification": classification_loss(
                    settings, compatibility, images.labels[self.pictures.batches.images(rows)]
                )
            }
            found["reconstruction"] = self.material.drawing_loss(pictures, code)
            weighted = settings.classification_weight * found["classification"]
            return weighted + settings.alpha * found["reconstruction"], found

        shown: Shown = {}
        step_down(settings, self.optimisers["embedder"], self.pictures.pieces(loss, shown), self.material.ranks)
        return shown


def split_code(settings: SPAENPictures, network: nn.Module, features: Tensor) -> Tensor:
    """Return [b, 2 a] the code of scaled features; its first half has unit length under cosine compatibility."""
    first, second = network(features).chunk(2, dim=1)
    return torch.cat([functional.normalize(first) if settings.compatibility == "cosine" else first, second], dim=1)


@dataclass(frozen=True)
class Way:
    """What distinguishes the rows of Table 3.

    Attributes:
        steps: class that trains the networks of a `Material`.
        reads_pictures: G draws from F(picture), not from the code that E makes of features.
        code: return the code, [b, code_size a], that E makes of scaled features; it begins with E(x).
        code_size: how many class embeddings wide the code is.
    """

    steps: type[PictureSteps | DirectMap | Bottleneck]
    reads_pictures: bool = False
    code: Callable[[SPAENPictures, nn.Module, Tensor], Tensor] = embedded
    code_size: int = 1


WAYS = {
    "spaen": Way(PictureSteps, reads_pictures=True),
    "direct-map": Way(DirectMap),
    "sae-image": Way(Bottleneck),
    "split-branch": Way(Bottleneck, code=split_code, code_size=2),
}
