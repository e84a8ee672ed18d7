"""Where XMP lies in PNG files: PNG specification (third edition), sections 5 and 11.3.3; XMP in an iTXt chunk.

Animations (APNG) are PNG too. IPTC has no agreed place.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from captioner.metadata.container import MAX_PACKET_BYTES, Held, broken, differing, number, signed
from captioner.metadata.splice import Splice

NAME = "PNG"
HOLDS_IPTC = False
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEYWORD = b"XML:com.adobe.xmp\0"
_MAX_LENGTH = 2**31 - 1


@dataclass(frozen=True)
class _Chunk:
    """One chunk."""

    kind: bytes
    """Its four letters."""
    start: int
    """Where it begins, with its length."""
    end: int
    """Where it ends, with its checksum."""


def begins(data: bytes) -> bool:
    """Whether the file is a PNG."""
    return data.startswith(_SIGNATURE)


def read(data: bytes) -> Held:
    """The XMP packet of a file. Raises `MetadataError` when the file is malformed."""
    chunks = _chunks(data)
    chunk = _xmp(data, chunks)
    return Held(None if chunk is None else _packet(data[chunk.start + 8 + len(_KEYWORD) : chunk.end - 4]))


def replace(data: bytes, held: Held) -> tuple[Splice, ...]:
    """The splices that put a packet into a file: in the old chunk's place, or before the pixels.

    Raises `MetadataError` when the file is malformed or signed.
    """
    chunks = _chunks(data)
    if held.xmp is None:
        return ()
    if any(each.kind == b"caBX" for each in chunks):
        raise signed(NAME)
    body = b"iTXt" + _KEYWORD + b"\0\0\0\0" + held.xmp  # not compressed, no language, no translated keyword
    if len(body) - 4 > _MAX_LENGTH:
        raise broken("the XMP packet is too long")
    new = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    chunk = _xmp(data, chunks)
    if chunk is not None:
        return differing(data, [Splice(chunk.start, chunk.end, new)])
    place = next(each.start for each in chunks if each.kind == b"IDAT")
    return (Splice(place, place, new),)


def _chunks(data: bytes) -> list[_Chunk]:
    """All chunks to IEND; what follows is no part of the picture.

    Raises `MetadataError` when one is cut short, or the first, the pixels or the last are not there.
    """
    chunks: list[_Chunk] = []
    place = len(_SIGNATURE)
    while not chunks or chunks[-1].kind != b"IEND":
        end = place + 12 + number(data, place, 4, "big")
        kind = data[place + 4 : place + 8]
        if end > len(data):
            raise broken("the PNG is cut short")
        if (not chunks and kind != b"IHDR") or not kind.isalpha():
            raise broken("the PNG has a damaged chunk")
        chunks.append(_Chunk(kind, place, end))
        place = end
    if not any(each.kind == b"IDAT" for each in chunks):
        raise broken("the PNG has no pixels")
    return chunks


def _xmp(data: bytes, chunks: list[_Chunk]) -> _Chunk | None:
    for each in chunks:
        if each.kind == b"iTXt" and data.startswith(_KEYWORD, each.start + 8):
            return each
    return None


def _packet(text: bytes) -> bytes:
    """The packet in a chunk, behind its keyword: flag and method of compression, language and translated keyword."""
    parts = text[2:].split(b"\0", 2)
    if len(parts) < 3 or text[0] > 1 or text[1] != 0:
        raise broken("the PNG has a damaged text chunk")
    if text[0] == 0:
        return parts[2]
    stream = zlib.decompressobj()
    try:
        packet = stream.decompress(parts[2], MAX_PACKET_BYTES)
    except zlib.error as error:
        raise broken("the PNG has a damaged text chunk") from error
    if not stream.eof:
        raise broken("the PNG has an XMP packet that is cut short, or far too long")
    return packet
