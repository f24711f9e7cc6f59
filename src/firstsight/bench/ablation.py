"""The paper's ablations on pictures: what each part of SP-AEN is for, each measured in one call.

    reconstruction    Table 3 and Figure 4: four ways to draw, by the pixels of unseen classes' test pictures
    objective         Table 2 and Figure 7: the parts of the loss, by accuracy and the seen-unseen curve
    alpha             Figure 5: reconstructions get worse as alpha falls

Models and numbers are kept in a folder, so the same call again continues from them. Settings are given, never
chosen here: test pictures are measured once, at the end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from firstsight.bench.ridge import Ridge, ridge
from firstsight.data import Dataset, Floats, Indices, Pictures
from firstsight.errors import InputError
from firstsight.evaluation.evaluate import Result, evaluate
from firstsight.files import write_text
from firstsight.methods import FitControls, load_method
from firstsight.methods.spaen_pictures import SPAENPictures, Variant
from firstsight.methods.spaen_pictures.crops import whole
from firstsight.pictures.sheet import grid
from firstsight.progress import Progress
from firstsight.results.document import OMITTED, document, parsed
from firstsight.results.numbers import PLAIN
from firstsight.results.records import Curve

WAYS: dict[Variant, str] = {  # by variant its name in the paper
    "direct-map": "DirectMap",
    "sae-image": "SAE-image",
    "split-branch": "SplitBranch",
    "spaen": "SP-AEN",
}
PARTS = {  # of the objective: what stays of alpha and beta
    "Cls. only": (False, False),
    "+ reconstruction": (True, False),
    "+ critic": (False, True),
    "full": (True, True),
}
AT_ONCE = 256  # pictures
N_SHOWN = 8

Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True)
class Halves:
    """What each half of SplitBranch's code is worth to G: first the half that classifies, then the other.

    The paper finds the weight that merges the first almost zero.
    """

    layers: tuple[float, float]  # Frobenius norms of the halves' own layers
    merging: tuple[float, float]  # Frobenius norms of the weights that merge them, columns of G's first layer
    reaching: tuple[float, float]  # mean length of what of unseen-class test pictures reaches G's first layer from each
    without: tuple[float, float]  # `mse` where each half of all these pictures is replaced by its mean


@dataclass(frozen=True, kw_only=True)
class PictureRow:
    """What one model draws; numbers of its E are as in `Result`."""

    way: str | None = field(default=None, metadata=OMITTED)  # name in Table 3
    alpha: float | None = field(default=None, metadata=OMITTED)
    mse: float  # of unseen-class test pictures over pixels and pictures, colours in 0..1
    mse_seen: float  # of seen-class test pictures
    t1: float | None
    u: float
    s: float
    h: float
    ausuc: float
    seconds: float  # of training
    model: str  # its file
    halves: Halves | None = field(default=None, metadata=OMITTED)  # of SplitBranch


@dataclass(frozen=True)
class PartRow:
    """What one choice of parts of the objective reached with one seed; numbers are as in `Result`."""

    parts: str
    seed: int
    t1: float | None
    u: float
    s: float
    h: float
    ausuc: float
    curve: Curve


def reconstruction(
    data: Dataset, settings: SPAENPictures, out: Path, progress: Progress | None = None
) -> list[PictureRow]:
    """Train the four ways of Table 3 and measure what they draw.

    G draws equally many pictures in each. In joint training SP-AEN's F and G learn in every step of E, so for `epochs`
    times `autoencoder_batch` / `batch` passes; `autoencoder_epochs` of the others is then set to that.

    Args:
        data: with features and pictures.
        settings: of all four, but for `variant` and, in joint training, `autoencoder_epochs`.
        out: folder of the models and of what was measured.
        progress: called with (way, steps done, steps in all, losses).

    Returns:
        a row for each way.
    """
    rows = []
    settings = with_equal_passes(settings)
    for variant, name in WAYS.items():
        method = replace(settings, variant=variant)
        rows.append(replace(_measured(method, data, out / variant, progress), way=name))
    return rows


def with_equal_passes(settings: SPAENPictures) -> SPAENPictures:
    """Return settings with which G draws as many pictures in each of the four ways."""
    if settings.schedule != "joint":
        return settings
    return replace(settings, autoencoder_epochs=settings.epochs * settings.autoencoder_batch / settings.batch)


def ridge_of(data: Dataset, settings: SPAENPictures, out: Path) -> Ridge | None:
    """Return how well a ridge regression from E's features draws.

    None where the data set has no features, or E works on features of its own making.
    """
    if data.features is None or settings.makes_features():
        return None
    file, facts = out / "ridge.json", _facts(settings, data)
    rows = _kept(Ridge, file, facts)
    if rows is None:
        rows = [ridge(data, settings)]
        _keep(file, facts, rows)
    return rows[0]


def alphas(
    data: Dataset, settings: SPAENPictures, out: Path, values: Sequence[float], progress: Progress | None = None
) -> list[PictureRow]:
    """Train SP-AEN with each alpha, and measure what `reconstruction` measures.

    Training is joint: in two stages nothing competes with the reconstruction, so alpha has no effect.
    """
    rows = []
    for alpha in values:
        method = replace(settings, alpha=alpha, variant="spaen", schedule="joint")
        rows.append(replace(_measured(method, data, out / f"alpha-{alpha:g}", progress), alpha=alpha))
    return rows


def objective(
    data: Dataset, settings: SPAENPictures, out: Path, seeds: int = 3, progress: Progress | None = None
) -> list[PartRow]:
    """Train with parts of the objective left out, on several seeds; F and G are trained once for each seed.

    Returns:
        a row for each part and seed.
    """
    rows: list[PartRow] = []
    for seed in range(settings.seed, settings.seed + seeds):
        methods = [
            replace(settings, seed=seed, alpha=settings.alpha * has_alpha, beta=settings.beta * has_beta)
            for has_alpha, has_beta in PARTS.values()
        ]
        file, facts = out / f"seed-{seed}.json", [_facts(method, data) for method in methods]
        made = _kept(PartRow, file, facts)
        if made is None:
            name_of = dict(zip(map(id, methods), PARTS, strict=True))
            controls = FitControls(None if progress is None else lambda *at, seed=seed: progress(f"seed {seed}", *at))
            made = []
            for method in SPAENPictures.fit_each(methods, data.training_set(), controls):
                result = evaluate(method, data, calibrate=False)
                curve = result.curve.thinned()
                made.append(PartRow(parts=name_of[id(method)], seed=seed, **_numbers(result), curve=curve))
            _keep(file, facts, made)
        rows += made
    return rows


def spread(rows: Sequence[Any], by: str, key: str) -> Iterator[tuple[str, float, float]]:
    """Yield name, mean and standard deviation over seeds of a number, in the order of the rows."""
    for name in dict.fromkeys(getattr(row, by) for row in rows):
        values = np.array([getattr(row, key) for row in rows if getattr(row, by) == name])
        yield name, float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0


def pixel_error(method: SPAENPictures, data: Dataset, images: Indices) -> float:
    """Compute the mean squared error per pixel of a method's reconstructions, colours in 0..1 (Table 3)."""
    errors = []
    for block in _blocks(images):
        original = in_size(pictures_of(data).take(block), method.view)
        errors.append(np.square(drawn(method, data, block) / 255.0 - original / 255.0).mean(axis=(1, 2, 3)))
    return float(np.concatenate(errors).mean())


