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
from firstsight.methods.base import TrainingTensors
from firstsight.methods.spaen_pictures import SPAENPictures
from firstsight.methods.spaen_pictures.networks import perceptual_network
from firstsight.methods.spaen_pictures.training import PictureTraining
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
            training = on_pictures(method, device, Path(folder) / f"{side}.rows")
            yield Case(
                f"{STEPS * BATCH} pictures of {side} px, {precision} (1x = no overhead)",
                partial(ours, training),
                partial(bare, training),
            )


def on_pictures(method: SPAENPictures, device: torch.device, file: Path) -> PictureTraining:
    """Make a training at its start, with pictures in a file."""
    side = stored_side(method.side)
    store = np.memmap(file, np.uint8, "w+", shape=(N, side, side, 3))
    store[:] = np.random.default_rng(0).integers(0, 256, store.shape, dtype=np.uint8)
    features = torch.randn(N, 64, device=device)
    labels, vectors = torch.arange(N, device=device) % 50, functional.normalize(torch.randn(50, 312, device=device))
    tensors = TrainingTensors(features, labels, vectors, features, (64,), Pictures(store, np.arange(N)))
    networks = method._networks(64, 0, 312).to(device).to(memory_format=torch.channels_last)
    phi = perceptual_network(method.side).to(device).to(memory_format=torch.channels_last)  # which takes as long as any
    return PictureTraining(method, networks, tensors, phi)


def ours(training: PictureTraining) -> None:
    training.networks.train()
    training.step = 0
    for _ in range(STEPS):
        training._advance(FitControls())
    finish(training)


def bare(training: PictureTraining) -> None:
    method, networks, phi = training.method, training.networks, training.phi
    device = training.labels.device
    pictures = torch.rand(BATCH, 3, method.side, method.side, device=device).to(memory_format=torch.channels_last)
    for _ in range(STEPS):
        with method.autocast(device):
            drawn = networks["generator"](networks["encoder"](pictures))
            with torch.no_grad():
                wanted = phi(pictures)
            loss = functional.mse_loss(drawn.float(), pictures) + functional.mse_loss(
                phi(drawn).float(), wanted.float()
            )
        loss.backward()
    finish(training)


def finish(training: PictureTraining) -> None:
    if training.labels.device.type == "cuda":
        torch.cuda.synchronize()
