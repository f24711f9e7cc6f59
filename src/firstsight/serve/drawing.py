"""What a method draws, for many who ask at a time: what is left of a picture, and what a class is imagined like."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from firstsight.data import ClassEmbeddings, Floats
from firstsight.serve.batching import Batcher
from firstsight.serve.limits import Limits

Drawn = dict[str, Any]  # a `schema.Drawing`
Square = NDArray[np.uint8]  # [side, side, 3]


class Draws(Protocol):
    """What is needed of a `Method` that draws."""

    @property
    def side(self) -> int: ...  # noqa: D102
    def reconstructed(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]: ...  # noqa: D102
    def imagined(self, classes: ClassEmbeddings) -> NDArray[np.uint8]: ...  # noqa: D102


class Drawing:
    """Draws in batches, each kind in a thread of its own.

    Attributes:
        side: pixels of a side of what is drawn, and of the pictures to reconstruct.
    """

    def __init__(self, method: Draws, attributes: tuple[str, ...], limits: Limits) -> None:
        """Start the threads.

        Args:
            method: fitted.
            attributes: names of the columns of class embeddings, or none.
            limits: of a batch.
        """
        self.side = method.side

        def reconstructed(squares: Sequence[Square]) -> list[Drawn]:
            return list(map(as_drawn, method.reconstructed(np.stack(squares))))

        def imagined(vectors: Sequence[Floats]) -> list[Drawn]:
            names = tuple(f"class {row}" for row in range(len(vectors)))
            return list(map(as_drawn, method.imagined(ClassEmbeddings(names, np.stack(vectors), attributes))))

        self.reconstructed = Batcher[Square, Drawn](reconstructed, limits.batch, limits.wait)
        self.imagined = Batcher[Floats, Drawn](imagined, limits.batch, limits.wait)

    def close(self) -> None:
        """End the threads."""
        self.reconstructed.close()
        self.imagined.close()


def as_drawn(pixels: Square) -> Drawn:
    """A picture as JSON has it: a PNG in an address that a page can show, and its size."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return {"image": f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}", "side": len(pixels)}
