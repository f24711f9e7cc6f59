"""From a question to an answer: decode the picture, look at it together with others, rank the classes, draw."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from firstsight.data import ClassEmbeddings, Floats
from firstsight.features.backbone import crops_of
from firstsight.methods.abilities import DrawsPictures, can_draw
from firstsight.pictures.decode import DRAFT, open_picture, squared
from firstsight.recogniser.recogniser import Scored
from firstsight.serve.batching import Batcher
from firstsight.serve.classes import KnownClasses
from firstsight.serve.descriptions import Descriptions
from firstsight.serve.errors import Refusal, shown
from firstsight.serve.limits import Limits
from firstsight.serve.metrics import Metrics
from firstsight.serve.requests import Question

Square = NDArray[np.uint8]  # [side, side, 3]
Drawn = dict[str, Any]  # an `openapi.Drawing`


class Remembered(NamedTuple):
    """What is kept of a picture for the next question about it."""

    features: Floats  # [1, v]
    square: Square | None  # the whole picture, small, where the method draws


class Predictor:
    """Answers questions, many at a time."""

    def __init__(self, known: KnownClasses, limits: Limits, metrics: Metrics) -> None:
        """Start the threads.

        Raises:
            InputError: the recogniser does not know its backbone.
        """
        self.known, self.limits, self.metrics = known, limits, metrics
        self.descriptions = Descriptions(known)
        base = known.base
        self.backbone = base.backbone
        self.crops = crops_of(base.feature_source)
        self.drawing = Drawing(base.method, base.classes.attributes, limits) if can_draw(base.method) else None
        self._remembered: OrderedDict[str, Remembered] = OrderedDict()  # by key, the one used last at the end
        self._threads = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "answers")
        self._batcher = Batcher[Any, Floats](self.backbone.rows, limits.batch, limits.wait, metrics.batches.observe)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._batcher.close()
        self.descriptions.close()
        if self.drawing:
            self.drawing.close()

    async def answer(self, question: Question) -> dict[str, Any]:
        """Answer a question, as JSON has it."""
        start = time.perf_counter()
        drawing = self._able("reconstruct must be false; got true, and") if question.reconstruct else None
        vectors = await asyncio.gather(*map(self.descriptions.vector, question.extra_classes))
        extra = [(one.name, vector) for one, vector in zip(question.extra_classes, vectors, strict=True)]
        key, picture = await self._look(question)
        ranked = await self._in_thread(self._ranked, question, picture.features, extra)
        drawn = await self._drawn(drawing.reconstructed, picture.square) if drawing else None
        return {"picture": key, **ranked, "reconstruction": drawn, "seconds": seconds_since(start)}

    async def imagine(self, given: dict[str, Any]) -> dict[str, Any]:
        """Draw the class that a request describes; return the answer, as JSON has it."""
        start = time.perf_counter()
        drawing = self._able("model must draw to imagine a class; got")
        drawn = await self._drawn(drawing.imagined, await self.descriptions.imagined(given))
        return {"imagined": drawn, "seconds": seconds_since(start)}

    def _able(self, sentence: str) -> Drawing:
        """Return what draws; refuse with this sentence where the model does not draw."""
        if not self.drawing:
            raise Refusal(422, f"{sentence} a model that does not draw")
        return self.drawing

    async def _drawn(self, batcher: Batcher[Any, Drawn], item: Any) -> Drawn:
        """Draw an item together with others."""
        drawn = await asyncio.wrap_future(batcher.submit(item))
        self.metrics.drawn.inc()
        return drawn

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Work in one of the threads, so that the event loop is free."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def _look(self, question: Question) -> tuple[str, Remembered]:
        """Return the key of the picture and its features; a picture that was asked about lately has them already."""
        content = question.content
        key = question.picture if content is None else hashlib.sha256(content).hexdigest()
        assert key is not None  # a question has one of the two
        if key in self._remembered:
            self._remembered.move_to_end(key)
            self.metrics.remembered.inc()
            return key, self._remembered[key]
        if content is None:
            raise Refusal(404, f"picture must be one that was sent lately; got {shown(key)}; send it again")
        prepared, square = await self._in_thread(self._prepared, content)
        row = await asyncio.wrap_future(self._batcher.submit(prepared))
        picture = self._remembered[key] = Remembered(np.asarray(row)[None], square)
        if len(self._remembered) > self.limits.remembered:
            self._remembered.popitem(last=False)
        return key, picture

    def _prepared(self, content: bytes) -> tuple[Any, Square | None]:
        """Decode a picture; return its crops for the backbone, and a small square of it where the method draws."""
        enough = DRAFT * self.backbone.preparation.resize  # as when the backbone reads files itself
        picture = open_picture(content, "file", enough=enough, most_pixels=self.limits.pixels)
        square = squared(picture, self.drawing.side) if self.drawing else None
        return self.backbone.preparation.crops(picture, self.crops), square

    def _ranked(self, question: Question, features: Floats, extra: list[tuple[str, Floats]]) -> dict[str, Any]:
        """Rank the classes for features [1, v]; the classes are scored once, whatever is asked."""
        known = self.known.with_extra(extra)
        if question.reject and known.threshold is None:
            raise Refusal(422, "reject must be false; got true, and a model that was not calibrated to refuse answers")
        chosen = known if question.only is None else known.only(question.only)
        scored = chosen.score(features)
        names, rows, chances = chosen.classes.names, scored.rows[0].tolist(), scored.probabilities[0].tolist()
        extra_names = {name for name, _ in extra}
        kept = self.known.own | extra_names  # these were not added
        seen = chosen.is_seen.tolist()
        return {
            "answers": [
                {"class": names[row], "probability": chances[row], "seen": seen[row], "added": names[row] not in kept}
                for row in rows[: question.top]
            ],
            "n_classes": len(names),
            "rejected": bool(scored.rejected[0]) if question.reject else None,
            "extra": [
                {"class": names[row], "probability": chances[row], "rank": rank}
                for rank, row in enumerate(rows, start=1)
                if names[row] in extra_names
            ],
            "explanation": explanation(scored) if question.explain else None,
        }


class Drawing:
    """Draws in batches, each kind in a thread of its own."""

    def __init__(self, method: DrawsPictures, attributes: tuple[str, ...], limits: Limits) -> None:
        """Start the threads for a fitted method and the names of the columns of class embeddings, if they have some."""
        self.side = method.view  # pixels, of what is drawn and of the pictures to reconstruct

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


def explanation(scored: Scored) -> dict[str, Any]:
    """Name the attributes that favour the best class over the next and those against it, as JSON has them."""
    [(favour, against)] = scored.explain()
    names, rows = scored.known.classes.names, scored.rows[0]
    return {
        "class": names[rows[0]],
        "rather_than": names[rows[1]],
        "for": [{"attribute": name, "weight": weight} for name, weight in favour],
        "against": [{"attribute": name, "weight": weight} for name, weight in against],
    }


def as_drawn(pixels: Square) -> Drawn:
    """Encode a picture for JSON: a PNG in an address that a page can show, and its size."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return {"image": f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}", "side": len(pixels)}


def seconds_since(start: float) -> float:
    """Return the seconds that have passed, in tenths of milliseconds."""
    return round(time.perf_counter() - start, 4)
