"""The shapes of requests and answers for `/openapi.json`, which describe them; answers are written as they are."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from captioner.serve.problems import MEDIA_TYPE


class CaptionQuery(BaseModel):
    """Options of `POST /v1/captions`; what is left out is the captioner's own."""

    model_config = ConfigDict(extra="forbid")

    beam: Annotated[int | None, Field(ge=1, description="Captions searched side by side; 1 is greedy.")] = None
    n_best: Annotated[int | None, Field(ge=1, description="Candidates in the answer, at most `beam`.")] = None
    max_length: Annotated[int | None, Field(ge=1, description="Longest caption in tokens, its end counted.")] = None
    min_confidence: Annotated[
        float, Field(ge=0, le=1, description="Say nothing rather than a caption that is acceptable less probably.")
    ] = 0.0


class ExplanationQuery(BaseModel):
    """Options of `POST /v1/explanations`."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[
        str | None, Field(min_length=1, description="The caption to explain; left out: the captioner's own.")
    ] = None


class NeighbourQuery(BaseModel):
    """Options of `POST /v1/neighbours`."""

    model_config = ConfigDict(extra="forbid")

    count: Annotated[int, Field(ge=1, description="How many training pictures, at most.")] = 5


class Candidate(BaseModel):
    """One caption that was proposed."""

    caption: str
    log_prob: float
    probability: float


class Word(BaseModel):
    """One word, and how sure the captioner was of it after those before it."""

    word: str
    log_prob: float
    probability: float


class PictureError(BaseModel):
    """Why a picture has no caption; the codes are those of docs/pictures.md."""

    code: str
    detail: str


class CaptionEntry(BaseModel):
    """What became of one picture."""

    caption: str | None
    log_prob: float | None
    confidence: float | None
    candidates: list[Candidate]
    words: list[Word]
    error: PictureError | None
    reason: Annotated[str | None, Field(description="Why a caption is withheld; there only then.")] = None


class ModelName(BaseModel):
    """Which captioner it was."""

    name: str
    id: str


class Captions(BaseModel):
    """The answer of `POST /v1/captions`, in the order of the files."""

    captions: list[CaptionEntry]
    model: ModelName


class Explanation(BaseModel):
    """Where each word of a caption comes from: one map a word, row by row."""

    method: Literal["attention", "occlusion"]
    caption: str
    words: list[str]
    rows: int
    columns: int
    maps: list[list[float]]


class Neighbour(BaseModel):
    """A training picture that looks alike to the encoder, by what people wrote for it."""

    similarity: float
    captions: list[str]


class Neighbours(BaseModel):
    """The answer of `POST /v1/neighbours`, the nearest first."""

    neighbours: list[Neighbour]


class Saved(BaseModel):
    """The answer of `POST /v1/corrections`: the picture's key, the caption's id, and all captions of it now."""

    key: str
    id: str
    added: Annotated[bool, Field(description="False where the same caption was kept before.")]
    captions: list[str]


class TakenBack(BaseModel):
    """The answer of `DELETE /v1/corrections/{key}/{id}`: the captions that are left."""

    key: str
    captions: list[str]


class ProblemDetails(BaseModel):
    """RFC 9457, with a code and the request's id."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str


class Status(BaseModel):
    """The answer of the health routes."""

    status: str


CAPTIONS_EXAMPLE: dict[str, Any] = {
    "captions": [
        {
            "caption": "a dog runs through the grass",
            "log_prob": -6.912301,
            "confidence": 0.6193,
            "candidates": [{"caption": "a dog runs through the grass", "log_prob": -6.912301, "probability": 0.000995}],
            "words": [{"word": "a", "log_prob": -0.21, "probability": 0.810584}],
            "error": None,
        }
    ],
    "model": {"name": "pretrained", "id": "0c5c9fa2d3b1a7e4"},
}
NEIGHBOURS_EXAMPLE: dict[str, Any] = {
    "neighbours": [{"similarity": 0.8137, "captions": ["A dog runs over a meadow.", "A brown dog in high grass."]}]
}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
RAW_BODY: dict[str, Any] = {"image/*": _BYTES, "application/octet-stream": _BYTES}


def form(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """A multipart form."""
    return {"schema": {"type": "object", "properties": properties, "required": required, "additionalProperties": False}}


def body(content: dict[str, Any]) -> dict[str, Any]:
    """A request's body, for `openapi_extra`."""
    return {"requestBody": {"required": True, "content": content}}


def captions_form(files: int) -> dict[str, Any]:
    """The form of `POST /v1/captions`."""
    file = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1, "maxItems": files}
    return form({"file": file}, ["file"])


CORRECTION_FORM = form(
    {
        "file": {"type": "string", "format": "binary"},
        "caption": {"type": "string", "minLength": 1},
        "was": {"type": "string"},
    },
    ["file", "caption"],
)
PROBLEM: dict[str, Any] = {
    "description": "Problem details",
    "content": {
        MEDIA_TYPE: {
            "schema": ProblemDetails.model_json_schema(),
            "example": {
                "type": "about:blank", "title": "Unprocessable Content", "status": 422, "code": "corrupt",
                "detail": "the picture: damaged or cut short; save or download the picture again",
                "request_id": "5f1d7a9c4b2e8f60",
            },
        }
    },
}  # fmt: skip


def answers(model: type[BaseModel], example: dict[str, Any] | None, *problems: int) -> dict[int | str, dict[str, Any]]:
    """The answers of a route, for `responses`."""
    content = {"application/json": {"example": example}} if example else {}
    first: dict[str, Any] = {"model": model, **({"content": content} if content else {})}
    return {200: first, **dict.fromkeys(problems, PROBLEM)}


EXPLANATION_EXAMPLE: dict[str, Any] = {
    "method": "attention", "caption": "a dog", "words": ["a", "dog"], "rows": 2, "columns": 2,
    "maps": [[0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.1, 0.1]],
}  # fmt: skip
