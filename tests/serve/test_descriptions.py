"""Classes described by attributes, numbers and words: what is read, and what is said where nothing can read it."""

import asyncio
import json
import threading

import numpy as np
import pytest

from tests.support.colours import ATTRIBUTES, CLASSES, WORDS, Painter, colours, picture, worded
from tests.support.serving import refused, start

httpx = pytest.importorskip("httpx2", reason="needs httpx2")
pytest.importorskip("fastapi.testclient", reason="needs the extra serve")

from firstsight.serve import Limits, make_app  # noqa: E402 - the extra may not be there

MISSING = "text model must be there to read a description; got none when the server started; its log says why"
VECTORS = np.array(list(CLASSES.values()))


@pytest.fixture
def reader():
    """A client of a model that reads texts."""
    with start(worded()) as client:
        yield client


def added(client, **given):
    answer = client.post("/v1/classes", json=given)
    assert answer.status_code == 201, answer.json()
    return answer.json()


def test_a_class_is_added_by_a_text_or_several(reader):
    known = reader.get("/v1/classes").json()
    assert (known["can_describe"], known["attributes"], known["width"]) == (True, [], 5)
    assert added(reader, name="a", description="as the sea")["vector"] == list(WORDS["sea"])
    mean = np.mean([WORDS["sea"], WORDS["night"]], axis=0)
    for name, description in (("b", "sea|night"), ("c", [" sea ", "the\nnight"]), ("d", ["sea|night", " | "])):
        assert added(reader, name=name, description=description)["vector"] == pytest.approx(mean)
    assert reader.get("/v1/classes/d").json() == added(reader, name="e", description="sea|night") | {"name": "d"}


def test_a_described_class_counts_in_one_question():
    with start(recogniser := worded()) as client:
        extra = [{"name": "Twin", "description": "snow"}, {"name": "Other", "description": "lemon"}]
        key = client.post("/v1/predict", files={"file": picture("white")}).json()["picture"]
        found = client.post("/v1/predict", json={"picture": key, "extra_classes": extra}).json()
        best, second = found["answers"][:2]
        assert {best["class"], second["class"]} == {"Twin", "005.Snow"}
        assert best["probability"] == pytest.approx(second["probability"])
        assert [one["class"] for one in found["extra"]] == ["Twin", "Other"]
        assert ("Twin", "snow") in recogniser.words.texts  # the name is for the text model, too
        assert len(client.get("/v1/classes").json()["classes"]) == 6


def test_a_described_class_is_imagined():
    with start(worded(method=Painter())) as client:
        by_text = client.post("/v1/imagine", json={"description": "sea"}).json()["imagined"]
        assert by_text == client.post("/v1/imagine", json={"name": "003.Sea"}).json()["imagined"]
        assert by_text != client.post("/v1/imagine", json={"description": "snow"}).json()["imagined"]


def test_attributes_stand_beside_the_text():
    """Of a model with two attributes; three columns are the text's."""
    with start(recogniser := worded(beside=2)) as client:
        known = client.get("/v1/classes").json()
        assert [one["name"] for one in known["attributes"]] == list(ATTRIBUTES[:2])
        assert known["can_explain"] is False
        usual, red = VECTORS.mean(axis=0), {ATTRIBUTES[0]: 0.3}
        both = added(client, name="a", attributes=red, description="sea")
        assert both["vector"] == pytest.approx([0.3, usual[1], *WORDS["sea"][2:]])
        assert both["attributes"] == {ATTRIBUTES[0]: 0.3, ATTRIBUTES[1]: pytest.approx(usual[1])}
        like = added(client, name="b", like="005.Snow", description="sea")
        assert like["vector"] == [*WORDS["snow"][:2], *WORDS["sea"][2:]]
        text_alone = added(client, name="c", description="sea")
        assert text_alone["vector"] == pytest.approx([*usual[:2], *WORDS["sea"][2:]])
        read = len(recogniser.words.texts)
        added(client, name="d", attributes=red)
        assert recogniser.words.texts[read:] == [("d", "")]  # the name alone, as `predict --classes` does


