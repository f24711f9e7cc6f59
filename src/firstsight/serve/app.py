"""The routes of the API, who may use them, and the sentences where something is wrong."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

PAGE = {  # address: (file of the page folder, type)
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/drawings.js": ("drawings.js", "text/javascript; charset=utf-8"),
    "/editor.js": ("editor.js", "text/javascript; charset=utf-8"),
    "/api.js": ("api.js", "text/javascript; charset=utf-8"),
}


def make_app(
    recogniser: Recogniser, limits: Limits | None = None, state: str | Path = ":memory:", api_key: str | None = None
) -> Guard:
    """Make the ASGI application.

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
        predictor = Predictor(KnownClasses(recogniser, kept, limits.classes), limits, metrics)
    except InputError:
        kept.close()
        raise

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        """Close what the application holds when it ends."""
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
    guard = Guard(app, limits, metrics)
    _refuse_in_sentences(app)
    _serve_page(app)
    _serve_answers(app, predictor)
    _list_classes(app, predictor, needs_key=api_key is not None)
    _change_classes(app, predictor, key_check(api_key))
    _serve_health(app, predictor.known, metrics)
    return guard


def key_check(api_key: str | None) -> Callable[[Request], Awaitable[None]]:
    """Make the check of the key that a change must carry; nothing is checked where it is None."""

    async def check_key(request: Request) -> None:
        """Refuse a request without the key."""
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

    return check_key


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


def _change_classes(app: FastAPI, predictor: Predictor, check_key: Callable[[Request], Awaitable[None]]) -> None:
    """Add the routes that add and delete classes, for those who have the key."""
    known, descriptions = predictor.known, predictor.descriptions

    @app.post(
        "/v1/classes",
        status_code=201,
        response_model=openapi.ClassDescription,
        responses=problems(401, 404, 408, 409, 413, 415, 422, 503, 504),
        openapi_extra={"requestBody": openapi.ADD_BODY},
        dependencies=[Depends(check_key)],
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
        dependencies=[Depends(check_key)],
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


def _serve_page(app: FastAPI) -> None:
    """Add the few files of the page, read once; no address is turned into a path."""
    folder = resources.files("firstsight.serve") / "page"
    for address, (file, kind) in PAGE.items():
        content = (folder / file).read_bytes()
        app.add_api_route(address, _sender(content, kind), methods=["GET", "HEAD"], include_in_schema=False)


def _sender(content: bytes, kind: str) -> Any:
    """Make a route that sends a file."""

    async def page() -> Response:
        """Send it."""
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

    return page


def _refuse_in_sentences(app: FastAPI) -> None:
    """Answer every error with one sentence."""

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Exception) -> Response:
        """Send a refusal."""
        assert isinstance(refusal, Refusal)
        return refusal.response()

    @app.exception_handler(InputError)
    async def unusable(_: Request, error: Exception) -> Response:
        """Refuse what the recogniser refuses, in its words."""
        return Refusal(422, str(error)).response()

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: Exception) -> Response:
        """Answer a request that broke off, though nobody reads it."""
        return Refusal(400, "body must arrive whole; got a part of it").response()

    @app.exception_handler(HTTPException)
    async def not_there(request: Request, error: Exception) -> Response:
        """Name the address or the method that does not exist."""
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
        """Say that the error is the server's own."""
        return JSONResponse({"detail": "server must have an answer; got an error of its own; its log says which"}, 500)
