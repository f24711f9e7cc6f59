"""From a request to what it asks: a multipart form or JSON, with options in the address or in the body.

The shapes are pydantic models. They check what a request gives, and `/openapi.json` is made of them. Bodies are read
here rather than by FastAPI, so that their type and their sender's key are checked before anything is parsed.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SkipValidation,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from firstsight.semantics.text import SEPARATOR
from firstsight.serve.errors import Refusal, shown, unknown

MOST_ANSWERS = 1000
MOST_EXTRA = 20  # classes described in one question
LONGEST_NAME = 100
MOST_TEXTS = 10  # of one class
LONGEST_TEXT = 1000
LARGEST = 1e9  # size of a number of a class; its square must still be a number
PARTS = ("attributes", "like", "description")  # of a description without a vector
PICTURES = ("file", "image", "picture")  # ways to give a picture
SWITCH = {"true": True, "1": True, "yes": True, "": True, "false": False, "0": False, "no": False}

Number = Annotated[float, Field(strict=True, ge=-LARGEST, le=LARGEST)]
Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]
_TEXTS = TypeAdapter[Any](Text | Annotated[list[Text], Field(min_length=1, max_length=MOST_TEXTS)])


def must_be(expected: str) -> WrapValidator:
    """Make a validator of a field that refuses a wrong value: `<field> must be <expected>; got <value>`."""

    def check(value: Any, validate: Callable[[Any], Any], info: ValidationInfo) -> Any:
        try:
            return validate(value)
        except ValidationError as error:
            raise Refusal(422, f"{info.field_name} must be {expected}; got {shown(value)}") from error

    return WrapValidator(check)


def checked_number(value: Any, what: str) -> float:
    """Return a number of a class; raise a `Refusal` where `what` is no number, or too large."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise Refusal(422, f"{what} must be a number, at most {LARGEST:,.0f} in size; got {shown(value)}")
    return float(value)


def _name(value: Any) -> str:
    """Return a name without blanks around it; it can be shown, stored and put into an address."""
    if not isinstance(value, str):
        raise Refusal(422, f"name must be text; got {shown(value)}")
    name = value.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or name in (".", ".."):
        raise Refusal(422, f"name must be 1 to {LONGEST_NAME} characters that can be read; got {shown(name)}")
    return name


def _one_text(given: Any) -> str:
    """Join the texts of a description with `SEPARATOR`, as a table has them."""
    texts = given if isinstance(given, list) else [given]
    if len(texts) > 100 * MOST_TEXTS:  # blank ones do not count, but very many would hold up others
        raise Refusal(422, f"description must be 1 to {MOST_TEXTS} texts; got {len(texts)}")
    for text in texts:
        if not isinstance(text, str):
            raise Refusal(422, f"description must be a text or a list of texts; got {shown(text)}")
        if len(text) > LONGEST_TEXT:
            raise Refusal(422, f"description must be at most {LONGEST_TEXT:,} characters; got {len(text):,}")
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise Refusal(422, "description must be characters that can be read; got half of one")
    parts = [part for text in texts for each in text.split(SEPARATOR) if (part := " ".join(each.split()))]
    if not 1 <= len(parts) <= MOST_TEXTS:
        raise Refusal(422, f"description must be 1 to {MOST_TEXTS} texts; got {len(parts) or 'none'}")
    return SEPARATOR.join(parts)


def _whole(value: Any) -> Any:
    """Read a whole number of a form or an address, where it is one."""
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value) else value


def _switched(value: Any) -> Any:
    """Read yes or no of a form or an address, where it is one of them."""
    return SWITCH.get(value.lower(), value) if isinstance(value, str) else value


def _uploaded(value: Any) -> Any:
    """Refuse a file that is not a part of a form."""
    if isinstance(value, bytes | None):
        return value
    raise Refusal(422, "file must be part of a multipart form; got it in JSON; call it image, in base64")


def _decoded(value: Any) -> Any:
    """Decode base64, which may stand in a `data:` address."""
    if value is None:
        return value
    if not isinstance(value, str):
        raise Refusal(422, f"image must be text; got {shown(value)}")
    return base64.b64decode(value.partition(",")[2] if value.startswith("data:") else value, validate=True)


def _listed(value: Any) -> Any:
    """Read the list that a form or an address has as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refusal(422, f"extra_classes must be JSON; got {shown(value)}") from error


class Given(BaseModel):
    """A part of a request whose fields are all known."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @classmethod
    def read(cls, given: dict[str, Any], what: str = "field") -> Self:
        """Check values by field; raise a `Refusal` for the first wrong one, in which a field is called `what`."""
        for name in given:
            if name not in cls.model_fields:
                raise Refusal(422, unknown(what, name, cls.model_fields))
        return cls.model_validate(given)


