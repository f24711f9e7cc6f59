"""Items that come one by one are worked on in batches."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


class Batcher(Generic[Item, Made]):
    """A thread that gathers items and works on them in batches.

    The first item of a batch waits at most `wait` seconds for others; what comes while a batch is worked on is the
    next one. An item that was given up before its turn is left out. Where a batch fails, its items are tried one by
    one, so that each fails for itself only.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Made]],
        most: int,
        wait: float,
        report: Callable[[int], None] = lambda size: None,
    ) -> None:
        """Start the thread, in which `report` is called with the size of each batch before `work` is."""
        self.work, self.most, self.wait, self.report = work, most, wait, report
        self._waiting: queue.SimpleQueue[tuple[Item, Future[Made]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> Future[Made]:
        """Add an item; return the future of what is made of it."""
        future: Future[Made] = Future()
        self._waiting.put((item, future))
        return future

    def close(self) -> None:
        """Finish what was submitted, and end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        """Gather batches until the end; this is the thread."""
        is_open = True
        while is_open:
            entry = self._waiting.get()
            batch = []
            until = time.monotonic() + self.wait
            while entry is not None:
                if entry[1].set_running_or_notify_cancel():
                    batch.append(entry)
                if len(batch) >= self.most:
                    break
                try:
                    entry = self._waiting.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    break
            is_open = entry is not None
            if batch:
                self.report(len(batch))
                self._finish(batch)

    def _finish(self, batch: list[tuple[Item, Future[Made]]]) -> None:
        """Work on a batch, and give each future its result or its error."""
        try:
            made = self.work([item for item, _ in batch])
        except Exception as error:  # of any one of them
            if len(batch) == 1:
                batch[0][1].set_exception(error)
            else:
                for one in batch:
                    self._finish([one])
            return
        for (_, future), each in zip(batch, made, strict=True):
            future.set_result(each)
