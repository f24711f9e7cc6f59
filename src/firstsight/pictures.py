"""Some test pictures with what each method takes them for, for the report."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from firstsight.data import Dataset, Indices
from firstsight.methods import Method

N_EACH = 6  # of seen classes, and of unseen ones


def shown(data: Dataset) -> Indices:
    """Images of seen, then of unseen test classes, one per class; in order, so none is picked for its result."""
    images = []
    for split in (data.test_seen, data.test_unseen):
        _, first = np.unique(data.labels[split], return_index=True)
        spread = np.linspace(0, len(first) - 1, min(N_EACH, len(first))).round().astype(int)
        images.append(split[first[spread]])
    return np.concatenate(images)


def guesses(method: Method, data: Dataset, gamma: float | None) -> list[list[dict[str, Any]]]:
    """The three best classes for each image shown, with gamma subtracted from seen scores where there is one."""
    is_seen = np.isin(np.arange(len(data.classes)), data.seen)
    scores = method.scores(data.inputs(shown(data)), data.classes) - (gamma or 0.0) * is_seen
    return [
        [
            {"name": data.classes.names[row], "seen": bool(is_seen[row]), "score": float(of[row])}
            for row in np.argsort(-of)[:3]
        ]
        for of in scores
    ]


def samples(data: Dataset, guessed: Mapping[str, list[list[dict[str, Any]]]]) -> dict[str, Any]:
    """The pictures with their classes and every method's guesses, by the name that the report shows."""
    seen = set(data.seen.tolist())
    return {
        "name": data.name,
        "samples": [
            {
                "seen": int(data.labels[image]) in seen,
                "truth": data.classes.names[data.labels[image]],
                "picture": as_png(data.pictures[image]),
                "predictions": {label: of[at] for label, of in guessed.items()},
            }
            for at, image in enumerate(shown(data))
        ],
    }


def as_png(picture: np.ndarray) -> str:
    """Base64 of the picture, [h, w, 3] bytes, as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
