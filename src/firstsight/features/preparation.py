"""Preparation of a picture for a network: resizing and cropping here, scaling of colours on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Crops = Literal[1, 10]


@dataclass(frozen=True)
class Preparation:
    """The steps from a picture to the input of a network, as in torchvision's `ImageClassification`."""

    resize: int  # pixels of the shorter side after shrinking, or of both sides where `squash`
    crop: int  # pixels of both sides of a crop
    interpolation: str  # Pillow's name, such as `bilinear` or `bicubic`
    mean: tuple[float, ...]  # subtracted from each colour in 0..1
    std: tuple[float, ...]  # each colour is then divided by it
    squash: bool = False  # whether pictures are stretched to a square

    def __str__(self) -> str:
        side = "both sides" if self.squash else "shorter side"
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        return f"{side} {self.resize} {self.interpolation}, crop {self.crop}, mean {mean}, std {std}"

    def resized(self, picture: Image.Image) -> tuple[int, int]:
        """Return width and height of a picture after resizing."""
        if self.squash:
            return self.resize, self.resize
        width, height = picture.size
        if width <= height:
            return self.resize, int(self.resize * height / width)
        return int(self.resize * width / height), self.resize

    def crops(self, picture: Image.Image, n_crops: Crops) -> NDArray[np.uint8]:
        """Cut the middle [1, h, w, 3], or four corners and the middle [5, h, w, 3], whose mirror images make ten."""
        width, height = self.resized(picture)
        right, bottom = width - self.crop, height - self.crop
        middle = round(right / 2), round(bottom / 2)
        boxes = [middle] if n_crops == 1 else [(0, 0), (right, 0), (0, bottom), (right, bottom), middle]
        resample = Image.Resampling[self.interpolation.upper()]
        if width * height <= len(boxes) * self.crop**2:
            whole = np.asarray(picture.resize((width, height), resample))
            return np.stack([whole[y : y + self.crop, x : x + self.crop] for x, y in boxes])
        # Resize each crop alone: a very long picture would grow to gigabytes, and often a part is enough.
        across, down = picture.width / width, picture.height / height
        made = []
        for x, y in boxes:
            edges = (x * across, y * down, (x + self.crop) * across, (y + self.crop) * down)
            inside = (edges[0], edges[1], min(edges[2], picture.width), min(edges[3], picture.height))
            made.append(np.asarray(picture.resize((self.crop, self.crop), resample, inside)))
        return np.stack(made)
