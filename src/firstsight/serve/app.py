"""The API's routes: what is asked, who may ask, and what is said where that is wrong."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import psutil
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from firstsight import __version__
from firstsight.errors import InputError
from firstsight.methods.abilities import can_draw
from firstsight.serve import schema
from firstsight.serve.answering import Answering
from firstsight.serve.asking import read_object, read_question
from firstsight.serve.guard import Guard
from firstsight.serve.known import Known, Recognising
from firstsight.serve.limits import Limits
from firstsight.serve.metrics import Metrics
from firstsight.serve.refusal import Refusal, shown
from firstsight.serve.schema import problems
from firstsight.serve.state import AddedClasses

PAGE = {  # address: (file of the page folder, type)
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/drawings.js": ("drawings.js", "text/javascript; charset=utf-8"),
    "/editor.js": ("editor.js", "text/javascript; charset=utf-8"),
    "/api.js": ("api.js", "text/javascript; charset=utf-8"),
}


def make_app(
    recogniser: Recognising,
    limits: Limits | None = None,
    state: str | Path = ":memory:",
    api_key: str | None = None,
) -> Guard:
    """The ASGI application.

    Args:
        recogniser: what answers.
        limits: what is refused.
        state: SQLite file for classes that are added; they are forgotten when the server ends where none is named.
        api_key: that changes of classes must carry, or None where anybody may make them.

    Raises:
        InputError: the recogniser does not know its backbone, or the state is not for it.
    """
    limits = limits or Limits()
    if api_key is not None and not api_key.strip():
        raise InputError("api key must have characters; got none")
    metrics = Metrics()
    kept = AddedClasses(state, recogniser.classes.vectors.shape[1])
    try:
        known = Known(recogniser, kept, limits.classes)
        answering = Answering(known, limits, metrics)
    except InputError:
        kept.close()
        raise

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        answering.close()
        kept.close()

    app = FastAPI(
        title="firstsight",
        version=__version__,
        description="Names what is in pictures; classes can be added by describing them.",
        docs_url=None,  # those pages load from elsewhere
        redoc_url=None,
        lifespan=life,
        redirect_slashes=False,
    )
    guard = Guard(app, limits, metrics)
    _refuse_in_sentences(app)
    _serve_page(app)
    _serve_answers(app, answering)
    _serve_classes(app, answering, api_key)
    _serve_health(app, answering, guard)
    return guard


def _serve_answers(app: FastAPI, answering: Answering) -> None:
    @app.post(
        "/v1/predict",
        response_model=schema.Prediction,
        responses=problems(404, 408, 409, 413, 415, 422, 503, 504),
        openapi_extra={"requestBody": schema.PREDICT_BODY, "parameters": schema.PREDICT_QUERY},
    )
    async def predict(request: Request) -> Response:
        """Name what is in a picture."""
        question = await read_question(request)
        try:
            return JSONResponse(await answering.answer(question))
        except InputError as error:
            raise Refusal(422, str(error)) from error

    @app.post(
        "/v1/imagine",
        response_model=schema.Imagining,
        responses=problems(404, 408, 413, 415, 422, 503, 504),
        openapi_extra={"requestBody": schema.IMAGINE_BODY},
    )
    async def imagine(request: Request) -> Response:
        """Draw what a class is imagined like, from its description alone."""
        given = await read_object(request)
        try:
            return JSONResponse(await answering.imagine(given))
        except InputError as error:
            raise Refusal(422, str(error)) from error


def _serve_classes(app: FastAPI, answering: Answering, api_key: str | None) -> None:
    known, describing = answering.known, answering.describing

    def check_key(request: Request) -> None:
        if api_key is None:
            return
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = request.headers.get("x-api-key") or (bearer.strip() if scheme.lower() == "bearer" else "")
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), api_key.encode()):
            got = "another" if given else "none"
            raise Refusal(
                401,
                f"api key must be the server's to change classes; got {got}; send it as Authorization: Bearer KEY",
                {"www-authenticate": "Bearer"},
            )

    def description(name: str, vector: Any) -> dict[str, Any]:
        names = known.attributes
        now = known.base.classes.names
        return {
            "name": name,
            "seen": name in known.own and bool(known.base.is_seen[now.index(name)]),
            "added": name not in known.own,
            "attributes": dict(zip(names, vector.tolist(), strict=False)) if names else None,
            "vector": None if len(names) == len(vector) else vector.tolist(),
        }

    @app.get("/v1/classes", response_model=schema.Classes, responses=problems(504))
    async def classes() -> Response:
        """The classes, what they are described by, and what the model can do."""
        now, base = known.now, known.base
        vectors = base.classes.vectors
        columns = zip(
            known.attributes,
            *(table.tolist() for table in (vectors.min(axis=0), vectors.max(axis=0), known.usual)),
            strict=False,
        )
        answer = {
            "classes": [
                {"name": name, "seen": bool(seen), "added": name not in known.own}
                for name, seen in zip(now.classes.names, now.is_seen, strict=True)
            ],
            "attributes": [{"name": name, "low": low, "high": high, "mean": mean} for name, low, high, mean in columns],
            "width": vectors.shape[1],
            "can_reject": base.threshold is not None,
            "can_explain": bool(base.classes.attributes) and len(base.classes) > 1 and not base.method.generalized_only,
            "can_describe": describing.cannot is None,
            "can_draw": can_draw(base.method),
            "needs_key": api_key is not None,
        }
        return JSONResponse(answer)

    @app.get("/v1/classes/{name:path}", response_model=schema.ClassDescription, responses=problems(404, 504))
    async def one_class(name: str) -> Response:
        """A class with the numbers that describe it."""
        return JSONResponse(description(name, known.vector(name)))

    @app.post(
        "/v1/classes",
        status_code=201,
        response_model=schema.ClassDescription,
        responses=problems(401, 404, 408, 409, 413, 415, 422, 503, 504),
        openapi_extra={"requestBody": schema.ADD_BODY},
    )
    async def add_class(request: Request) -> Response:
        """Add a class by its description; it is kept until it is deleted."""
        check_key(request)
        given = await read_object(request)
        try:
            name, vector = await describing.described(given)
            await asyncio.to_thread(known.add, name, vector)
        except InputError as error:
            raise Refusal(422, str(error)) from error
        return JSONResponse(description(name, vector), 201)

    @app.delete(
        "/v1/classes/{name:path}",
        response_model=schema.ClassDescription,
        responses=problems(401, 404, 422, 503, 504),
    )
    async def delete_class(name: str, request: Request) -> Response:
        """Delete a class that was added, and say what it was."""
        check_key(request)
        try:
            vector = await asyncio.to_thread(known.remove, name)
        except InputError as error:
            raise Refusal(422, str(error)) from error
        return JSONResponse(description(name, vector) | {"added": True})


def _serve_health(app: FastAPI, answering: Answering, guard: Guard) -> None:
    @app.get("/healthz", response_model=schema.Health)
    async def health() -> Response:
        """That the server answers."""
        n = len(answering.known.now.classes)
        return JSONResponse({"status": "ok", "version": __version__, "classes": n})

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counts and times in the text format of Prometheus."""
        gauges = {
            "firstsight_inside": ("Requests that are worked on or wait.", guard.inside),
            "firstsight_classes": ("Classes to choose among.", len(answering.known.now.classes)),
            "firstsight_classes_added": ("Of those, added ones.", len(answering.known.added)),
            "process_resident_memory_bytes": ("Memory of the server.", psutil.Process().memory_info().rss),
        }
        return PlainTextResponse(answering.metrics.text(gauges), media_type="text/plain; version=0.0.4; charset=utf-8")


