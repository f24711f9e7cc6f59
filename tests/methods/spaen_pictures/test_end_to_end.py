"""SP-AEN with a network of its own, trained with E: from pictures alone to a recogniser of new ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from firstsight.cli import main
from firstsight.datasets import load
from firstsight.errors import InputError
from firstsight.evaluation.evaluate import evaluate
from firstsight.methods import load_method
from firstsight.pictures.cache import with_pictures
from firstsight.recogniser.recogniser import Recogniser
from tests.support.paintings import TINY, painted
from tests.support.trainings import DATA, copied, says
from tests.support.trainings import spaen_pictures as make


@pytest.mark.parametrize("changes", [{}, {"schedule": "joint"}, {"alpha": 0.0, "beta": 0.0}])
def test_end_to_end(changes, tmp_path):
    """E's own features come of pictures alone, and classify."""
    bare = replace(DATA, features=None, feature_widths=())
    method = make(end_to_end="compact", backbone_rate=1e-3, **changes).fit(bare.training_set())
    featured = method.with_features(bare)
    assert featured.features.shape == (len(DATA.labels), 320)
    np.testing.assert_allclose(np.linalg.norm(featured.features, axis=1), 1, rtol=1e-5)
    result = evaluate(method, bare, calibrate=False)
    assert result.scores.shape[0] == len(DATA.test_seen) + len(DATA.test_unseen)
    loaded = load_method(method.save(tmp_path / "model.safetensors"), "cpu")
    np.testing.assert_array_equal(loaded.with_features(bare).features, featured.features)
    scores = method.scores(featured.features, DATA.classes)
    np.testing.assert_array_equal(loaded.scores(featured.features, DATA.classes), scores)


def test_the_network_of_end_to_end_learns():
    start, end = (make(end_to_end="compact", steps=steps, alpha=0.0, beta=0.0) for steps in (1, 3))
    first, last = (copied(one.fit(DATA.training_set()).networks_)["backbone"] for one in (start, end))
    assert (first != last).any()


def test_end_to_end_is_calibrated_on_features_of_its_own():
    method = make(end_to_end="compact", alpha=0.0, beta=0.0)
    result = evaluate(method.fit(DATA.training_set()), DATA)
    assert result.h_cal is not None


def test_features_of_the_data_set_have_no_say_end_to_end():
    other = replace(DATA, features=DATA.features[:, :3] + 1, feature_widths=())
    first, second = (make(end_to_end="compact", alpha=0.0).fit(data.training_set()) for data in (DATA, other))
    for name, parameters in copied(first.networks_).items():
        torch.testing.assert_close(parameters, copied(second.networks_)[name], rtol=0, atol=0)


def test_pictures_alone_are_not_enough_without_it():
    bare = replace(DATA, features=None, feature_widths=())
    sentence = "training set must have features for spaen-pictures; got pictures only; name a feature file"
    says(sentence, make().fit, bare.training_set())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Tiny pictures, no features: the data set, a model trained on it, its recogniser."""
    folder = painted(tmp_path_factory.mktemp("data") / "colours", with_features=False)
    settings = (*TINY, "--end-to-end", "compact", "--backbone-rate", "0.001", "--precision", "bf16")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FIRSTSIGHT_CACHE", str(folder / "cache"))
        main(["fit", "spaen-pictures", "--data", str(folder), *settings, "--out", str(folder / "model.safetensors")])
        main(["recogniser", str(folder / "model.safetensors"), "--data", str(folder), "--out", str(folder / "known")])
    return folder


def test_a_recogniser_sees_new_pictures_as_training_saw_them(folder):
    known = Recogniser.load(folder / "known", "cpu")
    data, _ = with_pictures(load(folder), 32, cache=folder / "cache")
    files = [folder / path for path in data.paths]
    expected = known.method.with_features(data).features
    assert np.ptp(expected, axis=0).max() > 0.1
    np.testing.assert_allclose(known.features(files), expected, atol=0.02)  # bf16
    assert known.threshold is not None


def test_predict_and_a_graph_of_it(folder, run, tmp_path):
    code, out, err = run("predict", folder / "known", folder / "images/red", "--top", "1", "--csv", "--reject")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 7
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    code, _, err = run("export", folder / "known", "--onnx", tmp_path / "graph.onnx", "--with-backbone")
    assert (code, err) == (0, "")
    known = Recogniser.load(folder / "known", "cpu")
    files = sorted((folder / "images").glob("*/*.png"))
    pictures = np.concatenate([known.backbone.prepared(file, 1) for file in files]).transpose(0, 3, 1, 2)
    session = runtime.InferenceSession(tmp_path / "graph.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {"pictures": pictures, "classes": known.classes.vectors.astype(np.float32)})[0]
    known.method.precision = "float32"  # as the graph has it
    expected = known.method.scores(known.method.own_backbone().features(files), known.classes)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_server_of_it(folder):
    testclient = pytest.importorskip("fastapi.testclient", reason="needs the extra serve")
    from firstsight.serve import make_app

    known = Recogniser.load(folder / "known", "cpu")
    with testclient.TestClient(make_app(known)) as client:
        content = (folder / "images/blue/2.png").read_bytes()
        answer = client.post("/v1/predict", files={"file": content}, data={"reconstruct": "true"})
    assert answer.status_code == 200
    expected = known.answers(known.features([folder / "images/blue/2.png"]), ["2.png"])[0]
    assert [one["class"] for one in answer.json()["answers"]] == list(expected.classes)
    assert answer.json()["reconstruction"]


def test_features_of_others_are_refused_end_to_end():
    method = make(end_to_end="compact", alpha=0.0, beta=0.0).fit(DATA.training_set())
    known = Recogniser.of(method, DATA, calibrate=False)
    sentence = "backbone of a file must be 'spaen-pictures:compact', as in training; got 'torchvision:resnet18/V1'"
    says(sentence, known.check_source, {"backbone": "torchvision:resnet18/V1"}, "a file")


def test_no_backbone_of_its_own_without_it():
    sentence = "method must make features of its own; got spaen-pictures, which works on those of a data set"
    says(sentence, make().own_backbone)


def test_an_unknown_network():
    with pytest.raises(InputError, match="unknown backbone 'resnet1o1'; did you mean 'resnet101'"):
        make(end_to_end="resnet1o1").fit(DATA.training_set())
