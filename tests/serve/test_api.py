"""The API from outside: answers, added classes, refusals, limits."""

import asyncio
import base64
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from firstsight.errors import InputError
from tests.support.colours import ATTRIBUTES, CLASSES, UNSEEN, Painter, colours, picture

httpx = pytest.importorskip("httpx2", reason="needs httpx2")
testclient = pytest.importorskip("fastapi.testclient", reason="needs the extra serve")

from firstsight.serve import Limits, make_app  # noqa: E402 - the extra may not be there
from firstsight.serve.server import listening  # noqa: E402

VECTORS = np.array(list(CLASSES.values()))
KEYS = {"picture", "answers", "n_classes", "rejected", "extra", "explanation", "reconstruction", "seconds"}


@pytest.fixture
def client():
    with testclient.TestClient(make_app(colours())) as client:
        yield client


def start(**options):
    """A client of its own for a test that needs other limits."""
    return testclient.TestClient(make_app(colours(), **options))


def chances(colour, vectors=VECTORS):
    """Probabilities of the classes for a picture of one colour (0..1), worked out here."""
    seen = 2 * np.array([*colour, 1 - np.mean(colour), np.mean(colour)]) - 1
    scores = np.exp(-((seen - (2 * vectors - 1)) ** 2).sum(axis=1))
    return scores / scores.sum()


def sent(client, colour="red", **options):
    return client.post("/v1/predict", files={"file": picture(colour)}, data=options)


def refused(answer, status, sentence):
    assert (answer.status_code, answer.json()) == (status, {"detail": sentence})


# -- answers


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


def test_the_body_goes_before_the_address(client):
    assert len(client.post("/v1/predict?top=2", files={"file": picture()}).json()["answers"]) == 2
    found = client.post("/v1/predict?top=2&explain=true", files={"file": picture()}, data={"top": "3"}).json()
    assert len(found["answers"]) == 3
    assert found["explanation"]["class"] == "001.Fire_engine"


def test_only_unseen_or_seen(client):
    found = sent(client, only="unseen").json()
    assert {entry["class"] for entry in found["answers"]} == set(UNSEEN)
    assert sum(entry["probability"] for entry in found["answers"]) == pytest.approx(1)
    assert {entry["seen"] for entry in sent(client, only="seen").json()["answers"]} == {True}


def test_reject_says_whether_the_best_fits_too_badly():
    for threshold, expected in ((0.0, True), (-100.0, False)):
        with testclient.TestClient(make_app(colours(threshold=threshold))) as client:
            assert sent(client, reject="true").json()["rejected"] is expected
    with testclient.TestClient(make_app(colours(threshold=None))) as client:
        sentence = "reject must be false; got true, and a model that was not calibrated to refuse answers"
        refused(sent(client, reject="true"), 422, sentence)
        assert client.get("/v1/classes").json()["can_reject"] is False


def test_an_explanation_names_the_next_best(client):
    found = sent(client, "red", explain="true").json()
    best, second = (entry["class"] for entry in found["answers"][:2])
    assert (found["explanation"]["class"], found["explanation"]["rather_than"]) == (best, second)
    assert found["explanation"]["for"][0] == {"attribute": "has_colour::red", "weight": pytest.approx(3.24)}


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


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"top": "0"}, "top must be a whole number from 1 to 1000; got '0'"),
        ({"top": "many"}, "top must be a whole number from 1 to 1000; got 'many'"),
        ({"only": "new"}, "only must be seen or unseen; got 'new'"),
        ({"reject": "perhaps"}, "reject must be true or false; got 'perhaps'"),
        ({"explian": "1"}, "unknown field 'explian'; did you mean 'explain'?"),
        ({"image": "aGk="}, "picture must be given as file, image or picture; got file and image"),
        ({"extra_classes": "[{]"}, "extra_classes must be JSON; got '[{]'"),
        ({"extra_classes": "{}"}, "extra_classes must be a list of at most 20 classes; got an object of 0"),
        ({"extra_classes": "[1]"}, "extra_classes[0] must be an object with name and attributes; got 1"),
    ],
)
def test_wrong_fields_are_named(client, fields, sentence):
    refused(sent(client, **fields), 422, sentence)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "picture must be given as file, image or picture; got none"),
        ({"image": 5}, "image must be text; got 5"),
        ({"image": "%%%"}, "image must be a picture's file in base64; got '%%%'"),
        ({"image": "aGk="}, "file must be a picture (JPEG, PNG, WebP, BMP, TIFF or GIF); got something else"),
        ({"image": ""}, "file must be a picture (JPEG, PNG, WebP, BMP, TIFF or GIF); got an empty file"),
        ({"file": "/etc/passwd"}, "file must be part of a multipart form; got it in JSON; call it image, in base64"),
        ({"picture": "../../etc"}, "picture must be a key that an answer gave; got '../../etc'"),
        ([1, 2], "body must be a JSON object; got a list of 2"),
    ],
)
def test_wrong_bodies_are_named(client, body, sentence):
    refused(client.post("/v1/predict", json=body), 422, sentence)


