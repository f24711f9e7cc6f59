"""Progress of long work on stderr: what, how far, how fast, how long still, and the losses."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class RateColumn(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        """The rate where one is known."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.2g}/s", style="cyan")


class Display:
    """A bar for each stage, from the first report of it to its end.

    Call it with (stage, done, total, losses). On a terminal the bars are drawn on stderr and vanish as a whole when
    the work ends; elsewhere nothing is drawn.

    Args:
        is_quiet: neither draw nor say anything; another process does.
    """

    def __init__(self, is_quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=is_quiet)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            RateColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("[dim]{task.fields[losses]}"),
            console=self.console,
            transient=True,
            disable=is_quiet or not self.console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, stage: str, done: int, total: int, losses: Mapping[str, float] | None = None) -> None:
        """Draw the stage's bar at done of total."""
        text = "  ".join(f"{name} {value:.3g}" for name, value in (losses or {}).items())
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total, losses=text)
        self._progress.update(self._tasks[stage], completed=done, total=total, losses=text)
        if done >= total:
            self._progress.remove_task(self._tasks.pop(stage))

    def clear(self, stage: str) -> None:
        """Take the stage's bar away, whatever it reached."""
        if stage in self._tasks:
            self._progress.remove_task(self._tasks.pop(stage))

    def stage(self, name: str) -> Callable[..., Any]:
        """A callback (done, total, losses) for one stage."""
        return functools.partial(self, name)

    def say(self, line: str) -> None:
        """One line above the bars, also where there is no terminal."""
        self._progress.console.print(line, highlight=False, markup=False, soft_wrap=True)
