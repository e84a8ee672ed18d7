"""Where metadata lies in JPEG files: ITU-T T.81, annex B; XMP in APP1 (ISO 16684-3, section 7), IPTC in APP13.

Only segments before the first scan are looked at; scans, and whatever lies behind the picture, are never touched.
Extended XMP, a second packet for what does not fit 64 KB, stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from captioner.metadata import photoshop
from captioner.metadata.container import Held, broken, differing, number, signed, unsupported
from captioner.metadata.mpf import corrections
from captioner.metadata.splice import Splice

NAME = "JPEG"
HOLDS_IPTC = True
_XMP, _EXTENDED = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP, _EXIF, _MPF = b"Photoshop 3.0\0", b"Exif\0", b"MPF\0"
_APP0, _APP1, _APP2, _APP11, _APP13, _SCAN = 0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xDA
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a segment
_MAX_BODY = 65533  # a segment's length is two bytes, and counts them too
_EXTENDED_HEADER = len(_EXTENDED) + 32 + 4 + 4  # which packet it goes on, how long all of it is, where this part goes


@dataclass(frozen=True)
class _Segment:
    """One segment."""

    marker: int
    """Its kind."""
    start: int
    """Where its marker begins."""
    end: int
    """Where it ends."""
    body: bytes
    """What is behind marker and length."""


def begins(data: bytes) -> bool:
    """Whether the file is a JPEG."""
    return data.startswith(b"\xff\xd8")


def read(data: bytes) -> Held:
    """The XMP packet and the IPTC block of a file. Raises `MetadataError` when the file is malformed."""
    segments = _head(data)
    packets = [each.body[len(_XMP) :] for each in _those(segments, _APP1, _XMP)]
    return Held(packets[0] if packets else None, photoshop.iptc_in(_resources(segments)))


def replace(data: bytes, held: Held) -> tuple[Splice, ...]:
    """The splices that put blocks into a file; new segments follow those that must be first, APP0 and EXIF.

    Raises `MetadataError` when the file is malformed or signed, when a packet is too long, or when captions are in
    extended XMP already, where another one would contradict them.
    """
    segments = _head(data)
    if held == Held():
        return ()
    _refuse_signed_and_extended(segments)
    splices: list[Splice] = []
    new = b""
    if held.xmp is not None:
        segment = _segment(_APP1, _XMP + held.xmp)
        packets = _those(segments, _APP1, _XMP)
        if packets:
            splices.append(Splice(packets[0].start, packets[0].end, segment))
        else:
            new += segment
    if held.iptc is not None:
        resources = photoshop.with_iptc(_resources(segments), held.iptc)
        size = _MAX_BODY - len(_PHOTOSHOP)  # more goes on in the next segment
        parts = [resources[start : start + size] for start in range(0, len(resources), size)]
        written = b"".join(_segment(_APP13, _PHOTOSHOP + part) for part in parts)
        old = _those(segments, _APP13, _PHOTOSHOP)
        splices += [Splice(each.start, each.end, b"" if place else written) for place, each in enumerate(old)]
        new += b"" if old else written
    if new:
        place = _behind_first(segments)
        splices.append(Splice(place, place, new))
    changes = differing(data, splices)
    for each in _those(segments, _APP2, _MPF):
        header = each.end - len(each.body) + len(_MPF)
        changes += corrections(data, header, each.end, segments[-1].end, changes)
    return differing(data, changes)


def _refuse_signed_and_extended(segments: list[_Segment]) -> None:
    if any(each.marker == _APP11 and b"c2pa" in each.body for each in segments):
        raise signed(NAME)
    extended = b"".join(each.body[_EXTENDED_HEADER:] for each in _those(segments, _APP1, _EXTENDED))
    if b"AltTextAccessibility" in extended or (b"purl.org/dc/elements" in extended and b"description" in extended):
        raise unsupported("the JPEG has a caption in extended XMP")


def _head(data: bytes) -> list[_Segment]:
    """All segments to the first scan's, which is the last one.

    Raises `MetadataError` when something else is between them, or no scan comes.
    """
    segments: list[_Segment] = []
    place = 2
    while not segments or segments[-1].marker != _SCAN:
        if number(data, place, 1, "big") != 0xFF:
            raise broken("the JPEG has something between its segments")
        while (marker := number(data, place + 1, 1, "big")) == 0xFF:  # fill bytes
            place += 1
        if marker in _ALONE:
            place += 2
            continue
        length = number(data, place + 2, 2, "big")
        end = place + 2 + length
        if marker in (0x00, 0xD8, 0xD9) or length < 2 or end > len(data):
            raise broken("the JPEG has a damaged segment")
        segments.append(_Segment(marker, place, end, data[place + 4 : end]))
        place = end
    return segments


def _those(segments: list[_Segment], marker: int, beginning: bytes) -> list[_Segment]:
    return [each for each in segments if each.marker == marker and each.body.startswith(beginning)]


def _behind_first(segments: list[_Segment]) -> int:
    """Where new segments go."""
    place = 2
    for each in segments:
        if each.marker != _APP0 and not (each.marker == _APP1 and each.body.startswith(_EXIF)):
            break
        place = each.end
    return place


def _resources(segments: list[_Segment]) -> bytes:
    return b"".join(each.body[len(_PHOTOSHOP) :] for each in _those(segments, _APP13, _PHOTOSHOP))


def _segment(marker: int, body: bytes) -> bytes:
    if len(body) > _MAX_BODY:
        raise unsupported("the XMP packet would be longer than the 64 KB that a JPEG holds")
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body