def mean_picture_error(data: Dataset, side: int) -> float:
    """Compute the same error of one picture for all, the mean of the training pictures, as a baseline."""
    total = np.zeros((side, side, 3))
    for block in _blocks(data.trainval):
        total += in_size(pictures_of(data).take(block), side).sum(axis=0, dtype=np.float64)
    mean = total / len(data.trainval)
    errors = [
        np.square((in_size(pictures_of(data).take(block), side) - mean) / 255).mean(axis=(1, 2, 3))
        for block in _blocks(data.test_unseen)
    ]
    return float(np.concatenate(errors).mean())


def shown(data: Dataset, n: int = N_SHOWN) -> Indices:
    """List test pictures to show: the first of each of n unseen classes, evenly apart."""
    labels, first = np.unique(data.labels[data.test_unseen], return_index=True)
    picked = first[np.linspace(0, len(labels) - 1, min(n, len(labels))).round().astype(int)]
    return data.test_unseen[picked]


def drawn(method: SPAENPictures, data: Dataset, images: Indices) -> NDArray[np.uint8]:
    """Reconstruct these pictures with a method: [n, side, side, 3]."""
    originals = in_size(pictures_of(data).take(images), method.view)
    return method.reconstructed(originals, None if method.way.reads_pictures else features_of(method, data, images))


def features_of(method: SPAENPictures, data: Dataset, images: Indices) -> Floats:
    """Return the features [n, v] that E of a method works on: its own, where it makes some, or the data set's."""
    return method.features_of(pictures_of(data).take(images)) if method.makes_features() else data.inputs(images)


