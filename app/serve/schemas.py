"""What the service answers, as types: they are its OpenAPI description."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, Field

from ..runtime.errors import Status
from ..tables.fields import fields
from .errors import CODES, MEDIA_TYPE
from .formats import FORMATS
from .uploads import FIELD

_ABOUT = {field.name: field.about for field in fields(diagnosed=True)}
_BINARY = {"type": "string", "format": "binary"}


class ImageScore(BaseModel):
    """One image's score, or why it has none."""

    name: str = Field(description="the file name that the sender gave, or empty")
    score: float | None = Field(description=_ABOUT["score"])
    spread: float | None = Field(description=_ABOUT["spread"])
    interval: list[float] | None = Field(description="holds 90 % of opinion scores; null without a calibration")
    width: int | None = Field(description=_ABOUT["width"])
    height: int | None = Field(description=_ABOUT["height"])
    status: str = Field(description=_ABOUT["status"], json_schema_extra={"enum": [s.name for s in Status]})
    message: str = Field(description=_ABOUT["message"])
    kind: str = Field("", description=f"{_ABOUT['kind']}; with diagnose=1")
    degree: float | None = Field(None, description=f"{_ABOUT['degree']}; with diagnose=1")
    probability: float | None = Field(None, description=f"{_ABOUT['probability']}; with diagnose=1")


class Scores(BaseModel):
    """The scores of a request's images, in their order."""

    model: str
    version: str
    results: list[ImageScore]


class QualityMapAnswer(BaseModel):
    """A quality map: the score of each window."""

    model: str
    version: str
    width: int = Field(description="pixels, of the upright image")
    height: int
    view_width: int = Field(description="pixels, of the view that the windows lie on")
    view_height: int
    window: int = Field(description="side of a window in pixels of the view")
    stride: int = Field(description="the most pixels from one window to the next")
    corners_y: list[int] = Field(description="the windows' top pixels in the view")
    corners_x: list[int] = Field(description="the windows' left pixels in the view")
    values: list[list[float]] = Field(description="scores, a row for each of corners_y")


class Health(BaseModel):
    """Whether the service can do its work."""

    status: str


class ProblemAnswer(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int = Field(description="the HTTP status again")
    code: str = Field(json_schema_extra={"enum": [*(s.name for s in Status if s), *CODES]})
    detail: str = Field(description="one line: what was found, what was expected, what to do")


def refusals(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` entry of a route that can refuse with these HTTP statuses."""
    words = {
        400: "The request is not what its headers say, or empty.",
        401: "The token is missing or another.",
        408: "The body did not arrive in time.",
        413: "Too many bytes or pixels.",
        415: "The body's type is none that could be an image, or it is compressed.",
        421: "The Host is no name of this service.",
        422: "Not an image, too many images, or a field or parameter that is not known.",
        500: "A fault of the service; its log has more.",
        503: "The queue is full (Retry-After says when to try again), or the service stops.",
    }
    schema = {"$ref": "#/components/schemas/ProblemAnswer"}
    return {code: {"description": words[code], "content": {MEDIA_TYPE: {"schema": schema}}} for code in codes}


def body(images: int, formats: Iterable[str]) -> dict[str, Any]:
    """The `openapi_extra` of a route that takes one image of these formats as its body, or up to `images` as parts."""
    parts: dict[str, Any] = {"type": "array", "items": _BINARY, "minItems": 1, "maxItems": images}
    form = {"type": "object", "properties": {FIELD: parts}, "required": [FIELD], "additionalProperties": False}
    content: dict[str, Any] = {FORMATS[name][1]: {"schema": _BINARY} for name in formats}
    content["application/octet-stream"] = {"schema": _BINARY}
    content["multipart/form-data"] = {"schema": form}
    return {"requestBody": {"required": True, "content": content}}
