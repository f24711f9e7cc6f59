"""Methods x data sets x seeds -> one small JSON file per finished run; resumable.

    OUT/runs/<data>-<method>-<seed>.json     a run: settings, metrics, per-class table, curve, times, versions
    OUT/data/<data>.json                     what the data set holds, and its attribute variances
    OUT/pictures/<data>.json                 some test pictures with predictions, where the data has pictures

A run's file is written whole, at its end, and nothing here reads its numbers to choose anything. A second call keeps
the files whose settings and data are the same. A run that fails leaves the sentence that says why.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil

from firstsight.analysis import analyse, attribute_variance, projection
from firstsight.bench.samples import explained, guesses, has_pictures, samples
from firstsight.data import Dataset
from firstsight.devices import torch_device
from firstsight.errors import InputError
from firstsight.evaluation.evaluate import evaluate
from firstsight.evaluation.metrics import SeenUnseenCurve
from firstsight.files import file_name, write_text
from firstsight.methods import FitControls, Method, named
from firstsight.methods.abilities import DrawsPictures
from firstsight.parallel import Reports, run_jobs
from firstsight.pictures.cache import with_pictures
from firstsight.progress import Display
from firstsight.results.bootstrap import Images
from firstsight.tuning.settings_file import Chosen

ROW = ("data", "method", "seed", "t1", "u", "s", "h", "ausuc", "gamma", "u_cal", "s_cal", "h_cal")
CURVE_POINTS = 400  # kept in the file; the areas are computed on all of them


def make_method(spec: str, **changes: Any) -> Method:
    """The method of a spec `name` or `name:preset`, as in `spaen:cls-only`."""
    name, _, preset = spec.partition(":")
    return named(name).preset(preset, **changes) if preset else named(name)(**changes)


def bench(
    datasets: Sequence[Dataset],
    methods: Mapping[str, Method],
    seeds: Sequence[int],
    out: Path,
    display: Display,
    calibrate: bool = True,
    tuned: Mapping[tuple[str, str], Chosen] | None = None,
    jobs: int = 1,
) -> list[dict[str, Any]]:
    """Fit and evaluate every method on every data set with every seed.

    Args:
        datasets: with features and test images.
        methods: settings by the name that the report shows.
        seeds: each replaces the seed of the settings; a method without randomness runs with the first alone.
        out: folder of the results.
        display: shows progress.
        calibrate: choose gamma on validation classes, which costs a second fit.
        tuned: settings by data set and method that replace those of `methods`.
        jobs: runs side by side, each in a process of its own where there are several.

    Returns:
        the runs, in the order of data, method, seed, as their files hold them; one that failed has an `error`.
    """
    if len({data.name for data in datasets}) < len(datasets):
        raise InputError(f"data sets must have different names; got {', '.join(data.name for data in datasets)}")
    for data in datasets:
        about_data = out / "data" / f"{file_name(data.name)}.json"
        if _read(about_data).get("fingerprint") != data.fingerprint:
            write_text(about_data, json.dumps(describe(data)))
    about = {"versions": versions(), "commit": commit(), "threads": max(1, (os.cpu_count() or 1) // jobs)}
    planned = list(_plan(datasets, methods, seeds, tuned or {}))
    paths = [
        out / "runs" / f"{file_name(data.name, label, str(method.seed))}.json" for data, label, method, _ in planned
    ]
    runs: list[dict[str, Any] | None] = [
        _finished(path, method, data.fingerprint, calibrate)
        for path, (data, _, method, _) in zip(paths, planned, strict=True)
    ]
    missing = [number for number, run in enumerate(runs) if run is None]
    missing.sort(
        key=lambda number: planned[number][2].search.trials
    )  # long ones first, so that no core idles at the end
    if len(missing) < len(planned):
        display.say(f"{len(planned) - len(missing)} of {len(planned)} runs kept from an earlier call")
    display("runs", 0, len(missing))
    work = [(*planned[number][:3], calibrate) for number in missing]
    for done, (at, outcome) in enumerate(run_jobs(run_one, work, jobs, display), start=1):
        data, label, method, origin = planned[missing[at]]
        run = {
            "data": data.name,
            "method": label,
            "seed": method.seed,
            **(outcome.value or {"error": outcome.error}),
            "settings": method.settings(),
            "defaults": type(method)().settings(),
            "settings_from": origin,
            "fingerprint": data.fingerprint,
            **about,
            "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        write_text(paths[missing[at]], json.dumps(run))
        runs[missing[at]] = run
        display.say(f"{_stage(data, label, method)}: {_summary(run)}")
        display("runs", done, len(missing))
    finished = [run for run in runs if run is not None]
    for data in datasets:
        if has_pictures(data):
            of_data = [run for run in reversed(finished) if run["data"] == data.name and "guesses" in run]
            first = {run["method"]: run for run in of_data}
            shown = samples(data, {label: run["guesses"] for label, run in first.items()})
            shown["explained"] = [
                {**one, "method": label} for label, run in first.items() for one in run.get("explained", ())
            ]
            write_text(out / "pictures" / f"{file_name(data.name)}.json", json.dumps(shown))
    return finished


def _plan(
    datasets: Sequence[Dataset],
    methods: Mapping[str, Method],
    seeds: Sequence[int],
    tuned: Mapping[tuple[str, str], Chosen],
) -> Iterator[tuple[Dataset, str, Method, str]]:
    """(data, label, method with all its settings, where these come from) for each run."""
    for data in datasets:
        for label, method in methods.items():
            chosen = tuned.get((data.name, label))
            for seed in seeds if method.is_random else seeds[:1]:
                with_seed = replace(method, **(chosen.settings if chosen else {}), seed=seed)
                origin = chosen.origin or "a settings file" if chosen else _origin(method)
                yield data, label, with_seed, origin


def _origin(method: Method) -> str:
    """Whether these are the defaults, a preset or settings given by hand; seed and device aside."""
    same = {"seed": method.seed, "device": method.device}
    known: dict[str, Mapping[str, Any]] = {"defaults": {}}
    known |= {f"preset {name}": changes for name, changes in method.presets.items()}
    alike = (name for name, changes in known.items() if type(method)(**{**changes, **same}) == method)
    return next(alike, "given by hand")


def run_one(data: Dataset, label: str, method: Method, calibrate: bool, reports: Reports) -> dict[str, Any]:
    """Fit and evaluate; what the run's file says of it."""
    stage = _stage(data, label, method)
    learned = (
        with_pictures(data, method.side, progress=partial(reports, f"pictures of {data.name}"))[0]
        if isinstance(method, DrawsPictures)
        else data
    )
    with PeakMemory() as memory:
        start = time.perf_counter()
        method.fit(learned.training_set(), FitControls(progress=partial(reports, f"fit {stage}")))
        seconds = time.perf_counter() - start
        result = evaluate(method, learned, calibrate, FitControls(progress=partial(reports, f"calibrate {stage}")))
    device = torch_device(method.device)
    record: dict[str, Any] = {
        **result.metrics(),
        "seconds_fit": seconds,
        "seconds_score": result.seconds_score,
        "memory": memory.peak,
        "classes": [vars(row) for row in result.classes],
        "temperature": result.temperature,
        "curve": thinned(result.curve),
        "images": Images.encode(result.lead, result.right),
        "device": f"{device.type}, {os.cpu_count()} cores" if device.type == "cpu" else str(device),
    }
    tests = data.test_images
    is_seen = data.is_seen
    known = (data.labels[tests], is_seen, data.classes, result.gamma, result.temperature)
    record["analyses"] = analyse(result.scores, *known)
    if has_pictures(data):
        record["guesses"] = guesses(method, data, result.gamma)
        record["explained"] = explained(method, data, result.gamma)
    return record


