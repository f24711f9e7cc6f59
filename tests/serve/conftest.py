"""Clients and servers that the tests of several files ask for."""

import pytest

from tests.support.serving import Server, start


@pytest.fixture
def client():
    with start() as client:
        yield client


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
