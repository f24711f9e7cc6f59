"""Refusals: the status and the one sentence that answer a request which cannot be served."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from starlette.responses import JSONResponse

from firstsight.errors import did_you_mean

SHOWN = 60  # characters of what was sent that a sentence repeats


class Refusal(Exception):  # noqa: N818 - an answer, not an error
    """A request that is answered with status 4xx or 503 and a sentence, in the grammar of `InputError`."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, dict(headers or {})

    def response(self) -> JSONResponse:
        """Make the answer; characters that cannot be written as text are spelled out."""
        readable = self.sentence.encode("utf-8", "backslashreplace").decode()
        return JSONResponse({"detail": readable}, self.status, self.headers)


def shown(value: object) -> str:
    """Write a value that was sent, short enough to be repeated."""
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value[: 2 * SHOWN]) if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Write the sentence about an unknown name, with the nearest known one."""
    known = list(known)
    close = did_you_mean(name[: 2 * SHOWN], known) if len(known) <= 20_000 else ""
    return f"unknown {what} {shown(name)}" + (close or f"; there are {len(known)}")
