"""The application on a port, until it is stopped."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from firstsight.errors import InputError

GRACE = 5  # seconds for answers that are under way when the server is stopped


def run(app: ASGIApp, host: str = "127.0.0.1", port: int = 8000, ready: Callable[[str], None] | None = None) -> None:
    """Answer requests until Ctrl-C; call `ready` with the address once they are taken.

    Raises:
        InputError: host and port (0: a free one) cannot be listened on.
    """
    place = listening(host, port)
    name, port = place.getsockname()[:2]
    if ready:
        ready(f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}")
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=GRACE
    )
    uvicorn.Server(config).run(sockets=[place])


def listening(host: str, port: int) -> socket.socket:
    """Open a socket that listens there; port 0 takes a free one."""
    if not 0 <= port <= 65535:
        raise InputError(f"port must be 0 to 65535; got {port}")
    place = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        place = socket.socket(family, kind, protocol)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(address)
        place.listen(2048)
    except (OSError, UnicodeError) as error:
        if place is not None:
            place.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"host and port must be free to listen on; got {host}:{port}: {reason.lower()}") from error
    return place
