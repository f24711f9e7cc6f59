"""How long trainings take, measured on the first steps of each on this machine."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from firstsight.data import Dataset, Indices
from firstsight.methods import Method

STEPS = 4  # of the shorter stage, in the longer of the two trainings that are measured
ENOUGH = 5.0  # seconds after which one training is enough
SHARE = 8  # a method without passes is measured on every eighth image
LENGTHS = {"epochs": "batch", "autoencoder_epochs": "autoencoder_batch"}  # passes over the images, and images a step


def estimated_seconds(method: Method, data: Dataset) -> float:
    """Estimate the seconds of a training.

    One with passes over the images is trained for a step, then for a few, and the difference is carried on to its
    whole length. One without is trained on a part of the images.
    """
    passes = {name: float(method.settings()[name]) for name in LENGTHS if name in method.settings()}
    if not passes:
        part = data.subset(np.sort(np.concatenate([_some_of_each_class(data), data.test_images])))
        return len(data.trainval) / len(part.trainval) * _seconds(method, part)
    if not any(passes.values()):
        return _seconds(method, data)
    steps = {name: max(1.0, count * len(data.trainval) / _batch(method, name)) for name, count in passes.items()}
    found: list[tuple[float, float]] = []  # share of the passes, seconds
    for least, count in ((1, 1), (2, STEPS)):
        shorter = _shorter(method, passes, min(1.0, count / min(steps.values())), least)
        share = max(shorter.settings()[name] / passes[name] for name in passes if passes[name])
        if not found or (share > found[0][0] and found[0][1] < ENOUGH):
            found.append((share, _seconds(shorter, data)))
    (first, of_first), (last, of_last) = found[0], found[-1]
    pace = (of_last - of_first) / (last - first) if last > first else of_last / last
    return of_last + max(0.0, pace) * (1 - last)


def measured_before(file: Path) -> dict[str, float]:
    """Read the seconds that an earlier call measured; nothing from a file that is not there or damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {str(key): float(seconds) for key, seconds in found.items() if 0 <= float(seconds) < math.inf}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _some_of_each_class(data: Dataset) -> Indices:
    """Return every SHARE-th training image of each class, and one at least."""
    images = data.trainval[np.argsort(data.labels[data.trainval], kind="stable")]
    counts = np.unique(data.labels[images], return_counts=True)[1]
    places = np.arange(len(images)) - np.repeat(np.cumsum(counts) - counts, counts)  # of each image in its class
    return images[places % SHARE == 0]


def _batch(method: Method, passes: str) -> int:
    """Return the images a step of these passes."""
    settings = method.settings()
    return int(settings.get(LENGTHS[passes]) or settings["batch"])


def _shorter(method: Method, passes: dict[str, float], share: float, least: int) -> Method:
    """Return the method with a share of its passes; where these are whole, with so many at least."""
    fields: dict[str, Any] = {
        name: min(int(count), max(least, round(count * share)))
        if isinstance(method.settings()[name], int)
        else count * share
        for name, count in passes.items()
    }
    return replace(method, **fields)


def _seconds(method: Method, data: Dataset) -> float:
    """Train, and return the seconds it took."""
    training = data.training_set()
    start = time.perf_counter()
    method.unfitted().fit(training)
    return time.perf_counter() - start
