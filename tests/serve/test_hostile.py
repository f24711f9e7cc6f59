"""Requests made up by chance: whatever is sent, the answer is an answer or a refusal with one sentence."""

import base64
import io
import json
import string

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.colours import ATTRIBUTES, CLASSES, colours, picture
from tests.support.serving import start

pytest.importorskip("fastapi.testclient", reason="needs the extra serve")
pytest.importorskip("multipart", reason="needs the extra serve")

from firstsight.serve import Limits

PATHS = (
    *("../../etc/passwd", "/etc/passwd", "..\\..\\windows\\win.ini", "file:///etc/passwd", "%2e%2e%2fetc%2fpasswd"),
    *("\x00", "a\x00.png", "~/.ssh/id_rsa", "....//etc/passwd", "C:\\", "//host/share", "\ud800", "x" * 1000),
)
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
thorough = settings(quick, max_examples=1500)


@pytest.fixture(scope="module")
def client():
    with start(colours(), Limits(body=2**18, pixels=10**6, classes=5)) as client:
        yield client


def detailed(kind, rng=np.random.default_rng(0)):  # noqa: B008 - the same picture each time
    """The file of a small picture with something in it."""
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(file, kind)
    return file.getvalue()


WHOLE = {kind: detailed(kind) for kind in FORMATS}


def fits(answer, *, refused=False):
    """Never the server's fault, and a sentence where it is refused."""
    status = answer.status_code
    assert status < 500
    if status >= 400:
        detail = answer.json()["detail"]
        assert set(answer.json()) == {"detail"}
        assert 10 < len(detail) < 500
        assert "\n" not in detail
        assert "Traceback" not in detail
        assert "; " in detail or " must " in detail
    else:
        assert not refused
        assert status in (200, 201)
    return answer


texts = st.text(max_size=40) | st.sampled_from(PATHS)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.sampled_from([10**400, -0.0, 1e308])
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
names = texts | st.sampled_from(list(CLASSES))
descriptions = st.dictionaries(
    st.sampled_from(["name", "attributes", "vector", "like"]),
    documents
    | names
    | st.dictionaries(st.sampled_from(ATTRIBUTES) | texts, scalars, max_size=4)
    | st.lists(scalars, min_size=5, max_size=5),
)
questions = st.fixed_dictionaries(
    {},
    optional={
        "image": documents | st.just(base64.b64encode(picture()).decode()),
        "picture": documents | st.sampled_from(["0" * 64, "g" * 64]),
        "file": documents,
        "top": documents | st.integers(1, 10),
        "only": documents | st.sampled_from(["seen", "unseen"]),
        "reject": documents | st.booleans(),
        "explain": documents | st.booleans(),
        "extra_classes": documents | st.lists(descriptions, max_size=3),
    },
)
kinds = st.sampled_from(
    [
        *("application/json", "application/json; charset=utf-7", "multipart/form-data", "text/html", "", "é", ";;;="),
        *("multipart/form-data; boundary=x", "multipart/form-data; boundary=", "application/x-www-form-urlencoded"),
        *("multipart/form-data; boundary=x; charset=nonsense", "multipart/mixed; boundary=x", "image/png"),
    ]
)


def posted(client, path, body, kind="application/json"):
    return client.post(path, content=body, headers={"content-type": kind.encode("latin-1")})


def as_json(document):
    return json.dumps(document).encode("utf-8", "surrogatepass")


def check_any_bytes(client, path, body, kind):
    fits(posted(client, path, body, kind))


def check_any_document(client, path, document):
    answer = fits(posted(client, path, as_json(document)))
    if answer.status_code == 201:  # there is room for the next
        client.delete(f"/v1/classes/{answer.json()['name']}")


def check_any_question(client, question):
    fits(posted(client, "/v1/predict", as_json(question)))


def check_any_description(client, description):
    check_any_document(client, "/v1/classes", description)


