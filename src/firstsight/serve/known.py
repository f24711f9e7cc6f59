"""The classes to choose from: those of the recogniser, and those that were added since."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from firstsight.data import ClassEmbeddings, Floats, Indices
from firstsight.errors import InputError
from firstsight.serve.refusal import Refusal, shown, unknown
from firstsight.serve.state import AddedClasses


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
    @property
    def text_source(self) -> Mapping[str, Any] | None: ...  # noqa: D102
    @property
    def words(self) -> Callable[..., Floats]: ...  # noqa: D102
    def probabilities(self, features: Floats) -> Floats: ...  # noqa: D102
    def top(self, features: Floats, k: int) -> Any: ...  # noqa: D102
    def rejects(self, scores: Floats) -> NDArray[np.bool_]: ...  # noqa: D102
    def only(self, which: Literal["seen", "unseen"]) -> Self: ...  # noqa: D102
    def with_classes(self, more: ClassEmbeddings) -> Self: ...  # noqa: D102
    def explain(self, features: Floats, rows: Indices) -> Sequence[tuple[list, list]]: ...  # noqa: D102


class Known:
    """A recogniser with the classes that were added; those survive in `state`.

    Attributes:
        base: the recogniser as it was loaded.
        now: the same with the added classes; replaced as a whole, so a request that has it keeps it.
        own: names of the recogniser's own classes.
        added: names to vectors.
        usual: [a] mean over the recogniser's own classes, what an attribute is when nothing is said of it.
        attributes: names of the first columns; a text may have the others.
    """

    def __init__(self, base: Recognising, state: AddedClasses, most: int) -> None:
        self.base = base
        self.own = frozenset(base.classes.names)
        self.usual: Floats = base.classes.vectors.mean(axis=0)
        self.attributes = tuple((base.text_source or {}).get("attributes") or base.classes.attributes)
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

    def add(self, name: str, vector: Floats) -> None:
        """Keep a class [a] from now on."""
        with self._changing:
            self.check_new(name)
            if len(self.added) >= self._most:
                raise Refusal(409, f"added classes must be at most {self._most}; got one more; delete some first")
            added = {**self.added, name: vector}
            now = self._with(added)
            self._state.add(name, vector)
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

    def with_extra(self, extra: Sequence[tuple[str, Floats]]) -> Recognising:
        """What is known now, and some classes that are not kept: names and [a] vectors."""
        if not extra:
            return self.now
        names = [name for name, _ in extra]
        for at, name in enumerate(names):
            self.check_new(name)
            if name in names[:at]:
                raise Refusal(422, f"names of extra classes must be different; got {shown(name)} twice")
        vectors = np.stack([vector for _, vector in extra])
        return self.now.with_classes(ClassEmbeddings(tuple(names), vectors, self.base.classes.attributes))
