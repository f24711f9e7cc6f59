"""`recogniser` and `predict` from outside."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from firstsight.cli import main
from firstsight.datasets import load
from firstsight.methods import ESZSL
from firstsight.recogniser.recogniser import Recogniser
from tests.recogniser.test_recogniser import SOURCE, fake_backbone  # noqa: F401 (a fixture)
from tests.support.matlab import write_mat5
from tests.support.tiny import tiny_dataset, write_gbu

DATA = tiny_dataset()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_gbu(tmp_path_factory.mktemp("data") / "TINY", DATA)


@pytest.fixture(scope="module")
def plain(folder, tmp_path_factory):
    """A method's file."""
    return ESZSL(gamma=1.0, lam=1.0).fit(load(folder).training_set()).save(tmp_path_factory.mktemp("model") / "eszsl")


@pytest.fixture(scope="module")
def model(folder, plain, tmp_path_factory):
    """A recogniser's file, of pictures too."""
    path = tmp_path_factory.mktemp("model") / "birds.safetensors"
    main(["recogniser", str(plain), "--data", str(folder), "--out", str(path)])
    return replace(Recogniser.load(path), feature_source=SOURCE, classes=DATA.classes).save(path)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    path = tmp_path_factory.mktemp("features") / "x.safetensors"
    files = [f"{row}.jpg" for row in range(5)]
    save_file({"features": DATA.features[:5]}, path, {"files": json.dumps(files), "backbone": "fake", "crops": "1"})
    return path


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for row, colour in enumerate([(255, 0, 0), (0, 255, 0), (9, 9, 200)]):
        Image.new("RGB", (4, 4), colour).save(folder / f"{row}.png")
    return folder


def test_a_recogniser_is_made(run, folder, plain, tmp_path):
    path = tmp_path / "r.safetensors"
    code, out, err = run("recogniser", plain, "--data", folder, "--out", path)
    assert (code, err) == (0, "")
    caught = Recogniser.load(path).caught
    assert out == (
        f"eszsl that knows 6 seen and 3 unseen classes is at {path}\n"
        f"`predict --reject` refused 5 % of validation images of known classes and {caught:.0f} % of unknown ones\n"
    )
    made, expected = (
        Recogniser.load(path),
        Recogniser.of(ESZSL(gamma=1.0, lam=1.0).fit(load(folder).training_set()), load(folder)),
    )
    assert (made.gamma, made.temperature, made.threshold) == (expected.gamma, expected.temperature, expected.threshold)
    code, out, _ = run("recogniser", plain, "--data", folder, "--out", path, "--no-calibrate")
    assert code == 0
    assert Recogniser.load(path).threshold is None


def test_text(run, model, features):
    code, out, err = run("predict", model, features, "--top", "2")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == 15
    chances = Recogniser.load(model).probabilities(DATA.features[:5])
    for image in range(5):
        assert lines[3 * image] == f"{image}.jpg"
        best = chances[image].argmax()
        side = "seen" if best in DATA.seen else "unseen"
        shown = f"    {100 * chances[image, best]:5.1f} %  {DATA.classes.names[best]}  {side}"
        assert lines[3 * image + 1] == shown


def test_json_lines(run, model, features):
    code, out, _ = run("predict", model, features, "--json", "--top", "9", "--explain", "--reject")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["source"] for row in rows] == [f"{image}.jpg" for image in range(5)]
    for row in rows:
        assert set(row) == {"source", "answers", "rejected", "for", "against"}
        assert sum(answer["probability"] for answer in row["answers"]) == pytest.approx(1)
        assert {answer["class"] for answer in row["answers"]} == set(DATA.classes.names)
        for name, weight in row["for"]:
            assert name in DATA.classes.attributes
            assert weight > 0


def test_csv(run, model, features):
    code, out, _ = run("predict", model, features, "--csv", "--top", "2")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert [row["rank"] for row in rows] == ["1", "2"] * 5
    assert all(row["class"] in DATA.classes.names and row["error"] == "" for row in rows)


