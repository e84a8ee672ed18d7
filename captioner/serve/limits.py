"""Every limit of the service, in one place: docs/security.md has them in a table, `captioner serve` as options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from captioner.config.checks import MAX_NEIGHBOURS, check_types, require
from captioner.config.decode import MAX_BEAM, MAX_LENGTH

FILE_BYTES = 20_000_000
"""The most that `captioner.images` reads; importing that would cost `--help` its time."""
BODY_BYTES = 20 * 2**20
"""One picture of `FILE_BYTES` fits in, with what multipart puts around it."""


@dataclass(frozen=True)
class Limits:
    """What one client may cost. Each field is an option of `captioner serve`, and a row of the table.

    Args:
        file_bytes: bytes of one picture; more is 413.
        body_bytes: bytes of a request's body, all its pictures together; more is 413.
        files: pictures in a request; more is 413.
        text_bytes: bytes of a caption that a client sends; more is 413.
        header_bytes: bytes of a request's headers; more is 400.
        small_pieces: pieces that a body may come in though they have fewer than 64 bytes on average; more is 400.
        max_beam: captions searched side by side that a client may ask for; more is 422.
        max_tokens: tokens of a caption that a client may ask for; more is 422.
        neighbours: training pictures that a client may ask for beside a picture; more is 422.
        queue: requests that wait for a worker; beyond it 429.
        buffered_bytes: bytes of all bodies that are in memory together; beyond it 503.
        corrections_bytes: bytes of the file of corrections; beyond it 507.
        connections: open connections; beyond it 503.
        header_seconds: a connection that has not sent its headers by then is closed.
        body_seconds: a body that has not come by then is 408.
        request_seconds: a request that has no answer by then is 504.
        idle_seconds: a connection that asks nothing for so long is closed; clients had better give theirs up before, as
            most do, or a request may meet a connection that is just being closed.
        drain_seconds: what is being worked on when the service is told to stop has so long to finish.
        worker_seconds: a worker that is silent for so long over one batch is ended and started again.
        worker_megabytes: a worker that holds more memory, in 10⁶ bytes, is started again between two batches.
    """

    file_bytes: int = FILE_BYTES
    body_bytes: int = BODY_BYTES
    files: int = 16
    text_bytes: int = 2000
    header_bytes: int = 16_384
    small_pieces: int = 4096
    max_beam: int = 20
    max_tokens: int = 100
    neighbours: int = 20
    queue: int = 32
    buffered_bytes: int = 256 * 2**20
    corrections_bytes: int = 4 * 2**30
    connections: int = 1000
    header_seconds: float = 15.0
    body_seconds: float = 30.0
    request_seconds: float = 30.0
    idle_seconds: float = 20.0
    drain_seconds: float = 30.0
    worker_seconds: float = 60.0
    worker_megabytes: int = 1500

    def __post_init__(self) -> None:
        check_types(self)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, float):
                require(0 < value <= 3600, field.name, value, "more than 0, at most 3600 seconds")
            else:
                require(1 <= value <= 2**40, field.name, value, "1 or more")
        require(self.max_beam <= MAX_BEAM, "max_beam", self.max_beam, f"1 to {MAX_BEAM}")
        require(self.max_tokens <= MAX_LENGTH, "max_tokens", self.max_tokens, f"1 to {MAX_LENGTH}")
        require(self.neighbours <= MAX_NEIGHBOURS, "neighbours", self.neighbours, f"1 to {MAX_NEIGHBOURS}")
        require(self.file_bytes <= FILE_BYTES, "file_bytes", self.file_bytes, f"1 to {FILE_BYTES:,}")

    def to_json(self) -> Mapping[str, Any]:
        """All of them by name, as `/v1/model` tells them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
