"""The records that pass through a job: what is to be captioned, and what became of it. Knows no source and no sink."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from typing import Any

from captioner.errors import CaptionerError, printable
from captioner.runtime.records import caption_fields
from captioner.types import Caption, ImageSource

TEMPORARY = frozenset({"missing", "unreadable", "unwritable", "bundle", "error"})
"""Codes of what may be otherwise next time: a file that was away or locked, a captioner that failed. All others lie in
the picture itself."""


@dataclass(frozen=True)
class Item:
    """One picture of a job."""

    key: str
    """What tells it from all others, and is found again in the output: for a file its path below the folder that was
    named, with `/` between the parts; bytes that are not UTF-8 are surrogates, as `os.fsdecode` gives them."""
    source: ImageSource
    """Where its bytes are."""
    path: str = ""
    """Of the file itself, where it is one; empty for a member of an archive or a cell of a table."""


class UnsureError(CaptionerError):
    """A caption was withheld: the captioner is less sure of it than was asked for."""

    CODE = "unsure"

    def __init__(self, name: str, confidence: float, least: float) -> None:
        super().__init__(f"{name}: confidence {confidence:.3f} is below {least:g}; no caption", code=self.CODE)
        self.confidence = confidence


@dataclass(frozen=True)
class Outcome:
    """What became of an item."""

    item: Item
    """The item."""
    result: Caption | CaptionerError
    """Its caption, or why there is none."""

    @property
    def caption(self) -> str:
        """The caption, or an empty text."""
        return "" if isinstance(self.result, CaptionerError) else self.result.text


def outcome_of(item: Item, result: Caption | CaptionerError, min_confidence: float) -> Outcome:
    """What became of an item, by what the captioner gave; a caption that is less sure is withheld."""
    if isinstance(result, Caption) and result.confidence is not None and result.confidence < min_confidence:
        return Outcome(item, UnsureError(item.source.name, result.confidence, min_confidence))
    return Outcome(item, result)


def identity(key: str) -> dict[str, str]:
    """The fields that name an item: `path`, and `path_b64`, its bytes in base64, where a file's name is not UTF-8."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return {"path": printable(key), "path_b64": base64.b64encode(os.fsencode(key)).decode()}
    return {"path": key}


def key_of(fields: dict[str, Any]) -> str:
    """The inverse of `identity`. Raises KeyError or ValueError when there is none."""
    if fields.get("path_b64"):
        return os.fsdecode(base64.b64decode(fields["path_b64"], validate=True))
    path = fields["path"]
    if not isinstance(path, str):
        raise ValueError("path is not a text")
    return path


def record(outcome: Outcome) -> dict[str, Any]:
    """An outcome as an object of JSON, as the verb `caption` has it with `--json`."""
    if isinstance(outcome.result, CaptionerError):
        error: dict[str, Any] = {"code": outcome.result.code, "message": outcome.result.message}
        if isinstance(outcome.result, UnsureError):
            error["confidence"] = outcome.result.confidence
        return {**identity(outcome.item.key), "error": error}
    return {**identity(outcome.item.key), **caption_fields(outcome.result)}
