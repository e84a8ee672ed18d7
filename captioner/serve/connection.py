"""HTTP/1.1 on one connection, with the deadlines that uvicorn does not have.

Headers must come in time, bodies not in crumbs, and what a client goes on sending after its answer is read only for a
moment, so that the answer arrives before the connection ends. Knows nothing of routes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from captioner.serve.problems import MEDIA_TYPE, Problem

if TYPE_CHECKING:
    from captioner.serve.service import Service

_SMALL_PIECE = 64
"""Bytes; pieces that are smaller on average are crumbs."""
_LINGER_SECONDS, _LINGER_BYTES = 2.0, 2**20
"""How long, and for how much, a client is listened to that has its answer already."""


class _Parser(h11.Connection):
    """Counts the pieces of a body: millions of them would keep the service busy with next to nothing."""

    def __init__(self, header_bytes: int, small_pieces: int) -> None:
        super().__init__(h11.SERVER, header_bytes)
        self._allowed = small_pieces
        self._pieces = self._bytes = 0

    def next_event(self) -> Any:
        """See `h11.Connection`. Raises RemoteProtocolError for a body in crumbs too."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._pieces += 1
            self._bytes += len(event.data)
            if self._pieces > self._allowed and self._bytes < _SMALL_PIECE * self._pieces:
                raise h11.RemoteProtocolError("the body comes in too many small pieces")
        return event


def connection_class(service: Service) -> type[H11Protocol]:
    """The protocol for uvicorn, bound to a service."""
    limits = service.limits

    class Connection(H11Protocol):
        """One connection."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.conn = _Parser(limits.header_bytes, limits.small_pieces)
            self._timer: asyncio.TimerHandle | None = None
            self._drained = 0
            self._is_lingering = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                problem = Problem(503, "overloaded", "too many connections; try again", headers={"retry-after": "1"})
                self._refuse(problem)
                return
            self._wait_for_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._is_lingering:
                self._drained += len(data)
                if self._drained > _LINGER_BYTES:  # the timer ends it; until then the client may read its answer
                    self.transport.pause_reading()
                    return
            super().data_received(data)
            if self.transport.is_closing():
                return
            state = self.conn.their_state
            if state is h11.IDLE and self._timer is None:
                self._wait_for_headers()
            elif state is not h11.IDLE and not self._is_lingering:
                self._stop_timer()
            if self._is_lingering and state is not h11.SEND_BODY:  # the rest came: the connection can go on
                self._is_lingering = False
                self._stop_timer()

        def on_response_complete(self) -> None:
            is_unread = self.conn.their_state is h11.SEND_BODY
            super().on_response_complete()
            if is_unread and not self.transport.is_closing():
                self._unset_keepalive_if_required()
                self._is_lingering, self._drained = True, 0
                self._stop_timer()
                self._timer = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

        def shutdown(self) -> None:
            """No further request after this one; one whose headers are on their way is still answered."""
            if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
                self.timeout_keep_alive = 0
                return
            super().shutdown()

        def send_400_response(self, msg: str) -> None:
            """What is no HTTP gets its answer too, where one can still be given."""
            self._refuse(Problem(400, "bad_request", "this is no HTTP/1.1 request that the service understands"))

        def _refuse(self, problem: Problem) -> None:
            if self.cycle is not None:  # a request was under way, whose body has turned out to be none
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            request_id = service.new_request_id()
            body = problem.body(request_id)
            headers = [
                ("content-type", MEDIA_TYPE),
                ("content-length", str(len(body))),
                ("x-request-id", request_id),
                ("connection", "close"),
                *problem.headers.items(),
            ]
            try:
                for event in (
                    h11.Response(status_code=problem.status, headers=headers),
                    h11.Data(data=body),
                    h11.EndOfMessage(),
                ):
                    self.transport.write(self.conn.send(event))
            except h11.LocalProtocolError:  # an answer is under way already
                pass
            service.log.request("-", "-", problem.status, 0.0, request_id, problem.code)
            service.metrics.requests.labels("other", problem.status).inc()
            self.transport.close()

        def _wait_for_headers(self) -> None:
            self._stop_timer()
            self._timer = self.loop.call_later(limits.header_seconds, self.transport.close)

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Connection
