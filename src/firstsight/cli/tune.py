"""`firstsight tune`: choose settings on validation classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from firstsight.cli.options import PictureOptions, as_json, at_least_one
from firstsight.errors import InputError

if TYPE_CHECKING:
    from firstsight.methods import Method


def tune(
    methods: tuple[str, ...],
    /,
    data: PictureOptions,
    objective: Literal["ausuc", "h", "h_cal", "t1"] | None = None,
    partitions: int = 3,
    trials: int | None = None,
    storage: str | None = None,
    jobs: int = 1,
    preset: str | None = None,
    side: int | None = None,
    width: float | None = None,
    pretrained: Literal["imagenet", "none"] | None = None,
    out: Path = Path("tuned.toml"),
    json: bool = False,
) -> None:
    """Choose settings of methods on validation classes; test images are never used.

    Some seen classes are held out and take the role of the unseen ones, and so are some images of the other classes.
    Closed forms try their whole space from one factorisation, and `spaen-pictures` in two stages its own with one F and
    G for every alpha. For the other methods, Optuna proposes settings and stops early those that are behind. The best
    settings go to a file that `fit` and `bench` take with `--settings`. If it is stopped or killed, the same command
    continues from the finished trials.

    Args:
        methods: names of methods, or `all`; `firstsight methods` lists them.
        data: data set to tune on.
        objective: number to maximise, as a mean over partitions; h_cal is h at the best gamma; by default AUSUC for
            most methods.
        partitions: number of sets of classes to hold out; the benchmark's own first, then random ones.
        trials: number of settings to try, for methods that do not try all; by default 12 for most methods.
        storage: URL of the database that keeps the studies; by default a SQLite file beside OUT, for one command at a
            time. With postgresql+psycopg2://USER@HOST/NAME, and that driver installed, several machines work on one
            study.
        jobs: number of methods tuned in parallel.
        preset: settings to start from.
        side: pixels of a side of the pictures, for `spaen-pictures`.
        width: factor of the number of channels of F and G, for `spaen-pictures`.
        pretrained: start F from ImageNet weights, or from random ones, for `spaen-pictures`.
        out: TOML file with a table for each data set and method; other tables stay.
        json: print one JSON document with every trial.
    """
    from firstsight.methods.abilities import needs_pictures
    from firstsight.parallel import run_jobs
    from firstsight.progress import Display
    from firstsight.tuning.settings_file import write_settings
    from firstsight.tuning.tune import open_storage, tune_job

    if not methods:
        raise InputError("methods must be named; got none; `all` is every one")
    at_least_one(jobs=jobs, partitions=partitions)
    changes = {"side": side, "width": width, "pretrained": pretrained}
    starts = _starts(methods, preset, {name: value for name, value in changes.items() if value is not None})
    aims = [objective or start.search.objective for start in starts]
    out.parent.mkdir(parents=True, exist_ok=True)
    storage = storage or f"sqlite:///{out.with_suffix('.db')}"
    open_storage(storage)
    rows, failed = [], []
    with Display() as display:
        full = data.load_for(next((start for start in starts if needs_pictures(type(start))), starts[0]), display)
        dataset = full.without_test()
        options = {"partitions": partitions, "trials": trials, "storage": storage}
        work = [(start, dataset, {"objective": aim, **options}) for start, aim in zip(starts, aims, strict=True)]
        for at, outcome in run_jobs(tune_job, work, jobs, display):
            start, aim = starts[at], aims[at]
            if outcome.error is not None:
                failed.append(start.name)
                display.say(f"{start.name:<9} failed: {outcome.error}")
                continue
            best = outcome.value[0]
            reached = f"{aim} {best.mean:.4g}, best of {len(outcome.value)}"
            origin = f"{reached}, on {partitions} sets of validation classes; {full.description}"
            write_settings(out, full.name, start, best.settings, origin)
            values = ((name, best.settings[name]) for name in start.search.space)
            shown = (f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in values)
            display.say(f"{start.name:<9} {reached}: {'  '.join(shown)}")
            trials_of = list(map(vars, outcome.value))
            rows.append({"data": full.name, "method": start.name, "objective": aim, "trials": trials_of})
    if failed:
        raise InputError(f"methods must be tuned; got {', '.join(failed)} failed; the same command tries again")
    if json:
        print(as_json({"tuned": rows}))
    else:
        print(f"The settings are in {out}; `--settings {out}` uses them")


def _starts(methods: tuple[str, ...], preset: str | None, on_pictures: dict[str, Any]) -> list[Method]:
    """Make the methods to tune, slow ones first; those that need pictures with these settings."""
    from firstsight.methods import all_names, named
    from firstsight.methods.abilities import needs_pictures

    names = all_names() if methods == ("all",) else methods
    kinds = sorted(map(named, names), key=lambda kind: kind.search.trials)
    own = [on_pictures if needs_pictures(kind) else {} for kind in kinds]
    if on_pictures and not any(own):
        raise InputError(f"{next(iter(on_pictures))} must be left out; got it for {', '.join(names)}, without pictures")
    return [kind.preset(preset, **given) if preset else kind(**given) for kind, given in zip(kinds, own, strict=True)]
