"""The routes: addresses, the key, the state of the server, its description, and the files of the page."""

import json
import re
from pathlib import Path

import pytest

from tests.support.serving import KEYS, refused, sent, start

pytest.importorskip("httpx2", reason="needs httpx2")
pytest.importorskip("fastapi.testclient", reason="needs the extra serve")


def test_addresses_and_methods_that_are_not_there(client):
    refused(client.get("/v2"), 404, "path must be one of the API's; got '/v2'; /openapi.json lists them")
    refused(client.get("/v1/predict"), 405, "method must be POST for '/v1/predict'; got 'GET'")


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


def test_the_page_names_nothing_from_elsewhere(client):
    page = client.get("/").text
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert {"/page.css", "/page.js"} <= set(addresses)
    assert [one for one in addresses if not one.startswith(("/", "#", "data:,"))] == []
    assert "style=" not in page  # the policy would ignore it
    for address in ("/page.css", "/page.js", "/editor.js", "/drawings.js", "/api.js"):
        assert client.get(address).status_code == 200
        assert "http" not in client.get(address).text.replace("https://", "http")


def test_the_page_has_the_limits_of_the_server(client):
    from firstsight.serve.requests import LONGEST_NAME, LONGEST_TEXT, MOST_TEXTS

    page = client.get("/").text
    assert re.search(rf'<input id="name" [^>]*maxlength="{LONGEST_NAME}"', page)
    assert re.search(rf'<textarea id="words" [^>]*maxlength="{MOST_TEXTS * LONGEST_TEXT}"', page)


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
