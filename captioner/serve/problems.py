"""Errors as clients see them: problem details (RFC 9457) with a `code` that stays the same between releases.

Knows nothing of routes. No problem carries a path of this machine, an address or a traceback.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from captioner.errors import CaptionerError, ImageError, printable

MEDIA_TYPE = "application/problem+json"
CLIENT_LEFT = 499
"""The status in log and metrics of requests whose clients have left; nobody is sent it."""


class Problem(Exception):  # noqa: N818 - it is called what RFC 9457 calls it
    """The end of a request: a status, a code, and one line for people.

    Args:
        status: of HTTP.
        code: one of those in docs/serving.md.
        detail: what happened, and what to do.
        headers: further headers of the answer, for example `Retry-After`.
    """

    def __init__(self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, printable(detail)
        self.headers = dict(headers or {})

    def body(self, request_id: str) -> bytes:
        """The answer's body."""
        fields: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase if self.status != CLIENT_LEFT else "Client Left",
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "request_id": request_id,
        }
        return json.dumps(fields, ensure_ascii=False).encode()


def busy(detail: str = "more requests are waiting than the service takes; try again in a moment") -> Problem:
    """The answer when the queue is full."""
    return Problem(429, "busy", detail, headers={"retry-after": "1"})


def of_error(error: CaptionerError) -> Problem:
    """What a client is told of an error of ours: its own fault, or the service's."""
    if isinstance(error, ImageError):
        status = 413 if error.code == "too_large" else 422
        return Problem(status, error.code, error.message)
    if error.code == "config":
        return Problem(422, error.code, error.message)
    if error.code in ("worker_lost", "worker_slow", "not_ready"):
        return Problem(503, error.code, error.message, headers={"retry-after": "1"})
    return Problem(500, error.code, "the captioner failed with this request; the log of the service says more")
