"""Image resources of Photoshop, among which files keep their IPTC block.

Adobe Photoshop File Formats Specification, "Image Resource Blocks": `8BIM`, a number, a name and a value. All other
resources stay as they are. Knows nothing of what is in an IPTC block.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from captioner.metadata.container import broken, number
from captioner.metadata.splice import Splice, apply

_IPTC, _DIGEST = 0x0404, 0x0425
_SIGNATURES = (b"8BIM", b"MeSa", b"AgHg", b"PHUT", b"DCSR")


@dataclass(frozen=True)
class _Resource:
    """One resource."""

    identifier: int
    """What it is."""
    start: int
    """Where it begins."""
    value: int
    """Where its value begins."""
    stop: int
    """Where its value ends."""
    end: int
    """Where it ends, with a zero that makes its length even."""


def iptc_in(resources: bytes) -> bytes | None:
    """The IPTC block in the resources of a file; None for none. Raises `MetadataError` when they are broken."""
    for each in _parsed(resources):
        if each.identifier == _IPTC:
            return resources[each.value : each.stop]
    return None


def with_iptc(resources: bytes, block: bytes) -> bytes:
    """The resources with another IPTC block, in its old place or else at the end, and its digest where there is one.

    Raises `MetadataError` when the resources are broken.
    """
    parsed = _parsed(resources)
    place, missing = 0, b""
    if parsed:
        last = parsed[-1]
        place = last.end
        missing = b"\0" * ((last.end - last.value) % 2)  # some leave out the zero behind the last value
    new = (
        b"8BIM" + _IPTC.to_bytes(2, "big") + b"\0\0" + len(block).to_bytes(4, "big") + block + b"\0" * (len(block) % 2)
    )
    splice = Splice(place, place, missing + new)
    for each in reversed(parsed):
        if each.identifier == _IPTC:
            splice = Splice(each.start, each.end, new)
    digest = with_digest(resources, block)
    return apply(resources, sorted([splice, *digest], key=lambda each: each.start))


def with_digest(resources: bytes, block: bytes) -> tuple[Splice, ...]:
    """The splices for the digest of an IPTC block, none where the resources have no such digest.

    By it, readers tell whether IPTC was changed by an editor that knows nothing of XMP (Metadata Working Group,
    Guidelines for Handling Image Metadata 2.0, section 3.3). Raises `MetadataError` when the resources are broken.
    """
    digest = hashlib.md5(block, usedforsecurity=False).digest()
    places = [
        each for each in _parsed(resources) if each.identifier == _DIGEST and each.stop - each.value == len(digest)
    ]
    return tuple(Splice(each.value, each.stop, digest) for each in places)


def _parsed(resources: bytes) -> list[_Resource]:
    """All resources; zeros behind the last one are padding.

    Raises `MetadataError` when there is anything else.
    """
    found: list[_Resource] = []
    place = 0
    while place < len(resources):
        if resources[place : place + 4] not in _SIGNATURES:
            if resources[place:].strip(b"\0"):
                raise broken("the Photoshop resources have something that is none")
            break
        identifier, name = number(resources, place + 4, 2, "big"), number(resources, place + 6, 1, "big")
        size = place + 7 + name + (name + 1) % 2
        value = size + 4
        stop = value + number(resources, size, 4, "big")
        if stop > len(resources):
            raise broken("the Photoshop resources are cut short")
        end = min(stop + (stop - value) % 2, len(resources))
        found.append(_Resource(identifier, place, value, stop, end))
        place = end
    return found
