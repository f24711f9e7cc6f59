"""The classes that were added, in a SQLite file: what was answered with "added" is there after a kill."""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from pathlib import Path

import numpy as np

from firstsight.data import Floats
from firstsight.errors import InputError

TABLE = "CREATE TABLE IF NOT EXISTS added (name TEXT PRIMARY KEY, vector TEXT NOT NULL)"


class AddedClasses:
    """Names and vectors on disk; only one server at a time may have the file open."""

    def __init__(self, path: str | Path, n_attributes: int) -> None:
        """Open or make the file.

        Args:
            path: of the file; `:memory:` keeps nothing.
            n_attributes: a, length of every vector.

        Raises:
            InputError: another server has it, or it holds something else.
        """
        self.path = path
        self.n_attributes = n_attributes
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
        """Names and [a] vectors, in the order in which they were added."""
        try:
            rows = self._file.execute("SELECT name, vector FROM added ORDER BY rowid").fetchall()
            return [(name, self._vector(text)) for name, text in rows]
        except (sqlite3.Error, TypeError, ValueError, RecursionError) as error:
            raise InputError(
                f"state must hold classes of {self.n_attributes} attributes; got {self.path}: {error}; "
                "name another file with --state"
            ) from error

    def _vector(self, text: str) -> Floats:
        values = json.loads(text)
        if not isinstance(values, list) or len(values) != self.n_attributes:
            got = f"{len(values)}" if isinstance(values, list) else "something else"
            raise ValueError(f"{got} for one class")
        vector = np.array([float(value) for value in values])
        if not all(map(math.isfinite, vector)):
            raise ValueError("numbers that are not finite")
        return vector

    def add(self, name: str, vector: Floats) -> None:
        """Keep a class; it is on disk when this returns."""
        self._write("INSERT INTO added VALUES (?, ?)", name, json.dumps(vector.tolist()))

    def remove(self, name: str) -> None:
        """Forget a class."""
        self._write("DELETE FROM added WHERE name = ?", name)

    def _write(self, command: str, *values: str) -> None:
        try:
            with self._one_at_a_time:
                self._file.execute(command, values)
        except sqlite3.Error as error:
            raise InputError(f"state must be a place to write to; got {self.path}: {error}") from error

    def close(self) -> None:
        """Let another server have the file."""
        self._file.close()
