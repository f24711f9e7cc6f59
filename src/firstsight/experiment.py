"""Methods x data sets x seeds -> one small JSON file per finished run; resumable.

    OUT/runs/<data>-<method>-<seed>.json     a run: settings, metrics, per-class table, curve, times, versions
    OUT/data/<data>.json                     what the data set holds, and its attribute variances
    OUT/pictures/<data>.json                 some test pictures with predictions, where the data has pictures

A run's file is written whole, at its end. A second call keeps the files whose settings and data are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from firstsight.analysis import attribute_variance
from firstsight.data import Dataset
from firstsight.errors import InputError
from firstsight.evaluation import Result, SeenUnseenCurve, evaluate
from firstsight.files import write_text
from firstsight.methods import Method, Run, named, torch_device
from firstsight.pictures import guesses, samples
from firstsight.progress import Display

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
    tuned: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
) -> list[dict[str, Any]]:
    """Fit and evaluate every method on every data set with every seed.

    Args:
        datasets: with features and test images.
        methods: settings by the name that the report shows.
        seeds: each replaces the seed of the settings.
        out: folder of the results.
        display: shows progress.
        calibrate: choose gamma on validation classes, which costs a second fit.
        tuned: settings by data set and method that replace those of `methods`.

    Returns:
        the runs, in the order of data, method, seed, as their files hold them.
    """
    if len({data.name for data in datasets}) < len(datasets):
        raise InputError(f"data sets must have different names; got {', '.join(data.name for data in datasets)}")
    jobs = [(data, label, method, seed) for data in datasets for label, method in methods.items() for seed in seeds]
    identity = {data.name: fingerprint(data) for data in datasets}
    runs: list[dict[str, Any]] = []
    for done, (data, label, method, seed) in enumerate(jobs):
        display("runs", done, len(jobs))
        stage = f"{label} on {data.name}, seed {seed}"
        path = out / "runs" / f"{file_name(data.name, label, str(seed))}.json"
        changes = (tuned or {}).get(data.name, {}).get(label, {})
        method = replace(method, **changes, seed=seed)
        run = _finished(path, method, identity[data.name], calibrate)
        if run is None:
            start = time.perf_counter()
            method.fit(data.training_set(), Run(progress=display.stage(f"fit {stage}")))
            seconds = time.perf_counter() - start
            result = evaluate(method, data, calibrate, Run(progress=display.stage(f"calibrate {stage}")))
            run = _record(result, label, seed, seconds, identity[data.name], method)
            if len(data.pictures):
                run["guesses"] = guesses(method, data, result.gamma)
            write_text(path, json.dumps(run))
            display.say(f"{stage}: " + _summary(run))
        else:
            display.say(f"{stage}: kept from an earlier call")
        runs.append(run)
    display("runs", len(jobs), len(jobs))
    for data in datasets:
        write_text(out / "data" / f"{file_name(data.name)}.json", json.dumps(describe(data, identity[data.name])))
        if len(data.pictures):
            first = {run["method"]: run["guesses"] for run in reversed(runs) if run["data"] == data.name}
            write_text(out / "pictures" / f"{file_name(data.name)}.json", json.dumps(samples(data, first)))
    return runs


def _finished(path: Path, method: Method, identity: str, calibrate: bool) -> dict[str, Any] | None:
    """The run in this file, if it is this run."""
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(run, dict) or (calibrate and run.get("gamma") is None):
        return None
    same = run.get("settings") == method.settings() and run.get("fingerprint") == identity
    return run if same else None


def _record(result: Result, label: str, seed: int, seconds: float, identity: str, method: Method) -> dict[str, Any]:
    device = torch_device(method.device)
    return {
        "data": result.data,
        "method": label,
        "seed": seed,
        **result.metrics(),
        "seconds_fit": seconds,
        "seconds_score": result.seconds_score,
        "settings": result.settings,
        "classes": [vars(row) for row in result.classes],
        "curve": thinned(result.curve),
        "fingerprint": identity,
        "device": f"{device.type}, {os.cpu_count()} cores" if device.type == "cpu" else str(device),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in ("firstsight", "torch")},
        "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def thinned(curve: SeenUnseenCurve) -> dict[str, list[float]]:
    """About CURVE_POINTS points of the curve, first and last among them."""
    keep = np.unique(np.linspace(0, len(curve.u) - 1, CURVE_POINTS).round().astype(int))
    gamma = curve.gamma[np.minimum(keep[:-1], len(curve.gamma) - 1)] if len(curve.gamma) else curve.gamma
    return {"gamma": gamma.tolist(), "u": curve.u[keep].round(3).tolist(), "s": curve.s[keep].round(3).tolist()}


def describe(data: Dataset, identity: str) -> dict[str, Any]:
    """What the report says of a data set."""
    try:
        variance = attribute_variance(data)
    except InputError:  # one unseen class, say: nothing to compare, but no reason not to test on it
        variance = None
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
        "fingerprint": identity,
        "variance": variance
        and {
            "attributes": list(data.classes.attributes),
            "trainval": variance.trainval.tolist(),
            "test_unseen": variance.test_unseen.tolist(),
            "cosine": variance.cosine,
        },
    }


def fingerprint(data: Dataset) -> str:
    """Twelve hexadecimal digits of everything a run depends on: classes, labels, splits, features."""
    digest = hashlib.sha256(repr((data.classes.names, data.validation_classes, data.feature_widths)).encode())
    arrays = (data.classes.vectors, data.labels, data.trainval, data.test_seen, data.test_unseen)
    for array in (*arrays, data.features, data.reconstruction_features):
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:12]


def row(run: Mapping[str, Any]) -> dict[str, Any]:
    """The line of a run in `bench --json`."""
    return {name: run[name] for name in (*ROW, "seconds_fit", "seconds_score", "settings")}


def _summary(run: Mapping[str, Any]) -> str:
    known = (f"{name} {run[name]:.1f}" for name in ("t1", "u", "s", "h", "h_cal") if run[name] is not None)
    return "  ".join([*known, f"AUSUC {run['ausuc']:.3f}", f"in {run['seconds_fit']:.1f} s"])


def file_name(*parts: str) -> str:
    """The parts as one name that every file system takes."""
    return "-".join(re.sub(r"[^A-Za-z0-9._]+", "_", part) for part in parts)
