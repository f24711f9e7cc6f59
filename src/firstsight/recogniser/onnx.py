"""A fitted method as an ONNX graph, for programs that have no torch.

    features [n, v], classes [k, a]  ->  scores [n, k]

Both may be of any number. Scaling of features and of class embeddings is in the graph, so it takes what `scores`
takes; classes are an input, so a new class needs no new graph. Gamma and temperature, where they are known, are in the
file's metadata. With the backbone, pictures [n, 3, side, side] in 0..255 take the place of features.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import json
import logging
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from firstsight.errors import InputError
from firstsight.files import replacing
from firstsight.methods import Method

if TYPE_CHECKING:
    from firstsight.recogniser.recogniser import Recogniser

Example = tuple[Tensor, Tensor]


class Scorer(nn.Module):
    """`Method.scores` of tensors, without its checks."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method
        self.networks = vars(method).get("networks_")  # so that its weights are known to belong to the graph

    def forward(self, features: Tensor, classes: Tensor) -> Tensor:
        """Return [n, k] scores of features [n, v] and class embeddings [k, a]."""
        dtype = self.method.dtype
        return self.method.score_tensors(features.to(dtype).clone(), classes.to(dtype))


class PictureScorer(nn.Module):
    """Pictures that are cut to size already, through the backbone, to scores."""

    def __init__(self, backbone: Any, scorer: Scorer) -> None:
        super().__init__()
        self.network, self.scorer = backbone.network, scorer
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(backbone.preparation, name)).view(1, 3, 1, 1))

    def forward(self, pictures: Tensor, classes: Tensor) -> Tensor:
        """Return [n, k] scores of pictures [n, 3, side, side] in 0..255 and class embeddings [k, a]."""
        x = (pictures.float() / 255 - self.mean) / self.std  # type: ignore[operator]
        return self.scorer(self.network(x).float().flatten(1), classes)


def export_method(method: Method, path: str | Path, known: Recogniser | None = None) -> Path:
    """Write the graph of a fitted method from features and classes to scores.

    Gamma and temperature of `known` go into the file's metadata.
    """
    example = (torch.rand(3, len(method.feature_mean_)), torch.rand(5, len(method.class_mean_)))
    return _write(path, method, Scorer(_on_cpu(method)), example, "features", known)


def export_recogniser(known: Recogniser, path: str | Path) -> Path:
    """Write the graph from pictures and classes to scores; the backbone must be known."""
    side = known.backbone.preparation.crop
    example = (torch.zeros(2, 3, side, side, dtype=torch.uint8), torch.rand(5, len(known.method.class_mean_)))
    module = PictureScorer(known.backbone, Scorer(_on_cpu(known.method)))
    return _write(path, known.method, module.cpu(), example, "pictures", known)


def _on_cpu(method: Method) -> Method:
    """Copy a method to the CPU, where graphs are made."""
    copy = dataclasses.replace(method, device="cpu")
    copy.restore(method.state())
    return copy


def _write(
    path: str | Path, method: Method, module: nn.Module, example: Example, source: str, known: Recogniser | None
) -> Path:
    """Write the graph of a module from `source` and classes to scores."""
    refused = f"method must be one with a graph; got {method.name}: "
    if method.name == "sse":
        raise InputError(f"{refused}its mixtures of seen classes are solved for by iterating until they no longer move")
    for package in ("onnx", "onnxscript"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise InputError(
                f"{package} must be installed to write a graph; got none; pip install 'firstsight[onnx]'"
            ) from error
    try:
        program = _exported(module.eval(), example, [source, "classes"])
    except Exception as error:  # the exporter raises anything, for what a method or a backbone does that it cannot
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise InputError(refused + reason) from error
    about: dict[str, Any] = {"method": method.name}
    if known is not None:
        about |= {"gamma": known.gamma, "temperature": known.temperature, "threshold": known.threshold}
    program.model.metadata_props["firstsight"] = json.dumps(about)
    with replacing(path) as unfinished:
        program.save(unfinished)
    return Path(path)


def _exported(module: nn.Module, example: Example, inputs: list[str]) -> Any:
    """Make the graph, for any number of rows of both inputs."""
    many = {0: torch.export.Dim.DYNAMIC}
    table = torch.export.default_decompositions()
    table[torch.ops.aten._cdist_forward.default] = distances
    with _quiet(), torch.no_grad():
        program = torch.export.export(module, example, dynamic_shapes=(many, many))
        program = program.run_decompositions(table)
        return torch.onnx.export(
            program, dynamo=True, input_names=inputs, output_names=["scores"], verbose=False, optimize=True
        )


def distances(points: Tensor, others: Tensor, p: float, compute_mode: int | None) -> Tensor:
    """Return [n, m] `torch.cdist`, which ONNX lacks, with operations that ONNX has."""
    if p == 2:
        lengths = points.square().sum(dim=1)[:, None] + others.square().sum(dim=1)
        return (lengths - 2 * points @ others.T).clamp(min=0).sqrt()
    gaps = (points[:, None] - others).abs()  # [n, m, a]
    return gaps.amax(dim=2) if p == math.inf else gaps.pow(p).sum(dim=2).pow(1 / p)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporter says about itself."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
