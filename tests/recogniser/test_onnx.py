"""Graphs say what methods say, in another program."""

import json
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from firstsight.data import ClassEmbeddings
from firstsight.errors import InputError
from firstsight.methods import METHODS
from firstsight.recogniser.onnx import distances, export_method, export_recogniser
from firstsight.recogniser.recogniser import Recogniser
from tests.support.tiny import FAST, tiny_dataset, widths

SCALINGS = [("none", "none"), ("l2", "l2"), ("standard", "centred"), ("standard-l2", "centred")]


def fitted(name, data=None, **changes):
    data = data or tiny_dataset(**widths(name), feature_widths=(3, 4))
    return METHODS[name](**(FAST.get(name, {}) | {"device": "cpu"} | changes)).fit(data.training_set()), data


def scores(path, features, vectors):
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    return session.run(None, {source: features, "classes": vectors.astype(np.float32)})[0]


def agrees(method, path, data):
    """For any number of images and classes; scores of size 1 to 1e-4, larger ones to as many digits."""
    rng = np.random.default_rng(0)
    for n, k in ((1, 1), (2, 5), (17, 40)):
        vectors = rng.normal(size=(k, data.classes.vectors.shape[1])).astype(np.float32)
        classes = ClassEmbeddings(tuple(map(str, range(k))), vectors)
        features = data.features[:n]
        expected = method.scores(features, classes)
        found = scores(path, features, vectors)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.fixture(autouse=True)
def needs_onnx():
    pytest.importorskip("onnxscript")


@pytest.mark.parametrize("name", [name for name in METHODS if name != "sse"])
def test_every_method_that_has_a_graph(name, tmp_path):
    method, data = fitted(name)
    agrees(method, export_method(method, tmp_path / "graph.onnx"), data)


@pytest.mark.parametrize(("scaling", "class_scaling"), SCALINGS)
def test_scaling_is_in_the_graph(scaling, class_scaling, tmp_path):
    method, data = fitted("ale", scaling=scaling, class_scaling=class_scaling)
    agrees(method, export_method(method, tmp_path / "graph.onnx"), data)


def test_the_other_direction_of_sae(tmp_path):
    method, data = fitted("sae", direction="v2s")
    agrees(method, export_method(method, tmp_path / "graph.onnx"), data)


def test_the_other_compatibility_of_spaen(tmp_path):
    method, data = fitted("spaen", compatibility="dot", output="leaky")
    agrees(method, export_method(method, tmp_path / "graph.onnx"), data)


@pytest.mark.parametrize("neighbours", [3, 1000])
def test_the_other_novelty_of_cmt_star(neighbours, tmp_path):
    method, data = fitted("cmt_star", novelty="loop", neighbours=neighbours)
    agrees(method, export_method(method, tmp_path / "graph.onnx"), data)


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("sse", {}, "its mixtures of seen classes are solved for by iterating until they no longer move"),
    ],
)
def test_methods_without_a_graph_say_why(name, changes, reason, tmp_path):
    method, _ = fitted(name, **changes)
    with pytest.raises(InputError) as caught:
        export_method(method, tmp_path / "graph.onnx")
    assert str(caught.value) == f"method must be one with a graph; got {name}: {reason}"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("p", [1.0, 2.0, np.inf])
def test_distances_are_those_of_torch(p):
    points, others = torch.rand(7, 3, dtype=torch.float64), torch.rand(30, 3, dtype=torch.float64)
    torch.testing.assert_close(distances(points, others, p, None), torch.cdist(points, others, p=p))


def test_the_method_stays_as_it_was(tmp_path):
    method, data = fitted("spaen")
    before = method.scores(data.features, data.classes)
    export_method(method, tmp_path / "graph.onnx")
    np.testing.assert_array_equal(method.scores(data.features, data.classes), before)


def test_calibration_is_in_the_metadata(tmp_path):
    onnx = pytest.importorskip("onnx")
    method, data = fitted("eszsl")
    known = Recogniser.of(method, data)
    path = export_method(method, tmp_path / "graph.onnx", known)
    (entry,) = [entry for entry in onnx.load(path).metadata_props if entry.key == "firstsight"]
    assert json.loads(entry.value) == {
        "method": "eszsl", "gamma": known.gamma, "temperature": known.temperature, "threshold": known.threshold,
    }  # fmt: skip


@pytest.fixture
def pooling(monkeypatch):
    """A backbone with a network that is small enough to follow by hand."""

    class Backbone:
        name, transform, width = "pooling", "as it is", 7
        preparation = types.SimpleNamespace(mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5), crop=8)

        def __init__(self):
            with torch.random.fork_rng():
                torch.manual_seed(0)
                self.network = nn.Sequential(
                    nn.Conv2d(3, 7, 3), nn.BatchNorm2d(7), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
                ).eval()

    backbone = Backbone()
    module = types.ModuleType("firstsight.features.load")
    module.load_backbone = lambda name, device="auto": backbone
    monkeypatch.setitem(sys.modules, "firstsight.features.load", module)
    return backbone


def test_pictures_to_scores(pooling, tmp_path):
    method, data = fitted("spaen")
    known = replace(Recogniser.of(method, data, calibrate=False), feature_source={"backbone": "pooling"})
    path = export_recogniser(known, tmp_path / "graph.onnx")
    pictures = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    x = torch.from_numpy(pictures).float() / 255
    x = (x - torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)) / torch.tensor([0.2, 0.25, 0.5]).view(1, 3, 1, 1)
    with torch.no_grad():
        features = pooling.network(x).flatten(1).numpy()
    expected = method.scores(features, data.classes)
    np.testing.assert_allclose(scores(path, pictures, data.classes.vectors), expected, rtol=1e-4, atol=1e-4)


def test_an_export_needs_its_packages(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    method, _ = fitted("eszsl")
    with pytest.raises(InputError) as caught:
        export_method(method, tmp_path / "graph.onnx")
    assert str(caught.value) == (
        "onnxscript must be installed to write a graph; got none; pip install 'firstsight[onnx]'"
    )


def test_what_the_exporter_cannot_follow(tmp_path, monkeypatch):
    def until_it_is_small(_, features, vectors):
        while float(features.abs().max()) > 1:
            features = features / 2
        return features @ vectors.T

    method, _ = fitted("eszsl")
    monkeypatch.setattr(type(method), "_scores", until_it_is_small)
    with pytest.raises(InputError) as caught:
        export_method(method, tmp_path / "graph.onnx")
    assert str(caught.value).startswith("method must be one with a graph; got eszsl: ")
    assert "\n" not in str(caught.value)
