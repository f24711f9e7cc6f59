"""The command line: thin commands; the only place that prints, exits or catches.

Each command is a function whose arguments, with their help, are its options. torch is imported inside the commands
that need it, so that `--help` answers at once.
"""

from __future__ import annotations

import difflib
import json as jsonlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from firstsight.errors import InputError

if TYPE_CHECKING:
    from firstsight.data import Dataset
    from firstsight.progress import Display

USAGE = """\
usage: firstsight COMMAND [OPTIONS]

Recognise classes nobody has given you a picture of, from a description of them.

{commands}

`firstsight COMMAND --help` shows a command's options. Start with `firstsight demo`.
"""


def demo(out: Path = Path("demo"), quick: bool = False) -> None:
    """Learn some of the birds of an imaginary field guide, recognise the others, write a report.

    Renders the pictures, trains ESZSL, SP-AEN with its classification loss only, and SP-AEN, and evaluates them on
    species they never saw. Finished runs are kept, so a second call is quick.

    Args:
        out: folder for results and report.
        quick: a smaller field guide and one seed; a look, not a result.
    """
    from firstsight.demo import run_demo
    from firstsight.progress import Display

    with Display() as display:
        report = run_demo(out, quick, display)
    print(f"The report is at {report}")


def data_check(path: str, /, features: tuple[str, ...] = (), semantics: str | None = None, json: bool = False) -> None:
    """Look for what is wrong with a data set: shapes, NaN, overlapping splits, leaks.

    Exits with 0 where the data can be used and with 2 where it cannot.

    Args:
        path: a folder in the GBU layout, or `atlas`.
        features: feature files, by name or path.
        semantics: class embeddings: `att`, `sent`, `binaryAtt` or a file name.
        json: print one JSON document.
    """
    from firstsight.datasets.check import check, describe

    report = check(path, list(features) or None, semantics)
    print(as_json(report) if json else describe(report))
    if report["problems"]:
        sys.exit(2)


def analyse_variance(path: str, /, semantics: str | None = None, json: bool = False) -> None:
    """Compare the attribute variances of training and unseen test images (head of Table 1).

    A low cosine says that attributes which tell the unseen classes apart hardly vary among the seen ones.

    Args:
        path: a folder in the GBU layout, or `atlas`.
        semantics: class embeddings: `att`, `sent`, `binaryAtt` or a file name.
        json: print one JSON document, with every attribute's variances.
    """
    from firstsight.analysis import attribute_variance
    from firstsight.datasets import load
    from firstsight.progress import Display

    with Display() as display:
        data = load(path, semantics=semantics, progress=display)
    report = attribute_variance(data)
    if json:
        print(as_json(dict(vars(report), data=data.name)))
    else:
        print(f"{data.name}: cosine of attribute variances {report.cosine:.4f}")


def fit(argv: Sequence[str]) -> None:
    """Train a method and save it: `firstsight fit METHOD --data PATH --out model.safetensors`."""
    import tyro

    from firstsight.datasets import data_name
    from firstsight.methods import METHODS, Run, named
    from firstsight.progress import Display
    from firstsight.tune import read_settings

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
        tuned = read_settings(Path(file)).get(data_name(data, option(argv, "--semantics")), {})
        default = replace(default, **tuned.get(argv[0], {}))
    # tyro would put the sentence about a bad setting in a box of its own, so it is given settings that check nothing
    unchecked = type(kind.__name__, (kind,), {"__post_init__": lambda _: None, "__doc__": kind.__doc__})
    start = unchecked(**default.settings())
    flat: Any = tyro.conf.OmitArgPrefixes
    fields = ("of_method", flat[unchecked], field(default_factory=lambda: start, kw_only=True))
    form = make_dataclass("Fit", [fields], bases=(FitOptions,), kw_only=True)
    options = parsed(form, argv[1:], f"fit {argv[0]}", f"{(kind.__doc__ or '').splitlines()[0]} {kind.source}.")
    method = kind(**options.of_method.settings())
    unfinished = options.out.with_name(options.out.name + ".partial")
    with Display() as display:
        training = options.load(display).training_set()
        if unfinished.exists():
            display.say(f"continuing from {unfinished}")
        run = Run(display.stage(f"fit {argv[0]}"), unfinished, options.checkpoint_every)
        try:
            method.fit(training, run)
        except KeyboardInterrupt:
            if unfinished.exists():
                display.say(f"stopped; kept in {unfinished}; the same command continues from there")
            raise
    method.save(options.out)
    unfinished.unlink(missing_ok=True)
    print(f"{argv[0]} trained on {len(training)} images of {len(training.classes)} classes is at {options.out}")


