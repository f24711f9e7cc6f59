"""What is answered on a picture: the ranking, rejection, explanation, extra classes, each picture looked at once."""

import base64
import json

import numpy as np
import pytest

from tests.support.colours import ATTRIBUTES, CLASSES, UNSEEN, Colours, colours, picture
from tests.support.serving import KEYS, refused, sent, shades, start, together

pytest.importorskip("httpx2", reason="needs httpx2")
testclient = pytest.importorskip("fastapi.testclient", reason="needs the extra serve")

from firstsight.serve import Limits, make_app  # noqa: E402 - the extra may not be there

VECTORS = np.array(list(CLASSES.values()))


def chances(colour, vectors=VECTORS):
    """Probabilities of the classes for a picture of one colour (0..1), worked out here."""
    seen = 2 * np.array([*colour, 1 - np.mean(colour), np.mean(colour)]) - 1
    scores = np.exp(-((seen - (2 * vectors - 1)) ** 2).sum(axis=1))
    return scores / scores.sum()


def test_an_answer_is_the_ranking_of_the_recogniser(client):
    found = sent(client, "red", top="6").json()
    assert found.keys() == KEYS
    expected = chances((1, 0, 0))
    order = np.argsort(-expected)
    assert [entry["class"] for entry in found["answers"]] == [list(CLASSES)[row] for row in order]
    assert [entry["probability"] for entry in found["answers"]] == pytest.approx(expected[order], abs=1e-6)
    assert {entry["class"] for entry in found["answers"] if not entry["seen"]} == set(UNSEEN)
    assert found["n_classes"] == 6
    assert (found["rejected"], found["explanation"], found["reconstruction"], found["extra"]) == (None, None, None, [])


def test_a_form_json_and_a_key_ask_the_same(client):
    form = sent(client, "blue").json()
    encoded = base64.b64encode(picture("blue")).decode()
    for body in (
        {"image": encoded},
        {"image": f"data:image/png;base64,{encoded}"},
        {"picture": form["picture"]},
    ):
        assert client.post("/v1/predict", json=body).json() | {"seconds": 0} == form | {"seconds": 0}
    assert len(client.get("/v1/classes").json()["classes"]) == 6


def test_only_unseen_or_seen(client):
    found = sent(client, only="unseen").json()
    assert {entry["class"] for entry in found["answers"]} == set(UNSEEN)
    assert sum(entry["probability"] for entry in found["answers"]) == pytest.approx(1)
    assert {entry["seen"] for entry in sent(client, only="seen").json()["answers"]} == {True}


def test_reject_says_whether_the_best_fits_too_badly():
    for threshold, expected in ((0.0, True), (-100.0, False)):
        with start(colours(threshold=threshold)) as client:
            assert sent(client, reject="true").json()["rejected"] is expected
    with start(colours(threshold=None)) as client:
        sentence = "reject must be false; got true, and a model that was not calibrated to refuse answers"
        refused(sent(client, reject="true"), 422, sentence)
        assert client.get("/v1/classes").json()["can_reject"] is False


def test_an_explanation_names_the_next_best(client):
    found = sent(client, "red", explain="true").json()
    best, second = (entry["class"] for entry in found["answers"][:2])
    assert (found["explanation"]["class"], found["explanation"]["rather_than"]) == (best, second)
    assert found["explanation"]["for"][0] == {"attribute": "has_colour::red", "weight": pytest.approx(3.24)}


def test_the_classes_are_scored_once_for_one_answer():
    """Whatever is asked; to explain, the two best classes are scored again, changed by one attribute each."""
    with start(known := colours(threshold=0.0)) as client:
        sent(client, "red", reject="true")
        assert known.method.scored == [known.classes.names]
        found = sent(client, "blue", reject="true", explain="true").json()
    assert (found["rejected"], found["explanation"] is None) == (True, False)
    assert known.method.scored.count(known.classes.names) == 2
    [variants] = [names for names in known.method.scored if names != known.classes.names]
    assert len(variants) == 2 * (len(ATTRIBUTES) + 1)


def test_extra_classes_count_once(client):
    extra = [{"name": "Poppy", "attributes": dict(zip(ATTRIBUTES, (1, 0, 0, 0.6, 0.4), strict=True))}]
    found = client.post("/v1/predict", json={"image": base64.b64encode(picture()).decode(), "extra_classes": extra})
    expected = chances((1, 0, 0), np.vstack([VECTORS, [1, 0, 0, 0.6, 0.4]]))
    assert found.json()["extra"] == [{"class": "Poppy", "probability": pytest.approx(expected[-1]), "rank": 1}]
    assert found.json()["n_classes"] == 7
    assert found.json()["answers"][0]["added"] is False
    assert sent(client).json()["n_classes"] == 6
    form = sent(client, extra_classes=json.dumps(extra)).json()
    assert form["extra"] == found.json()["extra"]
    assert sent(client, extra_classes=json.dumps(extra), only="seen").json()["extra"] == []


def test_a_picture_is_looked_at_once():
    app = make_app(known := colours(), Limits(remembered=2))
    with testclient.TestClient(app) as client:
        for colour in ("red", "red", "blue", "red"):
            key = sent(client, colour).json()["picture"]
        assert known.backbone.batches == [1, 1]
        for colour in ("green", "black"):
            sent(client, colour)
        sentence = f"picture must be one that was sent lately; got {repr(key)[:57]}...; send it again"
        refused(client.post("/v1/predict", json={"picture": key}), 404, sentence)


def test_what_the_recogniser_refuses_is_said():
    picky = Colours()
    picky.generalized_only = True
    with start(colours(method=picky)) as client:
        sentence = "method must choose among unseen classes alone; got colours, which cannot"
        refused(sent(client, only="unseen"), 422, sentence)
        assert client.get("/v1/classes").json()["can_explain"] is False


def test_a_picture_with_too_many_pixels_is_not_decoded(client):
    claim = bytearray(picture())
    claim[16:24] = (60_000).to_bytes(4, "big") * 2
    crc = __import__("zlib").crc32(bytes(claim[12:29]))
    claim[29:33] = crc.to_bytes(4, "big")
    sentence = "file must be a picture of at most 50,000,000 pixels; got 60,000 x 60,000; make it smaller"
    refused(client.post("/v1/predict", files={"file": bytes(claim)}), 422, sentence)


def test_pictures_that_come_together_are_looked_at_together():
    known = colours(seconds=0.01)
    answers = together(make_app(known, Limits(batch=4, wait=0.05)), *shades(12))
    assert [answer.status_code for answer in answers] == [200] * 12
    assert sum(known.backbone.batches) == 12
    assert max(known.backbone.batches) <= 4
    assert len(known.backbone.batches) <= 6
    expected = [chances((row / 255, 1 - row / 255, row / 255)).max() for row in range(12)]
    found = [answer.json()["answers"][0]["probability"] for answer in answers]
    assert found == pytest.approx(expected, abs=1e-6)
