"""Work side by side: processes of which a failed one does not stop the others, and threads that prefetch."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeVar

from firstsight.errors import InputError
from firstsight.progress import Progress

Item = TypeVar("Item")
Made = TypeVar("Made")

EVERY = 0.1  # seconds between two progress reports of one stage


class Reports(Progress, Protocol):
    """A `Progress` that can be told of an end: a `Display`, or a pipe to one."""

    def clear(self, stage: str) -> None:
        """End the stage, whether it is done or not."""


@dataclass(frozen=True)
class Outcome:
    """What a job returned, or the sentence that says why it did not."""

    value: Any = None
    error: str | None = None


def run_jobs(
    work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], side_by_side: int, reports: Reports
) -> Iterator[tuple[int, Outcome]]:
    """Call work(*job, reports) for each job.

    Args:
        work: a function of a module, so that other processes find it.
        jobs: arguments of each call.
        side_by_side: processes at once, which share the cores; 1 works in this process.
        reports: receives all progress.

    Yields:
        (number of the job, its outcome), as they come.
    """
    if side_by_side < 1:
        raise InputError(f"jobs must be 1 or more; got {side_by_side}")
    if side_by_side == 1:
        for number, job in enumerate(jobs):
            yield number, _outcome(work, job, reports)
        return
    context = _context(work.__module__)
    threads = max(1, (os.cpu_count() or 1) // side_by_side)
    waiting = list(enumerate(jobs))
    running: dict[Any, tuple[int, Any, set[str]]] = {}  # by our end of the pipe: job, process, stages it told of
    try:
        while waiting or running:
            while waiting and len(running) < side_by_side:
                number, job = waiting.pop(0)
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_child, args=(theirs, work, job, threads), daemon=True)
                process.start()
                theirs.close()
                running[ours] = number, process, set()
            for pipe in wait(list(running)):
                number, process, stages = running[pipe]
                content: Any
                try:
                    kind, content = pipe.recv()  # type: ignore[union-attr, call-arg]
                except EOFError:
                    process.join()
                    kind, content = "outcome", Outcome(error=_ending(process.exitcode))
                if kind == "progress":
                    stages.add(content[0])
                    reports(*content)
                    continue
                del running[pipe]
                process.join()
                for stage in stages:
                    reports.clear(stage)
                yield number, content
    finally:
        for _, process, _ in running.values():
            process.terminate()
            process.join()


def _context(preloaded: str) -> Any:
    """Start processes from a server that has torch loaded and has done nothing else, where the system has one."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", preloaded])
    return context


def _ending(code: int | None) -> str:
    cause = "; memory may have run out" if code == -9 else ""
    return f"the process was ended from outside or crashed (exit code {code}){cause}"


def _outcome(work: Callable[..., Any], job: tuple[Any, ...], reports: Reports) -> Outcome:
    try:
        return Outcome(work(*job, reports))
    except InputError as error:
        return Outcome(error=str(error))
    except Exception as error:  # one failing run must not end a night's work
        return Outcome(error=f"{type(error).__name__}: {error}")


def _child(connection: Connection, work: Callable[..., Any], job: tuple[Any, ...], threads: int) -> None:
    """Do one job in a process of its own, which ends when its parent ends, however that happens."""
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        connection.send(("outcome", _outcome(work, job, _Pipe(connection))))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


class _Pipe:
    """A `Reports` that sends to the parent process, not too often."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._last = connection, dict[str, float]()

    def __call__(self, stage: str, done: int, total: int, losses: Mapping[str, float] | None = None) -> None:
        now = time.monotonic()
        if done >= total or now - self._last.get(stage, 0.0) > EVERY:
            self._last[stage] = now
            self._connection.send(("progress", (stage, done, total, dict(losses or {}))))

    def clear(self, stage: str) -> None:
        """Do nothing: the parent ends the stage."""


def side_by_side(work: Callable[[Item], Made], items: Iterable[Item], ahead: int) -> Generator[Made, None, None]:
    """Yield work(item) for each item, in order; threads prefetch up to `ahead` items."""
    queue: deque[Future[Made]] = deque()
    coming = iter(items)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), "ahead") as pool:
        try:
            queue.extend(pool.submit(work, item) for item in islice(coming, max(1, ahead)))
            while queue:
                made = queue.popleft().result()
                queue.extend(pool.submit(work, item) for item in islice(coming, 1))
                yield made
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
