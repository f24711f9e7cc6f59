"""A network without its classifier, and the preparation of pictures for it.

Pictures are resized and cropped in threads while crops pass through the network in batches; colours are scaled on the
device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from firstsight.errors import InputError
from firstsight.parallel import prefetch
from firstsight.pictures.decode import DRAFT, central_square, open_picture, stored_side, upright_rgb
from firstsight.pictures.ten_crops import N_CROPS, corners
from firstsight.progress import StageProgress

Crops = Literal[1, 10, "whole", "kept"]
Precision = Literal["float32", "bf16"]
BATCH = {"cpu": 32, "cuda": 256}  # crops in one pass of the network, unless memory is too small
CROPS_CUT = {
    1: 1,
    10: 5,
    "whole": 1,
    "kept": 6,
}  # crops cut from a picture for each choice; mirror images are made on the device
N_VIEWS: dict[Crops, int] = {1: 1, 10: 1, "whole": 1, "kept": 1 + N_CROPS}  # rows of features of a picture
AHEAD = 2  # batches that are decoded ahead of the network


@dataclass(frozen=True)
class Preparation:
    """The steps from a picture to the input of a network, as in torchvision's `ImageClassification`."""

    resize: int  # pixels of the shorter side after shrinking, or of both sides where `squash`
    crop: int  # pixels of both sides of a crop
    interpolation: str  # Pillow's name, such as `bilinear` or `bicubic`
    mean: tuple[float, ...]  # subtracted from each colour in 0..1
    std: tuple[float, ...]  # each colour is then divided by it
    squash: bool = False  # whether pictures are stretched to a square
    square: bool = False  # whether only the central square of a picture is looked at

    def __str__(self) -> str:
        side = "both sides" if self.squash else "shorter side"
        side = f"central square, {side}" if self.square else side
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
        """Cut the crops [k, h, w, 3] of a picture.

        Args:
            picture: upright, in RGB.
            n_crops: 1, the middle; 10, four corners and the middle, whose mirror images make ten; `whole`, the central
                square shrunk to one crop; `kept`, that, then the five of the central square, cut with the share of the
                paper (224 of 256 pixels), as crops of stored pictures are.
        """
        if n_crops == "whole":
            return replace(self, resize=self.crop, squash=False, square=True).crops(picture, 1)
        if n_crops == "kept":
            stored = replace(self, resize=stored_side(self.crop), squash=False, square=True)
            return np.concatenate([self.crops(picture, "whole"), stored.crops(picture, 10)])
        picture = picture.crop(central_square(*picture.size)) if self.square else picture
        width, height = self.resized(picture)
        places = corners(height, width, self.crop)
        boxes = [(left, top) for top, left in (places[-1:] if n_crops == 1 else places)]
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