def _serve_page(app: FastAPI) -> None:
    """The page's few files, read once; no address is turned into a path."""
    folder = resources.files("firstsight.serve") / "page"
    for address, (file, kind) in PAGE.items():
        content = (folder / file).read_bytes()
        app.add_api_route(address, _sender(content, kind), methods=["GET", "HEAD"], include_in_schema=False)


def _sender(content: bytes, kind: str) -> Any:
    async def page() -> Response:
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

    return page


def _refuse_in_sentences(app: FastAPI) -> None:
    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Exception) -> Response:
        assert isinstance(refusal, Refusal)
        return refusal.response()

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: Exception) -> Response:
        return Refusal(400, "body must arrive whole; got a part of it").response()  # that nobody reads

    @app.exception_handler(HTTPException)
    async def not_there(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path = shown(request.url.path)
        if error.status_code == 404:
            sentence = f"path must be one of the API's; got {path}; /openapi.json lists them"
        elif error.status_code == 405:
            allowed = (error.headers or {}).get("allow") or (error.headers or {}).get("Allow") or "another"
            sentence = f"method must be {allowed} for {path}; got {shown(request.method)}"
        else:
            sentence = f"request must be understood; got {shown(str(error.detail))}"
        return Refusal(error.status_code, sentence, error.headers).response()

    @app.exception_handler(Exception)
    async def broken(_: Request, __: Exception) -> Response:
        return JSONResponse({"detail": "server must have an answer; got an error of its own; its log says which"}, 500)
