"""The classes to choose from: those of the recogniser, and those that were added since."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from firstsight.data import ClassEmbeddings, Floats, Indices
from firstsight.errors import InputError
from firstsight.serve.refusal import Refusal, shown, unknown
from firstsight.serve.state import AddedClasses

LONGEST_NAME = 100
LARGEST = 1e9  # of a value; its square must still be a number


class Recognising(Protocol):
    """What is needed of a `Recogniser`."""

    @property
    def classes(self) -> ClassEmbeddings: ...  # noqa: D102
    @property
    def is_seen(self) -> NDArray[np.bool_]: ...  # noqa: D102
    @property
    def threshold(self) -> float | None: ...  # noqa: D102
    @property
    def feature_source(self) -> Mapping[str, str] | None: ...  # noqa: D102
    @property
    def method(self) -> Any: ...  # noqa: D102
    @property
    def backbone(self) -> Any: ...  # noqa: D102
    def probabilities(self, features: Floats) -> Floats: ...  # noqa: D102
    def top(self, features: Floats, k: int) -> Any: ...  # noqa: D102
    def rejects(self, top: Any) -> NDArray[np.bool_]: ...  # noqa: D102
    def only(self, which: Literal["seen", "unseen"]) -> Self: ...  # noqa: D102
    def with_classes(self, more: ClassEmbeddings) -> Self: ...  # noqa: D102
    def explain(self, features: Floats, answers: Indices) -> Sequence[tuple[list, list]]: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Described:
    """A class that somebody described.

    Attributes:
        name: new.
        vector: [a].
    """

    name: str
    vector: Floats


class Known:
    """A recogniser with the classes that were added; those survive in `state`.

    Attributes:
        base: the recogniser as it was loaded.
        now: the same with the added classes; replaced as a whole, so a request that has it keeps it.
        own: names of the recogniser's own classes.
        added: names to vectors.
        usual: [a] mean over the recogniser's own classes, what an attribute is when nothing is said of it.
    """

    def __init__(self, base: Recognising, state: AddedClasses, most: int) -> None:
        self.base = base
        self.own = frozenset(base.classes.names)
        self.usual: Floats = base.classes.vectors.mean(axis=0)
        self.added: dict[str, Floats] = dict(state.all())
        if double := next((name for name in self.added if name in self.own), None):
            raise InputError(
                f"state must hold classes that the model does not know; got {double!r} in {state.path}; "
                "name another file with --state"
            )
        self._state = state
        self._most = most
        self._changing = threading.Lock()
        self.now = self._with(self.added)

    def _with(self, added: Mapping[str, Floats]) -> Recognising:
        if not added:
            return self.base
        ours = self.base.classes
        return self.base.with_classes(ClassEmbeddings(tuple(added), np.stack(list(added.values())), ours.attributes))

    def add(self, one: Described) -> None:
        """Keep a class from now on."""
        with self._changing:
            self.check_new(one.name)
            if len(self.added) >= self._most:
                raise Refusal(409, f"added classes must be at most {self._most}; got one more; delete some first")
            added = {**self.added, one.name: one.vector}
            now = self._with(added)
            self._state.add(one.name, one.vector)
            self.added, self.now = added, now

    def remove(self, name: str) -> Floats:
        """Forget an added class, and say what it was: [a]."""
        with self._changing:
            if name not in self.added:
                if name in self.own:
                    raise Refusal(422, f"name must be of an added class; got {shown(name)}, which the model came with")
                raise Refusal(404, unknown("class", name, self.added))
            left = {other: vector for other, vector in self.added.items() if other != name}
            now = self._with(left)
            self._state.remove(name)
            vector, self.added, self.now = self.added[name], left, now
            return vector

    def check_new(self, name: str) -> None:
        """No class has this name yet."""
        if name in self.added or name in self.own:
            raise Refusal(409, f"name must be new; got {shown(name)}, which is known")

    def vector(self, name: str, status: int = 404) -> Floats:
        """[a] of a class, by its name; `status` is that of the refusal where there is none."""
        if name in self.added:
            return self.added[name]
        names = self.base.classes.names
        if name not in self.own:
            raise Refusal(status, unknown("class", name, (*names, *self.added)))
        return self.base.classes.vectors[names.index(name)]

    def described(self, given: Any, what: str = "class") -> Described:
        """A class from what a request says of it.

        Args:
            given: an object with `name` and either `vector`, a numbers, or `attributes`, an object of numbers by
                attribute; attributes that are not named are as in the class `like`, or as usual.
            what: sentences call it.
        """
        if not isinstance(given, dict):
            raise Refusal(422, f"{what} must be an object with name and attributes; got {shown(given)}")
        for key in given:
            if key not in ("name", "attributes", "vector", "like"):
                raise Refusal(422, unknown(f"field of {what}", key, ("name", "attributes", "vector", "like")))
        name = checked_name(given.get("name"))
        if ("vector" in given) == ("attributes" in given or "like" in given):
            got = "both" if "vector" in given else "neither"
            raise Refusal(422, f"{what} must have attributes or a vector; got {got}")
        if "vector" in given:
            return Described(name, self._full(given["vector"]))
        return Described(name, self._by_attribute(given.get("attributes", {}), given.get("like")))

    def meant(self, given: Any) -> Floats:
        """[a] of the class that a request names, or of one that it describes, with a name or without."""
        if isinstance(given, dict) and given.keys() <= {"name"}:
            if not isinstance(name := given.get("name"), str):
                got = shown(name) if given else "nothing"
                raise Refusal(422, f"class must be meant by its name, or have attributes or a vector; got {got}")
            return self.vector(name)
        return self.described({"name": "new class", **given}).vector

    def _full(self, values: Any) -> Floats:
        a = len(self.usual)
        if not isinstance(values, list) or len(values) != a:
            raise Refusal(422, f"vector must be {a} numbers; got {shown(values)}")
        return np.array([_number(value, f"vector[{row}]") for row, value in enumerate(values)])

    def _by_attribute(self, values: Any, like: Any) -> Floats:
        attributes = self.base.classes.attributes
        if not attributes:
            raise Refusal(
                422, "attributes must be named by the model; got one whose vectors have no names; give a vector"
            )
        if not isinstance(values, dict):
            raise Refusal(422, f"attributes must be an object of numbers by name; got {shown(values)}")
        if like is not None and not isinstance(like, str):
            raise Refusal(422, f"like must be the name of a class; got {shown(like)}")
        vector = np.array(self.usual if like is None else self.vector(like, 422), dtype=np.float64)
        rows = {attribute: row for row, attribute in enumerate(attributes)}
        for attribute, value in values.items():
            if attribute not in rows:
                raise Refusal(422, unknown("attribute", attribute, attributes))
            vector[rows[attribute]] = _number(value, f"attribute {shown(attribute)}")
        return vector

    def with_extra(self, extra: Iterable[Described]) -> Recognising:
        """What is known now, and some classes that are not kept."""
        extra = list(extra)
        if not extra:
            return self.now
        names = [one.name for one in extra]
        for at, name in enumerate(names):
            self.check_new(name)
            if name in names[:at]:
                raise Refusal(422, f"names of extra classes must be different; got {shown(name)} twice")
        vectors = np.stack([one.vector for one in extra])
        return self.now.with_classes(ClassEmbeddings(tuple(names), vectors, self.base.classes.attributes))


def checked_name(name: Any) -> str:
    """A name that can be shown, stored and put into an address."""
    if not isinstance(name, str):
        raise Refusal(422, f"name must be text; got {shown(name)}")
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or name in (".", ".."):
        raise Refusal(422, f"name must be 1 to {LONGEST_NAME} characters that can be read; got {shown(name)}")
    return name


def _number(value: Any, what: str) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not abs(value) <= LARGEST:
        raise Refusal(422, f"{what} must be a number, at most {LARGEST:,.0f} in size; got {shown(value)}")
    return float(value)
