"""Where XMP lies in GIF files: GIF89a specification, sections 12 to 27; ISO 16684-3 for the application extension.

The packet stands there as it is, not cut into blocks. A trailer makes readers that know nothing of this find the end:
from wherever in the packet they think that a block begins, they come to a number in it that leads to its last byte.
"""

from __future__ import annotations

from dataclasses import dataclass

from captioner.metadata.container import Held, broken, differing, number, signed, unsupported
from captioner.metadata.splice import Splice

NAME = "GIF"
HOLDS_IPTC = False
_XMP = b"\x21\xff\x0bXMP DataXMP"
_SIGNATURE = b"\x21\xff\x0bC2PA_GIF"
_TRAILER = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
_EXTENSION, _IMAGE, _END = 0x21, 0x2C, 0x3B
_APPLICATION, _COMMENT = 0xFF, 0xFE


@dataclass(frozen=True)
class _Block:
    """An extension."""

    label: int
    """Its kind."""
    start: int
    """Where it begins."""
    end: int
    """Where it ends."""


def begins(data: bytes) -> bool:
    """Whether the file is a GIF."""
    return data.startswith((b"GIF87a", b"GIF89a"))


def read(data: bytes) -> Held:
    """The XMP packet of a file. Raises `MetadataError` when the file is malformed."""
    _, extensions = _blocks(data)
    old = _xmp(data, extensions)
    return Held(None if old is None else data[old.start + len(_XMP) : old.end - len(_TRAILER)])


def replace(data: bytes, held: Held) -> tuple[Splice, ...]:
    """The splices that put a packet into a file: in the old one's place, or before the first picture.

    Raises `MetadataError` when the file is malformed or signed, or the packet has zeros, which would end it.
    """
    place, extensions = _blocks(data)
    if held.xmp is None:
        return ()
    if any(data.startswith(_SIGNATURE, each.start) for each in extensions):
        raise signed(NAME)
    if b"\0" in held.xmp:
        raise unsupported("the XMP packet of the GIF is not in UTF-8")
    new = _XMP + held.xmp + _TRAILER
    old = _xmp(data, extensions)
    change = Splice(place, place, new) if old is None else Splice(old.start, old.end, new)
    return differing(data, [Splice(3, 6, b"89a"), change])  # version 87a had no extensions


def _blocks(data: bytes) -> tuple[int, list[_Block]]:
    """Where something new goes, and all extensions.

    That is behind the applications and comments at the beginning: among them is how often an animation repeats, which
    many readers look for in the first place only.

    Raises `MetadataError` when the file is cut short, or has something else between its blocks.
    """
    extensions: list[_Block] = []
    place = 13 + _palette(number(data, 10, 1, "little"))
    new: int | None = None
    while (kind := number(data, place, 1, "little")) != _END:
        if kind == _EXTENSION:
            label, end = number(data, place + 1, 1, "little"), _past_sub_blocks(data, place + 2)
            extensions.append(_Block(label, place, end))
        elif kind == _IMAGE:
            label, end = kind, _past_sub_blocks(data, place + 11 + _palette(number(data, place + 9, 1, "little")))
        else:
            raise broken("the GIF has something between its blocks")
        if new is None and label not in (_APPLICATION, _COMMENT):
            new = place
        place = end
    return place if new is None else new, extensions


def _palette(flags: int) -> int:
    """How many bytes of colours follow."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _past_sub_blocks(data: bytes, place: int) -> int:
    while (length := number(data, place, 1, "little")) > 0:
        place += 1 + length
    return place + 1


def _xmp(data: bytes, extensions: list[_Block]) -> _Block | None:
    """The extension with XMP. Raises `MetadataError` when it has no trailer."""
    for each in extensions:
        if each.label == _APPLICATION and data.startswith(_XMP, each.start):
            if each.end - each.start < len(_XMP) + len(_TRAILER) or not data.endswith(_TRAILER, each.start, each.end):
                raise broken("the GIF has a damaged XMP block")
            return each
    return None