class Backbone:
    """A network that turns pictures into features."""

    def __init__(
        self,
        name: str,
        network: nn.Module,
        preparation: Preparation,
        device: torch.device,
        precision: Precision = "float32",
        batch: int | None = None,
    ) -> None:
        self.name = name  # of the network and its weights, as `load_backbone` takes it
        self.preparation, self.precision, self.device = preparation, precision, device
        self.batch = batch or BATCH.get(device.type, BATCH["cpu"])  # crops in one pass; halved if memory runs out
        self.network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._mean, self._std = (
            torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (preparation.mean, preparation.std)
        )
        side = preparation.crop
        self.width = self._forward(torch.zeros(1, 3, side, side, dtype=torch.uint8, device=device)).shape[1]  # v

    @property
    def transform(self) -> str:
        """Return how pictures are prepared, in words; two different preparations have different words."""
        return str(self.preparation)

    def features(
        self, pictures: Iterable[Image.Image | str | Path], crops: Crops = 1, progress: StageProgress | None = None
    ) -> NDArray[np.float32]:
        """Compute features [n, v] of pictures.

        Args:
            pictures: n pictures or files.
            crops: 1, the middle of each; 10: corners, middle and their mirror images, whose features are averaged;
                `whole`, the central square; or `kept`: [n, 11 v], the features of that, then of ten crops of it.
            progress: called with (pictures done, pictures in total, {}).

        Raises:
            InputError: a picture cannot be read.
        """
        check_crops(crops)
        pictures = list(pictures)
        made: list[NDArray[np.float32]] = [np.empty((0, self.width * N_VIEWS[crops]), dtype=np.float32)]
        prepared = prefetch(lambda picture: self.prepared(picture, crops), pictures, AHEAD * self.per_pass(crops))
        done = 0
        while group := list(islice(prepared, self.per_pass(crops))):
            made.append(self.rows(group))
            done += len(group)
            if progress:
                progress(done, len(pictures), {})
        return np.concatenate(made)

    def per_pass(self, crops: Crops) -> int:
        """Return the number of pictures in one pass of the network."""
        return max(1, self.batch // CROPS_CUT[crops])

    def prepared(
        self, source: Image.Image | str | Path | bytes, crops: Crops, name: str | None = None
    ) -> NDArray[np.uint8]:
        """Cut the crops [1, 5 or 6, h, w, 3] of a picture that the network needs; safe in any thread."""
        if isinstance(source, Image.Image):
            picture = upright_rgb(source, name or "picture")
        else:
            picture = open_picture(source, name, enough=DRAFT * self.preparation.resize)
        return self.preparation.crops(picture, crops)

    def rows(self, prepared: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Compute features [n, v] of the crops of n pictures, as `prepared` returns them; [n, 11 v] of those kept."""
        images = torch.from_numpy(np.concatenate(prepared)).permute(0, 3, 1, 2)  # channels last in memory
        n_each = len(prepared[0])
        features = self._passes(images)
        if n_each == CROPS_CUT["kept"]:
            whole, five = features.view(len(prepared), n_each, -1).split([1, n_each - 1], dim=1)
            of_crops = images.unflatten(0, (len(prepared), n_each))[:, 1:].flatten(0, 1)
            mirrored = self._passes(of_crops, mirrored=True).view(len(prepared), n_each - 1, -1)
            return torch.cat([whole, five, mirrored], dim=1).flatten(1).numpy()
        if n_each > 1:  # ten crops
            features = (features + self._passes(images, mirrored=True)) / 2
        return features.view(len(prepared), n_each, -1).mean(dim=1).numpy()

    def _passes(self, images: Tensor, mirrored: bool = False) -> Tensor:
        """Compute features [m, v] of crops [m, 3, h, w], in batches as large as memory allows."""
        done: list[Tensor] = []
        start = 0
        while start < len(images):
            part = images[start : start + self.batch]
            try:
                part = part.to(self.device, non_blocking=True)
                done.append(self._forward(part.flip(3) if mirrored else part).cpu())
                start += len(part)
            except RuntimeError as error:  # torch.OutOfMemoryError is a RuntimeError
                if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
                    raise
                if len(part) == 1:
                    raise InputError(
                        f"device {self.device} must have memory for one crop; got {self.name}, which needs more"
                    ) from error
                self.batch = len(part) // 2
        return torch.cat(done)

    @torch.inference_mode()
    def _forward(self, crops: Tensor) -> Tensor:
        """Compute features [b, v] of crops [b, 3, h, w] with values in 0..255."""
        x = crops.to(torch.float32).div_(255).sub_(self._mean).div_(self._std)
        is_short = self.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16) if is_short else nullcontext():
            features = self.network(x)
        return features.float().flatten(1)


def check_crops(crops: int | str) -> None:
    """Raise InputError unless crops is one of `Crops`."""
    if crops not in CROPS_CUT:
        raise InputError(f"crops must be 1 or 10; got {crops!r}")


def crops_of(source: Mapping[str, str] | None) -> Crops:
    """Return the crops of each picture from which features were made, by what their file says; 1 where it does not."""
    crops = (source or {}).get("crops", "1")
    named: dict[str, Crops] = {"1": 1, "10": 10, "whole": "whole"}
    if crops not in named:
        raise InputError(f"crops must be 1 or 10; got {crops!r}")
    return named[crops]
