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
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from firstsight.errors import InputError
from firstsight.files import replacing
from firstsight.methods import Method
from firstsight.methods.scaling import scale_classes, scale_features

if TYPE_CHECKING:
    from firstsight.recogniser import Recogniser

NO_GRAPH = {  # methods without one, and why
    "sse": "its mixtures are solved for by iterating until they no longer move",
    "cmt_star": "it compares every image with all training images",
}


class Scorer(nn.Module):
    """`Method.scores` of tensors, without its checks."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method
        self.networks = vars(method).get("networks_")  # so that its weights are known to belong to the graph
        self.widths = tuple(method.feature_widths_.tolist())

    def forward(self, features: Tensor, classes: Tensor) -> Tensor:
        """[n, k] of features [n, v] and class embeddings [k, a]."""
        method = self.method
        features = scale_features(
            method.scaling,
            features.to(method.dtype).clone(),
            self.widths,
            method.feature_mean_,
            method.feature_deviation_,
        )
        vectors = scale_classes(method.class_scaling, classes.to(method.dtype), method.class_mean_)
        return method._scores(features, vectors).float()


class PictureScorer(nn.Module):
    """Pictures that are cut to size already, through the backbone, to scores."""

    def __init__(self, backbone: Any, scorer: Scorer) -> None:
        super().__init__()
        self.network, self.scorer = backbone.network, scorer
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(backbone.preparation, name)).view(1, 3, 1, 1))

    def forward(self, pictures: Tensor, classes: Tensor) -> Tensor:
        """[n, k] of pictures [n, 3, side, side] in 0..255 and class embeddings [k, a]."""
        x = (pictures.float() / 255 - self.mean) / self.std  # type: ignore[operator]
        return self.scorer(self.network(x).float().flatten(1), classes)


def export_method(method: Method, path: str | Path, known: Recogniser | None = None) -> Path:
    """Write the graph from features and classes to scores.

    Args:
        method: fitted.
        path: the ONNX file.
        known: whose gamma and temperature go into the file's metadata.
    """
    v, a = len(method.feature_mean_), len(method.class_mean_)
    example = (torch.rand(3, v), torch.rand(5, a))
    return _write(path, method, Scorer(_on_cpu(method)).eval(), example, "features", known)


def export_recogniser(known: Recogniser, path: str | Path) -> Path:
    """Write the graph from pictures and classes to scores; the backbone must be known."""
    backbone = known.backbone
    side = backbone.preparation.crop
    example = (torch.zeros(2, 3, side, side, dtype=torch.uint8), torch.rand(5, len(known.method.class_mean_)))
    module = PictureScorer(backbone, Scorer(_on_cpu(known.method))).eval().cpu()
    return _write(path, known.method, module, example, "pictures", known)


def _on_cpu(method: Method) -> Method:
    """The method where graphs are made."""
    copy = dataclasses.replace(method, device="cpu")
    copy._restore(method._state())
    return copy


def _write(
    path: str | Path,
    method: Method,
    module: nn.Module,
    example: tuple[Tensor, Tensor],
    source: str,
    known: Recogniser | None,
) -> Path:
    if method.name in NO_GRAPH:
        raise InputError(f"method must be one with a graph; got {method.name}: {NO_GRAPH[method.name]}")
    path = Path(path)
    for package in ("onnx", "onnxscript"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise InputError(
                f"{package} must be installed to write a graph; got none; pip install 'firstsight[onnx]'"
            ) from error
    many = {0: torch.export.Dim.DYNAMIC}
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                example,
                dynamo=True,
                input_names=[source, "classes"],
                output_names=["scores"],
                dynamic_shapes=(many, many),
                verbose=False,
            )
    except Exception as error:  # the exporter raises whatever a method does that it does not know
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"method must be one with a graph; got {method.name}: {reason}") from error
    about: dict[str, Any] = {"method": method.name}
    if known is not None:
        about |= {"gamma": known.gamma, "temperature": known.temperature, "threshold": known.threshold}
    assert program is not None
    program.model.metadata_props["firstsight"] = json.dumps(about)
    with replacing(path) as unfinished:
        program.save(unfinished)
    return path


@contextlib.contextmanager
def _quiet() -> Any:
    """Without what the exporter has to say about itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