def test_other_types_of_content_are_refused(client):
    sentence = "content-type must be multipart/form-data or application/json; got 'text/plain'"
    refused(client.post("/v1/predict", content=b"{}", headers={"content-type": "text/plain"}), 415, sentence)
    sentence = "content-type must be application/json; got 'text/plain'"  # which another site's page could send
    refused(client.post("/v1/classes", content=b"{}", headers={"content-type": "text/plain"}), 415, sentence)


def test_addresses_and_methods_that_are_not_there(client):
    refused(client.get("/v2"), 404, "path must be one of the API's; got '/v2'; /openapi.json lists them")
    refused(client.get("/v1/predict"), 405, "method must be POST for '/v1/predict'; got 'GET'")


# -- classes


def test_what_is_known(client):
    found = client.get("/v1/classes").json()
    assert [one["name"] for one in found["classes"]] == list(CLASSES)
    assert {one["name"] for one in found["classes"] if not one["seen"]} == set(UNSEEN)
    assert [one["name"] for one in found["attributes"]] == list(ATTRIBUTES)
    assert [one["low"] for one in found["attributes"]] == VECTORS.min(axis=0).tolist()
    assert [one["high"] for one in found["attributes"]] == VECTORS.max(axis=0).tolist()
    assert [one["mean"] for one in found["attributes"]] == pytest.approx(VECTORS.mean(axis=0))
    assert (found["width"], found["can_explain"], found["can_reject"], found["needs_key"]) == (5, True, True, False)
    one = client.get("/v1/classes/003.Sea").json()
    assert one["attributes"] == dict(zip(ATTRIBUTES, CLASSES["003.Sea"], strict=True))


def test_adding_and_deleting_a_class_changes_answers(client):
    before = sent(client, "orange").json()
    described = {"name": "Orange / ripe", "attributes": dict(zip(ATTRIBUTES, (1, 0.65, 0, 0.4, 0.6), strict=True))}
    answer = client.post("/v1/classes", json=described)
    assert (answer.status_code, answer.json()["attributes"]) == (201, described["attributes"])
    best = sent(client, "orange").json()["answers"][0]
    assert (best["class"], best["seen"], best["added"]) == ("Orange / ripe", False, True)
    assert sent(client, "orange", only="unseen").json()["n_classes"] == 3
    refused(client.post("/v1/classes", json=described), 409, "name must be new; got 'Orange / ripe', which is known")
    gone = client.delete("/v1/classes/Orange%20%2F%20ripe").json()
    assert gone["attributes"] == described["attributes"]
    assert sent(client, "orange").json() | {"seconds": 0} == before | {"seconds": 0}


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


def test_wrong_names_of_classes_are_named(client):
    refused(client.get("/v1/classes/003.See"), 404, "unknown class '003.See'; did you mean '003.Sea'?")
    refused(client.delete("/v1/classes/Sea"), 404, "unknown class 'Sea'; there are 0")
    sentence = "name must be of an added class; got '003.Sea', which the model came with"
    refused(client.delete("/v1/classes/003.Sea"), 422, sentence)
    answer = client.post("/v1/classes", json={"name": "x", "like": "Lemon"})
    refused(answer, 422, "unknown class 'Lemon'; did you mean '006.Lemon'?")


def test_vectors_without_names():
    with testclient.TestClient(make_app(colours(named=False))) as client:
        known = client.get("/v1/classes").json()
        assert (known["attributes"], known["width"], known["can_explain"]) == ([], 5, False)
        assert client.post("/v1/classes", json={"name": "x", "vector": [1, 0, 0, 0, 0]}).json()["vector"][0] == 1
        sentence = "attributes must be named by the model; got one whose vectors have no names; give a vector"
        refused(client.post("/v1/classes", json={"name": "y", "attributes": {"red": 1}}), 422, sentence)


