"""`firstsight serve`: recognise pictures over HTTP."""

from __future__ import annotations

import os
import sys
from pathlib import Path

KEY = "FIRSTSIGHT_API_KEY"
NEEDED = ("fastapi", "prometheus_client", "pydantic", "starlette", "uvicorn")  # packages of the extra serve
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(
    model: Path,
    /,
    host: str = "127.0.0.1",
    port: int = 8000,
    state: Path | None = None,
    api_key: str | None = None,
    device: str = "auto",
    max_body: float = 16.0,
    max_pixels: float = 50.0,
    at_once: int = 32,
    queue: int = 64,
    timeout: float = 30.0,
    batch: int = 16,
    batch_wait: float = 5.0,
) -> None:
    """Serve predictions over HTTP, with a page on which new classes can be described.

    The API is described at /openapi.json; /healthz and /metrics are for monitoring.

    Args:
        model: file that `recogniser` wrote, from features of `firstsight features` or from a model trained on pictures.
        host: address to listen on; 0.0.0.0 for all addresses of this machine.
        port: port to listen on; 0 takes a free one.
        state: SQLite file for added classes; by default MODEL.classes.db.
        api_key: key that requests to change classes must carry; by default FIRSTSIGHT_API_KEY in the environment.
        device: torch device to work on.
        max_body: largest request, in MiB.
        max_pixels: largest picture, in millions of pixels.
        at_once: requests processed in parallel.
        queue: further requests that may wait.
        timeout: seconds for a request to arrive and be answered.
        batch: pictures in one pass of the backbone.
        batch_wait: milliseconds that a picture waits for others to fill its batch.
    """
    from firstsight.features.weights import package

    for needed in NEEDED:
        package(needed, "serve", "serve")
    from firstsight.recogniser.recogniser import Recogniser
    from firstsight.serve import Limits, make_app, run

    limits = Limits(
        body=round(max_body * 2**20),
        pixels=round(max_pixels * 1e6),
        at_once=at_once,
        queue=queue,
        timeout=timeout,
        batch=batch,
        wait=batch_wait / 1000,
    )
    key = api_key if api_key is not None else os.environ.get(KEY) or None
    known = Recogniser.load(model, device)
    app = make_app(known, limits, state or model.with_name(model.name + ".classes.db"), key)
    if key is None and host not in LOOPBACK:
        print(f"firstsight: anybody who reaches {host} can change classes; --api-key prevents that", file=sys.stderr)
    run(app, host, port, lambda address: print(f"firstsight answers at {address}; Ctrl-C ends it", flush=True))
