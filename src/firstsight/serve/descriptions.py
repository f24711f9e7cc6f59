"""From the description of a class to its vector: by attributes, in words, or by all its numbers."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from firstsight.data import ClassEmbeddings, Floats
from firstsight.errors import InputError
from firstsight.serve.classes import KnownClasses
from firstsight.serve.errors import Refusal, shown, unknown
from firstsight.serve.requests import Description, checked_number

NAMELESS = "new class"  # name of a class that is only imagined

log = logging.getLogger(__name__)


class Descriptions:
    """Makes vectors of descriptions; texts are read in a thread of their own, one after the other."""

    def __init__(self, known: KnownClasses) -> None:
        """Start the thread, and load the text model, if there is one."""
        self.known = known
        self.cannot = self._obstacle()  # why texts cannot be read, in a sentence, or None where they can
        self._thread = ThreadPoolExecutor(1, "words")

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _obstacle(self) -> str | None:
        """Try the text model; return why it cannot be used, or None."""
        known = self.known
        if known.base.text_source is None:
            instead = "attributes" if known.attributes else "a vector"
            return f"model must have a text model to read a description; got one without; give {instead}"
        if known.base.text_source.get("attributes") is not None and not known.attributes:
            return "attributes must have names where a text stands beside them; got none; give a vector"
        try:
            width, expected = len(self._read("class", "", known.usual)), len(known.usual)
            if width == expected:
                return None
            reason = f"vectors must be {expected} numbers, as in training; got {width} from the text model"
        except InputError as error:
            reason = str(error)
        log.warning("firstsight: descriptions cannot be read: %s", reason)
        return "text model must be there to read a description; got none when the server started; its log says why"

    def _read(self, name: str, text: str, start: Floats) -> Floats:
        """Return the vector [a] of a class, made like those that the model came with: its name is read too.

        The first columns of `start` [a] are the class's attributes, where the model has some beside the text.
        """
        names, beside = self.known.attributes, None
        if names:
            beside = ClassEmbeddings((name,), start[None, : len(names)], names)
        return np.asarray(self.known.base.words((name,), (text,), beside))[0]

    async def vector(self, given: Description) -> Floats:
        """Return the vector [a] of a described class; attributes not named are as in the class `like`, or as usual.

        Raises:
            Refusal: the model has no such attributes, or cannot read texts.
        """
        if given.has_any(("vector",)):
            a = len(self.known.usual)
            if not isinstance(given.vector, list) or len(given.vector) != a:
                raise Refusal(422, f"vector must be {a} numbers; got {shown(given.vector)}")
            return np.array([checked_number(value, f"vector[{row}]") for row, value in enumerate(given.vector)])
        if given.description is not None and self.cannot:
            raise Refusal(422, self.cannot)
        start: Floats = self.known.usual
        if given.has_any(("attributes", "like")):
            start = self._by_attribute(given.attributes, given.like)
        if self.known.base.text_source is None:
            return start
        if given.description is None and given.like is not None:
            return self._beside_text_of(self.known.vector(given.like), start)
        if self.cannot:  # of such a model, the name alone is read
            raise Refusal(422, self.cannot)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._read, given.name, given.description or "", start)

    async def imagined(self, given: dict[str, Any]) -> Floats:
        """Return the vector [a] of the class that a request names, or of one that it describes, even without a name."""
        if given.keys() - {"name"}:
            return await self.vector(Description.of({"name": NAMELESS, **given}))
        if not isinstance(name := given.get("name"), str):
            got = shown(name) if given else "nothing"
            raise Refusal(422, f"class must be meant by its name, or be described; got {got}")
        return self.known.vector(name)

    def _beside_text_of(self, like: Floats, start: Floats) -> Floats:
        """Join the attributes of `start` and the text of `like`, each with its share of the length, into [a]."""
        n = len(self.known.attributes)
        before, now = (float(np.linalg.norm(one[:n])) for one in (like, start))
        return np.concatenate([start[:n] * (before / now if now else 0), like[n:]])

    def _by_attribute(self, values: Any, like: str | None) -> Floats:
        """Return the vector [a] of the class `like`, or of the mean class, with these attributes changed."""
        attributes = self.known.attributes
        if not attributes:
            instead = "a vector" if self.cannot else "a description"
            sentence = f"attributes must be named by the model; got one whose vectors have no names; give {instead}"
            raise Refusal(422, sentence)
        if not isinstance(values, dict):
            raise Refusal(422, f"attributes must be an object of numbers by name; got {shown(values)}")
        vector = np.array(self.known.usual if like is None else self.known.vector(like, 422), dtype=np.float64)
        rows = {attribute: row for row, attribute in enumerate(attributes)}
        for attribute, value in values.items():
            if attribute not in rows:
                raise Refusal(422, unknown("attribute", attribute, attributes))
            vector[rows[attribute]] = checked_number(value, f"attribute {shown(attribute)}")
        return vector
