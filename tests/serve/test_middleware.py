"""No request is too large, takes too long, or waits in too long a queue."""

import asyncio
import json

import pytest

from tests.support.colours import colours
from tests.support.serving import refused, sent, shades, start, together

pytest.importorskip("httpx2", reason="needs httpx2")
pytest.importorskip("fastapi.testclient", reason="needs the extra serve")

from firstsight.serve import Limits, make_app


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


def test_every_answer_forbids_what_comes_from_elsewhere(client):
    for answer in (client.get("/"), client.get("/nowhere"), sent(client)):
        assert answer.headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' data: blob:")
        assert answer.headers["x-content-type-options"] == "nosniff"
