"""What the service and its workers say to each other over a pipe: a head in JSON, and bytes as they are.

    4 bytes   length of the head        the head names the lengths of the parts that follow it, `sizes`
    …         the head, JSON
    …         the parts, one behind the other

No pickle: whatever a worker was made to say, it is numbers and text.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Sequence
from typing import IO, Any

_LENGTH = struct.Struct(">I")
MAX_HEAD_BYTES = 2**26
"""Maps of where a captioner looks are the largest heads: 1,000 words over 81 places come to a few megabytes."""


def pack(head: dict[str, Any], parts: Sequence[bytes] = ()) -> list[bytes]:
    """A frame, in pieces that are to be written in this order."""
    text = json.dumps({**head, "sizes": [len(part) for part in parts]}).encode()
    return [_LENGTH.pack(len(text)) + text, *parts]


def read(stream: IO[bytes]) -> tuple[dict[str, Any], list[bytes]] | None:
    """The next frame of a blocking stream; None at its end, also in the middle of a frame."""
    first = stream.read(_LENGTH.size)
    if len(first) < _LENGTH.size:
        return None
    length = _checked(first)
    text = stream.read(length)
    if len(text) < length:
        return None
    head = json.loads(text)
    parts = [stream.read(size) for size in head["sizes"]]
    return (head, parts) if [len(part) for part in parts] == head["sizes"] else None


async def read_async(stream: asyncio.StreamReader) -> dict[str, Any]:
    """The head of the next frame, which has no parts. Raises IncompleteReadError at the end, or ValueError."""
    length = _checked(await stream.readexactly(_LENGTH.size))
    head = json.loads(await stream.readexactly(length))
    if not isinstance(head, dict):
        raise ValueError("a frame's head is no object")
    return head


def _checked(first: bytes) -> int:
    length: int = _LENGTH.unpack(first)[0]
    if length > MAX_HEAD_BYTES:
        raise ValueError(f"a frame's head of {length} bytes")
    return length
