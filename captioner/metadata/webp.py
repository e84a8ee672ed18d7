"""Where XMP lies in WebP files: RFC 9649, section 2: a chunk at the end, announced in the VP8X chunk at the beginning.

Files without VP8X get one, with the size and the transparency of the picture. IPTC has no place.
"""

from __future__ import annotations

from dataclasses import dataclass

from captioner.metadata.container import Held, broken, differing, number, signed
from captioner.metadata.splice import Splice

NAME = "WebP"
HOLDS_IPTC = False
_HAS_XMP, _HAS_ALPHA = 0x04, 0x10
_FIRST = 12  # behind RIFF, the size, and WEBP
_MAX_SIZE = 2**32 - 10
_LEAST = {b"VP8X": 10, b"VP8 ": 10, b"VP8L": 5}  # what may come first, and the bytes that its sides are in


@dataclass(frozen=True)
class _Chunk:
    """One chunk."""

    kind: bytes
    """Its four letters."""
    start: int
    """Where it begins."""
    body: int
    """Where its content begins."""
    stop: int
    """Where its content ends."""
    end: int
    """Where it ends, with a zero that makes its length even."""


def begins(data: bytes) -> bool:
    """Whether the file is a WebP."""
    return data.startswith(b"RIFF") and data.startswith(b"WEBP", 8)


def read(data: bytes) -> Held:
    """The XMP packet of a file. Raises `MetadataError` when the file is malformed."""
    return Held(next((data[each.body : each.stop] for each in _chunks(data) if each.kind == b"XMP "), None))


def replace(data: bytes, held: Held) -> tuple[Splice, ...]:
    """The splices that put a packet into a file: in the old chunk's place, or behind all others.

    Raises `MetadataError` when the file is malformed or signed, or would be too long.
    """
    chunks = _chunks(data)
    if held.xmp is None:
        return ()
    if any(each.kind == b"C2PA" for each in chunks):
        raise signed(NAME)
    first, last = chunks[0], chunks[-1]
    if first.kind == b"VP8X":
        flags = bytes((data[first.body] | _HAS_XMP,))
        splices = [Splice(first.body, first.body + 1, flags)]
    else:
        splices = [Splice(_FIRST, _FIRST, _extended(data, first))]
    new = b"XMP " + len(held.xmp).to_bytes(4, "little") + held.xmp + b"\0" * (len(held.xmp) % 2)
    old = [each for each in chunks if each.kind == b"XMP "]
    if old:
        splices.append(Splice(old[0].start, old[0].end, new))
    else:  # some leave out the zero behind the last chunk
        splices.append(Splice(last.end, last.end, b"\0" * ((last.end - last.body) % 2) + new))
    size = number(data, 4, 4, "little") + sum(splice.growth for splice in splices)
    if size > _MAX_SIZE:
        raise broken("the WebP would be too long")
    return differing(data, [Splice(4, 8, size.to_bytes(4, "little")), *splices])


def _chunks(data: bytes) -> list[_Chunk]:
    """All chunks; what follows the end that the file announces is no part of it.

    Raises `MetadataError` when one is cut short, or the first is none that a file begins with.
    """
    whole = 8 + number(data, 4, 4, "little")
    if whole > len(data):
        raise broken("the WebP is cut short")
    chunks: list[_Chunk] = []
    place = _FIRST
    while place < whole:
        body = place + 8
        stop = body + number(data, place + 4, 4, "little")
        if stop > whole:
            raise broken("the WebP has a damaged chunk")
        end = min(stop + stop % 2, whole)
        chunks.append(_Chunk(data[place : place + 4], place, body, stop, end))
        place = end
    if not chunks or chunks[0].stop - chunks[0].body < _LEAST.get(chunks[0].kind, _MAX_SIZE):
        raise broken("the WebP does not begin as it should")
    return chunks


def _extended(data: bytes, picture: _Chunk) -> bytes:
    """A VP8X chunk for a file that is a mere picture: flags, three zeros, and both sides less one in 24 bits."""
    flags = _HAS_XMP
    if picture.kind == b"VP8L":  # RFC 9649, section 3.4
        bits = number(data, picture.body + 1, 4, "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        flags |= _HAS_ALPHA * (bits >> 28 & 1)
        is_sound = data[picture.body] == 0x2F
    else:  # RFC 6386, section 9.1
        width, height = (number(data, picture.body + place, 2, "little") & 0x3FFF for place in (6, 8))
        is_sound = data[picture.body + 3 : picture.body + 6] == b"\x9d\x01\x2a" and width > 0 and height > 0
    if not is_sound:
        raise broken("the WebP has a damaged picture")
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X" + (10).to_bytes(4, "little") + bytes((flags, 0, 0, 0)) + sides
