"""The server of the colours as tests use it: in this process, and in one of its own."""

import asyncio
import signal
import subprocess
import sys

from tests.support.colours import colours, picture

KEYS = {"picture", "answers", "n_classes", "rejected", "extra", "explanation", "reconstruction", "seconds"}


def start(recogniser=None, limits=None, **options):
    """A client of the app, with what `make_app` takes."""
    from fastapi.testclient import TestClient

    from firstsight.serve import make_app

    return TestClient(make_app(recogniser or colours(), limits, **options))


def sent(client, shown="red", **options):
    """The answer to a question about a picture: its file, or its one colour."""
    content = shown if isinstance(shown, bytes) else picture(shown)
    return client.post("/v1/predict", files={"file": content}, data=options)


def refused(answer, status, sentence):
    assert (answer.status_code, answer.json()) == (status, {"detail": sentence})


def together(app, *requests):
    """Answers to requests that are made at once."""

    import httpx2 as httpx

    async def ask():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await asyncio.gather(*(client.post("/v1/predict", **request) for request in requests))

    return asyncio.run(ask())


def shades(n):
    return [{"files": {"file": picture((row, 255 - row, row))}} for row in range(n)]


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
        import httpx2 as httpx

        return [one["name"] for one in httpx.get(f"{self.address}/v1/classes").json()["classes"] if one["added"]]
