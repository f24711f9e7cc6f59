"""The description of the API at `/openapi.json`: models of the answers, and the models of `requests` as schemas."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from firstsight.serve.requests import PARTS, Description, Question


class Ranked(BaseModel):
    """One class and how probable it is."""

    class_: str = Field(alias="class")
    probability: float
    seen: bool = Field(description="whether the model was trained on pictures of it")
    added: bool = Field(description="whether it was added to the model by a description")


class RankedExtra(BaseModel):
    """Where a class that counts in this question only came."""

    class_: str = Field(alias="class")
    probability: float
    rank: int = Field(description="1 is the best; missing where `only` leaves the class out")


class Weight(BaseModel):
    """How much an attribute favours the best class over the next."""

    attribute: str
    weight: float = Field(description="what the lead loses where the class has an average value instead")


class Explanation(BaseModel):
    """The attributes that favour the best class over the next, and those against it."""

    class_: str = Field(alias="class")
    rather_than: str
    for_: list[Weight] = Field(alias="for")
    against: list[Weight]


class Drawing(BaseModel):
    """A picture that the model drew."""

    image: str = Field(description="a PNG as a data: address, which `image` of a question takes as well")
    side: int = Field(description="its width and its height in pixels")


class Imagining(BaseModel):
    """What a class is imagined like, from its description alone."""

    imagined: Drawing
    seconds: float


class Prediction(BaseModel):
    """The classes of a picture, the most probable first."""

    picture: str = Field(description="key of the picture; a later question may give it in place of the picture")
    answers: list[Ranked] = Field(description="best first")
    n_classes: int = Field(description="classes that were chosen among")
    rejected: bool | None = Field(description="whether none fits well enough; null where it was not asked")
    extra: list[RankedExtra]
    explanation: Explanation | None = Field(description="null where it was not asked")
    reconstruction: Drawing | None = Field(
        description="of the whole picture, made square, from its embedding; null where it was not asked"
    )
    seconds: float


class KnownClass(BaseModel):
    """One class to choose."""

    name: str
    seen: bool
    added: bool


class Attribute(BaseModel):
    """What classes are described by, and its values over the classes that the model came with."""

    name: str
    low: float
    high: float
    mean: float = Field(description="value of a described class that does not name it")


class Classes(BaseModel):
    """All classes that the model chooses among, and what it can do."""

    classes: list[KnownClass]
    attributes: list[Attribute] = Field(description="empty where the columns of vectors have no names")
    width: int = Field(description="numbers in a vector")
    can_reject: bool
    can_explain: bool
    can_describe: bool = Field(description="whether a class can be described in words")
    can_draw: bool = Field(description="whether it can reconstruct pictures and imagine classes")
    needs_key: bool = Field(description="whether changes must carry the API key")


class ClassDescription(KnownClass):
    """A class and the numbers that describe it, by attribute where those have names; all where some have none."""

    attributes: dict[str, float] | None
    vector: list[float] | None


class Health(BaseModel):
    """The state of the server."""

    status: str
    version: str
    classes: int


class Problem(BaseModel):
    """Why a request was not answered, in one sentence."""

    detail: str


_FIELDS: dict[str, Any] = Question.model_json_schema()["properties"]
_OPTIONS = {name: _FIELDS[name] for name in ("top", "only", "reject", "explain", "reconstruct")}
_CLASS = Description.model_json_schema()
_NAME_ALONE = {"required": ["name"], "not": {"anyOf": [{"required": [name]} for name in ("vector", *PARTS)]}}


def _body(**schemas: dict[str, Any]) -> dict[str, Any]:
    """Describe a body that must be there, of one type or another."""
    types = {"form": "multipart/form-data", "json": "application/json"}
    return {"required": True, "content": {types[name]: {"schema": schema} for name, schema in schemas.items()}}


def _question(picture: str, extra_classes: dict[str, Any]) -> dict[str, Any]:
    """Describe a question that gives its picture in a field of this name, or by its key."""
    fields = {picture: _FIELDS[picture], "picture": _FIELDS["picture"], **_OPTIONS, "extra_classes": extra_classes}
    either = [{"required": [picture]}, {"required": ["picture"]}]
    return {"type": "object", "additionalProperties": False, "oneOf": either, "properties": fields}


PREDICT_BODY = _body(
    form=_question("file", {"type": "string", "description": "JSON"}),
    json=_question("image", _FIELDS["extra_classes"]),
)
PREDICT_QUERY = [{"name": name, "in": "query", "required": False, "schema": one} for name, one in _OPTIONS.items()]
ADD_BODY = _body(json=_CLASS)
IMAGINE_BODY = _body(
    json={key: value for key, value in _CLASS.items() if key != "required"}
    | {"description": "a class by its description, or a known one by its name alone"}
    | {"oneOf": [*_CLASS["oneOf"], _NAME_ALONE]}
)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the refusals of a route, by their statuses."""
    return {status: {"model": Problem} for status in statuses}
