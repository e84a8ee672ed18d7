"""What every request goes through: an id, access, a deadline, headers of the answer, metrics and a line in the log.

The outermost layer of the application. Whatever happens inside, the client gets an answer: problem details, never a
traceback.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from captioner.serve.log import place_of
from captioner.serve.page import HEADERS
from captioner.serve.problems import CLIENT_LEFT, MEDIA_TYPE, Problem
from captioner.serve.service import Service

REQUEST_ID = "x-request-id"
_FIXED = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
_QUICK = frozenset({"/healthz", "/readyz"})


class Gate:
    """The application around the routes."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; see ASGI."""
        if scope["type"] != "http":
            return
        visit = _Visit(self._service, scope, send)
        try:
            visit.enter()
            async with asyncio.timeout(self._service.limits.request_seconds) as timer:
                scope["state"]["deadline"] = timer.when()
                await self._app(scope, receive, visit.send)
        except Problem as problem:
            await visit.refuse(problem)
        except TimeoutError:
            await visit.refuse(Problem(504, "timeout", "there was no answer in time; try again"))
        except Exception as error:  # of ours, and whatever it is, the client gets no word of it
            self._service.log.note(
                f"internal error id={visit.request_id}: {type(error).__name__}: {error} {place_of(error)}"
            )
            await visit.refuse(Problem(500, "internal", "something went wrong; the log of the service says more"))
        finally:
            visit.leave()


class _Visit:
    """One request and its answer."""

    def __init__(self, service: Service, scope: Scope, send: Send) -> None:
        self._service, self._scope, self._send = service, scope, send
        self._begun = time.monotonic()
        self.headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            self.headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        asked = self.headers.get(REQUEST_ID, [""])
        self.request_id = service.new_request_id(asked[0] if len(asked) == 1 else "")
        self._status = 0
        self._code = ""

    def enter(self) -> None:
        """Raise Problem when the request may not pass."""
        scope = self._scope
        scope.setdefault("state", {})["request_id"] = self.request_id
        local = (scope.get("server") or ("", None))[0]
        self._service.access.check(scope["method"], scope["path"], self.headers, str(local))

    async def send(self, message: Message) -> None:
        """Send on, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._code = self._scope["state"].get("code", "")
            own: list[tuple[bytes, bytes]] = list(message.get("headers", []))
            names = {name for name, _ in own}
            added = [pair for pair in _FIXED if pair[0] not in names]
            message = {**message, "headers": [*own, *added, (REQUEST_ID.encode(), self.request_id.encode())]}
        await self._send(message)

    async def refuse(self, problem: Problem) -> None:
        """Answer with a problem, unless an answer has begun."""
        if self._status:
            return
        self._scope.setdefault("state", {})["code"] = problem.code
        body = problem.body(self.request_id)
        headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **problem.headers}
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": body})

    def leave(self) -> None:
        """Count it, and write its line."""
        seconds = time.monotonic() - self._begun
        scope, service = self._scope, self._service
        status = self._status or CLIENT_LEFT
        route = getattr(scope.get("route"), "path", "other")
        service.metrics.requests.labels(route, status).inc()
        service.metrics.seconds.labels(route).observe(seconds)
        if scope["path"] in _QUICK and status < 400:
            return
        service.log.request(scope["method"], _target(scope), status, seconds, self.request_id, self._code)


def _target(scope: dict[str, Any] | Scope) -> str:
    """Path and query as they came, percent-encoded where they are not plain."""
    raw = scope.get("raw_path") or scope["path"].encode()
    target = quote(raw.decode("latin-1"), safe="/%:@!$&'()*+,;=~-._")
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{target}?{query}" if query else target
