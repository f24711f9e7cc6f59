"""`firstsight export`: write a graph for programs without torch."""

from __future__ import annotations

from pathlib import Path


def export(model: Path, /, onnx: Path, with_backbone: bool = False) -> None:
    """Write a saved model as an ONNX graph from features and class embeddings to scores.

    Args:
        model: file that `fit` or `recogniser` wrote.
        onnx: file of the graph.
        with_backbone: make a graph from cropped pictures instead of features; needs a recogniser with a backbone.
    """
    from firstsight.checkpoint import read
    from firstsight.methods import load_method
    from firstsight.recogniser.onnx import export_method, export_recogniser
    from firstsight.recogniser.recogniser import Recogniser

    if with_backbone or "recogniser" in read(model)[1]:
        known = Recogniser.load(model, "cpu")
        export_recogniser(known, onnx) if with_backbone else export_method(known.method, onnx, known)
    else:
        export_method(load_method(model, "cpu"), onnx)
    source = "pictures" if with_backbone else "features"
    print(f"the graph from {source} and classes to scores is at {onnx}")
