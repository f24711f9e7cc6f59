"""From a request to a question: a multipart form or JSON, options in the address or in the body, nothing trusted."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from firstsight.serve.refusal import Refusal, shown, unknown

MOST_ANSWERS = 1000
MOST_EXTRA = 20  # classes described in one question
FIELDS = ("file", "image", "picture", "top", "only", "reject", "explain", "reconstruct", "extra_classes")
SWITCH = {"true": True, "1": True, "yes": True, "": True, "false": False, "0": False, "no": False}
KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Question:
    """What a request to `/v1/predict` asks.

    Attributes:
        content: of the picture's file, or None.
        picture: key of a picture that was sent before, or None; one of the two is there.
        top: answers wanted.
        only: kind of class to choose among, or None for all.
        reject: whether to say that no class fits well enough.
        explain: whether to say which attributes decided.
        reconstruct: whether to draw what is left of the picture behind the embedding.
        extra_classes: descriptions of classes that count in this question only, not checked yet.
    """

    content: bytes | None = None
    picture: str | None = None
    top: int = 5
    only: Literal["seen", "unseen"] | None = None
    reject: bool = False
    explain: bool = False
    reconstruct: bool = False
    extra_classes: list = field(default_factory=list)


async def read_question(request: Request) -> Question:
    """The question of a request.

    Raises:
        Refusal: 415 for another type of content, 422 for anything else that is wrong.
    """
    kind = content_type(request)
    if kind == "multipart/form-data":
        given = await _form(request)
    elif kind == "application/json":
        given = await read_object(request)
    else:
        raise Refusal(415, f"content-type must be multipart/form-data or application/json; got {shown(kind)}")
    for name, value in request.query_params.multi_items():
        if name in ("file", "image", "picture"):
            raise Refusal(422, f"{name} must be in the body; got it in the address")
        given.setdefault(name, value)
    for name in given:
        if name not in FIELDS:
            raise Refusal(422, unknown("field", name, FIELDS))
    return Question(
        **_picture(given),
        top=_count(given.get("top", 5)),
        only=_only(given.get("only")),
        reject=_switch("reject", given.get("reject", False)),
        explain=_switch("explain", given.get("explain", False)),
        reconstruct=_switch("reconstruct", given.get("reconstruct", False)),
        extra_classes=_extra(given.get("extra_classes", [])),
    )


def content_type(request: Request) -> str:
    """Of the body, without what follows a semicolon."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object in a body."""
    if (kind := content_type(request)) != "application/json":
        raise Refusal(415, f"content-type must be application/json; got {shown(kind)}")
    body = await request.body()
    try:
        given = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "something nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Refusal(422, f"body must be JSON; got {shown_reason(reason)}") from error
    if not isinstance(given, dict):
        raise Refusal(422, f"body must be a JSON object; got {shown(given)}")
    return given


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name}, which JSON does not have")


def shown_reason(reason: str) -> str:
    """Why a parser gave up, in lower case and short."""
    reason = " ".join(reason.split())[:160].rstrip(".")
    return reason[:1].lower() + reason[1:]


async def _form(request: Request) -> dict[str, Any]:
    """The fields of a form; of the file its content only, as its name means nothing here."""
    given: dict[str, Any] = {}
    try:
        async with request.form(max_files=1, max_fields=2 * len(FIELDS), max_part_size=2**20) as form:
            for name, value in form.multi_items():
                if name in given:
                    raise Refusal(422, f"field {shown(name)} must be given once; got it twice")
                is_file = isinstance(value, UploadFile)
                if is_file != (name == "file"):
                    expected, got = ("text", "a file") if is_file else ("a file", "text")
                    raise Refusal(422, f"field {shown(name)} must be {expected}; got {got}")
                given[name] = await value.read() if isinstance(value, UploadFile) else value
    except HTTPException as error:
        reason = shown_reason(str(error.detail))
        raise Refusal(422, f"body must be a multipart form with one file; got {reason}") from error
    return given


def _picture(given: Mapping[str, Any]) -> dict[str, Any]:
    names = [name for name in ("file", "image", "picture") if given.get(name) is not None]
    if len(names) != 1:
        got = " and ".join(names) if names else "none"
        raise Refusal(422, f"picture must be given as file, image or picture; got {got}")
    value = given[names[0]]
    if names == ["file"]:
        if not isinstance(value, bytes):
            raise Refusal(422, "file must be part of a multipart form; got it in JSON; call it image, in base64")
        return {"content": value}
    if not isinstance(value, str):
        raise Refusal(422, f"{names[0]} must be text; got {shown(value)}")
    if names == ["picture"]:
        if not KEY.fullmatch(value):
            raise Refusal(422, f"picture must be a key that an answer gave; got {shown(value)}")
        return {"picture": value}
    if value.startswith("data:"):
        value = value.partition(",")[2]
    try:
        return {"content": base64.b64decode(value, validate=True)}
    except (binascii.Error, ValueError) as error:
        raise Refusal(422, f"image must be a picture's file in base64; got {shown(value)}") from error


def _count(value: Any) -> int:
    count = int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value) else value
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_ANSWERS:
        raise Refusal(422, f"top must be a whole number from 1 to {MOST_ANSWERS}; got {shown(value)}")
    return count


def _only(value: Any) -> Any:
    if value not in (None, "seen", "unseen"):
        raise Refusal(422, f"only must be seen or unseen; got {shown(value)}")
    return value


def _switch(name: str, value: Any) -> bool:
    if isinstance(value, str):
        value = SWITCH.get(value.lower(), value)
    if not isinstance(value, bool):
        raise Refusal(422, f"{name} must be true or false; got {shown(value)}")
    return value


def _extra(value: Any) -> list:
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise Refusal(422, f"extra_classes must be JSON; got {shown(value)}") from error
    if not isinstance(value, list) or len(value) > MOST_EXTRA:
        raise Refusal(422, f"extra_classes must be a list of at most {MOST_EXTRA} classes; got {shown(value)}")
    return value
