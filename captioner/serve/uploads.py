"""Bodies of requests → pictures and texts, in memory, while they come in; never on a disk, and never more than allowed.

The names that clients give to files are not looked at. Knows nothing of captions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from captioner.serve.limits import Limits
from captioner.serve.problems import CLIENT_LEFT, Problem

FORM = "multipart/form-data"
RAW = ("application/octet-stream",)
RAW_PREFIX = "image/"
_MAX_BOUNDARY = 70
_MAX_HEADERS, _MAX_HEADER_BYTES = 8, 4096
"""Of one part."""


class Budget:
    """Bytes of bodies that are in memory, of all requests together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0
        """Bytes now."""

    def take(self, size: int) -> None:
        """Raise Problem when there is no room for so many bytes more."""
        if self.taken + size > self._most:
            raise Problem(503, "overloaded", "too many pictures at once; try again", headers={"retry-after": "1"})
        self.taken += size

    def give_back(self, size: int) -> None:
        """So many bytes are no longer needed."""
        self.taken -= size


@dataclass
class Upload:
    """What was in a body."""

    files: list[bytes] = field(default_factory=list)
    """The parts called `file`, or the whole body."""
    texts: dict[str, str] = field(default_factory=dict)
    """The other parts, by name."""


class BodyReader:
    """Reads the body of one request; used as a context, in which its bytes count as taken."""

    def __init__(self, request: Request, limits: Limits, budget: Budget, deadline: float) -> None:
        """`deadline`: in the time of the event loop, when the body must be there."""
        self._request, self._limits, self._budget, self._deadline = request, limits, budget, deadline
        self._taken = 0

    def __enter__(self) -> BodyReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.give_back(self._taken)

    async def read(self, *, fields: frozenset[str] | None) -> Upload:
        """The pictures.

        Args:
            fields: names of text parts that a form may have beside its files; None takes no form at all.

        Raises:
            Problem: for whatever is wrong with the body.
        """
        media_type, options = _media_type(self._request)
        try:
            async with asyncio.timeout_at(self._deadline):
                if media_type.startswith(RAW_PREFIX) or media_type in RAW:
                    return Upload([await self._whole()])
                if media_type == FORM and fields is not None:
                    return await self._form(options, fields)
        except TimeoutError:
            raise Problem(408, "body_timeout", "the body did not come in time; send it again") from None
        expected = "image/*, application/octet-stream" + (f" or {FORM}" if fields is not None else "")
        raise Problem(415, "media_type", f"send the bytes of a picture with Content-Type {expected}")

    async def _whole(self) -> bytes:
        data = bytearray()
        async for piece in self._pieces(self._limits.file_bytes):
            data += piece
        return bytes(data)

    async def _form(self, options: dict[bytes, bytes], fields: frozenset[str]) -> Upload:
        form = _Form(_boundary(options), self._limits, fields)
        async for piece in self._pieces(self._limits.body_bytes):
            form.write(piece)
        return form.finish()

    async def _pieces(self, most: int) -> AsyncIterator[bytes]:
        announced = self._request.headers.get("content-length", "")
        too_large = Problem(413, "too_large", f"more than {most:,} bytes; send less at once, or a smaller picture")
        if announced.isdecimal() and int(announced[:20]) > most:
            raise too_large
        size = 0
        try:
            async for piece in self._request.stream():
                size += len(piece)
                if size > most:
                    raise too_large
                self._budget.take(len(piece))
                self._taken += len(piece)
                if piece:
                    yield piece
        except ClientDisconnect:
            raise Problem(CLIENT_LEFT, "client_left", "the client has left") from None


def _media_type(request: Request) -> tuple[str, dict[bytes, bytes]]:
    values = request.headers.getlist("content-type")
    if len(values) != 1:
        return "", {}
    name, options = parse_options_header(values[0].encode("latin-1"))
    return name.decode("latin-1").strip().lower(), options


def _boundary(options: dict[bytes, bytes]) -> bytes:
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= _MAX_BOUNDARY:
        raise Problem(400, "multipart", f"the form has no boundary of 1 to {_MAX_BOUNDARY} characters")
    return boundary


class _Form:
    """The parts of a form as they come in."""

    def __init__(self, boundary: bytes, limits: Limits, fields: frozenset[str]) -> None:
        self._limits, self._fields = limits, fields
        self._upload = Upload()
        self._header, self._value = bytearray(), bytearray()
        self._disposition = b""
        self._name = ""
        self._part: list[bytes] = []
        self._size = self._parts = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._part_data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
            max_header_count=_MAX_HEADERS,
            max_header_size=_MAX_HEADER_BYTES,
        )

    def write(self, piece: bytes) -> None:
        """Go on with the next bytes. Raises Problem for what is no form, or has too much in it."""
        try:
            self._parser.write(piece)
        except FormParserError:  # its text repeats bytes of the body
            raise Problem(400, "multipart", "the form is damaged; send it again") from None

    def finish(self) -> Upload:
        """What was in it. Raises Problem when it is not complete, or has no picture."""
        if not self._ended:
            raise Problem(400, "multipart", "the form breaks off before its last boundary; send it again")
        if not self._upload.files:
            raise Problem(400, "no_file", "the form has no field called file")
        return self._upload

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > self._limits.files + len(self._fields):
            raise _too_many(self._limits.files)
        self._disposition, self._name, self._part, self._size = b"", "", [], 0

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        kind, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if kind != b"form-data" or name not in {"file", *self._fields}:
            expected = ", ".join(["file", *sorted(self._fields)])
            raise Problem(400, "unknown_field", f"the form has a field that is not one of: {expected}")
        if name == "file" and len(self._upload.files) == self._limits.files:
            raise _too_many(self._limits.files)
        if name in self._upload.texts:
            raise Problem(400, "unknown_field", f"the form has the field {name} twice")
        self._name = name

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        most = self._limits.file_bytes if self._name == "file" else self._limits.text_bytes
        if self._size > most:
            raise Problem(413, "too_large", f"the field {self._name} has more than {most:,} bytes")
        self._part.append(data[start:end])

    def _part_end(self) -> None:
        data = b"".join(self._part)
        self._part = []
        if self._name == "file":
            self._upload.files.append(data)
            return
        try:
            self._upload.texts[self._name] = data.decode("utf-8")
        except UnicodeDecodeError:
            raise Problem(400, "not_utf8", f"the field {self._name} is not UTF-8") from None

    def _end(self) -> None:
        self._ended = True


def _too_many(most: int) -> Problem:
    return Problem(413, "too_many_files", f"more than {most} pictures; send them in several requests")
