"""Methods x data sets x seeds -> one small JSON file per finished run; resumable.

    OUT/runs/<data>-<method>-<seed>.json     a run: settings, metrics, per-class table, curve, times, versions
    OUT/data/<data>.json                     what the data set holds, and its attribute variances
    OUT/pictures/<data>.json                 some test pictures with predictions, where the data has pictures

`results.records` says what is in each. A run's file is written whole, at its end, and nothing here reads its numbers
to choose anything. A second call keeps the files whose settings and data are the same, and continues a training of a
network from its last checkpoint. A run that fails leaves the sentence that says why.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from firstsight.analysis import analyse, attribute_variance, projection
from firstsight.bench.provenance import PeakMemory, commit, versions
from firstsight.bench.samples import explained, guesses, has_pictures, samples
from firstsight.data import Dataset, Floats
from firstsight.devices import torch_device
from firstsight.errors import InputError
from firstsight.evaluation.evaluate import Result, evaluate
from firstsight.files import file_name
from firstsight.methods import FitControls, Method, named
from firstsight.methods.abilities import DrawsPictures
from firstsight.parallel import Reports, run_jobs
from firstsight.pictures.cache import with_pictures
from firstsight.progress import Display
from firstsight.report.names import display_name
from firstsight.results.analyses import Analyses
from firstsight.results.bootstrap import Images
from firstsight.results.document import Record
from firstsight.results.numbers import METRICS
from firstsight.results.records import DataRecord, RunRecord
from firstsight.tuning.settings_file import Chosen

ROW = ("data", "method", "seed", *(key for key in METRICS if key != "ausuc_per_sample"))
SUMMARY = ("t1", "u", "s", "h", "h_cal")
Kind = TypeVar("Kind", bound=Record)
Found = TypeVar("Found")


def make_method(spec: str, **changes: Any) -> Method:
    """Make the method of a spec `name` or `name:preset`, as in `spaen:cls-only`, with these settings changed."""
    name, _, preset = spec.partition(":")
    return named(name).preset(preset, **changes) if preset else named(name)(**changes)


class Planned(NamedTuple):
    """One run to make."""

    data: Dataset
    label: str  # of the method, which the report shows
    method: Method  # with all its settings
    origin: str  # where the settings come from, in words

    def __str__(self) -> str:
        return f"{self.label} on {self.data.name}, seed {self.method.seed}"

    def path(self, out: Path) -> Path:
        """Return the file of the run in a results folder."""
        return out / "runs" / f"{file_name(self.data.name, self.label, str(self.method.seed))}.json"

    def unfinished(self, out: Path) -> Path:
        """Return the file that keeps the training until it ends; other settings or data have another."""
        facts = repr((sorted(self.method.settings().items()), self.data.fingerprint))
        return self.path(out).with_suffix(f".{hashlib.sha256(facts.encode()).hexdigest()[:12]}.partial")

    def record(self) -> RunRecord:
        """Return what is known of the run before it is made."""
        return RunRecord(
            data=self.data.name,
            method=self.label,
            title=display_name(self.label, {self.method.name: self.method.title}),
            seed=self.method.seed,
            settings=self.method.settings(),
            defaults=type(self.method)().settings(),
            settings_from=self.origin,
            fingerprint=self.data.fingerprint,
        )


@dataclass(frozen=True)
class Bench:
    """Methods to fit and evaluate on data sets, with seeds.

    Attributes:
        datasets: with features and test images.
        methods: settings by the label that the report shows.
        seeds: each replaces the seed of the settings; a method without randomness runs with the first alone.
        calibrate: choose gamma on validation classes, which costs a second fit.
        tuned: settings by data set and method that replace those of `methods`.
    """

    datasets: Sequence[Dataset]
    methods: Mapping[str, Method]
    seeds: Sequence[int]
    calibrate: bool = True
    tuned: Mapping[tuple[str, str], Chosen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [data.name for data in self.datasets]
        if len(set(names)) < len(names):
            raise InputError(f"data sets must have different names; got {', '.join(names)}")

    def run(self, out: Path, display: Display, jobs: int = 1) -> list[RunRecord]:
        """Make the runs that a results folder does not hold yet.

        Args:
            out: folder of the results.
            display: shows progress.
            jobs: runs side by side, each in a process of its own where there are several.

        Returns:
            all runs, in the order of data, method, seed; one that failed has an `error`.
        """
        for data in self.datasets:
            path = out / "data" / f"{file_name(data.name)}.json"
            known = _kept(DataRecord, path)
            if known is None or known.fingerprint != data.fingerprint:
                describe(data).write(path)
        planned = list(self._planned())
        runs = {number: run for number, one in enumerate(planned) if (run := self._finished(one, out)) is not None}
        missing = [number for number in range(len(planned)) if number not in runs]
        missing.sort(key=lambda number: planned[number].method.search.trials)  # long runs first, so no core idles
        if runs:
            display.say(f"{len(runs)} of {len(planned)} runs kept from an earlier call")
        display("runs", 0, len(missing))
        threads = max(1, (os.cpu_count() or 1) // jobs)
        origin: dict[str, Any] = {"versions": versions(), "commit": commit(), "threads": threads}
        work = [(planned[number], self.calibrate, planned[number].unfinished(out)) for number in missing]
        for done, (at, outcome) in enumerate(run_jobs(run_one, work, jobs, display), start=1):
            one = planned[missing[at]]
            record: RunRecord = outcome.value or replace(one.record(), error=outcome.error)
            record = replace(record, **origin, finished=time.strftime("%Y-%m-%d %H:%M:%S"))
            record.write(one.path(out))
            one.unfinished(out).unlink(missing_ok=True)
            runs[missing[at]] = record
            display.say(f"{one}: {_summary(record)}")
            display("runs", done, len(missing))
        records = [runs[number] for number in range(len(planned))]
        for data in filter(has_pictures, self.datasets):
            of_data = [run for run in records if run.data == data.name and run.guesses is not None]
            samples(data, of_data).write(out / "pictures" / f"{file_name(data.name)}.json")
        return records

    def _planned(self) -> Iterator[Planned]:
        """Yield the runs in the order of data, method, seed."""
        for data in self.datasets:
            for label, method in self.methods.items():
                chosen = self.tuned.get((data.name, label))
                for seed in self.seeds if method.is_random else self.seeds[:1]:
                    with_seed = replace(method, **{**(chosen.settings if chosen else {}), "seed": seed})
                    origin = chosen.origin or "a settings file" if chosen else origin_of(method)
                    yield Planned(data, label, with_seed, origin)

    def _finished(self, one: Planned, out: Path) -> RunRecord | None:
        """Return the record of a run where the folder holds it with the same settings and data."""
        run = _kept(RunRecord, one.path(out))
        if run is None or run.error or (self.calibrate and run.gamma is None):
            return None
        return run if (run.settings, run.fingerprint) == (one.method.settings(), one.data.fingerprint) else None


def origin_of(method: Method) -> str:
    """Tell whether the settings are the defaults, a preset or given by hand; seed and device aside."""
    same = {"seed": method.seed, "device": method.device}
    known: dict[str, Mapping[str, Any]] = {"defaults": {}}
    known |= {f"preset {name}": changes for name, changes in method.presets.items()}
    alike = (name for name, changes in known.items() if type(method)(**{**changes, **same}) == method)
    return next(alike, "given by hand")


def run_one(planned: Planned, calibrate: bool, unfinished: Path, reports: Reports) -> RunRecord:
    """Fit, or end a fit that was killed, evaluate and analyse."""
    data, method = planned.data, planned.method
    learned = data
    if isinstance(method, DrawsPictures):
        learned, *_ = with_pictures(data, method.view, progress=partial(reports, f"pictures of {data.name}"))
    with PeakMemory() as memory:
        start, was_begun = time.perf_counter(), unfinished.exists()
        method.fit(learned.training_set(), FitControls(partial(reports, f"fit {planned}"), unfinished))
        seconds = None if was_begun else time.perf_counter() - start
        result = evaluate(method, learned, calibrate, FitControls(progress=partial(reports, f"calibrate {planned}")))
    device = torch_device(method.device)
    shows = has_pictures(data)
    return replace(
        planned.record(),
        **{key: getattr(result, key) for key in METRICS},
        seconds_fit=seconds,
        seconds_score=result.seconds_score,
        memory=memory.peak,
        classes=list(result.classes),
        temperature=result.temperature,
        curve=result.curve.thinned(),
        images=Images.encode(result.lead, result.right),
        device=f"{device.type}, {os.cpu_count()} cores" if device.type == "cpu" else str(device),
        analyses=analysed(result, data),
        guesses=guesses(method, data, result.gamma) if shows else None,
        explained=explained(method, data, result.gamma) if shows else None,
    )


def analysed(result: Result, data: Dataset) -> Analyses:
    """Run all analyses of a result's scores on a data set."""
    labels = data.labels[data.test_images]
    return analyse(result.scores, labels, data.is_seen, data.classes, result.gamma, result.temperature)


