"""The methods of CONTRIBUTING.md work as they stand there."""

import importlib
import os
import re
import signal
import sys

import numpy as np
import pytest
import torch

from firstsight.methods import METHODS, FitControls, loop
from firstsight.methods.registry import load_method
from tests.conftest import ROOT
from tests.methods.test_contract import SOURCE
from tests.support.tiny import tiny_dataset, tiny_training, write_gbu

TINY = {"hidden": 5, "steps": 30, "batch": 8, "device": "cpu"}


@pytest.fixture
def kinds(tmp_path, monkeypatch):
    """The methods by name, each from a file of its own, listed among all methods."""
    text, found = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), {}
    monkeypatch.syspath_prepend(tmp_path)
    for code, name in re.findall(r"```python\n(.*?class (\w+)\(.*?)```", text, re.DOTALL):
        (tmp_path / f"contributed_{name}.py").write_text(code)
        kind = getattr(importlib.import_module(f"contributed_{name}"), name)
        monkeypatch.setitem(METHODS, kind.name, kind)
        found[kind.name] = kind
    yield found
    for kind in found.values():
        del sys.modules[kind.__module__]


@pytest.fixture
def kind(kinds):
    """The one that trains a network."""
    return kinds["twolayers"]


@pytest.mark.parametrize("name", ["linearmap", "twolayers"])
def test_methods_score_any_classes(name, kinds):
    data = tiny_dataset()
    scores = (
        kinds[name](**TINY if name == "twolayers" else {}).fit(data.training_set()).scores(data.features, data.classes)
    )
    assert scores.shape == (len(data.labels), len(data.classes))


@pytest.mark.parametrize("name", ["linearmap", "twolayers"])
def test_a_saved_method_scores_the_same(name, kinds, tmp_path):
    data = tiny_dataset()
    method = kinds[name](**TINY if name == "twolayers" else {}).fit(data.training_set())
    loaded = load_method(method.save(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(
        loaded.scores(data.features, data.classes), method.scores(data.features, data.classes)
    )


@pytest.mark.parametrize("name", ["linearmap", "twolayers"])
def test_methods_say_what_the_contract_asks_for(name, kinds):
    assert re.search(SOURCE, kinds[name].source)


@pytest.mark.parametrize("stop", [1, 12, 29])
def test_an_interrupted_training_ends_in_the_same_weights(kind, stop, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "PERIOD", 1)
    path = tmp_path / "unfinished"

    def press(done, *_):
        if done == stop:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        kind(**TINY).fit(tiny_training(), FitControls(press, path))
    reports = []
    continued = kind(**TINY).fit(tiny_training(), FitControls(lambda *report: reports.append(report), path))
    assert [done for done, *_ in reports] == list(range(stop + 1, 31))
    for name, tensor in kind(**TINY).fit(tiny_training()).state().items():
        assert torch.equal(continued.state()[name], tensor), name


def test_it_learns(kind):
    training = tiny_training(noise=0.05)
    method = kind(**TINY | {"steps": 300, "learning_rate": 0.02}).fit(training)
    assert (method.predict(training.features, training.classes) == training.labels).mean() > 0.9


def test_the_command_line_fits_it(kind, tmp_path, run):
    folder, out = write_gbu(tmp_path / "TINY", tiny_dataset()), tmp_path / "model.safetensors"
    settings = [word for name, value in TINY.items() for word in (f"--{name}", value)]
    code, said, errors = run("fit", "twolayers", "--data", folder, "--out", out, *settings)
    assert (code, errors) == (0, "")
    assert "twolayers trained on 48 images" in said
    data = tiny_dataset()
    expected = kind(**TINY).fit(data.training_set()).scores(data.features, data.classes)
    np.testing.assert_array_equal(load_method(out, "cpu").scores(data.features, data.classes), expected)
