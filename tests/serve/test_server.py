"""A server in a process of its own, and the port that it listens on."""

import re
import socket

import pytest

from firstsight.errors import InputError
from tests.support.colours import picture

httpx = pytest.importorskip("httpx2", reason="needs httpx2")
pytest.importorskip("fastapi.testclient", reason="needs the extra serve")

from firstsight.serve.server import listening  # noqa: E402


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
