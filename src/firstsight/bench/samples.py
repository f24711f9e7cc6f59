"""Some test pictures with the predictions of each method, for the report.

Pictures that a data set holds are taken as they are; of its picture files, thumbnails are made. A file that is not
there or cannot be read is left out, as a report is no place to fail for it.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from firstsight.data import Dataset, Indices
from firstsight.errors import InputError
from firstsight.evaluation.explanation import attribute_weights, strongest
from firstsight.methods import Method
from firstsight.pictures.decode import open_picture
from firstsight.results.records import Explanation, Guess, PicturesRecord, RunRecord, Sample

N_EACH = 6  # of seen classes, and of unseen ones
N_EXPLAINED = 2  # of the best unseen classes, and of the worst
SIDE = 272  # of a thumbnail, the longer one: twice the width it has on the page
QUALITY = 75  # of its JPEG, which then takes about 10 KB


def has_pictures(data: Dataset) -> bool:
    """Tell whether there is something to show: pictures, or the names of their files."""
    return bool(len(data.pictures) or data.paths)


def shown(data: Dataset) -> Indices:
    """List images of seen, then of unseen test classes, one per class; in order, so none is picked for its result."""
    images = []
    for split in (data.test_seen, data.test_unseen):
        _, first = np.unique(data.labels[split], return_index=True)
        spread = np.linspace(0, len(first) - 1, min(N_EACH, len(first))).round().astype(int)
        images.append(split[first[spread]])
    return np.concatenate(images)


def guesses(method: Method, data: Dataset, gamma: float | None) -> list[list[Guess]]:
    """Find the three best classes for each image shown, with gamma subtracted from seen scores where there is one."""
    is_seen = data.is_seen
    scores = method.scores(data.inputs(shown(data)), data.classes) - (gamma or 0.0) * is_seen
    return [
        [Guess(data.classes.names[row], bool(is_seen[row]), float(of[row])) for row in np.argsort(-of)[:3]]
        for of in scores
    ]


def explained(method: Method, data: Dataset, gamma: float | None) -> list[Explanation]:
    """Explain answers for images of the unseen classes that are recognised best and worst.

    Of a class recognised best, the first correct image is explained, against the second best class; of one recognised
    worst, the first error, against the right class. Empty where attributes have no names or the method needs seen
    classes to choose from.
    """
    if method.generalized_only or not data.classes.attributes:
        return []
    images = data.test_unseen
    is_seen = data.is_seen
    scores = method.scores(data.inputs(images), data.classes) - (gamma or 0.0) * is_seen
    ranked = np.argsort(-scores, axis=1)[:, :2]
    labels = data.labels[images]
    hits = ranked[:, 0] == labels
    inverse = np.unique(labels, return_inverse=True)[1]
    accuracy = np.bincount(inverse, hits) / np.bincount(inverse)
    order = np.argsort(-accuracy, kind="stable")
    chosen = [(row, True) for row in order[:N_EXPLAINED] if accuracy[row] > 0]
    chosen += [(row, False) for row in order[len(chosen) :][-N_EXPLAINED:] if accuracy[row] < 1]
    at = np.array([np.flatnonzero((inverse == row) & (hits == right))[0] for row, right in chosen], dtype=np.int64)
    if not len(at):
        return []
    answers = ranked[at, 0]
    others = np.where(hits[at], ranked[at, 1], labels[at])
    weights = attribute_weights(method, data.inputs(images[at]), data.classes, answers, others)
    found = []
    for image, answer, other, of_image in zip(images[at], answers, others, weights, strict=True):
        sides = strongest(of_image, data.classes.attributes)
        favouring, against = ([(name, weight) for name, weight in side] for side in sides)
        truth, predicted, second = (data.classes.names[row] for row in (data.labels[image], answer, other))
        found.append(Explanation(truth, predicted, second, as_text(data, image), favouring, against))
    return found


def samples(data: Dataset, runs: Sequence[RunRecord]) -> PicturesRecord:
    """Record the pictures with the guesses and explanations of the first run of each method, the last method first."""
    first = {run.method: run for run in reversed(runs)}
    seen = set(data.seen.tolist())
    return PicturesRecord(
        name=data.name,
        samples=[
            Sample(
                seen=int(data.labels[image]) in seen,
                truth=data.classes.names[data.labels[image]],
                picture=picture,
                predictions={label: run.guesses[at] for label, run in first.items() if run.guesses},
            )
            for at, image in enumerate(shown(data))
            if (picture := as_text(data, image))
        ],
        explained=[replace(one, method=label) for label, run in first.items() for one in run.explained or ()],
    )


def as_text(data: Dataset, image: int) -> str | None:
    """Encode an image in base64: PNG of a picture in memory, a JPEG thumbnail of a file; None without either."""
    if len(data.pictures):
        return _base64(Image.fromarray(data.pictures[image]), "PNG")
    try:
        picture = open_picture(Path(data.root or "", data.paths[image]), enough=SIDE)
    except InputError:
        return None
    picture.thumbnail((SIDE, SIDE))
    return _base64(picture, "JPEG", quality=QUALITY)


def _base64(picture: Image.Image, kind: str, **options: int) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, optimize=True, **options)
    return base64.b64encode(buffer.getvalue()).decode()
