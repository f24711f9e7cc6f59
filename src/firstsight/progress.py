"""Progress of long work: how functions report it, and how it is shown on stderr with bars, rates and losses."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:  # rich takes a while to import, and most only report
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

StageProgress = Callable[[int, int, Mapping[str, float]], None]  # of one stage: (done, total, losses by name)


class Progress(Protocol):
    """Called with the name of a stage, how much of it is done, how much there is, and the losses if there are any."""

    def __call__(self, stage: str, done: int, total: int, losses: Mapping[str, float] = ..., /) -> None:
        """Report that the stage is at `done` of `total`."""


class Display:
    """A `Progress` that draws a bar for each stage, from the first report of it to its end.

    On a terminal the bars are drawn on stderr and vanish as a whole when the work ends; elsewhere nothing is drawn.
    Where `is_quiet`, nothing is drawn or said; another process does.
    """

    def __init__(self, is_quiet: bool = False) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, quiet=is_quiet)
        self._bars = _bars(self.console, is_quiet)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, stage: str, done: int, total: int, losses: Mapping[str, float] | None = None) -> None:
        """Draw the stage's bar at `done` of `total`."""
        text = "  ".join(f"{name} {value:.3g}" for name, value in (losses or {}).items())
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total, losses=text)
        self._bars.update(self._tasks[stage], completed=done, total=total, losses=text)
        if done >= total:
            self.clear(stage)

    def clear(self, stage: str) -> None:
        """Remove the stage's bar, whether the stage is done or not."""
        if stage in self._tasks:
            self._bars.remove_task(self._tasks.pop(stage))

    def stage(self, name: str) -> StageProgress:
        """Return a callback for one stage."""
        return functools.partial(self, name)

    def say(self, line: str) -> None:
        """Write one line above the bars, also where there is no terminal."""
        self._bars.console.print(line, highlight=False, markup=False, soft_wrap=True)


def _bars(console: Console, is_quiet: bool) -> Bars:
    """Lay out the bars: stage, bar, steps done, steps per second, time left, losses."""
    from rich import progress
    from rich.text import Text

    class Rate(progress.ProgressColumn):
        """Steps per second."""

        def render(self, task: progress.Task) -> Text:
            """Format the rate, where one is known."""
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.2g}/s", style="cyan")

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=24),
        progress.MofNCompleteColumn(),
        Rate(),
        progress.TimeRemainingColumn(compact=True),
        progress.TextColumn("[dim]{task.fields[losses]}"),
        console=console,
        transient=True,
        disable=is_quiet or not console.is_terminal,
    )