def test_a_class_like_another_has_its_text_and_its_share_of_attributes():
    with start(recogniser := worded(beside=2)) as client:
        read = len(recogniser.words.texts)
        same = added(client, name="a", like="005.Snow")["vector"]
        assert same == pytest.approx(WORDS["snow"])
        turned = np.array(added(client, name="b", like="005.Snow", attributes={ATTRIBUTES[0]: 0})["vector"])
        assert turned[2:].tolist() == list(WORDS["snow"][2:])
        assert turned[0] == 0
        assert turned[1] == pytest.approx(np.linalg.norm(WORDS["snow"][:2]))
        assert recogniser.words.texts[read:] == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"description": 5}, "description must be a text or a list of texts; got 5"),
        ({"description": None}, "description must be a text or a list of texts; got null"),
        ({"description": ["a", {}]}, "description must be a text or a list of texts; got an object of 0"),
        ({"description": " \n"}, "description must be 1 to 10 texts; got none"),
        ({"description": []}, "description must be 1 to 10 texts; got none"),
        ({"description": ["a"] * 11}, "description must be 1 to 10 texts; got 11"),
        ({"description": [""] * 1001}, "description must be 1 to 10 texts; got 1001"),
        ({"description": "a|" * 11}, "description must be 1 to 10 texts; got 11"),
        ({"description": "a" * 1001}, "description must be at most 1,000 characters; got 1,001"),
        ({"description": "\ud800"}, "description must be characters that can be read; got half of one"),
        (
            {"description": "a", "vector": [0] * 5},
            "class must have attributes or a description, or else a vector; got both",
        ),
        (
            {"description": "a", "like": "003.Sea"},
            "attributes must be named by the model; got one whose vectors have no names; give a description",
        ),
        ({"descripton": "a"}, "unknown field of class 'descripton'; did you mean 'description'?"),
    ],
)
def test_wrong_texts_are_named(reader, given, sentence):
    body = json.dumps({"name": "x", **given})  # in ASCII, as half a character cannot be written otherwise
    refused(reader.post("/v1/classes", content=body, headers={"content-type": "application/json"}), 422, sentence)


@pytest.mark.parametrize(("named", "instead"), [(True, "attributes"), (False, "a vector")])
def test_a_model_without_a_text_model(named, instead):
    with start(colours(named=named)) as client:
        assert client.get("/v1/classes").json()["can_describe"] is False
        sentence = f"model must have a text model to read a description; got one without; give {instead}"
        refused(client.post("/v1/classes", json={"name": "x", "description": "sea"}), 422, sentence)


def test_a_text_model_that_is_missing(caplog):
    """The server starts and does what it can; where the model's files should be is for its log only."""
    reason = "weights of mine must be in /secret; got nothing"
    with start(worded(beside=2, missing=reason)) as client:
        assert reason in caplog.text
        assert client.get("/v1/classes").json()["can_describe"] is False
        refused(client.post("/v1/classes", json={"name": "x", "description": "sea"}), 422, MISSING)
        refused(client.post("/v1/classes", json={"name": "x", "attributes": {}}), 422, MISSING)  # its name is read
        refused(client.post("/v1/imagine", json={"description": "sea"}), 422, "model must draw to imagine a class; got"
                " a model that does not draw")  # fmt: skip
        assert added(client, name="x", like="003.Sea")["vector"] == pytest.approx(WORDS["sea"])
        assert client.post("/v1/predict", files={"file": picture()}).status_code == 200


def test_a_text_model_of_another_width(caplog):
    recogniser = worded()
    recogniser.words.said = lambda text: np.zeros(4)
    with start(recogniser) as client:
        assert "vectors must be 5 numbers, as in training; got 4 from the text model" in caplog.text
        refused(client.post("/v1/classes", json={"name": "x", "description": "sea"}), 422, MISSING)


def test_attributes_without_names_cannot_be_described_beside():
    recogniser = worded()
    recogniser.text_source["attributes"] = []
    with start(recogniser) as client:
        sentence = "attributes must have names where a text stands beside them; got none; give a vector"
        refused(client.post("/v1/classes", json={"name": "x", "description": "sea"}), 422, sentence)


