"""Classes that are listed, added and deleted, and the file that keeps them."""

import time

import numpy as np
import pytest

from firstsight.errors import InputError
from tests.support.colours import ATTRIBUTES, CLASSES, UNSEEN, colours
from tests.support.serving import refused, sent, start

httpx = pytest.importorskip("httpx2", reason="needs httpx2")
pytest.importorskip("fastapi.testclient", reason="needs the extra serve")

from firstsight.serve import Limits, make_app  # noqa: E402 - the extra may not be there

VECTORS = np.array(list(CLASSES.values()))


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


def test_wrong_names_of_classes_are_named(client):
    refused(client.get("/v1/classes/003.See"), 404, "unknown class '003.See'; did you mean '003.Sea'?")
    refused(client.delete("/v1/classes/Sea"), 404, "unknown class 'Sea'; there are 0")
    sentence = "name must be of an added class; got '003.Sea', which the model came with"
    refused(client.delete("/v1/classes/003.Sea"), 422, sentence)
    answer = client.post("/v1/classes", json={"name": "x", "like": "Lemon"})
    refused(answer, 422, "unknown class 'Lemon'; did you mean '006.Lemon'?")


def test_added_classes_have_a_bound():
    with start(limits=Limits(classes=1)) as client:
        assert client.post("/v1/classes", json={"name": "a", "like": "003.Sea"}).status_code == 201
        sentence = "added classes must be at most 1; got one more; delete some first"
        refused(client.post("/v1/classes", json={"name": "b", "like": "003.Sea"}), 409, sentence)


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