def test_json_and_csv(run, model, features):
    expected = (2, "", "firstsight: output must be json or csv; got both\n")
    assert run("predict", model, features, "--csv", "--json") == expected


def test_only_and_more_classes(run, model, features, tmp_path):
    more = tmp_path / "more.csv"
    known = Recogniser.load(model).classes
    names = known.attributes or [f"x{column}" for column in range(4)]
    vector = ",".join(map(str, known.vectors[DATA.labels[0]] * 2))
    more.write_text(f"class,{','.join(names)}\nyeti,{vector}\n")
    code, out, _ = run("predict", model, features, "--json", "--only", "unseen", "--classes", more, "--top", "99")
    assert code == 0
    for line in out.splitlines():
        answers = json.loads(line)["answers"]
        assert not any(answer["seen"] for answer in answers)
        assert {answer["class"] for answer in answers} == {*DATA.classes[DATA.unseen].names, "yeti"}


def test_none_of_these(run, model, features, tmp_path):
    path = replace(Recogniser.load(model), threshold=1e9).save(tmp_path / "r.safetensors")
    code, out, _ = run("predict", path, features, "--reject", "--top", "1")
    assert code == 0
    assert out.count("    none of these: even the best fits worse than 95 % of known ones did in validation\n") == 5
    assert "none of these" not in run("predict", path, features)[1]
    path = replace(Recogniser.load(model), threshold=None).save(tmp_path / "r.safetensors")
    sentence = "recogniser must be calibrated to refuse answers; got one without a threshold"
    assert run("predict", path, features, "--reject") == (2, "", f"firstsight: {sentence}\n")


def test_pictures_folders_and_standard_input(run, model, pictures, fake_backbone, monkeypatch):  # noqa: F811
    paths = sorted(map(str, pictures.iterdir()))
    code, out, err = run("predict", model, pictures, "--json")
    assert (code, err) == (0, "")
    assert [json.loads(line)["source"] for line in out.splitlines()] == paths
    assert run("predict", model, *paths, "--json", "--batch", "2")[1] == out
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(paths) + "\n\n"))
    assert run("predict", model, "-", "--json")[1] == out


@pytest.mark.parametrize("form", ["--json", "--csv", None])
def test_bad_pictures_are_reported_in_their_place(form, run, model, pictures, fake_backbone):  # noqa: F811
    bad = pictures / "1.png"
    bad.write_text("no picture")
    code, out, err = run("predict", model, pictures, *([form] if form else []), "--top", "1")
    assert code == 1
    assert err == "firstsight: 1 of 3 pictures could not be read\n"
    if form == "--json":
        rows = [json.loads(line) for line in out.splitlines()]
        assert [set(row) for row in rows] == [{"source", "answers"}, {"source", "error"}, {"source", "answers"}]
    elif form == "--csv":
        rows = list(csv.DictReader(io.StringIO(out)))
        assert [bool(row["error"]) for row in rows] == [False, True, False]
    else:
        assert [line for line in out.splitlines() if line.startswith(f"{bad}: picture must be readable; got ")]
        assert len(out.splitlines()) == 5


def test_answers_come_while_pictures_are_still_coming(run, model, pictures, fake_backbone, monkeypatch, capfd):  # noqa: F811
    """Standard input that goes on for ever: each line is answered before the next is read."""
    path, seen = str(pictures / "0.png"), []

    class Endless:
        def __iter__(self):
            for _ in range(3):
                yield path + "\n"
                seen.append(capfd.readouterr().out)
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Endless())
    code, _, err = run("predict", model, "-", "--json", "--batch", "1")
    assert (code, err) == (130, "firstsight: stopped\n")
    assert [json.loads(text)["source"] for text in seen] == [path] * 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--top", "0"], "top must be 1 or more; got 0"),
        (["--batch", "0"], "batch must be 1 or more; got 0"),
        (["a.png"], "sources must be pictures or feature files, not both; got a.png beside a feature file"),
    ],
)
def test_bad_options(words, sentence, run, model, features):
    assert run("predict", model, features, *words) == (2, "", f"firstsight: {sentence}\n")


