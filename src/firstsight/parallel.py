"""Work in parallel: processes of which a failed one does not stop the others, and threads that prefetch."""

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

INTERVAL = 0.1  # seconds between two progress reports of one stage


class Reports(Progress, Protocol):
    """A `Progress` whose stages can be ended early: a `Display`, or a pipe to the process that has one."""

    def clear(self, stage: str) -> None:
        """End the stage, whether it is done or not."""


@dataclass(frozen=True)
class Outcome:
    """Return value of a job, or the message of its failure."""

    value: Any = None
    error: str | None = None


def run_jobs(
    work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], n_processes: int, reports: Reports
) -> Iterator[tuple[int, Outcome]]:
    """Call work(*job, reports) for each job; a failed or killed job does not stop the others.

    Args:
        work: a function at the top of a module, so that other processes can import it.
        jobs: arguments of each call.
        n_processes: processes that run in parallel and share the cores; 1 works in this process.
        reports: receives the progress of all jobs.

    Yields:
        (number of the job, its outcome), in the order in which jobs end.
    """
    if n_processes < 1:
        raise InputError(f"jobs must be 1 or more; got {n_processes}")
    if n_processes == 1:
        for number, job in enumerate(jobs):
            yield number, _run_job(work, job, reports)
        return
    context = _context(work.__module__)
    threads = max(1, (os.cpu_count() or 1) // n_processes)
    waiting = list(enumerate(jobs))
    running: dict[Any, tuple[int, Any, set[str]]] = {}  # by our end of the pipe: number of the job, process, its stages
    try:
        while waiting or running:
            while waiting and len(running) < n_processes:
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
                    kind, content = "outcome", Outcome(error=_exit_message(process.exitcode))
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
    """Return the context that starts processes: a server with torch already loaded, if the system supports that."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", preloaded])
    return context


def _exit_message(code: int | None) -> str:
    """Say why a process that sent no outcome has ended."""
    cause = "; memory may have run out" if code == -9 else ""
    return f"the process was ended from outside or crashed (exit code {code}){cause}"


def _run_job(work: Callable[..., Any], job: tuple[Any, ...], reports: Reports) -> Outcome:
    try:
        return Outcome(work(*job, reports))
    except InputError as error:
        return Outcome(error=str(error))
    except Exception as error:  # one failing job must not stop the others
        return Outcome(error=f"{type(error).__name__}: {error}")


def _child(connection: Connection, work: Callable[..., Any], job: tuple[Any, ...], threads: int) -> None:
    """Run one job in a process that also ends when its parent ends, for any reason."""
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        connection.send(("outcome", _run_job(work, job, _Pipe(connection))))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


class _Pipe:
    """Sender of progress to the parent process, at most once per INTERVAL and stage."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._last = connection, dict[str, float]()

    def __call__(self, stage: str, done: int, total: int, losses: Mapping[str, float] | None = None) -> None:
        now = time.monotonic()
        if done >= total or now - self._last.get(stage, 0.0) > INTERVAL:
            self._last[stage] = now
            self._connection.send(("progress", (stage, done, total, dict(losses or {}))))

    def clear(self, stage: str) -> None:
        """Do nothing: the parent clears all stages of a job when the job ends."""


def prefetch(work: Callable[[Item], Made], items: Iterable[Item], ahead: int) -> Generator[Made, None, None]:
    """Yield work(item) for each item, in order; threads compute up to `ahead` results before they are asked for."""
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
