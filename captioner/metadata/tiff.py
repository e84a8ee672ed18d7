"""Where metadata lies in TIFF files: TIFF 6.0, section 2; tag 700 for XMP (ISO 16684-3), 33723 for IPTC.

Everything in such files is found by absolute offsets, so nothing may move: new values go to the end of the file, behind
them a new copy of the first directory, and the header points there. BigTIFF and cameras' raw pictures are not touched.
"""

from __future__ import annotations

from dataclasses import dataclass

from captioner.metadata import photoshop
from captioner.metadata.container import Held, broken, differing, number, signed, unsupported
from captioner.metadata.splice import Splice

NAME = "TIFF"
HOLDS_IPTC = True
_XMP, _IPTC, _PHOTOSHOP, _SIGNATURE, _DNG = 700, 33723, 34377, 52545, 50706
_BYTE, _LONG = 1, 4  # IPTC is LONG, padded, as Photoshop, libtiff and exiftool have it; ISO 16684-3 would like bytes
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_KINDS = (1, 2, 4, 6, 7)  # in which blocks of bytes are found


@dataclass(frozen=True)
class _Entry:
    """One entry of a directory."""

    tag: int
    """What it is."""
    kind: int
    """The type of its values."""
    start: int
    """Where its value begins."""
    end: int
    """Where it ends."""
    raw: bytes
    """Its twelve bytes."""


@dataclass(frozen=True)
class _Directory:
    """The first directory of a file."""

    order: str
    """`little` or `big`: which byte of a number comes first."""
    entries: list[_Entry]
    """What is in it, in order."""
    following: bytes
    """The offset of the next one, as it is written."""

    def entry(self, tag: int) -> _Entry | None:
        """The entry with a tag."""
        return next((each for each in self.entries if each.tag == tag), None)

    def number(self, value: int, count: int) -> bytes:
        """A number as the file writes it."""
        return value.to_bytes(count, "little" if self.order == "little" else "big")


def begins(data: bytes) -> bool:
    """Whether the file is a TIFF; not BigTIFF, which has 64-bit offsets."""
    return data.startswith((b"II*\0", b"MM\0*"))


def read(data: bytes) -> Held:
    """The XMP packet and the IPTC block of a file's first picture. Raises `MetadataError` when it is malformed."""
    directory = _directory(data)
    return Held(_value(data, directory.entry(_XMP)), _value(data, directory.entry(_IPTC)))


def replace(data: bytes, held: Held) -> tuple[Splice, ...]:
    """The splices that put blocks into a file: in their old places where they have the same length, or else at the end.

    Raises `MetadataError` when the file is malformed or signed, is a raw picture, or would be too long for its offsets.
    """
    directory = _directory(data)
    if held == Held():
        return ()
    if directory.entry(_SIGNATURE):
        raise signed(NAME)
    if directory.entry(_DNG) or data[8:10] == b"CR":
        raise unsupported("the file is a camera's raw picture")
    splices: list[Splice] = []
    appended = b"\0" * (len(data) % 2)  # offsets are even
    entries = [(each.tag, each.raw) for each in directory.entries]
    moved = False
    for tag, block, kind in ((_XMP, held.xmp, _BYTE), (_IPTC, held.iptc, _LONG)):
        if block is None:
            continue
        old = directory.entry(tag)
        kind = kind if old is None else old.kind
        block += b"\0" * (-len(block) % _SIZES[kind])
        if old is not None and len(block) == old.end - old.start:
            splices.append(Splice(old.start, old.end, block))
        else:
            place = len(data) + len(appended)
            raw = b"".join(directory.number(each, 2) for each in (tag, kind))
            raw += b"".join(directory.number(each, 4) for each in (len(block) // _SIZES[kind], place))
            entries = _with_entry(entries, tag, raw)
            appended += block + b"\0" * (len(block) % 2)
            moved = True
        if tag == _IPTC and (resources := directory.entry(_PHOTOSHOP)) is not None:
            for each in photoshop.with_digest(_value(data, resources) or b"", block):
                splices.append(Splice(resources.start + each.start, resources.start + each.end, each.data))
    if moved:
        place = len(data) + len(appended)
        appended += directory.number(len(entries), 2) + b"".join(raw for _, raw in entries) + directory.following
        if len(data) + len(appended) >= 2**32 or len(entries) >= 2**16:
            raise broken("the TIFF would be too long")
        splices += (Splice(4, 8, directory.number(place, 4)), Splice(len(data), len(data), appended))
    return differing(data, splices)


def _with_entry(entries: list[tuple[int, bytes]], tag: int, raw: bytes) -> list[tuple[int, bytes]]:
    """The entries with another one, in its old place, or where its number belongs."""
    here = [place for place, (each, _) in enumerate(entries) if each == tag]
    if here:
        return [*entries[: here[0]], (tag, raw), *entries[here[0] + 1 :]]
    place = sum(each < tag for each, _ in entries)
    return [*entries[:place], (tag, raw), *entries[place:]]


def _directory(data: bytes) -> _Directory:
    """The first directory. Raises `MetadataError` when it, or one of the values that are looked at, is malformed."""
    order = "little" if data.startswith(b"II") else "big"
    start = number(data, 4, 4, order)
    count = number(data, start, 2, order)
    end = start + 2 + 12 * count
    number(data, end, 4, order)
    if start < 8 or count == 0:
        raise broken("the TIFF has no directory")
    entries: list[_Entry] = []
    for place in range(start + 2, end, 12):
        tag, kind = number(data, place, 2, order), number(data, place + 2, 2, order)
        size = number(data, place + 4, 4, order) * _SIZES.get(kind, 0)
        value = place + 8 if size <= 4 else number(data, place + 8, 4, order)
        if tag in (_XMP, _IPTC, _PHOTOSHOP) and (kind not in _KINDS or value + size > len(data)):
            raise broken("the TIFF has a damaged entry")
        entries.append(_Entry(tag, kind, value, value + size, data[place : place + 12]))
    return _Directory(order, entries, data[end : end + 4])


def _value(data: bytes, entry: _Entry | None) -> bytes | None:
    return None if entry is None else data[entry.start : entry.end]
