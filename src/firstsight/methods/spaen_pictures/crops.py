"""Crops of square pictures, cut for a whole batch at once, on the device where the pictures are (paper, section 5.2).

A training picture of 256 pixels is seen as one of ten crops of 224: its corners and its centre, and the mirrors of
these five. A test picture is seen whole, as in the authors' code.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from firstsight.pictures.ten_crops import HALVES, corners


def random_crops(pictures: Tensor, side: int, which: Tensor) -> Tensor:
    """Cut one crop of each picture.

    Pixels are picked by one number each, which takes a CPU less than half the time of picking them by picture, row and
    column. Windows are copied faster, but those that are mirrored have to be copied again.

    Args:
        pictures: [b, h, h, 3] bytes.
        side: pixels of the sides of a crop, h at most.
        which: [b] crops in 0..9, as `firstsight.pictures.ten_crops` has them.

    Returns:
        [b, 3, side, side] colours in 0..1, channels last in memory.
    """
    which = which.to(pictures.device)
    height, width = pictures.shape[1:3]
    steps = torch.arange(side, device=pictures.device)
    places = torch.tensor(corners(height, width, side), device=pictures.device)  # [5, 2]
    top, left = places[which % len(HALVES)].T  # [b] each
    mirrored = (which >= len(HALVES))[:, None]  # [b, 1]
    tops = torch.arange(len(pictures), device=pictures.device) * height + top  # of all pictures, one below the other
    rows = tops[:, None] + steps  # [b, side]
    columns = left[:, None] + torch.where(mirrored, steps.flip(0), steps)  # [b, side]
    pixels = (rows[:, :, None] * width + columns[:, None, :]).flatten()
    return _floats(pictures.reshape(-1, 3).index_select(0, pixels).view(len(which), side, side, 3))


def middle(pictures: Tensor, side: int) -> Tensor:
    """Return [b, 3, side, side] the middle of pictures [b, 3, h, h]."""
    start = (pictures.shape[2] - side) // 2
    return pictures[:, :, start : start + side, start : start + side]


def whole(pictures: Tensor, side: int) -> Tensor:
    """Return [b, 3, side, side] whole pictures [b, h, h, 3], in 0..1, averaged where they shrink, channels last."""
    return shrunk(_floats(pictures), side).contiguous(memory_format=torch.channels_last)


def shrunk(pictures: Tensor, side: int) -> Tensor:
    """Return [b, 3, side, side] pictures [b, 3, h, h] in 0..1, averaged where they shrink."""
    if pictures.shape[2:] == (side, side):
        return pictures
    return functional.interpolate(pictures, (side, side), mode="bicubic", antialias=True).clamp(0, 1)  # it overshoots


def _floats(pictures: Tensor) -> Tensor:
    """Return [b, 3, h, w] colours in 0..1 of bytes [b, h, w, 3], channels last in memory."""
    return pictures.permute(0, 3, 1, 2).to(torch.float32).div_(255)