def check_any_form(client, name, file, head, value):
    part = b"--x\r\ncontent-disposition: form-data; name=" + name + b"; filename=" + file + head + b"\r\n\r\n" + value
    fits(posted(client, "/v1/predict", part + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"))


def check_a_damaged_picture(client, kind, cut, at, byte):
    whole = bytearray(WHOLE[kind])
    whole[at % len(whole)] = byte
    damaged = bytes(whole[: cut % len(whole) + 1])
    fits(client.post("/v1/predict", files={"file": damaged}))


def check_any_query(client, query):
    fits(client.post("/v1/predict", params=query, files={"file": WHOLE["PNG"]}))


def check_any_name(client, name):
    fits(client.get(f"http://testserver/v1/classes/{quoted(name)}"))
    fits(client.delete(f"http://testserver/v1/classes/{quoted(name)}"))


def quoted(name):
    return "".join(f"%{byte:02x}" for byte in name.encode("utf-8", "surrogatepass"))


pieces = st.binary(max_size=30) | st.sampled_from([b'"file"', b'"top"', b'"x', b"", b'"' + b"a" * 9000 + b'"'])
CHECKS = {
    check_any_bytes: {
        "path": st.sampled_from(["/v1/predict", "/v1/classes", "/healthz", "/"]),
        "body": st.binary(max_size=300) | st.sampled_from([b"[" * 90_000, b"1" * 9000, b'{"a":' * 30_000, b"NaN"]),
        "kind": kinds,
    },
    check_any_document: {"path": st.sampled_from(["/v1/predict", "/v1/classes"]), "document": documents},
    check_any_question: {"question": questions},
    check_any_description: {"description": descriptions},
    check_any_form: {"name": pieces, "file": pieces, "head": pieces, "value": st.binary(max_size=100)},
    check_a_damaged_picture: {
        "kind": st.sampled_from(FORMATS),
        "cut": st.integers(0, 5000),
        "at": st.integers(0, 5000),
        "byte": st.integers(0, 255),
    },
    check_any_query: {
        "query": st.dictionaries(
            st.sampled_from(["top", "only", "reject", "explain", "extra_classes", "file", "picture"]) | st.text("ab"),
            st.text(string.printable, max_size=20),
            max_size=4,
        )
    },
    check_any_name: {"name": names.filter(bool)},
}
parametrize = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


@parametrize
def test_made_up_requests(client, check):
    quick(given(**CHECKS[check])(lambda **made: check(client, **made)))()


@pytest.mark.slow
@parametrize
def test_very_many_made_up_requests(client, check):
    thorough(given(**CHECKS[check])(lambda **made: check(client, **made)))()


@pytest.mark.parametrize("path", PATHS)
def test_paths_are_names_and_nothing_more(client, path):
    for field in ("image", "picture", "file", "top", "only"):
        fits(posted(client, "/v1/predict", as_json({field: path})), refused=True)
    part = b'--x\r\ncontent-disposition: form-data; name="file"; filename="' + quoted(path).encode() + b'"\r\n\r\n'
    answer = posted(client, "/v1/predict", part + WHOLE["PNG"] + b"\r\n--x--\r\n", "multipart/form-data; boundary=x")
    assert fits(answer).status_code == 200
    fits(client.get(f"/{quoted(path)}"), refused=True)
    fits(client.get(f"/v1/classes/{quoted(path)}"), refused=True)


@pytest.mark.parametrize("kind", FORMATS)
def test_pictures_that_break_off(client, kind):
    whole = WHOLE[kind]
    for length in np.linspace(0, len(whole) // 2, 12, dtype=int):
        answer = fits(client.post("/v1/predict", files={"file": whole[:length]}), refused=kind != "GIF")
        if answer.status_code != 200:
            assert answer.status_code == 422
    assert client.post("/v1/predict", files={"file": whole}).status_code == 200


def test_pictures_that_claim_to_be_huge(client):
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG", optimize=True)  # 50 kB, 1.2 GB as RGB
    sentence = "file must be a picture of at most 1,000,000 pixels; got 20,000 x 20,000; make it smaller"
    assert fits(client.post("/v1/predict", files={"file": bomb.getvalue()})).json() == {"detail": sentence}
    gif = b"GIF89a" + (60_000).to_bytes(2, "little") * 2 + WHOLE["GIF"][10:]
    fits(client.post("/v1/predict", files={"file": gif}), refused=True)


def test_many_parts(client):
    files = [("file", WHOLE["PNG"])] * 3
    sentence = "body must be a multipart form with one file; got too many files. Maximum number of files is 1"
    assert fits(client.post("/v1/predict", files=files)).json() == {"detail": sentence}
    fits(
        client.post("/v1/predict", files={"file": WHOLE["PNG"]}, data={f"f{row}": "x" for row in range(99)}),
        refused=True,
    )
    answer = client.post("/v1/predict", files={"file": WHOLE["PNG"]}, data={"top": ["1", "2"]})
    assert fits(answer).json() == {"detail": "field 'top' must be given once; got it twice"}