def test_others_are_answered_while_a_text_is_read():
    recogniser = worded()
    app = make_app(recogniser, Limits())
    recogniser.words.seconds = 0.3
    threads = set()
    said = recogniser.words.said
    recogniser.words.said = lambda text: threads.add(threading.current_thread().name) or said(text)

    async def talk():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            ask = [client.post("/v1/classes", json={"name": f"{n}", "description": "sea"}) for n in range(2)]
            reading = asyncio.gather(*ask)
            while len(recogniser.words.texts) < 2:  # the first was read at the start
                await asyncio.sleep(0.01)
            assert (await client.get("/healthz")).status_code == 200
            assert not reading.done()
            return await reading

    assert {answer.status_code for answer in asyncio.run(talk())} == {201}
    assert {name.partition("_")[0] for name in threads} == {"words"}
    assert len(threads) == 1  # a text model is not to be shared


def test_attributes_that_are_not_named_are_as_usual_or_as_in_another_class(client):
    usual = client.post("/v1/classes", json={"name": "a", "attributes": {"has_colour::red": 0.25}}).json()
    expected = VECTORS.mean(axis=0)
    expected[0] = 0.25
    assert list(usual["attributes"].values()) == pytest.approx(expected)
    like = client.post("/v1/classes", json={"name": "b", "like": "003.Sea", "attributes": {"has_colour::red": 2}})
    assert list(like.json()["attributes"].values()) == [2, *CLASSES["003.Sea"][1:]]
    again = client.post("/v1/classes", json={"name": "c", "like": "b"}).json()
    assert again["attributes"] == like.json()["attributes"]
    full = client.post("/v1/classes", json={"name": "d", "vector": [1, 2, 3, 4, 5]}).json()
    assert list(full["attributes"].values()) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("described", "sentence"),
    [
        ({"attributes": {}}, "name must be text; got null"),
        ({"name": " ", "attributes": {}}, "name must be 1 to 100 characters that can be read; got ''"),
        ({"name": "a\nb", "attributes": {}}, r"name must be 1 to 100 characters that can be read; got 'a\nb'"),
        ({"name": "..", "attributes": {}}, "name must be 1 to 100 characters that can be read; got '..'"),
        ({"name": "x"}, "class must have attributes or a description, or else a vector; got neither"),
        (
            {"name": "x", "vector": [], "attributes": {}},
            "class must have attributes or a description, or else a vector; got both",
        ),
        ({"name": "x", "vector": [1, 2]}, "vector must be 5 numbers; got a list of 2"),
        (
            {"name": "x", "vector": [1, 2, 3, 4, "5"]},
            "vector[4] must be a number, at most 1,000,000,000 in size; got '5'",
        ),
        (
            {"name": "x", "attributes": {"has_colour::red": 10**400}},
            "attribute 'has_colour::red' must be a number, at most 1,000,000,000 in size; got 1" + "0" * 56 + "...",
        ),
        (
            {"name": "x", "attributes": {"has_colour::rde": 1}},
            "unknown attribute 'has_colour::rde'; did you mean 'has_colour::red'?",
        ),
        ({"name": "x", "attributes": [1]}, "attributes must be an object of numbers by name; got a list of 1"),
        ({"name": "x", "vectr": [1]}, "unknown field of class 'vectr'; did you mean 'vector'?"),
    ],
)
def test_wrong_descriptions_are_named(client, described, sentence):
    refused(client.post("/v1/classes", json=described), 422, sentence)


def test_vectors_without_names():
    with start(colours(named=False)) as client:
        known = client.get("/v1/classes").json()
        assert (known["attributes"], known["width"], known["can_explain"]) == ([], 5, False)
        assert client.post("/v1/classes", json={"name": "x", "vector": [1, 0, 0, 0, 0]}).json()["vector"][0] == 1
        sentence = "attributes must be named by the model; got one whose vectors have no names; give a vector"
        refused(client.post("/v1/classes", json={"name": "y", "attributes": {"red": 1}}), 422, sentence)
