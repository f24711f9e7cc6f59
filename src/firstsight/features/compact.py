"""Features from a small residual network, trained from scratch on the training pictures alone.

There is no download and there are no pretrained weights: the network learns from the pictures named in `train` only.
The activations of its last three stages are pooled and joined. The early stages keep colours and textures, which the
last one may lose, because it is trained only to tell the training classes apart.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from firstsight.progress import Progress

N_EPOCHS = 28
BATCH = 48
WIDTHS = (32, 64, 96, 160)
LEARNING_RATE = 4e-3
MAX_SHIFT = 0.08  # of the picture's side
STEM_SIDE = 64  # larger pictures are shrunk to this side, to limit the time of training


class _Block(nn.Module):
    """Two convolutions with a shortcut; halves the side where `stride` is 2."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(n_out)
        self.second = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(n_out)
        self.shortcut = nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.first_norm(self.first(x)))
        joined: Tensor = self.second_norm(self.second(out)) + self.shortcut(x)
        return functional.relu(joined)


class SmallResNet(nn.Module):
    """A stem and three residual stages; each stage halves the side."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, WIDTHS[0], 5, 2, padding=2, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()
        )
        self.stages = nn.ModuleList(_Block(n_in, n_out, 2) for n_in, n_out in pairwise(WIDTHS))
        self.head = nn.Linear(sum(WIDTHS[1:]), n_classes)

    def pooled(self, x: Tensor) -> Tensor:
        """Average the activations of the last three stages over positions and join them, [b, v]."""
        x = self.stem(x)
        pools = []
        for stage in self.stages:
            x = stage(x)
            pools.append(x.mean(dim=(2, 3)))
        return torch.cat(pools, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [b, s] of the classes."""
        logits: Tensor = self.head(functional.dropout(self.pooled(x), 0.2, self.training))
        return logits


def compact_features(
    pictures: NDArray[np.uint8],
    train: NDArray[np.integer],
    labels: NDArray[np.integer],
    seed: int = 0,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Train a network on some of the pictures and return its features [n, v] of all of them.

    Args:
        pictures: [n, h, w, 3] colours in 0..255.
        train: indices of the pictures that the network is trained on; no other picture has any influence on it.
        labels: [n] class numbers; only those of `train` are used.
        seed: of the weights, the order and the augmentation; the same seed gives the same features.
        progress: called with ("features", epochs done, epochs in total, {"loss": ..}) after every epoch.

    Returns:
        [n, v] features, every column with mean 0 and variance 1 over `train`, every row then of unit length.
    """
    train = np.asarray(train)
    _, targets = np.unique(np.asarray(labels)[train], return_inverse=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        images = _as_batch(pictures[train])
        network = SmallResNet(int(targets.max()) + 1).to(memory_format=torch.channels_last)
        _fit(network, images, torch.from_numpy(targets), progress)
        features = _pool(network, pictures)
    reference = features[train]
    features = (features - reference.mean(axis=0)) / (reference.std(axis=0) + 1e-6)
    unit: NDArray[np.float32] = features / (np.linalg.norm(features, axis=1, keepdims=True) + 1e-12)
    return unit


def _fit(network: SmallResNet, images: Tensor, targets: Tensor, progress: Progress | None) -> None:
    """Train with cross-entropy on augmented pictures, over one cycle of the learning rate."""
    batch = min(BATCH, len(images))
    n_steps = N_EPOCHS * (len(images) // batch)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=n_steps, pct_start=0.25)
    network.train()
    for epoch in range(N_EPOCHS):
        order = torch.randperm(len(images))
        losses = []
        for start in range(0, len(images) - batch + 1, batch):  # a smaller last batch would disturb batch norm
            rows = order[start : start + batch]
            loss = functional.cross_entropy(network(_augment(images[rows])), targets[rows], label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            cycle.step()
            losses.append(float(loss.detach()))
        if progress:
            progress("features", epoch + 1, N_EPOCHS, {"loss": float(np.mean(losses))})


def _augment(images: Tensor) -> Tensor:
    """Return pictures [b, 3, h, w], each with its own mirroring, shift, zoom and light."""
    b = len(images)
    theta = torch.zeros(b, 2, 3)
    zoom = 1 + 0.1 * (2 * torch.rand(b) - 1)
    theta[:, 0, 0] = zoom * (1 - 2.0 * torch.randint(2, (b,)))
    theta[:, 1, 1] = zoom
    theta[:, :, 2] = 2 * MAX_SHIFT * (2 * torch.rand(b, 2) - 1)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    gain = 1 + 0.1 * torch.randn(b, 1, 1, 1) + 0.05 * torch.randn(b, 3, 1, 1)
    moved = moved * gain + 0.1 * torch.randn(b, 1, 1, 1)
    return moved.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _pool(network: SmallResNet, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return pooled activations [n, v], averaged over each picture and its mirror image."""
    network.eval()
    rows = []
    for start in range(0, len(pictures), 256):
        images = _as_batch(pictures[start : start + 256])
        rows.append((network.pooled(images) + network.pooled(images.flip(3))) / 2)
    return torch.cat(rows).numpy()


def _as_batch(pictures: NDArray[np.uint8]) -> Tensor:
    """Convert pictures to floats [n, 3, h, w] near -1..1, of at most `STEM_SIDE` pixels a side."""
    images = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2)
    images = images.to(torch.float32).div_(127.5).sub_(1)
    if max(images.shape[2:]) > STEM_SIDE:
        images = functional.interpolate(images, (STEM_SIDE, STEM_SIDE), mode="area")
    return images.contiguous(memory_format=torch.channels_last)
