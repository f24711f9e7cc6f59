"""A web server on this machine that misbehaves as told."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web:
    """Files by path, and for each path how the requests for it are answered, one after another, the last for ever.

    `ok` honours ranges, `cut` hangs up half-way, `no ranges` sends all, `other range` answers 206 with a wrong start,
    `no length` says nothing of the size, `page` is a log-in page; a number is an HTTP status.
    """

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.script: dict[str, list] = {}
        self.has_etags = True
        self.requests: list[tuple[str, dict[str, str]]] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def ranges(self) -> list[str | None]:
        """The range asked for by each request."""
        return [headers.get("Range") for _, headers in self.requests]


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        web = self.server.web
        path = self.path[1:]
        steps = web.script.get(path, ["ok"])
        step = steps[min(sum(other == path for other, _ in web.requests), len(steps) - 1)]
        web.requests.append((path, dict(self.headers)))
        if isinstance(step, int) or path not in web.files:
            self.send_error(step if isinstance(step, int) else 404)
            return
        body = web.files[path]
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        start, status = 0, 200
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and step != "no ranges" and self.headers.get("If-Range", etag) == etag:
            start, status = int(asked[1]), 206
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        self.send_response(status)
        if step == "page":
            body = b"<html>please log in</html>"
        self.send_header("Content-Type", "text/html" if step == "page" else "application/zip")
        if web.has_etags:
            self.send_header("ETag", etag)
        if status == 206:
            first = start + (step == "other range")
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        if step != "no length":
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        rest = body[start:]
        self.wfile.write(rest[: len(rest) // 2] if step == "cut" else rest)


@contextlib.contextmanager
def serving():
    """A `Web` that answers until the end of the block."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.web = web = Web()
        web.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()
