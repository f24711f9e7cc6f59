"""The shapes of answers and questions, for the description of the API at `/openapi.json`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Ranked(BaseModel):
    """One class and how probable it is."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

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
    """How much an attribute spoke for the best class."""

    attribute: str
    weight: float = Field(description="what the lead loses where the class has an average value instead")


class Explanation(BaseModel):
    """The attributes that decided between the two best classes."""

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
    """What a picture was taken for."""

    picture: str = Field(description="key of the picture; a later question may give it in place of the picture")
    answers: list[Ranked] = Field(description="best first")
    n_classes: int = Field(description="classes that were chosen among")
    rejected: bool | None = Field(description="whether none fits well enough; null where it was not asked")
    extra: list[RankedExtra]
    explanation: Explanation | None = Field(description="null where it was not asked")
    reconstruction: Drawing | None = Field(
        description="what is left of the whole picture, made square, behind the embedding; null where it was not asked"
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
    """All that the model chooses among and what it can be told."""

    classes: list[KnownClass]
    attributes: list[Attribute] = Field(description="empty where the columns of vectors have no names")
    width: int = Field(description="numbers in a vector")
    can_reject: bool
    can_explain: bool
    can_describe: bool = Field(description="whether a class can be described in words")
    can_draw: bool = Field(description="whether it can reconstruct pictures and imagine classes")
    needs_key: bool = Field(description="whether changes must carry the API key")


class ClassDescription(BaseModel):
    """A class and the numbers that describe it, by attribute where those have names; all where some have none."""

    name: str
    seen: bool
    added: bool
    attributes: dict[str, float] | None
    vector: list[float] | None


class Health(BaseModel):
    """That the server answers."""

    status: str
    version: str
    classes: int


class Problem(BaseModel):
    """Why a request was not answered, in one sentence."""

    detail: str


_PARTS = ("attributes", "like", "description")
_DESCRIPTION = {"oneOf": [{"required": ["vector"]}, {"anyOf": [{"required": [key]} for key in _PARTS]}]}
_TEXT = {"type": "string", "minLength": 1, "maxLength": 1000}
DESCRIBED: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    **_DESCRIPTION,
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 100},
        "attributes": {"type": "object", "additionalProperties": {"type": "number"}},
        "like": {"type": "string", "description": "class that attributes which are not named are taken from"},
        "description": {
            "description": "in words, which are read with the name; several texts are averaged",
            "anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 10}],
        },
        "vector": {"type": "array", "items": {"type": "number"}, "description": "all numbers, in place of the others"},
    },
}
OPTIONS: dict[str, Any] = {
    "top": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 5},
    "only": {"type": "string", "enum": ["seen", "unseen"]},
    "reject": {"type": "boolean", "default": False},
    "explain": {"type": "boolean", "default": False},
    "reconstruct": {"type": "boolean", "default": False},
}
_EXTRA = {"type": "array", "maxItems": 20, "items": DESCRIBED}
PREDICT_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "additionalProperties": False,
                "oneOf": [{"required": ["file"]}, {"required": ["picture"]}],
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    "picture": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                    **OPTIONS,
                    "extra_classes": {"type": "string", "description": "JSON"},
                },
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "additionalProperties": False,
                "oneOf": [{"required": ["image"]}, {"required": ["picture"]}],
                "properties": {
                    "image": {"type": "string", "description": "the picture's file in base64"},
                    "picture": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                    **OPTIONS,
                    "extra_classes": _EXTRA,
                },
            }
        },
    },
}
PREDICT_QUERY = [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in OPTIONS.items()]
_MEANT = {"required": ["name"], "not": {"anyOf": [{"required": [key]} for key in ("vector", *_PARTS)]}}
IMAGINED = {
    **{key: value for key, value in DESCRIBED.items() if key != "required"},
    "description": "a class by its description, or a known one by its name alone",
    "oneOf": [*_DESCRIPTION["oneOf"], _MEANT],
}
ADD_BODY = {"required": True, "content": {"application/json": {"schema": DESCRIBED}}}
IMAGINE_BODY = {"required": True, "content": {"application/json": {"schema": IMAGINED}}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Answers other than the good one, all of one shape."""
    return {status: {"model": Problem} for status in statuses}
