"""Pictures that a trained G draws, in blocks: F reads them first, or they come of codes that are given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from firstsight.devices import torch_device
from firstsight.errors import InputError
from firstsight.methods.spaen_pictures.crops import whole
from firstsight.methods.spaen_pictures.steps import autocast

if TYPE_CHECKING:
    from firstsight.methods.spaen_pictures import SPAENPictures

DRAWN = 64  # pictures that are read or drawn at once


def codes_of(settings: SPAENPictures, encoder: nn.Module, pictures: NDArray[np.uint8]) -> Iterator[Tensor]:
    """Read pictures: yield F(x), [b, a] at a time.

    Args:
        settings: of the method.
        encoder: F.
        pictures: [n, h, h, 3] colours in 0..255; shrunk where they are larger than those that F reads.
    """
    device = torch_device(settings.device)
    for start in range(0, len(pictures), DRAWN):
        seen = whole(torch.tensor(pictures[start : start + DRAWN]).to(device), settings.side)
        with autocast(settings.precision, device):
            code = encoder(seen)
        yield code.float()


def draw(settings: SPAENPictures, generator: nn.Module, codes: Iterable[Tensor]) -> NDArray[np.uint8]:
    """Return [n, side, side, 3] colours in 0..255 that G draws of blocks of codes [b, d]."""
    drawn = [np.empty((0, settings.side, settings.side, 3), dtype=np.uint8)]
    with torch.inference_mode():
        for code in codes:
            with autocast(settings.precision, code.device):
                pictures = generator(code)
            colours = pictures.float().clamp(0, 1).mul(255).round().to(torch.uint8)
            drawn.append(colours.permute(0, 2, 3, 1).contiguous().cpu().numpy())
    return np.concatenate(drawn)


def check_pictures(pictures: NDArray[np.uint8]) -> None:
    """Raise an InputError unless pictures are [n, h, h, 3] bytes."""
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3:
        raise InputError(f"pictures must be [n, h, h, 3] bytes; got {list(pictures.shape)} of {pictures.dtype}")
