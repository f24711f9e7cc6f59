"""The routes of the API, who may use them, and the sentences where something is wrong."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from firstsight import __version__
from firstsight.errors import InputError
from firstsight.serve import openapi
from firstsight.serve.classes import AddedClasses, KnownClasses
from firstsight.serve.errors import Refusal, shown
from firstsight.serve.limits import Limits
from firstsight.serve.metrics import Metrics
from firstsight.serve.middleware import Guard
from firstsight.serve.openapi import problems
from firstsight.serve.predictor import Predictor
from firstsight.serve.requests import Description, read_object, read_question

if TYPE_CHECKING:
    from firstsight.recogniser.recogniser import Recogniser

PAGE = ("page.html", "page.css", "page.js", "drawings.js", "editor.js", "api.js")  # the first one is at /
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


def make_app(
    recogniser: Recogniser, limits: Limits | None = None, state: str | Path = ":memory:", api_key: str | None = None
) -> Guard:
    """Make the ASGI application.

    Args:
        recogniser: what answers.
        limits: what is refused.
        state: SQLite file for classes that are added; by default they are forgotten when the server ends.
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
        predictor = Predictor(KnownClasses(recogniser, kept, limits.classes), limits, metrics)
    except InputError:
        kept.close()
        raise

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        predictor.close()
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
    for kind in (Refusal, InputError, ClientDisconnect, HTTPException):
        app.add_exception_handler(kind, refused)
    app.add_exception_handler(Exception, broken)
    guard = Guard(app, limits, metrics)
    for file in PAGE:
        _serve_file(app, file)
    _serve_answers(app, predictor)
    _list_classes(app, predictor, needs_key=api_key is not None)
    _change_classes(app, predictor, api_key)
    _serve_health(app, predictor.known, metrics)
    return guard


def check_key(request: Request, api_key: str) -> None:
    """Refuse a request without the key."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    given = request.headers.get("x-api-key") or (bearer.strip() if scheme.lower() == "bearer" else "")
    if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), api_key.encode()):
        got = "another" if given else "none"
        raise Refusal(
            401,
            f"api key must be the server's to change classes; got {got}; send it as Authorization: Bearer KEY",
            {"www-authenticate": "Bearer"},
        )


def _serve_answers(app: FastAPI, predictor: Predictor) -> None:
    """Add the routes that look at pictures and draw them."""

    @app.post(
        "/v1/predict",
        response_model=openapi.Prediction,
        responses=problems(404, 408, 409, 413, 415, 422, 503, 504),
        openapi_extra={"requestBody": openapi.PREDICT_BODY, "parameters": openapi.PREDICT_QUERY},
    )
    async def predict(request: Request) -> Response:
        """Name what is in a picture."""
        return JSONResponse(await predictor.answer(await read_question(request)))

    @app.post(
        "/v1/imagine",
        response_model=openapi.Imagining,
        responses=problems(404, 408, 413, 415, 422, 503, 504),
        openapi_extra={"requestBody": openapi.IMAGINE_BODY},
    )
    async def imagine(request: Request) -> Response:
        """Draw what a class is imagined like, from its description alone."""
        return JSONResponse(await predictor.imagine(await read_object(request)))


def _list_classes(app: FastAPI, predictor: Predictor, needs_key: bool) -> None:
    """Add the routes that say which classes there are."""
    known, base = predictor.known, predictor.known.base

    @app.get("/v1/classes", response_model=openapi.Classes, responses=problems(504))
    async def classes() -> Response:
        """List the classes, the attributes that describe them, and what the model can do."""
        is_explained = base.classes.attributes and len(base.classes) > 1 and not base.method.generalized_only
        abilities = {
            "can_reject": base.threshold is not None,
            "can_explain": bool(is_explained),
            "can_describe": predictor.descriptions.cannot is None,
            "can_draw": predictor.drawing is not None,
            "needs_key": needs_key,
        }
        return JSONResponse(known.listing() | abilities)

    @app.get("/v1/classes/{name:path}", response_model=openapi.ClassDescription, responses=problems(404, 504))
    async def one_class(name: str) -> Response:
        """Return a class with the numbers that describe it."""
        return JSONResponse(known.described(name, known.vector(name)))


def _change_classes(app: FastAPI, predictor: Predictor, api_key: str | None) -> None:
    """Add the routes that add and delete classes, for those who have the key."""
    known, descriptions = predictor.known, predictor.descriptions

    async def may_change(request: Request) -> None:
        if api_key is not None:
            check_key(request, api_key)

    @app.post(
        "/v1/classes",
        status_code=201,
        response_model=openapi.ClassDescription,
        responses=problems(401, 404, 408, 409, 413, 415, 422, 503, 504),
        openapi_extra={"requestBody": openapi.ADD_BODY},
        dependencies=[Depends(may_change)],
    )
    async def add_class(request: Request) -> Response:
        """Add a class by its description; it is kept until it is deleted."""
        given = Description.of(await read_object(request))
        vector = await descriptions.vector(given)
        await asyncio.to_thread(known.add, given.name, vector)
        return JSONResponse(known.described(given.name, vector), 201)

    @app.delete(
        "/v1/classes/{name:path}",
        response_model=openapi.ClassDescription,
        responses=problems(401, 404, 422, 503, 504),
        dependencies=[Depends(may_change)],
    )
    async def delete_class(name: str) -> Response:
        """Delete a class that was added, and return its description."""
        return JSONResponse(known.described(name, await asyncio.to_thread(known.remove, name)))


def _serve_health(app: FastAPI, known: KnownClasses, metrics: Metrics) -> None:
    """Add the routes for whoever looks after the server."""
    metrics.watch("firstsight_classes", "Classes to choose among.", lambda: len(known.now.classes))
    metrics.watch("firstsight_classes_added", "Of those, added ones.", lambda: len(known.added))

    @app.get("/healthz", response_model=openapi.Health)
    async def health() -> Response:
        """Tell that the server answers."""
        return JSONResponse({"status": "ok", "version": __version__, "classes": len(known.now.classes)})

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics_now() -> Response:
        """Return counts and times in the text format of Prometheus."""
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _serve_file(app: FastAPI, file: str) -> None:
    """Add a file of the page, read once; no address is turned into a path."""
    content = (resources.files("firstsight.serve") / "page" / file).read_bytes()
    kind = TYPES[Path(file).suffix]

    async def page() -> Response:
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

    address = "/" if file == PAGE[0] else f"/{file}"
    app.add_api_route(address, page, methods=["GET", "HEAD"], include_in_schema=False)


async def refused(request: Request, error: Exception) -> Response:
    """Answer an error with one sentence."""
    status, sentence, headers = 422, str(error), None
    if isinstance(error, Refusal):
        return error.response()
    if isinstance(error, ClientDisconnect):  # nobody reads this answer
        status, sentence = 400, "body must arrive whole; got a part of it"
    elif isinstance(error, HTTPException):
        status, headers, path = error.status_code, error.headers, shown(request.url.path)
        if status == 404:
            sentence = f"path must be one of the API's; got {path}; /openapi.json lists them"
        elif status == 405:
            allowed = (headers or {}).get("allow") or (headers or {}).get("Allow") or "another"
            sentence = f"method must be {allowed} for {path}; got {shown(request.method)}"
        else:
            sentence = f"request must be understood; got {shown(str(error.detail))}"
    return Refusal(status, sentence, headers).response()


async def broken(_: Request, __: Exception) -> Response:
    """Say that the error is the server's own."""
    return JSONResponse({"detail": "server must have an answer; got an error of its own; its log says which"}, 500)
