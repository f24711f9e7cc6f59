"""From a question to an answer: decode the picture, look at it together with others, rank the classes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from firstsight.data import Floats
from firstsight.methods.abilities import can_draw
from firstsight.pictures.decode import DRAFT, open_picture, squared
from firstsight.serve.asking import Question
from firstsight.serve.batching import Batcher
from firstsight.serve.describing import Describing
from firstsight.serve.drawing import Drawing, Drawn, Square
from firstsight.serve.known import Known, Recognising
from firstsight.serve.limits import Limits
from firstsight.serve.metrics import Metrics
from firstsight.serve.refusal import Refusal, shown


class Seeing(Protocol):
    """What is needed of a `Backbone`."""

    @property
    def preparation(self) -> Any: ...  # noqa: D102
    def rows(self, prepared: Sequence[Any]) -> Floats: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Seen:
    """What is remembered of a picture.

    Attributes:
        features: [1, v].
        square: the whole of it, small, where the method draws.
    """

    features: Floats
    square: Square | None


class Answering:
    """Turns questions into answers, many at a time."""

    def __init__(self, known: Known, limits: Limits, metrics: Metrics) -> None:
        """Start the threads.

        Raises:
            InputError: the recogniser does not know its backbone.
        """
        self.known = known
        self.limits = limits
        self.metrics = metrics
        self.describing = Describing(known)
        base = known.base
        self.backbone: Seeing = base.backbone
        self.crops = int((base.feature_source or {}).get("crops", "1"))
        self.drawing = Drawing(base.method, base.classes.attributes, limits) if can_draw(base.method) else None
        self._remembered: OrderedDict[str, Seen] = OrderedDict()  # by key, the one used last at the end
        self._threads = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "answers")
        self._batcher = Batcher[Any, Floats](self.backbone.rows, limits.batch, limits.wait, metrics.batches.add)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._batcher.close()
        self.describing.close()
        if self.drawing:
            self.drawing.close()

    async def answer(self, question: Question) -> dict[str, Any]:
        """The answer, as JSON has it."""
        start = time.perf_counter()
        drawing = self._able("reconstruct must be false; got true, and") if question.reconstruct else None
        described = self.describing.described
        of_extra = (described(one, f"extra_classes[{row}]") for row, one in enumerate(question.extra_classes))
        extra = await asyncio.gather(*of_extra)
        key, seen = await self._seen(question)
        ranked = await self._off(self._ranked, question, seen.features, extra)
        drawn = await self._drawn(drawing.reconstructed, seen.square) if drawing else None
        return {"picture": key, **ranked, "reconstruction": drawn, "seconds": seconds_since(start)}

    async def imagine(self, given: dict[str, Any]) -> dict[str, Any]:
        """The answer to what a request says of a class: what it is imagined like."""
        start = time.perf_counter()
        drawing = self._able("model must draw to imagine a class; got")
        drawn = await self._drawn(drawing.imagined, await self.describing.meant(given))
        return {"imagined": drawn, "seconds": seconds_since(start)}

    def _able(self, sentence: str) -> Drawing:
        """What draws, or the refusal where nothing does."""
        if not self.drawing:
            raise Refusal(422, f"{sentence} a model that does not draw")
        return self.drawing

    async def _drawn(self, batcher: Batcher[Any, Drawn], item: Any) -> Drawn:
        drawn = await asyncio.wrap_future(batcher.submit(item))
        self.metrics.drawn += 1
        return drawn

    async def _off(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def _seen(self, question: Question) -> tuple[str, Seen]:
        """Key of the picture and what was seen in it; one that was asked about lately is not looked at again."""
        content = question.content
        key = question.picture if content is None else hashlib.sha256(content).hexdigest()
        assert key is not None  # a question has one of the two
        if key in self._remembered:
            self._remembered.move_to_end(key)
            self.metrics.remembered += 1
            return key, self._remembered[key]
        if content is None:
            raise Refusal(404, f"picture must be one that was sent lately; got {shown(key)}; send it again")
        prepared, square = await self._off(self._prepared, content)
        row = await asyncio.wrap_future(self._batcher.submit(prepared))
        seen = self._remembered[key] = Seen(np.asarray(row)[None], square)
        if len(self._remembered) > self.limits.remembered:
            self._remembered.popitem(last=False)
        return key, seen

    def _prepared(self, content: bytes) -> tuple[Any, Square | None]:
        enough = DRAFT * self.backbone.preparation.resize  # as when the backbone reads files itself
        picture = open_picture(content, "file", enough=enough, most_pixels=self.limits.pixels)
        square = squared(picture, self.drawing.side) if self.drawing else None
        return self.backbone.preparation.crops(picture, self.crops), square

    def _ranked(self, question: Question, features: Floats, extra: list) -> dict[str, Any]:
        everything = self.known.with_extra(extra)
        if question.reject and everything.threshold is None:
            raise Refusal(422, "reject must be false; got true, and a model that was not calibrated to refuse answers")
        chosen = everything if question.only is None else everything.only(question.only)
        chances = chosen.probabilities(features)[0]  # [k]
        order = np.argsort(-chances, kind="stable")
        names = chosen.classes.names
        extra_names = {name for name, _ in extra}

        def entry(row: int) -> dict[str, Any]:
            name = names[row]
            return {
                "class": name,
                "probability": float(chances[row]),
                "seen": bool(chosen.is_seen[row]),
                "added": name not in self.known.own and name not in extra_names,
            }

        answer: dict[str, Any] = {
            "answers": [entry(row) for row in order[: question.top]],
            "n_classes": len(names),
            "rejected": bool(chosen.rejects(chosen.top(features, 1).scores[:, 0])[0]) if question.reject else None,
            "extra": [
                {"class": names[row], "probability": float(chances[row]), "rank": rank}
                for rank, row in enumerate(order.tolist(), start=1)
                if names[row] in extra_names
            ],
            "explanation": None,
        }
        if question.explain:
            answer["explanation"] = explanation(chosen, features, order)
        return answer


def seconds_since(start: float) -> float:
    """That have passed, in tenths of milliseconds."""
    return round(time.perf_counter() - start, 4)


def explanation(chosen: Recognising, features: Floats, order: Any) -> dict[str, Any]:
    """The attributes that spoke for the best class, and against it, compared with the next."""
    [(speak_for, against)] = chosen.explain(features, order[None])
    names = chosen.classes.names
    return {
        "class": names[order[0]],
        "rather_than": names[order[1]],
        "for": [{"attribute": name, "weight": float(weight)} for name, weight in speak_for],
        "against": [{"attribute": name, "weight": float(weight)} for name, weight in against],
    }