class Description(Given):
    """A class by its attributes, in words, both, or by all its numbers."""

    # `Descriptions` checks the numbers, as it knows how many the model has and how they are named.
    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["vector"]}, {"anyOf": [{"required": [name]} for name in PARTS]}]}
    )

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), BeforeValidator(_name)]
    attributes: SkipValidation[dict[str, Number]] = {}
    like: Annotated[str | None, must_be("the name of a class")] = Field(
        None, description="class that attributes which are not named are taken from"
    )
    description: Annotated[str | None, WithJsonSchema(_TEXTS.json_schema()), BeforeValidator(_one_text)] = Field(
        None, description="in words, which are read with the name; several texts are averaged"
    )
    vector: SkipValidation[list[Number]] = Field([], description="all numbers, in place of the others")

    @classmethod
    def of(cls, given: Any, what: str = "class") -> Self:
        """Check the description of a class; sentences call it `what`."""
        if not isinstance(given, dict):
            raise Refusal(422, f"{what} must be an object with name and attributes; got {shown(given)}")
        found = cls.read({"name": None, **given}, f"field of {what}")
        if ("vector" in given) == found.has_any(PARTS):
            got = "both" if "vector" in given else "neither"
            raise Refusal(422, f"{what} must have attributes or a description, or else a vector; got {got}")
        return found

    def has_any(self, names: tuple[str, ...]) -> bool:
        """Tell whether the request gave one of these fields."""
        return not self.model_fields_set.isdisjoint(names)


def _described(given: list[Any]) -> list[Description]:
    """Check the descriptions of extra classes."""
    return [Description.of(one, f"extra_classes[{row}]") for row, one in enumerate(given)]


Switch = Annotated[bool, BeforeValidator(_switched), must_be("true or false")]


class Question(Given):
    """What a request to `/v1/predict` asks; the picture is given in one of three ways."""

    file: Annotated[
        bytes | None, WithJsonSchema({"type": "string", "format": "binary"}), BeforeValidator(_uploaded)
    ] = None
    image: Annotated[
        bytes | None,
        WithJsonSchema({"type": "string"}),
        BeforeValidator(_decoded),
        must_be("a picture's file in base64"),
    ] = Field(None, description="the picture's file in base64")
    picture: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$"), must_be("a key that an answer gave")] = Field(
        None, description="key of a picture that was sent before"
    )
    top: Annotated[
        int, Field(ge=1, le=MOST_ANSWERS), BeforeValidator(_whole), must_be(f"a whole number from 1 to {MOST_ANSWERS}")
    ] = Field(5, description="classes to name")
    only: Annotated[Literal["seen", "unseen"] | None, must_be("seen or unseen")] = Field(
        None, description="choose among these classes alone"
    )
    reject: Switch = Field(False, description="say whether no class fits well enough")
    explain: Switch = Field(False, description="name the attributes that favour the best class over the next")
    reconstruct: Switch = Field(False, description="draw the reconstruction of the picture")
    extra_classes: Annotated[
        list[Any],
        Field(max_length=MOST_EXTRA, json_schema_extra={"items": Description.model_json_schema()}),
        must_be(f"a list of at most {MOST_EXTRA} classes"),
        BeforeValidator(_listed),
        AfterValidator(_described),
    ] = Field([], description="classes that count in this question only")

    @model_validator(mode="before")
    @classmethod
    def _check_one_picture(cls, given: dict[str, Any]) -> dict[str, Any]:
        names = [name for name in PICTURES if given.get(name) is not None]
        if len(names) == 1:
            return given
        got = " and ".join(names) if names else "none"
        raise Refusal(422, f"picture must be given as file, image or picture; got {got}")

    @property
    def content(self) -> bytes | None:
        """Return the picture's file, or None where the request gave a key."""
        return self.image if self.file is None else self.file


async def read_question(request: Request) -> Question:
    """Read the question of a request; raise a `Refusal`, 415 for another type of content, 422 for all else."""
    kind = content_type(request)
    if kind == "multipart/form-data":
        given = await _form(request)
    elif kind == "application/json":
        given = await read_object(request)
    else:
        raise Refusal(415, f"content-type must be multipart/form-data or application/json; got {shown(kind)}")
    for name, value in request.query_params.multi_items():
        if name in PICTURES:
            raise Refusal(422, f"{name} must be in the body; got it in the address")
        given.setdefault(name, value)
    return Question.read(given)


def content_type(request: Request) -> str:
    """Return the type of the body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_object(request: Request) -> dict[str, Any]:
    """Read the JSON object in a body."""
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
    """Shorten the reason of a parser, and write it in lower case."""
    reason = " ".join(reason.split())[:160].rstrip(".")
    return reason[:1].lower() + reason[1:]


async def _form(request: Request) -> dict[str, Any]:
    """Read the fields of a form; of the file its content only, as its name means nothing here."""
    given: dict[str, Any] = {}
    most = 2 * len(Question.model_fields)
    try:
        async with request.form(max_files=1, max_fields=most, max_part_size=2**20) as form:
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
