"""Crops of a batch against plain slices of each picture."""

import numpy as np
import pytest
import torch
from PIL import Image

from firstsight.methods.spaen_pictures.crops import middle, random_crops, whole

SIZES = [(256, 224), (73, 64), (10, 7), (9, 9), (1, 1)]


def painted(n: int, h: int) -> np.ndarray:
    return np.random.default_rng(h).integers(0, 256, (n, h, h, 3), dtype=np.uint8)


def sliced(picture: np.ndarray, side: int, which: int) -> np.ndarray:
    """[3, side, side] the crop, as one would cut it by hand."""
    h = len(picture)
    y, x = {
        0: (0, 0),
        1: (0, h - side),
        2: (h - side, 0),
        3: (h - side, h - side),
        4: (round((h - side) / 2), round((h - side) / 2)),
    }[which % 5]
    crop = picture[y : y + side, x : x + side]
    return (crop[:, ::-1] if which >= 5 else crop).transpose(2, 0, 1).astype(np.float32) / np.float32(255)


@pytest.mark.parametrize(("h", "side"), SIZES)
def test_random_crops(h, side):
    which = np.array([3, 9, 0, 5, 1, 8, 2, 7, 4, 6, 9, 9])
    pictures = painted(len(which), h)
    found = random_crops(torch.from_numpy(pictures), side, torch.from_numpy(which))
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    expected = np.stack([sliced(picture, side, k) for picture, k in zip(pictures, which, strict=True)])
    np.testing.assert_array_equal(found.numpy(), expected)


def test_pictures_that_do_not_lie_one_after_the_other():
    pictures = painted(6, 10)
    which = torch.tensor([1, 7, 4])
    found = random_crops(torch.from_numpy(pictures)[::2], 7, which)
    np.testing.assert_array_equal(found, random_crops(torch.from_numpy(pictures[::2].copy()), 7, which))


@pytest.mark.parametrize(("h", "side"), [(256, 224), (73, 64), (146, 32), (20, 33), (9, 9), (1, 4)])
def test_the_whole_is_what_pillow_makes_of_it(h, side):
    grid = np.linspace(0, 6, h)
    smooth = 120 + 110 * np.sin(np.add.outer(grid, 2 * grid))  # edges at full contrast would be clipped in between
    pictures = np.repeat(smooth[None, :, :, None], 3, axis=3).astype(np.uint8)
    pictures = np.concatenate([pictures, 255 - pictures, painted(1, h)])
    found = whole(torch.from_numpy(pictures), side)
    assert found.shape == (3, 3, side, side)
    assert found.is_contiguous(memory_format=torch.channels_last)
    for picture, made in zip(pictures, found.numpy(), strict=True):
        pillow = [
            np.asarray(Image.fromarray(colour.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC))
            for colour in picture.transpose(2, 0, 1)
        ]
        np.testing.assert_allclose(made * 255, np.clip(pillow, 0, 255), atol=0.01)


def test_the_middle():
    pictures = torch.arange(2 * 3 * 10 * 10).view(2, 3, 10, 10)
    np.testing.assert_array_equal(middle(pictures, 6), pictures[:, :, 2:8, 2:8])
    assert middle(pictures, 10).shape == pictures.shape
