"""The commands that analyse, from outside: numbers for people, JSON, a figure, one line for bad input."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from firstsight.analysis import analyse, attribute_variance, projection
from firstsight.datasets import load
from firstsight.evaluation import evaluate as evaluation
from firstsight.evaluation.calibration import fit_temperature
from firstsight.evaluation.evaluate import evaluate
from firstsight.methods import ESZSL, SAE
from firstsight.results.document import document
from firstsight.results.numbers import class_gains
from tests.support.image_attributes import write_cub
from tests.support.matlab import toy_variables
from tests.support.tiny import tiny_dataset, write_gbu

DATA = tiny_dataset(a=8, n_seen=8, n_unseen=4, per_class=15, noise=3.0)
OF_MODELS = ("hubness", "confusion", "attributes", "probability", "reject")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set on disk; tests leave it as it is."""
    return write_gbu(tmp_path_factory.mktemp("data") / "TINY", DATA)


@pytest.fixture(scope="module")
def models(folder, tmp_path_factory):
    """Two saved models of it."""
    training, place = load(folder).training_set(), tmp_path_factory.mktemp("models")
    return [kind().fit(training).save(place / kind.name) for kind in (ESZSL, SAE)]


@pytest.fixture
def temperature(monkeypatch):
    """Results have this temperature, when gamma is chosen."""

    def with_temperature(method, data, calibrate=True, run=None):
        result = evaluate(method, data, calibrate, run)
        object.__setattr__(result, "temperature", 0.25 if calibrate else None)
        return result

    monkeypatch.setattr(evaluation, "evaluate", with_temperature)
    return 0.25


def expected(folder, kind, temperature):
    data = load(folder)
    method = kind().fit(data.training_set())
    tests = data.test_images
    gamma = None if temperature is None else evaluate(method, data).gamma
    scores = method.scores(data.inputs(tests), data.classes)
    is_seen = data.is_seen
    return analyse(scores, data.labels[tests], is_seen, data.classes, gamma, temperature)


def drawing(file, name):
    root = ElementTree.fromstring(file.read_text(encoding="utf-8"))
    assert root.get("class") == name
    return root


