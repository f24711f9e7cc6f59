"""A network without its classifier: crops go through it in batches, while threads decode the pictures to come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from firstsight.errors import InputError
from firstsight.features.preparation import Crops, Preparation
from firstsight.parallel import side_by_side
from firstsight.pictures.decode import DRAFT, open_picture, upright_rgb
from firstsight.progress import StageProgress

Precision = Literal["float32", "bf16"]
BATCH = {"cpu": 32, "cuda": 256}  # crops that go through the network at once, unless memory is too small
SEEN = {1: 1, 10: 5}  # crops that are cut out; a mirror image is made on the device
AHEAD = 2  # batches that are decoded while the network works


class Backbone:
    """A network that turns pictures into features.

    Attributes:
        name: which, with its weights; `load_backbone` takes it.
        width: v, columns of the features.
        transform: how pictures are prepared, in words.
        batch: crops that go through the network at once; halved for good where memory runs out.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        preparation: Preparation,
        device: torch.device,
        precision: Precision = "float32",
        batch: int | None = None,
    ) -> None:
        self.name = name
        self.preparation = preparation
        self.precision = precision
        self.device = device
        self.batch = batch or BATCH.get(device.type, BATCH["cpu"])
        self.network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._mean, self._std = (
            torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (preparation.mean, preparation.std)
        )
        side = preparation.crop
        self.width = self._forward(torch.zeros(1, 3, side, side, dtype=torch.uint8, device=device)).shape[1]

    @property
    def transform(self) -> str:
        """How pictures are prepared, in words that tell two ways apart."""
        return str(self.preparation)

    def features(
        self,
        pictures: Iterable[Image.Image | str | Path],
        crops: Crops = 1,
        progress: StageProgress | None = None,
    ) -> NDArray[np.float32]:
        """[n, v] features of pictures.

        Args:
            pictures: n pictures or files.
            crops: 1, the middle of each, or 10: corners, middle and their mirrors, whose features are averaged.
            progress: called with (pictures done, pictures in all, {}) as they come.

        Raises:
            InputError: a picture that cannot be read.
        """
        check_crops(crops)
        pictures = list(pictures)
        made: list[NDArray[np.float32]] = [np.empty((0, self.width), dtype=np.float32)]
        prepared = side_by_side(lambda picture: self.prepared(picture, crops), pictures, AHEAD * self.per_pass(crops))
        done = 0
        while group := list(islice(prepared, self.per_pass(crops))):
            made.append(self.rows(group))
            done += len(group)
            if progress:
                progress(done, len(pictures), {})
        return np.concatenate(made)

    def per_pass(self, crops: Crops) -> int:
        """Pictures that go through the network at once."""
        return max(1, self.batch // SEEN[crops])

    def prepared(
        self, source: Image.Image | str | Path | bytes, crops: Crops, name: str | None = None
    ) -> NDArray[np.uint8]:
        """[1 or 5, h, w, 3] the crops of a picture that the network has to see; safe in any thread."""
        if isinstance(source, Image.Image):
            picture = upright_rgb(source, name or "picture")
        else:
            picture = open_picture(source, name, enough=DRAFT * self.preparation.resize)
        return self.preparation.crops(picture, crops)

    def rows(self, prepared: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """[n, v] features of n pictures that were prepared alike."""
        images = torch.from_numpy(np.concatenate(prepared)).permute(0, 3, 1, 2)  # channels last in memory
        n_each = len(prepared[0])
        features = self._passes(images)
        if n_each > 1:  # ten crops
            features = (features + self._passes(images, mirrored=True)) / 2
        return features.view(len(prepared), n_each, -1).mean(dim=1).numpy()

    def _passes(self, images: Tensor, mirrored: bool = False) -> Tensor:
        """[m, v] features of crops [m, 3, h, w], in batches as large as memory allows."""
        done: list[Tensor] = []
        start = 0
        while start < len(images):
            part = images[start : start + self.batch]
            try:
                part = part.to(self.device, non_blocking=True)
                done.append(self._forward(part.flip(3) if mirrored else part).cpu())
                start += len(part)
            except RuntimeError as error:  # of which torch.OutOfMemoryError is one
                if not is_out_of_memory(error):
                    raise
                if len(part) == 1:
                    raise InputError(
                        f"device {self.device} must have memory for one crop; got {self.name}, which needs more"
                    ) from error
                self.batch = len(part) // 2
        return torch.cat(done)

    @torch.inference_mode()
    def _forward(self, crops: Tensor) -> Tensor:
        """[b, v] features of crops [b, 3, h, w] in 0..255."""
        x = crops.to(torch.float32).div_(255).sub_(self._mean).div_(self._std)
        is_short = self.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16) if is_short else nullcontext():
            features = self.network(x)
        return features.float().flatten(1)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the device, or the machine itself, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def check_crops(crops: int) -> None:
    """The two ways there are."""
    if crops not in (1, 10):
        raise InputError(f"crops must be 1 or 10; got {crops!r}")
