"""A model that draws: reconstructions of pictures, imagined classes, and refusals of a model that does not draw."""

import asyncio
import base64
import io
import threading

import numpy as np
import pytest
from PIL import Image

from tests.support.colours import ATTRIBUTES, CLASSES, Painter, colours, picture
from tests.support.serving import refused, sent, start

httpx = pytest.importorskip("httpx2", reason="needs httpx2")
pytest.importorskip("fastapi.testclient", reason="needs the extra serve")

from firstsight.errors import InputError  # noqa: E402 - the extra may not be there
from firstsight.serve import Limits, make_app  # noqa: E402
from firstsight.serve.batching import Batcher  # noqa: E402

SEA = (round(255 * 0.1), round(255 * 0.1), 255)


@pytest.fixture
def client():
    with start(colours(method=Painter())) as client:
        yield client


def pixels(drawn):
    """[side, side, 3] of a picture in an answer."""
    head, _, content = drawn["image"].partition(",")
    assert head == "data:image/png;base64"
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    assert decoded.shape == (drawn["side"], drawn["side"], 3)
    return decoded


def colour(drawn):
    """The one colour of a picture in an answer."""
    found = np.unique(pixels(drawn).reshape(-1, 3), axis=0)
    assert len(found) == 1
    return tuple(found[0].tolist())


def halves():
    """The file of a wide picture, red on the left and blue on the right."""
    both = Image.new("RGB", (40, 10), "red")
    both.paste("blue", (20, 0, 40, 10))
    file = io.BytesIO()
    both.save(file, "PNG")
    return file.getvalue()


def test_the_whole_picture_is_reconstructed_also_by_its_key(client):
    assert client.get("/v1/classes").json()["can_draw"] is True
    found = sent(client, halves(), reconstruct="true").json()
    assert found["reconstruction"]["side"] == 8
    assert colour(found["reconstruction"]) == (128, 0, 128)
    assert sent(client, halves()).json()["reconstruction"] is None
    again = client.post("/v1/predict", json={"picture": found["picture"], "reconstruct": True}).json()
    assert again | {"seconds": 0} == found | {"seconds": 0}
    back = client.post("/v1/predict", json={"image": found["reconstruction"]["image"]})
    assert back.status_code == 200


def test_a_picture_is_remembered_for_drawing_though_none_was_asked(client):
    key = sent(client, picture("blue")).json()["picture"]
    found = client.post("/v1/predict", json={"picture": key, "reconstruct": True}).json()
    assert colour(found["reconstruction"]) == (0, 0, 255)


def test_a_class_is_imagined_by_its_name_or_description(client):
    def imagined(**given):
        answer = client.post("/v1/imagine", json=given)
        assert answer.status_code == 200, answer.json()
        return colour(answer.json()["imagined"])

    assert imagined(name="003.Sea") == SEA
    assert imagined(like="003.Sea") == SEA
    assert imagined(name="003.Sea", like="003.Sea", attributes={ATTRIBUTES[0]: 1}) == (255, *SEA[1:])
    assert imagined(vector=[0, 1, 0, 5, 5]) == (0, 255, 0)
    usual = 255 * np.mean(list(CLASSES.values()), axis=0)[:3]
    assert imagined(attributes={}) == tuple(usual.round().astype(int).tolist())
    client.post("/v1/classes", json={"name": "Mint", "vector": [0.4, 1, 0.6, 0, 1]})
    assert imagined(name="Mint") == (102, 255, 153)
    assert len(client.get("/v1/classes").json()["classes"]) == 7
    assert "firstsight_drawn_total 6" in client.get("/metrics").text


def test_drawings_look_as_described(client):
    shapes = client.get("/openapi.json").json()["components"]["schemas"]
    found = client.post("/v1/imagine", json={"name": "003.Sea"}).json()
    assert set(shapes["Imagining"]["properties"]) == set(found)
    assert set(shapes["Drawing"]["properties"]) == set(found["imagined"])


@pytest.mark.parametrize(
    ("given", "status", "sentence"),
    [
        ({"name": "003.See"}, 404, "unknown class '003.See'; did you mean '003.Sea'?"),
        ({}, 422, "class must be meant by its name, or be described; got nothing"),
        ({"name": 5}, 422, "class must be meant by its name, or be described; got 5"),
        ({"like": "003.See"}, 422, "unknown class '003.See'; did you mean '003.Sea'?"),
        ({"vector": [1]}, 422, "vector must be 5 numbers; got a list of 1"),
        ({"atributes": {}}, 422, "unknown field of class 'atributes'; did you mean 'attributes'?"),
        ([1], 422, "body must be a JSON object; got a list of 1"),
    ],
)
def test_what_cannot_be_imagined_is_said(client, given, status, sentence):
    refused(client.post("/v1/imagine", json=given), status, sentence)


def test_a_model_that_does_not_draw():
    with start(colours()) as client:
        assert client.get("/v1/classes").json()["can_draw"] is False
        sentence = "reconstruct must be false; got true, and a model that does not draw"
        refused(sent(client, reconstruct="true"), 422, sentence)
        assert sent(client, reconstruct="false").json()["reconstruction"] is None
        sentence = "model must draw to imagine a class; got a model that does not draw"
        refused(client.post("/v1/imagine", json={"name": "003.Sea"}), 422, sentence)


def test_what_the_method_refuses_is_said():
    class Doubtful(Painter):
        def imagined(self, classes):
            raise InputError("device must have memory for a picture; got cpu")

    with start(colours(method=Doubtful())) as client:
        refused(
            client.post("/v1/imagine", json={"name": "003.Sea"}), 422, "device must have memory for a picture; got cpu"
        )


def test_many_draw_together_while_others_are_answered(monkeypatch):
    """Classes that are asked for while one is drawn are drawn at once after it, each its own."""
    painter, started, go_on, submitted = Painter(), threading.Event(), threading.Event(), []
    submit, painted = Batcher.submit, painter.painted

    def noted(batcher, item):
        future = submit(batcher, item)
        submitted.append(item)
        return future

    def held(colours):
        started.set()
        assert go_on.wait(60)
        return painted(colours)

    monkeypatch.setattr(Batcher, "submit", noted)
    painter.painted = held
    app = make_app(colours(method=painter), Limits(batch=16, wait=0.0, timeout=120))

    async def talk():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            first = asyncio.create_task(client.post("/v1/imagine", json={"vector": [0, 0, 0, 0, 0]}))
            while not started.is_set():
                await asyncio.sleep(0.01)
            later = [client.post("/v1/imagine", json={"vector": [row / 255, 0, 0, 0, 0]}) for row in range(10)]
            drawing = asyncio.gather(first, *later)
            health = await client.get("/healthz")
            while len(submitted) < 11:
                await asyncio.sleep(0.01)
            assert health.status_code == 200
            assert not drawing.done()  # the event loop was free while pictures were drawn
            go_on.set()
            return await drawing

    _, *later = asyncio.run(talk())
    assert painter.batches == [1, 10]
    assert [colour(answer.json()["imagined"])[0] for answer in later] == list(range(10))


def test_drawing_that_takes_too_long():
    with start(colours(method=Painter(seconds=0.5)), Limits(timeout=0.1)) as client:
        sentence = "answer must be ready in 0.1 seconds; got none; try again when the server has less"
        refused(client.post("/v1/imagine", json={"name": "003.Sea"}), 504, sentence)