def test_what_the_recogniser_refuses_is_said():
    with testclient.TestClient(make_app(colours(method=Painter(draws=False, generalized_only=True)))) as client:
        sentence = "method must choose among unseen classes alone; got colours, which cannot"
        refused(sent(client, only="unseen"), 422, sentence)
        assert client.get("/v1/classes").json()["can_explain"] is False


def test_added_classes_have_a_bound():
    with start(limits=Limits(classes=1)) as client:
        assert client.post("/v1/classes", json={"name": "a", "like": "003.Sea"}).status_code == 201
        sentence = "added classes must be at most 1; got one more; delete some first"
        refused(client.post("/v1/classes", json={"name": "b", "like": "003.Sea"}), 409, sentence)


def test_changes_need_the_key():
    with start(api_key="sesame") as client:
        one = {"name": "x", "like": "003.Sea"}
        sentence = "api key must be the server's to change classes; got {}; send it as Authorization: Bearer KEY"
        assert client.get("/v1/classes").json()["needs_key"] is True
        refused(client.post("/v1/classes", json=one), 401, sentence.format("none"))
        for wrong in ({"authorization": "Bearer sesam"}, {"x-api-key": "simsim"}, {"x-api-key": "é".encode()}):
            refused(client.post("/v1/classes", json=one, headers=wrong), 401, sentence.format("another"))
        refused(client.delete("/v1/classes/x"), 401, sentence.format("none"))
        assert client.post("/v1/classes", json=one, headers={"authorization": "bearer sesame"}).status_code == 201
        assert client.delete("/v1/classes/x", headers={"x-api-key": "sesame"}).status_code == 200
        assert sent(client).status_code == 200


# -- limits


def test_a_body_that_is_too_large():
    with start(limits=Limits(body=2**20)) as client:
        sentence = "body must be at most 1 MiB; got a larger one; make the picture smaller"
        refused(client.post("/v1/predict", files={"file": bytes(2**20)}), 413, sentence)
        headers = {"content-type": "application/json"}
        pieces = (b" " * 2**16 for _ in range(17))  # nothing says how many will come
        refused(client.post("/v1/predict", content=pieces, headers=headers), 413, sentence)
        pieces = (b" " * 2**16 for _ in range(17))
        headers = {"content-type": "multipart/form-data; boundary=x"}
        refused(client.post("/v1/predict", content=pieces, headers=headers), 413, sentence)


def test_a_picture_with_too_many_pixels_is_not_decoded(client):
    claim = bytearray(picture())
    claim[16:24] = (60_000).to_bytes(4, "big") * 2
    crc = __import__("zlib").crc32(bytes(claim[12:29]))
    claim[29:33] = crc.to_bytes(4, "big")
    sentence = "file must be a picture of at most 50,000,000 pixels; got 60,000 x 60,000; make it smaller"
    refused(client.post("/v1/predict", files={"file": bytes(claim)}), 422, sentence)


def together(app, *requests):
    """Answers to requests that are made at once."""

    async def ask():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await asyncio.gather(*(client.post("/v1/predict", **request) for request in requests))

    return asyncio.run(ask())


def shades(n):
    return [{"files": {"file": picture((row, 255 - row, row))}} for row in range(n)]


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


def test_a_full_queue_sends_requests_away():
    app = make_app(colours(seconds=0.1), Limits(at_once=1, queue=1))
    answers = together(app, *shades(4))
    away = [answer for answer in answers if answer.status_code == 503]
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503]
    for answer in away:
        refused(answer, 503, "requests must be at most 2 at once; got one more; try again in a second")
        assert answer.headers["retry-after"] == "1"
    assert together(app, *shades(1))[0].status_code == 200
    assert app.inside == 0


def test_an_answer_that_takes_too_long():
    known = colours(seconds=0.3)
    app = make_app(known, Limits(timeout=0.1))
    [answer] = together(app, *shades(1))
    refused(answer, 504, "answer must be ready in 0.1 seconds; got none; try again when the server has less")
    assert app.inside == 0


def test_a_body_that_does_not_come():
    said = []

    async def ask():
        came = [{"type": "http.request", "body": b"{", "more_body": True}]

        async def receive():
            if came:
                return came.pop()
            return await asyncio.sleep(60)

        async def send(message):
            said.append(message)

        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/v1/predict", "headers": headers, "query_string": b""}
        await make_app(colours(), Limits(timeout=0.1))(scope, receive, send)

    asyncio.run(ask())
    assert said[0]["status"] == 408
    assert json.loads(said[1]["body"]) == {"detail": "body must arrive in 0.1 seconds; got a part of it"}


