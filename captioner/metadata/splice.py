"""Changes to a file as the few ranges of bytes that differ, so that they can be undone bit by bit.

Knows nothing of pictures or metadata.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from captioner.errors import MetadataError


@dataclass(frozen=True)
class Splice:
    """One change: the bytes from `start` to before `end` of the old file become `data`."""

    start: int
    """Where the replaced bytes begin, counted in the old file."""
    end: int
    """Where they end; the same as `start` where something is only inserted."""
    data: bytes
    """What stands there in the new file."""

    @property
    def growth(self) -> int:
        """By how many bytes the file becomes longer."""
        return len(self.data) - (self.end - self.start)


def apply(data: bytes, splices: Iterable[Splice]) -> bytes:
    """The new file: `data` with all splices, which ascend and do not overlap.

    Raises `MetadataError` when they do not, or reach beyond the end: they belong to another file then.
    """
    parts: list[bytes] = []
    place = 0
    for splice in _checked(data, splices):
        parts += (data[place : splice.start], splice.data)
        place = splice.end
    return b"".join([*parts, data[place:]])


def inverse(data: bytes, splices: Iterable[Splice]) -> tuple[Splice, ...]:
    """The splices that turn the new file back into `data`, the old one.

    Raises `MetadataError` as `apply`.
    """
    back: list[Splice] = []
    moved = 0
    for splice in _checked(data, splices):
        start = splice.start + moved
        back.append(Splice(start, start + len(splice.data), data[splice.start : splice.end]))
        moved += splice.growth
    return tuple(back)


def _checked(data: bytes, splices: Iterable[Splice]) -> list[Splice]:
    splices = list(splices)
    place = 0
    for splice in splices:
        if not place <= splice.start <= splice.end <= len(data):
            raise MetadataError("these changes do not fit the file; they were made for another one")
        place = splice.end
    return splices
