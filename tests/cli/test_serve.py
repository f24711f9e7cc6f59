"""`firstsight serve` from outside, with a real recogniser and an untrained backbone."""

import os
import re
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from firstsight import cli
from firstsight.methods import ESZSL
from tests.support.colours import picture
from tests.support.tiny import tiny_dataset

httpx = pytest.importorskip("httpx2", reason="needs httpx2")
pytest.importorskip("fastapi", reason="needs the extra serve")
recognisers = pytest.importorskip("firstsight.recogniser.recogniser")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A recogniser's file whose features are those of an untrained ResNet-18."""
    data = tiny_dataset(v=512)
    known = recognisers.Recogniser.of(ESZSL(device="cpu").fit(data.training_set()), data, calibrate=False)
    source = {"backbone": "random:resnet18", "crops": "1"}
    known = type(known)(known.method, known.classes, known.is_seen, feature_source=source)
    return known.save(tmp_path_factory.mktemp("model") / "birds.safetensors")


def fails(capsys, sentence, *words):
    with pytest.raises(SystemExit) as stop:
        cli.main(["serve", *map(str, words)])
    out, err = capsys.readouterr()
    assert (stop.value.code, out) == (2, "")
    assert re.fullmatch(f"firstsight: {sentence}\n", err), err


def test_a_server_from_start_to_end(model):
    words = [sys.executable, "-c", "from firstsight.cli import main; main()", "serve", str(model), "--port", "0"]
    environment = {**os.environ, "FIRSTSIGHT_API_KEY": "sesame", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*words, "--device", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        said = process.stdout.readline()
        address = re.fullmatch(r"firstsight answers at (http://127\.0\.0\.1:\d+); Ctrl-C ends it\n", said)[1]
        with httpx.Client(base_url=address, timeout=60) as client:
            assert client.get("/").headers["content-type"] == "text/html; charset=utf-8"
            found = client.post(
                "/v1/predict?top=9&explain=1", files={"file": picture("teal", "JPEG", (300, 200))}
            ).json()
            assert len(found["answers"]) == 9
            assert sum(entry["probability"] for entry in found["answers"]) == pytest.approx(1)
            assert found["explanation"]["class"] == found["answers"][0]["class"]
            known = recognisers.Recogniser.load(model, "cpu")
            direct = known.probabilities(known.features([decoded(picture("teal", "JPEG", (300, 200)))]))[0]
            assert found["answers"][0]["probability"] == pytest.approx(direct.max(), rel=1e-4)
            assert found["answers"][0]["class"] == known.classes.names[int(np.argmax(direct))]
            one = {"name": "kea", "like": "class a"}
            assert client.post("/v1/classes", json=one).status_code == 401
            key = {"authorization": "Bearer sesame"}
            assert client.post("/v1/classes", json=one, headers=key).status_code == 201
        assert model.with_name("birds.safetensors.classes.db").is_file()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == "firstsight: stopped\n"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def decoded(content):
    import io

    from PIL import Image

    return Image.open(io.BytesIO(content))


def test_what_cannot_be_served_is_said(capsys, model, tmp_path):
    fails(capsys, "timeout must be above 0 seconds; got 0.0", model, "--timeout", "0")
    fails(capsys, "api key must have characters; got none", model, "--api-key", " ", "--state", tmp_path / "a.db")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = f"host and port must be free to listen on; got 127.0.0.1:{port}: address already in use"
        fails(capsys, sentence, model, "--port", port, "--state", tmp_path / "b.db")
    plain = ESZSL(device="cpu").fit(tiny_dataset().training_set()).save(tmp_path / "plain.safetensors")
    fails(capsys, r".*plain.safetensors must be a recogniser; got a method without classes .*", plain)


def test_features_from_elsewhere_cannot_be_served(capsys, tmp_path):
    data = tiny_dataset()
    method = ESZSL(device="cpu").fit(data.training_set())
    path = recognisers.Recogniser.of(method, data, calibrate=False).save(tmp_path / "x.safetensors")
    fails(capsys, "recogniser must know the backbone of its features to look at pictures; got .*", path)
