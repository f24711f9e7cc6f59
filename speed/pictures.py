"""SP-AEN on pictures: training steps with pictures from a file, against the bare networks on tensors in memory.

The bare networks do forward and backward passes through F, G and phi and nothing else: no crops, no conversion of
bytes, no norm loss, no clipping, no optimiser, no sums of losses.
"""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from firstsight.data import Pictures
from firstsight.methods import FitControls
from firstsight.methods.distributed import Ranks
from firstsight.methods.fitting import TrainingTensors
from firstsight.methods.spaen.steps import loop_of
from firstsight.methods.spaen_pictures import SPAENPictures
from firstsight.methods.spaen_pictures.crops import middle
from firstsight.methods.spaen_pictures.networks import perceptual_network
from firstsight.methods.spaen_pictures.steps import Material, PictureSteps, autocast
from firstsight.pictures.decode import stored_side
from speed import Case

N, BATCH, STEPS = 512, 32, 4


def cases() -> Iterator[Case]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        for side, precision in ((64, "float32"), (64, "bf16"), (128, "bf16"), (256, "bf16")):
            method = SPAENPictures(
                side=side, precision=precision, pretrained="none", autoencoder_batch=BATCH, device=device.type
            )
            material = on_pictures(method, device, Path(folder) / f"{side}.rows")
            yield Case(
                f"{STEPS * BATCH} pictures of {side} px, {precision} (1x = no overhead)",
                partial(ours, material),
                partial(bare, material),
            )


def on_pictures(method: SPAENPictures, device: torch.device, file: Path) -> Material:
    """Make what a training needs, with pictures in a file."""
    side = stored_side(method.view)
    store = np.memmap(file, np.uint8, "w+", shape=(N, side, side, 3))
    store[:] = np.random.default_rng(0).integers(0, 256, store.shape, dtype=np.uint8)
    features = torch.randn(N, 64, device=device)
    labels, vectors = torch.arange(N, device=device) % 50, functional.normalize(torch.randn(50, 312, device=device))
    tensors = TrainingTensors(features, labels, vectors, features, (64,), Pictures(store, np.arange(N)))
    networks = method._networks(64, 0, 312).to(device).to(memory_format=torch.channels_last)
    phi = perceptual_network(method.side).to(device).to(memory_format=torch.channels_last)  # which takes as long as any
    return Material(method, networks, tensors, phi, Ranks())


def ours(material: Material) -> None:
    steps = PictureSteps(material)
    training = loop_of(material.settings, material.networks, steps.stages, steps.optimisers, [])
    training.network.train()
    for _ in range(STEPS):
        training.advance(FitControls())
    finish(material)


def bare(material: Material) -> None:
    method, networks, phi = material.settings, material.networks, material.phi
    device = material.images.labels.device
    pictures = torch.rand(BATCH, 3, method.view, method.view, device=device).to(memory_format=torch.channels_last)
    for _ in range(STEPS):
        with autocast(method.precision, device):
            drawn = middle(networks["generator"](networks["encoder"](pictures)), method.view)
            with torch.no_grad():
                wanted = phi(pictures)
            loss = functional.mse_loss(drawn.float(), pictures) + functional.mse_loss(
                phi(drawn).float(), wanted.float()
            )
        loss.backward()
    finish(material)


def finish(material: Material) -> None:
    if material.images.labels.device.type == "cuda":
        torch.cuda.synchronize()
