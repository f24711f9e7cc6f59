"""Around all routes: no request is too large, takes too long, or waits in too long a queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from firstsight.serve.errors import Refusal
from firstsight.serve.limits import Limits
from firstsight.serve.metrics import Metrics

HEADERS = {
    b"content-security-policy": (
        b"default-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
}


class Guard:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics) -> None:
        self.app, self.limits, self.metrics = app, limits, metrics
        self.inside = 0  # requests with a body that are worked on or wait
        self._turns = asyncio.Semaphore(limits.at_once)
        metrics.watch("firstsight_inside", "Requests that are worked on or wait.", lambda: self.inside)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = _Request(scope, receive, send, self.limits.body)
        start = time.perf_counter()
        try:
            async with asyncio.timeout(self.limits.timeout) as deadline:
                await self._admit(request)
        except Refusal as refusal:
            await request.refuse(refusal)
        except TimeoutError:
            if not deadline.expired():
                raise
            within = f"in {self.limits.timeout:g} seconds"
            status, sentence = 408, f"body must arrive {within}; got a part of it"
            if request.has_arrived:
                status, sentence = 504, f"answer must be ready {within}; got none; try again when the server has less"
            await request.refuse(Refusal(status, sentence))
        finally:
            path = getattr(scope.get("route"), "path", "other")
            self.metrics.answered(path, request.status, time.perf_counter() - start)

    async def _admit(self, request: _Request) -> None:
        """Let a request in when it is its turn; reading alone never waits."""
        request.check_announced_size()
        if request.scope["method"] in ("GET", "HEAD"):
            await self.app(request.scope, request.receive, request.send)
            return
        if self.inside >= (most := self.limits.at_once + self.limits.queue):
            sentence = f"requests must be at most {most} at once; got one more; try again in a second"
            raise Refusal(503, sentence, {"retry-after": "1"})
        self.inside += 1
        try:
            async with self._turns:
                await self.app(request.scope, request.receive, request.send)
        finally:
            self.inside -= 1


class _Request:
    """One request on its way in and its answer on the way out."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        self.scope = scope
        self.has_arrived = False
        self.status = 0  # of the answer, once it has started
        self._receive = receive
        self._send = send
        self._most = most
        self._size = 0

    def check_announced_size(self) -> None:
        """Refuse a body whose announced size is too large."""
        for name, value in self.scope["headers"]:
            if name == b"content-length" and (not value.isdigit() or len(value) > 15 or int(value) > self._most):
                raise _too_large(self._most)

    async def receive(self) -> Message:
        """Receive a part of the body; refuse it where the parts become too large."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            if self._size > self._most:
                raise _too_large(self._most)
            self.has_arrived = not message.get("more_body", False)
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send a part of the answer; add the headers of every answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS.items()]}
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Send the refusal, unless an answer is on its way already."""
        if not self.status:
            await refusal.response()(self.scope, self.receive, self.send)


def _too_large(most: int) -> Refusal:
    return Refusal(413, f"body must be at most {most / 2**20:.3g} MiB; got a larger one; make the picture smaller")
