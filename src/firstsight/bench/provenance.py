"""Where a run's numbers come from: versions, commit, and the peak of memory."""

from __future__ import annotations

import platform
import subprocess
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Self

import psutil


class PeakMemory:
    """Measure the most memory that this process holds while the block runs: `peak` in bytes, seen every 10 ms."""

    def __enter__(self) -> Self:
        self.peak, self._over, self._process = 0, threading.Event(), psutil.Process()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak = max(self.peak, self._process.memory_info().rss)
            if self._over.wait(0.01):
                return


def versions() -> dict[str, str]:
    """Return the versions of the programs that the numbers depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in ("firstsight", "torch", "numpy")}


def commit() -> str | None:
    """Return the git commit of this code, with `+dirty` where files differ from it; None outside a repository."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head, changes = (
            subprocess.run([*git, *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()
            for words in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+dirty" if changes else "")