def _stage(data: Dataset, label: str, method: Method) -> str:
    return f"{label} on {data.name}, seed {method.seed}"


class PeakMemory:
    """The most memory this process held while the block ran, `peak` in bytes, as a thread sees it every 10 ms."""

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
    """Of what decides the numbers."""
    return {"python": platform.python_version()} | {name: version(name) for name in ("firstsight", "torch", "numpy")}


def commit() -> str | None:
    """The git commit that firstsight is at, `+dirty` where files differ from it; None outside a repository."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head, changes = (
            subprocess.run([*git, *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()
            for words in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+dirty" if changes else "")


def _read(path: Path) -> dict[str, Any]:
    """The file's document; empty where there is none, or none that can be read."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _finished(path: Path, method: Method, identity: str, calibrate: bool) -> dict[str, Any] | None:
    """The run in this file, if it is this run."""
    run = _read(path)
    if not run or "error" in run or (calibrate and run.get("gamma") is None):
        return None
    same = run.get("settings") == method.settings() and run.get("fingerprint") == identity
    return run if same else None


def thinned(curve: SeenUnseenCurve) -> dict[str, list[float]]:
    """About CURVE_POINTS points of the curve, first and last among them."""
    keep = np.unique(np.linspace(0, len(curve.u) - 1, CURVE_POINTS).round().astype(int))
    gamma = curve.gamma[np.minimum(keep[:-1], len(curve.gamma) - 1)] if len(curve.gamma) else curve.gamma
    return {"gamma": gamma.tolist(), "u": curve.u[keep].round(3).tolist(), "s": curve.s[keep].round(3).tolist()}


def describe(data: Dataset) -> dict[str, Any]:
    """What the report says of a data set."""
    try:
        variance = attribute_variance(data)
    except InputError:  # one unseen class, say: nothing to compare, but no reason not to test on it
        variance = None
    try:
        projected = projection(data)
    except InputError:  # too few classes or attributes for a map
        projected = None
    return {
        "name": data.name,
        "description": data.description,
        "images": len(data.labels),
        "classes": len(data.classes),
        "seen": len(data.seen),
        "unseen": len(data.unseen),
        "attributes": data.classes.vectors.shape[1],
        "features": None if data.features is None else data.features.shape[1],
        "trainval": len(data.trainval),
        "test_seen": len(data.test_seen),
        "test_unseen": len(data.test_unseen),
        "fingerprint": data.fingerprint,
        "labels": data.labels[data.test_images].tolist(),
        "names": list(data.classes.names),
        "is_seen": data.is_seen.astype(int).tolist(),
        "projection": projected,
        "variance": variance
        and {
            "attributes": list(data.classes.attributes),
            "trainval": variance.trainval.tolist(),
            "test_unseen": variance.test_unseen.tolist(),
            "cosine": variance.cosine,
        },
    }


def row(run: Mapping[str, Any]) -> dict[str, Any]:
    """The line of a run in `bench --json`."""
    return {name: run.get(name) for name in (*ROW, "seconds_fit", "seconds_score", "settings", "error")}


def _summary(run: Mapping[str, Any]) -> str:
    if "error" in run:
        return f"failed: {run['error']}"
    known = (f"{name} {run[name]:.1f}" for name in ("t1", "u", "s", "h", "h_cal") if run[name] is not None)
    return "  ".join([*known, f"AUSUC {run['ausuc']:.3f}", f"in {run['seconds_fit']:.1f} s"])
