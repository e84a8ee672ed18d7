"""Several pictures in one JPEG file: what their index says of places and sizes is kept right when the first one grows.

CIPA DC-007, "Multi-Picture Format", section 5.2.3: phones keep previews, depth and brightness maps behind the picture,
found by offsets that count from the index.
"""

from __future__ import annotations

from collections.abc import Sequence

from captioner.metadata.container import broken, number
from captioner.metadata.splice import Splice

_ENTRIES = 0xB002
_ENTRY_BYTES = 16


def corrections(data: bytes, header: int, end: int, head: int, splices: Sequence[Splice]) -> tuple[Splice, ...]:
    """The splices that keep an index right beside other splices, all of which lie in the first picture's head.

    Args:
        data: the old file.
        header: where the index has its byte order mark, from which offsets count.
        end: where the segment of the index ends.
        head: where the head of the first picture ends.
        splices: what else changes.

    Raises:
        MetadataError: the index is malformed.
    """
    growth = sum(splice.growth for splice in splices)
    behind = sum(splice.growth for splice in splices if splice.start >= header)
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(data[header : header + 4])
    if order is None:
        raise broken("the JPEG has a damaged index of pictures")
    changes: list[Splice] = []
    for entry in _entries(data, header, end, order):
        offset = number(data, entry + 8, 4, order)
        if offset == 0:  # the first picture, from the beginning of the file
            place, value = entry + 4, number(data, entry + 4, 4, order) + growth
        elif header + offset < head:
            raise broken("the JPEG has an index of pictures that points into its head")
        else:
            place, value = entry + 8, offset + behind
        if not 0 <= value < 2**32:
            raise broken("the JPEG has an index of pictures with impossible sizes")
        changes.append(Splice(place, place + 4, value.to_bytes(4, "little" if order == "little" else "big")))
    return tuple(changes)


def _entries(data: bytes, header: int, end: int, order: str) -> range:
    """Where the entries of an index begin, one a picture; none in the index of a later picture."""
    directory = header + number(data, header + 4, 4, order)
    for place in range(directory + 2, directory + 2 + 12 * number(data, directory, 2, order), 12):
        if number(data, place, 2, order) == _ENTRIES:
            size, start = number(data, place + 4, 4, order), header + number(data, place + 8, 4, order)
            if size < _ENTRY_BYTES or size % _ENTRY_BYTES or start + size > end:
                raise broken("the JPEG has a damaged index of pictures")
            return range(start, start + size, _ENTRY_BYTES)
    return range(0)