def test_no_sources_and_no_recogniser(run, model, plain, features):
    assert run("predict", model)[0] == 2
    code, out, err = run("predict", plain, features)
    assert (code, out) == (2, "")
    assert f"make one with `firstsight recogniser {plain} --data PATH --out FILE`" in err


def test_features_of_another_backbone(run, model, tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"features": DATA.features[:5]}, path, {"backbone": "other"})
    sentence = f"backbone of {path} must be 'fake', as in training; got 'other'"
    assert run("predict", model, path) == (2, "", f"firstsight: {sentence}\n")


@pytest.mark.parametrize("kind", [".npz", ".mat"])
def test_feature_files_of_other_kinds(kind, run, model, features, tmp_path):
    expected = run("predict", model, features, "--json")
    names = [f"{row}.jpg" for row in range(5)]
    if kind == ".npz":
        np.savez(tmp_path / "x.npz", features=DATA.features[:5], image_files=np.array(names))
    else:
        write_mat5(tmp_path / "x.mat", {"features": DATA.features[:5].T, "image_files": names})
    assert run("predict", model, tmp_path / f"x{kind}", "--json") == expected


def test_features_of_another_width(run, model, tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"features": np.zeros((2, 5), dtype=np.float32)}, path)
    sentence = "inputs must have 7 columns, as in training; got 5"
    assert run("predict", model, path) == (2, "", f"firstsight: {sentence}\n")


def test_a_reader_that_goes_away(model, tmp_path):
    """`firstsight predict ... | head -1` ends without a traceback."""
    path = tmp_path / "x.safetensors"
    save_file({"features": np.tile(DATA.features[:50], (200, 1))}, path)
    command = [
        sys.executable,
        "-c",
        "from firstsight.cli import main; main()",
        "predict",
        str(model),
        str(path),
        "--json",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_graph_is_written(run, model, plain, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    for source, entries in ((plain, {"method"}), (model, {"method", "gamma", "temperature", "threshold"})):
        path = tmp_path / "graph.onnx"
        code, out, err = run("export", source, "--onnx", path)
        assert (code, out, err) == (0, f"the graph from features and classes to scores is at {path}\n", "")
        (entry,) = [entry for entry in onnx.load(path).metadata_props if entry.key == "firstsight"]
        assert set(json.loads(entry.value)) == entries


@pytest.mark.parametrize("factor", [1, 7.5])
def test_more_classes_get_unit_length_where_the_known_ones_have_it(factor, run, features, tmp_path):
    """A line of a `classes.csv` may be in any unit, as it may in training."""
    vectors = DATA.classes.vectors / np.linalg.norm(DATA.classes.vectors, axis=1, keepdims=True)
    data = replace(DATA, classes=replace(DATA.classes, vectors=vectors))
    known = Recogniser.of(ESZSL(gamma=1.0, lam=1.0).fit(data.training_set()), data, calibrate=False)
    twin = data.unseen[0]
    more = tmp_path / "more.csv"
    more.write_text(f"class,{','.join(data.classes.attributes)}\ntwin,{','.join(map(str, vectors[twin] * factor))}\n")
    path = known.save(tmp_path / "known.safetensors")
    code, out, err = run("predict", path, features, "--json", "--top", "99", "--classes", more)
    assert (code, err) == (0, "")
    for line in out.splitlines():
        chances = {answer["class"]: answer["probability"] for answer in json.loads(line)["answers"]}
        assert chances["twin"] == pytest.approx(chances[data.classes.names[twin]], rel=1e-5)
