"""From what a request says of a class to the class: by attributes, in words, or by all its numbers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from firstsight.data import ClassEmbeddings, Floats
from firstsight.errors import InputError
from firstsight.serve.known import Known
from firstsight.serve.refusal import Refusal, shown, unknown

FIELDS = ("name", "attributes", "like", "description", "vector")
LONGEST_NAME = 100
MOST_TEXTS = 10  # of one class
LONGEST_TEXT = 1000
BETWEEN = "|"  # texts of one class, as in the tables of `predict --classes`
LARGEST = 1e9  # of a value; its square must still be a number
NAMELESS = "new class"  # a class that is imagined only

log = logging.getLogger(__name__)


class Describing:
    """Makes classes of what requests say of them; texts are read in a thread of their own, one after the other.

    Attributes:
        cannot: the sentence of why texts cannot be read, or None where they can.
    """

    def __init__(self, known: Known) -> None:
        """Start the thread, and load the text model, if there is one."""
        self.known = known
        self.cannot = self._obstacle()
        self._thread = ThreadPoolExecutor(1, "words")

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _obstacle(self) -> str | None:
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
        """[a] of a class, in the way of those that the model came with.

        Args:
            name: of the class, which is read too.
            text: several are parted by `BETWEEN`.
            start: [a] whose first columns are the class's attributes, where the model has some beside the text.
        """
        names, beside = self.known.attributes, None
        if names:
            beside = ClassEmbeddings((name,), start[None, : len(names)], names)
        return np.asarray(self.known.base.words((name,), (text,), beside))[0]

    async def described(self, given: Any, what: str = "class") -> tuple[str, Floats]:
        """The name and [a] of a class from what a request says of it.

        Args:
            given: an object with `name` and either `vector`, a numbers, or the others. `attributes` is an object of
                numbers by attribute; those that are not named are as in the class `like`, or as usual. `description` is
                a text or a list of them.
            what: sentences call it.
        """
        if not isinstance(given, dict):
            raise Refusal(422, f"{what} must be an object with name and attributes; got {shown(given)}")
        for key in given:
            if key not in FIELDS:
                raise Refusal(422, unknown(f"field of {what}", key, FIELDS))
        name = checked_name(given.get("name"))
        if ("vector" in given) == bool(given.keys() & {"attributes", "like", "description"}):
            got = "both" if "vector" in given else "neither"
            raise Refusal(422, f"{what} must have attributes or a description, or else a vector; got {got}")
        if "vector" in given:
            return name, self._full(given["vector"])
        return name, await self._from_parts(name, given)

    async def meant(self, given: dict[str, Any]) -> Floats:
        """[a] of the class that a request names, or of one that it describes, with a name or without."""
        if given.keys() <= {"name"}:
            if not isinstance(name := given.get("name"), str):
                got = shown(name) if given else "nothing"
                raise Refusal(422, f"class must be meant by its name, or be described; got {got}")
            return self.known.vector(name)
        return (await self.described({"name": NAMELESS, **given}))[1]

    async def _from_parts(self, name: str, given: Mapping[str, Any]) -> Floats:
        """[a] by attributes, in words, or both."""
        text = None
        if "description" in given:
            if self.cannot:
                raise Refusal(422, self.cannot)
            text = _text(given["description"])
        start: Floats = self.known.usual
        if "attributes" in given or "like" in given:
            start = self._by_attribute(given.get("attributes", {}), given.get("like"))
        if self.known.base.text_source is None:
            return start
        if text is None and given.get("like") is not None:
            return self._beside_text_of(self.known.vector(given["like"]), start)
        if self.cannot:  # of such a model, the name alone is read
            raise Refusal(422, self.cannot)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._read, name, text or "", start)

    def _beside_text_of(self, like: Floats, start: Floats) -> Floats:
        """[a] the attributes of `start` beside the text of `like`, each with its share of the length."""
        n = len(self.known.attributes)
        before, now = (float(np.linalg.norm(one[:n])) for one in (like, start))
        return np.concatenate([start[:n] * (before / now if now else 0), like[n:]])

    def _full(self, values: Any) -> Floats:
        a = len(self.known.usual)
        if not isinstance(values, list) or len(values) != a:
            raise Refusal(422, f"vector must be {a} numbers; got {shown(values)}")
        return np.array([_number(value, f"vector[{row}]") for row, value in enumerate(values)])

    def _by_attribute(self, values: Any, like: Any) -> Floats:
        """[a] a class whose attributes were changed."""
        attributes = self.known.attributes
        if not attributes:
            instead = "a vector" if self.cannot else "a description"
            raise Refusal(
                422, f"attributes must be named by the model; got one whose vectors have no names; give {instead}"
            )
        if not isinstance(values, dict):
            raise Refusal(422, f"attributes must be an object of numbers by name; got {shown(values)}")
        if like is not None and not isinstance(like, str):
            raise Refusal(422, f"like must be the name of a class; got {shown(like)}")
        vector = np.array(self.known.usual if like is None else self.known.vector(like, 422), dtype=np.float64)
        rows = {attribute: row for row, attribute in enumerate(attributes)}
        for attribute, value in values.items():
            if attribute not in rows:
                raise Refusal(422, unknown("attribute", attribute, attributes))
            vector[rows[attribute]] = _number(value, f"attribute {shown(attribute)}")
        return vector


def checked_name(name: Any) -> str:
    """A name that can be shown, stored and put into an address."""
    if not isinstance(name, str):
        raise Refusal(422, f"name must be text; got {shown(name)}")
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or name in (".", ".."):
        raise Refusal(422, f"name must be 1 to {LONGEST_NAME} characters that can be read; got {shown(name)}")
    return name


def _text(given: Any) -> str:
    """The texts of a description in one, parted as in a table."""
    texts = given if isinstance(given, list) else [given]
    for text in texts:
        if not isinstance(text, str):
            raise Refusal(422, f"description must be a text or a list of texts; got {shown(text)}")
        if len(text) > LONGEST_TEXT:
            raise Refusal(422, f"description must be at most {LONGEST_TEXT:,} characters; got {len(text):,}")
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise Refusal(422, "description must be characters that can be read; got half of one")
    parts = [part for text in texts for each in text.split(BETWEEN) if (part := " ".join(each.split()))]
    if not 1 <= len(parts) <= MOST_TEXTS:
        raise Refusal(422, f"description must be 1 to {MOST_TEXTS} texts; got {len(parts) or 'none'}")
    return BETWEEN.join(parts)


def _number(value: Any, what: str) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not abs(value) <= LARGEST:
        raise Refusal(422, f"{what} must be a number, at most {LARGEST:,.0f} in size; got {shown(value)}")
    return float(value)