@dataclass(kw_only=True)
class DataOptions:
    """Which data set.

    Attributes:
        data: a folder in the GBU layout, or `atlas` (rendered; `atlas:0.5` sets its semantic loss).
        features: feature files, by name or path; several are joined. `res101.mat` where none is named.
        semantics: class embeddings: `att`, `sent`, `binaryAtt` or a file name.
        reconstruction_features: feature file on which F and G of SP-AEN work; `features` where none is named.
    """

    data: str
    features: tuple[str, ...] = ()
    semantics: str | None = None
    reconstruction_features: str | None = None

    def load(self, display: Display) -> Dataset:
        """The data set."""
        from firstsight.datasets import load

        return load(self.data, self.features or None, self.semantics, self.reconstruction_features, progress=display)


@dataclass(kw_only=True)
class FitOptions(DataOptions):
    """What to train on and where to save.

    Attributes:
        out: the model's file.
        preset: settings to start from, such as `paper`; `firstsight methods` lists them.
        settings: TOML file that `tune` wrote; its table for this data and method goes on top of the preset.
        checkpoint_every: steps between two saves of an unfinished training, in OUT.partial.
    """

    out: Path
    preset: str | None = None
    settings: Path | None = None
    checkpoint_every: int = 500


def tune(
    method: str,
    /,
    data: str,
    features: tuple[str, ...] = (),
    semantics: str | None = None,
    objective: Literal["ausuc", "h", "t1"] | None = None,
    partitions: int = 3,
    preset: str | None = None,
    out: Path = Path("tuned.toml"),
    json: bool = False,
) -> None:
    """Choose a method's settings on validation classes; test images are never looked at.

    Tries every combination of the method's grid. Each is fitted without some seen classes, which then play the
    unseen ones, and without some images of the others. The winner goes to a file that `fit` and `bench` take with
    `--settings`.

    Args:
        method: its name; `firstsight methods` lists them.
        data: a folder in the GBU layout, or `atlas`.
        features: feature files, by name or path; several are joined.
        semantics: class embeddings: `att`, `sent`, `binaryAtt` or a file name.
        objective: what to maximise, as a mean over partitions; AUSUC for most methods where none is named.
        partitions: how many sets of classes to hold out; the benchmark's own first, then random ones.
        preset: settings to start from.
        out: TOML file with a table for each data set and method; other tables stay.
        json: print one JSON document with every trial.
    """
    from firstsight.methods import named
    from firstsight.progress import Display
    from firstsight.tune import tune as tune_method
    from firstsight.tune import write_settings

    kind = named(method)
    start = kind.preset(preset) if preset else kind()
    aim = objective or kind.objective
    with Display() as display:
        full = DataOptions(data=data, features=features, semantics=semantics).load(display)
        dataset = full.without_test()
        trials = tune_method(start, dataset, None, aim, partitions, display.stage(f"tune {method}"))
    best = trials[0]
    origin = f"{aim} {best.mean:.4g} on {partitions} sets of validation classes; {full.description}"
    write_settings(out, full.name, start, best.settings, origin)
    if json:
        rows = [{"settings": trial.settings, aim: trial.mean, "partitions": trial.values} for trial in trials]
        print(as_json({"data": full.name, "method": method, "objective": aim, "trials": rows}))
        return
    for trial in trials[:5]:
        print(f"{aim} {trial.mean:8.4g}  " + "  ".join(f"{name} {trial.settings[name]}" for name in kind.grid))
    print(f"The best of {len(trials)} is in {out}; `--settings {out}` uses it")


def evaluate(
    model: Path,
    /,
    data: str,
    features: tuple[str, ...] = (),
    semantics: str | None = None,
    reconstruction_features: str | None = None,
    calibrate: bool = True,
    json: bool = False,
) -> None:
    """Test a saved model: unseen classes alone, generalized, calibrated.

    Args:
        model: file that `fit` wrote.
        data: a folder in the GBU layout, or `atlas`.
        features: feature files, as in training.
        semantics: class embeddings, as in training.
        reconstruction_features: feature file for F and G, as in training; calibration trains on it.
        calibrate: choose gamma on validation classes, which trains the same settings once more.
        json: print one JSON document.
    """
    from firstsight.evaluation import evaluate as evaluate_method
    from firstsight.methods import Run, load_method
    from firstsight.progress import Display

    method = load_method(model)
    with Display() as display:
        options = DataOptions(
            data=data, features=features, semantics=semantics, reconstruction_features=reconstruction_features
        )
        dataset = options.load(display)
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


