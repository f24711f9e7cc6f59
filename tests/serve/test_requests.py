"""What a request may hold, and the sentence for each thing that is wrong with it."""

import pytest

from tests.support.colours import picture
from tests.support.serving import refused, sent

pytest.importorskip("httpx2", reason="needs httpx2")
pytest.importorskip("fastapi.testclient", reason="needs the extra serve")


def test_the_body_goes_before_the_address(client):
    assert len(client.post("/v1/predict?top=2", files={"file": picture()}).json()["answers"]) == 2
    found = client.post("/v1/predict?top=2&explain=true", files={"file": picture()}, data={"top": "3"}).json()
    assert len(found["answers"]) == 3
    assert found["explanation"]["class"] == "001.Fire_engine"


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
