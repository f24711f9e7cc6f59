"""Features of picture files, with decoding and cropping, against the bare network on tensors in memory."""

import io
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from firstsight.features.backbone import Backbone
from firstsight.features.extract import extract
from firstsight.features.load import load_backbone
from speed import Case

N = 64
SETUPS = (
    ("resnet101", 500, 1),
    ("resnet18", 500, 1),
    ("resnet18", 500, 10),
    ("resnet18", 4000, 1),
    ("resnet18", 4000, 10),
)


def cases() -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for width, height in ((500, 375), (4000, 3000)):
            pictures(root / str(width), width, height)
        for name, width, crops in SETUPS:
            place, backbone = root / str(width), load_backbone(f"random:{name}")
            yield Case(
                f"{name}, {N} JPEGs {width} wide, crops {crops} (1x = no overhead)",
                partial(from_files, place, backbone, crops),
                partial(bare, backbone, N * crops),
            )


def pictures(folder: Path, width: int, height: int) -> None:
    """Write four drawings, each as many files that differ in one byte after their end, so that no digests are equal."""
    (folder / "images" / "a").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(N):
        if number % (N // 4) == 0:
            grain = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8))
            buffer = io.BytesIO()
            grain.resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        (folder / "images" / "a" / f"{number}.jpg").write_bytes(buffer.getvalue() + bytes([number]))


def from_files(folder: Path, backbone: Backbone, crops: int) -> None:
    out = folder / "features.safetensors"
    out.unlink(missing_ok=True)
    extract(folder, backbone, out, crops)


def bare(backbone: Backbone, n: int) -> None:
    side = backbone.preparation.crop
    batch = torch.rand(min(n, backbone.batch), 3, side, side, device=backbone.device)
    batch = batch.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        for start in range(0, n, len(batch)):
            backbone.network(batch[: n - start]).cpu()