def bench(
    data: tuple[str, ...],
    methods: tuple[str, ...],
    out: Path,
    seeds: int = 3,
    features: tuple[str, ...] = (),
    semantics: tuple[str, ...] = (),
    reconstruction_features: str | None = None,
    settings: Path | None = None,
    calibrate: bool = True,
    json: bool = False,
) -> None:
    """Run methods on data sets with several seeds; finished runs are kept.

    Args:
        data: folders in the GBU layout, or `atlas`.
        methods: names, each with a preset after a colon where wanted, as in `eszsl spaen spaen:cls-only`; or `all`.
        out: folder of the results.
        seeds: how many, from 0.
        features: feature files, for every folder.
        semantics: class embeddings, for every folder; with several, each folder is run with each.
        reconstruction_features: feature file for F and G, for every folder.
        settings: TOML file that `tune` wrote, for the methods named without a preset.
        calibrate: choose gamma on validation classes, which trains the same settings once more.
        json: print one JSON document with a row per run.
    """
    from firstsight.experiment import bench as run_bench
    from firstsight.experiment import make_method, row
    from firstsight.methods import METHODS
    from firstsight.progress import Display
    from firstsight.tune import read_settings

    if seeds < 1:
        raise InputError(f"seeds must be 1 or more; got {seeds}")
    tuned = read_settings(settings) if settings else {}
    specs = tuple(METHODS) if methods == ("all",) else methods
    made = {spec: make_method(spec) for spec in specs}
    with Display() as display:
        datasets = [
            DataOptions(
                data=folder,
                features=features,
                semantics=words,
                reconstruction_features=reconstruction_features,
            ).load(display)
            for folder in data
            for words in semantics or (None,)
        ]
        runs = run_bench(datasets, made, range(seeds), out, display, calibrate, tuned)
    if json:
        print(as_json({"rows": [row(run) for run in runs]}))
    else:
        print(f"{len(runs)} runs are in {out}; `firstsight report {out} --out report.html` shows them")


def report(results: Path, /, out: Path = Path("report.html")) -> None:
    """Write the results of `bench` as one self-contained HTML page.

    Args:
        results: folder that `bench` wrote.
        out: the page.
    """
    from firstsight.report import write_report

    print(f"The report is at {write_report(results, out)}")


def methods() -> None:
    """List the methods with their sources and presets."""
    from firstsight.methods import METHODS

    for name, kind in METHODS.items():
        print(f"{name:<10}{(kind.__doc__ or '').splitlines()[0]} {kind.source}.")
        if kind.presets:
            print(f"{'':<10}presets: {', '.join(kind.presets)}")


COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "data check": data_check,
    "analyse variance": analyse_variance,
    "tune": tune,
    "fit": fit,
    "evaluate": evaluate,
    "bench": bench,
    "report": report,
    "methods": methods,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; bad input is one line on stderr and exit code 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        dispatch(argv)
    except InputError as error:
        fail(str(error), 2)
    except KeyboardInterrupt:
        fail("stopped", 130)
    except BrokenPipeError:  # the reader of our output has gone
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        fail(f"{error.filename or 'file'} must be usable; got {error.strerror or error}", 2)


def dispatch(argv: list[str]) -> None:
    """Find the command and hand it its arguments."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        lines = (f"  {name:<18}{(run.__doc__ or '').splitlines()[0]}" for name, run in COMMANDS.items())
        print(USAGE.format(commands="\n".join(lines)), end="")
        return
    if argv[0] == "--version":
        from firstsight import __version__

        print(f"firstsight {__version__}")
        return
    for words in (2, 1):
        if (name := " ".join(argv[:words])) in COMMANDS:
            run, rest = COMMANDS[name], argv[words:]
            if run is fit:
                fit(rest)
                return
            parsed(run, rest, name)
            return
    group = [name for name in COMMANDS if name.startswith(argv[0] + " ")]
    wrong = " ".join(argv[: 2 if group else 1])
    close = group or difflib.get_close_matches(wrong, COMMANDS, n=1)
    raise InputError(
        f"unknown command {wrong!r}; " + (f"did you mean {close[0]!r}?" if close else "see `firstsight --help`")
    )


def parsed(form: Callable[..., Any], argv: Sequence[str], name: str, description: str | None = None) -> Any:
    """The function called, or the dataclass made, with the options in argv."""
    import tyro

    config = (tyro.conf.FlagCreatePairsOff,)
    return tyro.cli(form, args=list(argv), prog=f"firstsight {name}", description=description, config=config)


def option(argv: Sequence[str], name: str) -> str | None:
    """The value of an option that must be known before the others can be parsed."""
    for at, word in enumerate(argv):
        if word == name and at + 1 < len(argv):
            return argv[at + 1]
        if word.startswith(name + "="):
            return word.removeprefix(name + "=")
    return None


def as_json(document: Any) -> str:
    """One JSON document; arrays become lists, NaN becomes null."""
    import numpy as np

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): plain(entry) for key, entry in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(entry) for entry in value]
        if isinstance(value, (np.ndarray, np.generic)):
            return plain(value.tolist())
        return None if isinstance(value, float) and value != value else value

    return jsonlib.dumps(plain(document), allow_nan=False)


def fail(sentence: str, code: int) -> None:
    """Say it in one line on stderr and exit."""
    print(f"firstsight: {sentence}", file=sys.stderr)
    sys.exit(code)
