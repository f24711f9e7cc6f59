"""Commands that train one method or test it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from firstsight.cli.options import (
    DataOptions,
    PictureOptions,
    as_json,
    at_least_one,
    option,
    parsed,
    with_settings,
)
from firstsight.errors import InputError

if TYPE_CHECKING:
    from firstsight.board import Board
    from firstsight.methods import Run


def fit(argv: Sequence[str]) -> None:
    """Train a method and save it: `firstsight fit METHOD --data PATH --out model.safetensors`."""
    from firstsight.datasets import data_name
    from firstsight.methods import METHODS, named
    from firstsight.methods.spaen_pictures.ranks import first_goes_ahead, joined, n_ranks
    from firstsight.progress import Display
    from firstsight.settings import read_settings

    if not argv or argv[0].startswith("-"):
        print(
            f"usage: firstsight fit METHOD [OPTIONS]\n\nMETHOD is one of {', '.join(METHODS)}; "
            "`firstsight fit METHOD --help` shows its settings."
        )
        if not argv:
            raise InputError("METHOD must be named; got none")
        return
    kind = named(argv[0])
    default = kind.preset(preset) if (preset := option(argv, "--preset")) else kind()
    if (file := option(argv, "--settings")) and (data := option(argv, "--data")):
        chosen = read_settings(Path(file)).get((data_name(data, option(argv, "--semantics")), argv[0]))
        default = replace(default, **(chosen.settings if chosen else {}))
    form = with_settings(default, FitOptions)
    options = parsed(form, argv[1:], f"fit {argv[0]}", f"{(kind.__doc__ or '').splitlines()[0]} {kind.source}.")
    method = kind(**options.of_method.settings())
    unfinished = options.out.with_name(options.out.name + ".partial")
    with (
        joined() as rank,
        Display(is_quiet=rank > 0) as display,
        _board(None if rank else options.tensorboard) as board,
    ):
        if n_ranks() > 1 and not method.needs_pictures:
            raise InputError(f"method must be spaen-pictures for several processes to share it; got {method.name}")
        with first_goes_ahead():
            training = options.load_for(method, display).training_set()
        if unfinished.exists():
            display.say(f"continuing from {unfinished}")
        run = _run(display.stage(f"fit {argv[0]}"), board, unfinished, options.checkpoint_every)
        try:
            method.fit(training, run)
        except KeyboardInterrupt:
            if unfinished.exists():
                display.say(f"stopped; kept in {unfinished}; the same command continues from there")
            raise
        if rank:
            return
        method.save(options.out)
        unfinished.unlink(missing_ok=True)
    print(f"{argv[0]} trained on {len(training)} images of {len(training.classes)} classes is at {options.out}")


def _board(folder: Path | None) -> AbstractContextManager[Board | None]:
    """Where TensorBoard reads, if anywhere."""
    if folder is None:
        return nullcontext()
    from firstsight.board import Board

    return Board(folder)


def _run(show: Callable[..., None], board: Board | None, unfinished: Path, checkpoint_every: int) -> Run:
    """A fit that is shown, and kept, as it goes on."""
    from firstsight.methods import Run

    if board is None:
        return Run(show, unfinished, checkpoint_every)

    def progress(done: int, total: int, losses: Mapping[str, float]) -> None:
        show(done, total, losses)
        board.progress(done, total, losses)

    return Run(progress, unfinished, checkpoint_every, board.draw)


@dataclass(kw_only=True)
class FitOptions(PictureOptions):
    """What to train on and where to save.

    Attributes:
        out: the model's file.
        preset: settings to start from, such as `paper`; `firstsight methods` lists them.
        settings: TOML file that `tune` wrote; its table for this data and method goes on top of the preset.
        checkpoint_every: steps between two saves of an unfinished training, in OUT.partial.
        tensorboard: folder for losses and pictures as TensorBoard shows them.
    """

    out: Path
    preset: str | None = None
    settings: Path | None = None
    checkpoint_every: int = 500
    tensorboard: Path | None = None


def tune(
    methods: tuple[str, ...],
    /,
    data: DataOptions,
    objective: Literal["ausuc", "h", "h_cal", "t1"] | None = None,
    partitions: int = 3,
    trials: int | None = None,
    storage: str | None = None,
    jobs: int = 1,
    preset: str | None = None,
    out: Path = Path("tuned.toml"),
    json: bool = False,
) -> None:
    """Choose methods' settings on validation classes; test images are never looked at.

    Settings are fitted without some seen classes, which then play the unseen ones, and without some images of the
    others. Closed forms try their whole space from one factorisation; for the others Optuna proposes settings and
    gives up on those that lag behind. The winner goes to a file that `fit` and `bench` take with `--settings`. Stopped
    or killed, the same command goes on from the trials it has finished.

    Args:
        methods: their names, or `all`; `firstsight methods` lists them.
        data: what to tune on.
        objective: what to maximise, as a mean over partitions; h_cal is h at the best gamma; AUSUC for most methods
            where none is named.
        partitions: how many sets of classes to hold out; the benchmark's own first, then random ones.
        trials: settings to try where not all can be; 12 for most methods.
        storage: URL of the database that keeps the studies; with postgresql+psycopg2://USER@HOST/NAME, and that driver
            installed, several machines work on one study.
            A SQLite file beside OUT, for one command at a time, where none is named.
        jobs: methods tuned side by side.
        preset: settings to start from.
        out: TOML file with a table for each data set and method; other tables stay.
        json: print one JSON document with every trial.
    """
    from firstsight.jobs import run_jobs
    from firstsight.methods import all_names, named
    from firstsight.progress import Display
    from firstsight.settings import write_settings
    from firstsight.tune import open_storage, tune_job

    if not methods:
        raise InputError("methods must be named; got none; `all` is every one")
    at_least_one(jobs=jobs, partitions=partitions)
    kinds = sorted(
        map(named, all_names() if methods == ("all",) else methods), key=lambda kind: kind.trials
    )  # slow first
    if picky := [kind.name for kind in kinds if kind.needs_pictures]:
        raise InputError(
            f"methods must learn from features alone to be tuned; got {picky[0]}; tune spaen, whose E learns alike"
        )
    starts = [kind.preset(preset) if preset else kind() for kind in kinds]
    aims = [objective or kind.objective for kind in kinds]
    out.parent.mkdir(parents=True, exist_ok=True)
    storage = storage or f"sqlite:///{out.with_suffix('.db')}"
    open_storage(storage)
    rows, failed = [], []
    with Display() as display:
        full = data.load(display)
        dataset = full.without_test()
        work = [(start, dataset, aim, partitions, trials, storage) for start, aim in zip(starts, aims, strict=True)]
        for at, outcome in run_jobs(tune_job, work, jobs, display):
            start, aim = starts[at], aims[at]
            if outcome.error is not None:
                failed.append(start.name)
                display.say(f"{start.name:<10}failed: {outcome.error}")
                continue
            best = outcome.value[0]
            reached = f"{aim} {best.mean:.4g}, best of {len(outcome.value)}"
            origin = f"{reached}, on {partitions} sets of validation classes; {full.description}"
            write_settings(out, full.name, start, best.settings, origin)
            chosen = "  ".join(f"{name} {shown(best.settings[name])}" for name in start.space)
            display.say(f"{start.name:<10}{reached}: {chosen}")
            rows.append(
                {"data": full.name, "method": start.name, "objective": aim, "trials": list(map(vars, outcome.value))}
            )
    if failed:
        raise InputError(f"methods must be tuned; got {', '.join(failed)} failed; the same command tries again")
    if json:
        print(as_json({"tuned": rows}))
    else:
        print(f"The settings are in {out}; `--settings {out}` uses them")


def shown(value: object) -> str:
    """A setting in few characters."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def evaluate(
    model: Path,
    /,
    data: PictureOptions,
    calibrate: bool = True,
    json: bool = False,
) -> None:
    """Test a saved model: unseen classes alone, generalized, calibrated.

    Args:
        model: file that `fit` wrote.
        data: what to test on, with features and class embeddings as in training.
        calibrate: choose gamma on validation classes, which trains the same settings once more.
        json: print one JSON document.
    """
    from firstsight.evaluation import evaluate as evaluate_method
    from firstsight.methods import Run, load_method
    from firstsight.progress import Display

    method = load_method(model)
    with Display() as display:
        dataset = data.load_for(method, display, calibrate)
        result = evaluate_method(method, dataset, calibrate, Run(display.stage("calibrate")))
    if json:
        classes = [vars(row) for row in result.classes]
        print(as_json({"data": result.data, "method": result.method, **result.metrics(), "classes": classes}))
        return
    print(f"{method.name} on {dataset.name}, percent, mean per class")
    for name, meaning in METRICS.items():
        if (value := result.metrics()[name]) is not None:
            print(f"  {name:<8}{value:>8.{4 if 'gamma' in name or 'ausuc' in name else 1}f}  {meaning}")


METRICS = {
    "t1": "unseen images, unseen classes to choose from",
    "u": "unseen images, all classes to choose from",
    "s": "seen images, all classes to choose from",
    "h": "harmonic mean of u and s",
    "ausuc": "area under the seen-unseen curve",
    "gamma": "subtracted from seen scores, chosen on validation classes",
    "u_cal": "u with gamma",
    "s_cal": "s with gamma",
    "h_cal": "h with gamma",
}