def test_limits_must_make_sense():
    for name, value, sentence in (
        ("body", 0, "body must be 1 or more; got 0"),
        ("queue", -1, "queue must be 0 or more; got -1"),
        ("timeout", 0.0, "timeout must be above 0 seconds; got 0.0"),
    ):
        with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
            Limits(**{name: value})


# -- what looks after the server


def test_counts_and_times(client):
    for colour in ("red", "blue", "red"):
        sent(client, colour)
    client.get("/nowhere")
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    values = {}
    for line in answer.text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert re.fullmatch(r'[a-z_]+(\{([a-z]+="[^"]*",?)+\})?', name)
            values[name] = float(value)
    assert values['firstsight_requests_total{path="/v1/predict",status="200"}'] == 3
    assert values['firstsight_requests_total{path="other",status="404"}'] == 1
    buckets = [value for name, value in values.items() if name.startswith("firstsight_batch_size_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == values["firstsight_batch_size_count"] == 2
    assert values["firstsight_remembered_total"] == 1
    assert values["firstsight_inside"] == 0
    assert values["firstsight_classes"] == 6
    assert values["process_resident_memory_bytes"] > 1e6


def test_health_and_description(client):
    assert client.get("/healthz").json()["status"] == "ok"
    described = client.get("/openapi.json").json()
    assert {"/v1/predict", "/v1/imagine", "/v1/classes", "/v1/classes/{name}", "/healthz", "/metrics"} == set(
        described["paths"]
    )
    body = described["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "application/json"}
    properties = described["components"]["schemas"]["Prediction"]["properties"]
    assert set(properties) == KEYS == set(sent(client, explain="1").json())


def test_answers_look_as_described(client):
    described = client.get("/openapi.json").json()["components"]["schemas"]
    extra = json.dumps([{"name": "x", "like": "003.Sea"}])
    found = sent(client, explain="1", extra_classes=extra).json()
    known = client.get("/v1/classes").json()
    for name, example in {
        "Ranked": found["answers"][0],
        "RankedExtra": found["extra"][0],
        "Explanation": found["explanation"],
        "Weight": found["explanation"]["for"][0],
        "Classes": known,
        "KnownClass": known["classes"][0],
        "Attribute": known["attributes"][0],
        "ClassDescription": client.get("/v1/classes/003.Sea").json(),
        "Health": client.get("/healthz").json(),
        "Problem": client.get("/nowhere").json(),
    }.items():
        assert set(described[name]["properties"]) == set(example), name


def test_every_answer_forbids_what_comes_from_elsewhere(client):
    for answer in (client.get("/"), client.get("/nowhere"), sent(client)):
        assert answer.headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' data: blob:")
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_names_nothing_from_elsewhere(client):
    page = client.get("/").text
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert {"/page.css", "/page.js"} <= set(addresses)
    assert [one for one in addresses if not one.startswith(("/", "#", "data:,"))] == []
    assert "style=" not in page  # the policy would ignore it
    for address in ("/page.css", "/page.js", "/editor.js", "/drawings.js", "/api.js"):
        assert client.get(address).status_code == 200
        assert "http" not in client.get(address).text.replace("https://", "http")


def test_the_page_has_the_colours_of_the_report():
    import firstsight

    here = Path(firstsight.__file__).parent
    page = (here / "serve" / "page" / "page.css").read_text(encoding="utf-8")
    light = (here / "report" / "charts.css").read_text(encoding="utf-8")
    dark = (here / "report" / "page.css.jinja").read_text(encoding="utf-8")
    named = re.findall(r"--([\w-]+): light-dark\((#\w+), (#\w+)\)", page)
    assert len(named) == 8
    for name, by_day, by_night in named:
        assert f"--{name}: {by_day};" in light
        assert f"--{name}: {by_night};" in dark


# -- the state, and a server of its own


class Server:
    """The colours in a process that can be killed."""

    def __init__(self, state):
        words = [sys.executable, "-W", "error", "-m", "tests.support.colours", str(state)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def names(self):
        return [one["name"] for one in httpx.get(f"{self.address}/v1/classes").json()["classes"] if one["added"]]


@pytest.fixture
def serve(tmp_path):
    """A function that starts a server with one state; all are killed in the end."""
    servers = []

    def serve():
        servers.append(Server(tmp_path / "classes.db"))
        return servers[-1]

    yield serve
    for server in servers:
        if server.process.poll() is None:
            server.kill()


def test_added_classes_survive_a_kill(serve):
    server = serve()
    acknowledged = []
    with httpx.Client(base_url=server.address) as client:
        for row in range(20):
            client.post("/v1/classes", json={"name": f"class {row}", "attributes": {"has_colour::red": row / 7}})
            acknowledged.append(f"class {row}")
        client.delete("/v1/classes/class 3")
        acknowledged.remove("class 3")
        vector = client.get("/v1/classes/class 5").json()
    server.kill()
    server = serve()
    assert server.names() == acknowledged
    assert httpx.get(f"{server.address}/v1/classes/class 5").json() == vector


def test_huge_headers_and_broken_requests_leave_the_server_alone(serve):
    server = serve()
    host, port = server.address.removeprefix("http://").split(":")
    for request in (
        b"GET / HTTP/1.1\r\nhost: x\r\nlong: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 400_000 + b"\r\n",
        b"\x00\xff nonsense\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=60) as line:
            answer = b""
            try:
                line.sendall(request)
                while piece := line.recv(4096):
                    answer += piece
            except ConnectionError:  # it hung up before it had read all
                pass
        assert not answer or re.match(rb"HTTP/1.1 4\d\d ", answer), answer
        assert b"root:" not in answer
    assert httpx.get(f"{server.address}/healthz").status_code == 200


def test_two_servers_cannot_share_a_state(tmp_path):
    state = tmp_path / "classes.db"
    make_app(colours(), state=state)
    with pytest.raises(
        InputError, match=r"^state must belong to one server; got .*classes.db, which another has open$"
    ):
        make_app(colours(), state=state)


def test_a_state_that_is_not_one(tmp_path):
    (tmp_path / "text.db").write_text("not a database, but long enough to look like something else" * 20)
    with pytest.raises(InputError, match=r"^state must be a SQLite file of added classes; got .*text.db: "):
        make_app(colours(), state=tmp_path / "text.db")
    with pytest.raises(InputError, match=r"^state must be a SQLite file of added classes; got .*: unable to open"):
        make_app(colours(), state=tmp_path / "no folder" / "x.db")


def test_a_state_of_another_model(tmp_path):
    import sqlite3

    for name, vector, sentence in (
        ("x", "[1, 2]", "state must hold classes of 5 attributes; got .*: 2 for one class; name another file"),
        ("x", "[1, 2", "state must hold classes of 5 attributes; got .*"),
        ("x", "[1, 2, 3, 4, null]", "state must hold classes of 5 attributes; got .*"),
        ("003.Sea", "[1, 2, 3, 4, 5]", "state must hold classes that the model does not know; got '003.Sea' in .*"),
    ):
        state = tmp_path / f"{time.monotonic_ns()}.db"
        file = sqlite3.connect(state)
        file.execute("CREATE TABLE added (name TEXT PRIMARY KEY, vector TEXT NOT NULL)")
        file.execute("INSERT INTO added VALUES (?, ?)", (name, vector))
        file.commit()
        file.close()
        with pytest.raises(InputError, match=f"^{sentence}"):
            make_app(colours(), state=state)


def test_a_port_that_is_taken():
    with listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        sentence = f"host and port must be free to listen on; got 127.0.0.1:{port}: address already in use"
        with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
            listening("127.0.0.1", port)
    with pytest.raises(InputError, match=r"^port must be 0 to 65535; got 70000$"):
        listening("127.0.0.1", 70_000)


@pytest.mark.slow
def test_memory_stays_flat(serve):
    server = serve()

    def ask(client, start, n):
        for row in range(start, start + n):
            shade = (row % 256, row // 256 % 256, row // 65536)
            file = picture(shade, "JPEG", (800, 600))
            client.post("/v1/predict", files={"file": file}, data={"reconstruct": "true"}).raise_for_status()
            client.post("/v1/imagine", json={"vector": [row / 8000, 0, 0, 0, 0]}).raise_for_status()
        text = client.get("/metrics").text
        return float(re.search(r"^process_resident_memory_bytes (\S+)$", text, re.MULTILINE)[1])

    with httpx.Client(base_url=server.address) as client:
        warm = ask(client, 0, 2000)  # twice what is remembered
        assert ask(client, 2000, 6000) - warm < 20 * 2**20