def describe(data: Dataset, attributes: Floats | None = None) -> DataRecord:
    """Record what the report says of a data set, with a map of its images where their `attributes` [n, a] are given."""
    parts = ("classes", "seen", "unseen", "trainval", "test_seen", "test_unseen")
    return DataRecord(
        name=data.name,
        description=data.description,
        images=len(data.labels),
        attributes=data.classes.vectors.shape[1],
        features=None if data.features is None else data.features.shape[1],
        **{part: len(getattr(data, part)) for part in parts},
        fingerprint=data.fingerprint,
        labels=data.labels[data.test_images].tolist(),
        names=list(data.classes.names),
        is_seen=data.is_seen.astype(int).tolist(),
        projection=_possible(partial(projection, attributes=attributes), data),
        variance=_possible(attribute_variance, data),
    )


def _possible(analysis: Callable[[Dataset], Found], data: Dataset) -> Found | None:
    """Analyse the classes; None where they are too few or do not differ, which is no reason not to test on them."""
    try:
        return analysis(data)
    except InputError:
        return None


def _kept(kind: type[Kind], path: Path) -> Kind | None:
    """Read a record; None where there is no file, or none that can be read."""
    try:
        return kind.read(path)
    except InputError:
        return None


def row(run: RunRecord) -> dict[str, Any]:
    """Return the line of a run in `bench --json`."""
    return {name: getattr(run, name) for name in (*ROW, "seconds_fit", "seconds_score", "settings", "error")}


def _summary(run: RunRecord) -> str:
    """Say in one line what a run reached, or why it failed."""
    if run.error is not None:
        return f"failed: {run.error}"
    known = (f"{key} {value:.1f}" for key in SUMMARY if (value := run.number(key)) is not None)
    took = "continued from where it was stopped" if run.seconds_fit is None else f"in {run.seconds_fit:.1f} s"
    return "  ".join([*known, f"AUSUC {run.ausuc:.3f}", took])
