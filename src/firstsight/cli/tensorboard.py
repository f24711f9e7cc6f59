"""A training as TensorBoard shows it: losses, and some pictures above what is left of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from firstsight.errors import InputError
from firstsight.features.weights import package
from firstsight.pictures.sheet import tiled


class Board:
    """Event files in a folder, written as the training goes on.

    A training that was stopped and goes on may repeat some steps; TensorBoard is told to forget the first telling.

    Args:
        folder: where they go; made where it is not there.

    Raises:
        InputError: TensorBoard is not installed, or the folder cannot be written to.
    """

    def __init__(self, folder: str | Path) -> None:
        package("tensorboard", "tensorboard", f"log for TensorBoard in {folder}")
        self._folder = Path(folder)
        self._writer: Any = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder} must be a folder to write to; got {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def progress(self, done: int, total: int, losses: Mapping[str, float]) -> None:
        """Losses by name, after so many steps."""
        for name, value in losses.items():
            self._at(done).add_scalar(f"training/{name.replace(' ', '_')}", value, done)
        self._at(done).flush()

    def draw(self, done: int, pair: NDArray[np.uint8]) -> None:
        """[2, k, side, side, 3] pictures and what is left of them, after so many steps."""
        self._at(done).add_image("originals_above_reconstructions", tiled(pair), done, dataformats="HWC")
        self._at(done).flush()

    def _at(self, step: int) -> Any:
        """The writer, which begins with this step."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            try:
                self._writer = SummaryWriter(self._folder, purge_step=step)
            except OSError as error:
                raise InputError(f"{self._folder} must be a folder to write to; got {error}") from error
        return self._writer