def in_size(pictures: Pictures, side: int) -> NDArray[np.uint8]:
    """Resize the whole of each picture: [n, side, side, 3]."""
    small = whole(torch.from_numpy(np.ascontiguousarray(pictures[:])), side)
    return small.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def _measured(method: SPAENPictures, data: Dataset, place: Path, progress: Progress | None) -> PictureRow:
    """Return the numbers of a method, trained where that has not been done yet."""
    # the dot in `alpha-0.1` begins no ending
    model, file, unfinished = (place.with_name(place.name + end) for end in (".safetensors", ".json", ".partial"))
    facts = _facts(method, data)
    rows = _kept(PictureRow, file, facts)
    if rows is not None and model.exists():
        return rows[0]
    said = None if progress is None else lambda *at: progress(place.name, *at)
    controls = FitControls(said, unfinished, checkpoint_every=200)
    start = time.perf_counter()
    method.fit(data.training_set(), controls)
    halves = halves_of(method, data) if method.variant == "split-branch" else None
    row = PictureRow(
        mse=pixel_error(method, data, data.test_unseen),
        mse_seen=pixel_error(method, data, data.test_seen),
        **_numbers(evaluate(method, data, calibrate=False)),
        seconds=time.perf_counter() - start,
        model=str(method.save(model)),
        halves=halves,
    )
    _keep(file, facts, [row])
    unfinished.unlink(missing_ok=True)
    return row


def halves_of(method: SPAENPictures, data: Dataset) -> Halves:
    """Measure what each half of a fitted SplitBranch's code is worth to G."""
    merge: Any = method.networks_["merge"]
    weight = method.networks_["generator"].get_parameter("hidden.weight").detach()
    with torch.inference_mode():
        merged = merge(method.codes(features_of(method, data, data.test_unseen)))
    parts = zip(weight.chunk(2, dim=1), merged.chunk(2, dim=1), strict=True)
    lengths = [((half @ columns.T).norm(dim=1).mean().item(), columns.norm().item()) for columns, half in parts]
    (first, first_columns), (second, second_columns) = lengths
    return Halves(
        layers=(merge.first.weight.norm().item(), merge.second.weight.norm().item()),
        merging=(first_columns, second_columns),
        reaching=(first, second),
        without=(_error_without(method, data, 0), _error_without(method, data, 1)),
    )


def _error_without(method: SPAENPictures, data: Dataset, which: int) -> float:
    """Return the error of test pictures of unseen classes where one half of their codes tells nothing apart."""
    halves = list(method.codes(features_of(method, data, data.test_unseen)).chunk(2, dim=1))
    halves[which] = halves[which].mean(dim=0, keepdim=True).expand_as(halves[which])
    code, errors = torch.cat(halves, dim=1), []
    for start in range(0, len(code), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        original = in_size(pictures_of(data).take(data.test_unseen[some]), method.view)
        errors.append(np.square(method.drawn_of(code[some]) / 255.0 - original / 255.0).mean(axis=(1, 2, 3)))
    return float(np.concatenate(errors).mean())


def model_of(row: PictureRow) -> SPAENPictures:
    """Load the method that a row is about."""
    method = load_method(row.model)
    assert isinstance(method, SPAENPictures)
    return method


def write_sheet(file: Path, data: Dataset, rows: Mapping[str, PictureRow]) -> Path:
    """Write a sheet: a row of test pictures, and below it what each model, by its name, draws of them."""
    images = shown(data)
    models = {name: model_of(row) for name, row in rows.items()}
    side = next(iter(models.values())).view
    lines = [("original", in_size(pictures_of(data).take(images), side))]
    lines += [(name, drawn(model, data, images)) for name, model in models.items()]
    names = [data.classes.names[label] for label in data.labels[images]]
    return grid(file, lines, names)


def _facts(method: SPAENPictures, data: Dataset) -> dict[str, Any]:
    """Return what a kept result must agree on."""
    return {"settings": method.settings(), "data": data.fingerprint, "stored": pictures_of(data).side}


def _numbers(result: Result) -> dict[str, Any]:
    """Return the numbers without gamma."""
    return {key: getattr(result, key) for key in PLAIN}


def _kept(kind: type[Row], file: Path, facts: Any) -> list[Row] | None:
    """Read rows that were measured with the same settings on the same data; None where there are none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        is_same = found["of"] == json.loads(json.dumps(facts))
        return [parsed(kind, row) for row in found["rows"]] if is_same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(file: Path, facts: Any, rows: Sequence[Any]) -> None:
    """Write rows with what they must agree on."""
    write_text(file, json.dumps({"of": facts, "rows": document(rows)}, indent=1))


def pictures_of(data: Dataset) -> Pictures:
    """Return the pictures of a data set that has them."""
    if not isinstance(data.pictures, Pictures):
        raise InputError(f"data set {data.name!r} must have pictures; got features only")
    return data.pictures


def _blocks(images: Indices) -> Iterator[Indices]:
    """Yield the images in blocks of AT_ONCE."""
    for start in range(0, len(images), AT_ONCE):
        yield images[start : start + AT_ONCE]
