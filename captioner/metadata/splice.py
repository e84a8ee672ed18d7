"""Parts of a file that are replaced by others: applied, and turned round. Knows nothing of what files say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Splice:
    """One part of a file, and what comes in its place."""

    start: int
    """Where the part begins, in the old file."""
    end: int
    """Where it ends; the same as `start` where something is put in."""
    data: bytes
    """What comes in its place."""


def apply(data: bytes, splices: Sequence[Splice]) -> bytes:
    """The new file: `splices` are ascending and do not overlap."""
    parts, at = [], 0
    for splice in splices:
        parts += [data[at : splice.start], splice.data]
        at = splice.end
    return b"".join([*parts, data[at:]])


def inverse(data: bytes, splices: Sequence[Splice]) -> tuple[Splice, ...]:
    """The splices that turn the new file into the old one, `data`."""
    found, shift = [], 0
    for splice in splices:
        start = splice.start + shift
        found.append(Splice(start, start + len(splice.data), data[splice.start : splice.end]))
        shift += len(splice.data) - (splice.end - splice.start)
    return tuple(found)