@pytest.mark.parametrize("part", OF_MODELS)
def test_models_as_json(part, run, folder, models, temperature):
    code, out, err = run("analyse", part, *models, "--data", folder, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["data"] == "TINY"
    assert [(row["model"], row["method"]) for row in found["models"]] == [
        (str(models[0]), "eszsl"),
        (str(models[1]), "sae"),
    ]
    for row, kind in zip(found["models"], (ESZSL, SAE), strict=True):
        assert row[part] == document(getattr(expected(folder, kind, temperature), part))
        assert (row["gamma"] is None) == (part == "hubness")


@pytest.mark.parametrize("part", OF_MODELS)
def test_models_for_people_with_a_figure(part, run, folder, models, temperature, tmp_path):
    figure = tmp_path / "new" / "figure.svg"
    code, out, err = run("analyse", part, *models, "--data", folder, "--figure", figure)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert sum(line.startswith(("ESZSL on TINY", "SAE on TINY")) for line in lines) == 2
    assert lines[-1] == f"The figure is at {figure}"
    names = {"hubness": "hubs", "probability": "reliability", "reject": "risk"}
    root = drawing(figure, names.get(part, part))
    assert {"ESZSL", "SAE"} <= {text.strip() for text in root.itertext()}
    numbers = getattr(expected(folder, ESZSL, temperature), part)
    said = {
        "hubness": lambda: f"skewness {numbers.uu.skewness[0]:.3f} (N1)",
        "confusion": lambda: f"with gamma     {numbers.calibrated[0][0]:>6.1f} predicted seen",
        "attributes": lambda: f"{numbers.mean.unseen:.3f} among unseen classes",
        "probability": lambda: f"ECE {numbers.fitted.ece:.3f} (seen {numbers.fitted.ece_seen:.3f}",
        "reject": lambda: f"aurc    {numbers.aurc:.3f} ",
    }
    assert said[part]() in out


def test_curve(run, folder, models, tmp_path):
    figure = tmp_path / "curve.svg"
    code, out, err = run("analyse", "curve", *models, "--data", folder, "--figure", figure)
    assert (code, err) == (0, "")
    data = load(folder)
    result = evaluate(ESZSL().fit(data.training_set()), data)
    assert f"  ESZSL               {result.ausuc:.4f} per class, {result.ausuc_per_sample:.4f} per sample; " in out
    assert f"h {result.h:.1f}, {result.h_cal:.1f} with gamma {result.gamma:.4g}\n" in out
    assert {"ESZSL", "SAE"} <= set(drawing(figure, "curve").itertext())
    _, out, _ = run("analyse", "curve", models[0], "--data", folder, "--json", "--no-calibrate")
    (row,) = json.loads(out)["models"]
    assert row["ausuc"] == result.ausuc
    assert row["gamma"] is None
    assert row["curve"]["u"][-1] == round(float(result.curve.u[-1]), 3)


def test_two_models_of_one_method_go_by_their_files(run, folder, models, tmp_path):
    other = ESZSL(gamma=1.0).fit(load(folder).training_set()).save(tmp_path / "other.safetensors")
    _, out, _ = run("analyse", "curve", models[0], other, "--data", folder, "--no-calibrate")
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["eszsl", "other"]


def test_gain(run, folder, models, tmp_path):
    figure = tmp_path / "gain.svg"
    words = ("analyse", "gain", *models, "--data", folder)
    code, out, err = run(*words, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    data = load(folder)
    tables = [evaluate(kind().fit(data.training_set()), data).classes for kind in (ESZSL, SAE)]
    assert found["classes"] == document(class_gains(*tables))
    assert found["baseline"]["method"] == "sae"
    _, out, _ = run(*words, "--number", "t1", "--figure", figure)
    rows = class_gains(*tables, "t1")
    assert out.startswith("ESZSL over SAE on TINY: ")
    assert f"{sum(row.gain > 0 for row in rows)} of 4 classes gain" in out
    drawing(figure, "gains")


def test_gain_of_a_number_that_is_not_there(run, folder, models):
    words = ("analyse", "gain", *models, "--data", folder, "--no-calibrate", "--number", "accuracy_calibrated")
    sentence = "number must be one that both models have; got 'accuracy_calibrated', which they have not"
    assert run(*words) == (2, "", f"firstsight: {sentence}\n")


def test_projection(run, folder, tmp_path):
    figure = tmp_path / "maps.svg"
    code, out, err = run("analyse", "projection", folder, "--json")
    assert (code, err) == (0, "")
    maps = projection(load(folder))
    assert json.loads(out) == {"data": "TINY", **document(maps)}
    code, out, err = run("analyse", "projection", folder, "--figure", figure)
    assert (code, err) == (0, "")
    by_all, by_high = maps.nearest.all.unseen, maps.nearest.high.unseen
    assert f"  unseen  {by_all:.4f} by all attributes, {by_high:.4f} by the high-variance half\n" in out
    assert len(list(drawing(figure, "maps").iter("{http://www.w3.org/2000/svg}circle"))) == 2 * 12 + 2


def test_projection_of_images(run, folder, make_gbu, tmp_path):
    rng = np.random.default_rng(0)
    toy = make_gbu(att=rng.random((5, 6)))
    names = ["/".join(path.split("/")[-2:]) for path in toy_variables()[0]["image_files"]]
    values = rng.integers(0, 2, (30, 5))
    file = write_cub(tmp_path / "birds", names, values)
    assert "TOY: no attributes of images, so each has those of its class\n" in run("analyse", "projection", toy)[1]
    figure = tmp_path / "maps.svg"
    words = ("analyse", "projection", toy, "--image-attributes", tmp_path / "birds")
    code, out, err = run(*words, "--figure", figure)
    assert (code, err) == (0, "")
    maps = projection(load(toy), attributes=values)
    by_all, by_high = maps.nearest.all.seen, maps.nearest.high.seen
    assert out.startswith(
        f"TOY: each image has attributes of its own, from {file}\n"
        "Mean cosine distance of a test image to the nearest one of another class\n"
        f"  seen    {by_all:.4f} by all attributes, {by_high:.4f} by the high-variance half\n"
    )
    assert "t-SNE of the test images of TOY" in figure.read_text()
    drawing(figure, "images")
    assert json.loads(run(*words, "--json")[1]) == {"data": "TOY", **document(maps)}
    code, _, err = run("analyse", "projection", folder, "--image-attributes", tmp_path / "gone")
    assert (code, err.count("\n")) == (2, 1)


def test_variance_has_a_figure(run, folder, tmp_path):
    figure = tmp_path / "strips.svg"
    code, out, err = run("analyse", "variance", folder, "--figure", figure)
    assert (code, err) == (0, "")
    assert out.endswith(f"\nThe figure is at {figure}\n")
    drawing(figure, "heat")


@pytest.mark.parametrize(("name", "printed"), [("CUB", 0.9575), ("aPY", 0.5847), ("TINY", None), ("CUB text", None)])
def test_variance_stands_beside_what_the_paper_prints(run, make_gbu, name, printed):
    folder = make_gbu(name)
    ours = attribute_variance(load(folder)).cosine
    code, out, err = run("analyse", "variance", folder)
    beside = f"; the paper prints {printed}" if printed else ""
    assert (code, out, err) == (0, f"{name}: cosine of attribute variances {ours:.4f}{beside}\n", "")
    assert json.loads(run("analyse", "variance", folder, "--json")[1])["published_cosine"] == printed


@pytest.mark.parametrize("words", [("attributes",), ("reject", "--figure", "x.svg")])
def test_probabilities_need_calibration(words, run, folder, models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("analyse", words[0], models[0], "--data", folder, "--no-calibrate", *words[1:])
    sentence = "temperature must be fitted, to turn scores into probabilities; got none; leave --no-calibrate out"
    assert (code, out, err) == (2, "", f"firstsight: {sentence}\n")


def test_what_needs_no_calibration(run, folder, models):
    for part, expected in (
        ("reject", "unseen against seen"),
        ("probability", "temperature 1 "),
        ("confusion", "without gamma"),
    ):
        code, out, err = run("analyse", part, models[0], "--data", folder, "--no-calibrate")
        assert (code, err) == (0, "")
        assert expected in out
        assert "with gamma" not in out
        assert "aurc" not in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("analyse hubnes x", "unknown command 'analyse hubnes'; did you mean 'analyse hubness'?"),
        ("analyse quux x", "unknown command 'analyse quux'; did you mean 'analyse variance'?"),
        ("analyse hubness --data x", "models must be one file or more; got none"),
        ("analyse curve missing --data x", "model file must exist; got missing"),
    ],
)
def test_one_line_on_stderr_and_exit_2(words, sentence, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*words.split()) == (2, "", f"firstsight: {sentence}\n")


def test_a_figure_that_cannot_be_written(run, folder, tmp_path):
    (tmp_path / "file").touch()
    code, out, err = run("analyse", "variance", folder, "--figure", tmp_path / "file" / "x.svg")
    assert (code, out) == (2, "")
    assert err.startswith(f"firstsight: {tmp_path / 'file' / 'x.svg'} must be a place to write to; got ")


def test_a_fitted_temperature_is_what_the_softmax_wants():
    """The scale that `evaluate` gives and the analyses take is that of `fit_temperature`."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 400)
    scores = 0.01 * (rng.normal(size=(400, 5)) + np.eye(5)[labels])
    is_seen = np.arange(5) < 3
    classes = tiny_dataset(n_seen=3, n_unseen=2).classes
    fitted = analyse(scores, labels, is_seen, classes, 0.0, fit_temperature(scores, labels)).probability
    assert fitted.fitted.nll < fitted.raw.nll
    assert fitted.fitted.ece < fitted.raw.ece
