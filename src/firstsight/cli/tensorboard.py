"""The log of a training for TensorBoard: losses, and some pictures above their reconstructions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from firstsight.errors import InputError
from firstsight.features.weights import package
from firstsight.methods import FitControls
from firstsight.pictures.sheet import tiled


class Board:
    """Event files in a folder, written during the training.

    A continued training may repeat some steps; TensorBoard then drops their first values.
    """

    def __init__(self, folder: str | Path) -> None:
        """Make the folder; raise InputError if TensorBoard is not installed, or the folder cannot be written to."""
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

    def showing(self, controls: FitControls) -> FitControls:
        """Return the controls of a fit that is logged here too."""

        def progress(done: int, total: int, losses: Mapping[str, float]) -> None:
            if controls.progress is not None:
                controls.progress(done, total, losses)
            self.progress(done, total, losses)

        return replace(controls, progress=progress, draw=self.draw)

    def progress(self, done: int, total: int, losses: Mapping[str, float]) -> None:
        """Log losses by name, after so many steps."""
        for name, value in losses.items():
            self._writer_at(done).add_scalar(f"training/{name.replace(' ', '_')}", value, done)
        self._writer_at(done).flush()

    def draw(self, done: int, pair: NDArray[np.uint8]) -> None:
        """Log pictures and their reconstructions, [2, k, side, side, 3], after so many steps."""
        self._writer_at(done).add_image("originals_above_reconstructions", tiled(pair), done, dataformats="HWC")
        self._writer_at(done).flush()

    def _writer_at(self, step: int) -> Any:
        """Return the writer; a new one begins with this step."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            try:
                self._writer = SummaryWriter(self._folder, purge_step=step)
            except OSError as error:
                raise InputError(f"{self._folder} must be a folder to write to; got {error}") from error
        return self._writer
