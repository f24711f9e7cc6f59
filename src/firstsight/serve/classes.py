"""The classes to choose from: those of the recogniser, and those that were added since, which a SQLite file keeps."""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from firstsight.data import ClassEmbeddings, Floats
from firstsight.errors import InputError
from firstsight.serve.errors import Refusal, shown, unknown

if TYPE_CHECKING:
    from firstsight.recogniser.recogniser import Recogniser

TABLE = "CREATE TABLE IF NOT EXISTS added (name TEXT PRIMARY KEY, vector TEXT NOT NULL)"


class AddedClasses:
    """Names and vectors on disk; only one server at a time may have the file open."""

    def __init__(self, path: str | Path, n_attributes: int) -> None:
        """Open or make the file, `:memory:` to keep nothing, for vectors of `n_attributes` numbers.

        Raises:
            InputError: another server has it, or it holds something else.
        """
        self.path, self.n_attributes = path, n_attributes
        self._one_at_a_time = threading.Lock()
        file = None
        try:
            file = sqlite3.connect(path, timeout=0.2, check_same_thread=False, isolation_level=None)
            file.execute("PRAGMA locking_mode = EXCLUSIVE")
            file.execute("PRAGMA synchronous = FULL")
            file.execute("BEGIN EXCLUSIVE")
            file.execute(TABLE)
            file.execute("COMMIT")
        except sqlite3.Error as error:
            if file is not None:
                file.close()
            if "locked" in str(error):
                raise InputError(f"state must belong to one server; got {path}, which another has open") from error
            raise InputError(f"state must be a SQLite file of added classes; got {path}: {error}") from error
        self._file = file

    def all(self) -> list[tuple[str, Floats]]:
        """List names and [a] vectors, in the order in which they were added."""
        try:
            rows = self._file.execute("SELECT name, vector FROM added ORDER BY rowid").fetchall()
            return [(name, self._vector(text)) for name, text in rows]
        except (sqlite3.Error, TypeError, ValueError, RecursionError) as error:
            raise InputError(
                f"state must hold classes of {self.n_attributes} attributes; got {self.path}: {error}; "
                "name another file with --state"
            ) from error

    def _vector(self, text: str) -> Floats:
        """Read a vector [a]; raise a ValueError where the text is no such vector."""
        values = json.loads(text)
        if not isinstance(values, list) or len(values) != self.n_attributes:
            raise ValueError(f"{len(values) if isinstance(values, list) else 'something else'} for one class")
        vector = np.array([float(value) for value in values])
        if not all(map(math.isfinite, vector)):
            raise ValueError("numbers that are not finite")
        return vector

    def add(self, name: str, vector: Floats) -> None:
        """Write a class; it is on disk when this returns."""
        self._write("INSERT INTO added VALUES (?, ?)", name, json.dumps(vector.tolist()))

    def remove(self, name: str) -> None:
        """Delete a class."""
        self._write("DELETE FROM added WHERE name = ?", name)

    def _write(self, command: str, *values: str) -> None:
        try:
            with self._one_at_a_time:
                self._file.execute(command, values)
        except sqlite3.Error as error:
            raise InputError(f"state must be a place to write to; got {self.path}: {error}") from error

    def close(self) -> None:
        """Close the file, so that another server can open it."""
        self._file.close()


class KnownClasses:
    """A recogniser with the classes that were added, at most `most`; `state` keeps those."""

    def __init__(self, base: Recogniser, state: AddedClasses, most: int) -> None:
        self.base = base  # without added classes
        self.own = frozenset(base.classes.names)
        self.usual: Floats = base.classes.vectors.mean(axis=0)  # [a] values of attributes that are not named
        # names of the first columns of vectors; the others may be those of a text
        self.attributes = tuple((base.text_source or {}).get("attributes") or base.classes.attributes)
        self.added: dict[str, Floats] = dict(state.all())
        if double := next((name for name in self.added if name in self.own), None):
            raise InputError(
                f"state must hold classes that the model does not know; got {double!r} in {state.path}; "
                "name another file with --state"
            )
        self._state, self._most = state, most
        self._changing = threading.Lock()
        self.now = self._with(self.added)  # swapped as a whole, so a running request keeps its own

    def _with(self, added: Mapping[str, Floats]) -> Recogniser:
        """Return the recogniser with these classes beside its own."""
        if not added:
            return self.base
        ours = self.base.classes
        return self.base.with_classes(ClassEmbeddings(tuple(added), np.stack(list(added.values())), ours.attributes))

    def add(self, name: str, vector: Floats) -> None:
        """Add a class with the vector [a], and keep it."""
        with self._changing:
            self.check_new(name)
            if len(self.added) >= self._most:
                raise Refusal(409, f"added classes must be at most {self._most}; got one more; delete some first")
            added = {**self.added, name: vector}
            now = self._with(added)
            self._state.add(name, vector)
            self.added, self.now = added, now

    def remove(self, name: str) -> Floats:
        """Delete an added class, and return its vector [a]."""
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
        """Refuse the name of a class that is known."""
        if name in self.added or name in self.own:
            raise Refusal(409, f"name must be new; got {shown(name)}, which is known")

    def vector(self, name: str, status: int = 404) -> Floats:
        """Return the vector [a] of a class by its name; a refusal of an unknown name has this status."""
        if name in self.added:
            return self.added[name]
        names = self.base.classes.names
        if name not in self.own:
            raise Refusal(status, unknown("class", name, (*names, *self.added)))
        return self.base.classes.vectors[names.index(name)]

    def with_extra(self, extra: Sequence[tuple[str, Floats]]) -> Recogniser:
        """Return the recogniser with more classes, names and vectors [a], that are not kept."""
        if not extra:
            return self.now
        names = [name for name, _ in extra]
        for at, name in enumerate(names):
            self.check_new(name)
            if name in names[:at]:
                raise Refusal(422, f"names of extra classes must be different; got {shown(name)} twice")
        vectors = np.stack([vector for _, vector in extra])
        return self.now.with_classes(ClassEmbeddings(tuple(names), vectors, self.base.classes.attributes))

    def listing(self) -> dict[str, Any]:
        """List all classes, and the range of each attribute over the recogniser's own, as JSON has them."""
        now, vectors = self.now, self.base.classes.vectors
        ranges = (each.tolist() for each in (vectors.min(axis=0), vectors.max(axis=0), self.usual))
        columns = zip(self.attributes, *ranges, strict=False)
        return {
            "classes": [
                {"name": name, "seen": bool(seen), "added": name not in self.own}
                for name, seen in zip(now.classes.names, now.is_seen, strict=True)
            ],
            "attributes": [{"name": name, "low": low, "high": high, "mean": mean} for name, low, high, mean in columns],
            "width": vectors.shape[1],
        }

    def described(self, name: str, vector: Floats) -> dict[str, Any]:
        """Describe a class by its name and vector [a], as JSON has it."""
        names = self.attributes
        is_own = name in self.own
        return {
            "name": name,
            "seen": is_own and bool(self.base.is_seen[self.base.classes.names.index(name)]),
            "added": not is_own,
            "attributes": dict(zip(names, vector.tolist(), strict=False)) if names else None,
            "vector": None if len(names) == len(vector) else vector.tolist(),
        }
