"""What every container of metadata offers, and the words in which all of them refuse.

A container is a module for one file format. It knows where XMP packets and IPTC blocks lie in such files, and nothing
of what is in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from captioner.errors import MetadataError
from captioner.metadata.splice import Splice

MAX_PACKET_BYTES = 16_000_000
"""Compressed packets that become larger are refused; editors write some thousand bytes, rarely a million."""


@dataclass(frozen=True)
class Held:
    """Metadata blocks of one file."""

    xmp: bytes | None = None
    """The XMP packet with its wrapper; None for none."""
    iptc: bytes | None = None
    """The IPTC IIM block; None for none."""


class Container(Protocol):
    """One file format."""

    NAME: str
    """What people call it."""
    HOLDS_IPTC: bool
    """Whether IPTC has an agreed place in it."""

    def begins(self, data: bytes) -> bool:
        """Whether the file is of this format, by its first bytes."""

    def read(self, data: bytes) -> Held:
        """What is in the file. Raises `MetadataError` when it is malformed."""

    def replace(self, data: bytes, held: Held) -> tuple[Splice, ...]:
        """The splices after which the file has the blocks in `held`; those that are None stay as they are.

        Raises `MetadataError` when the file is malformed, or cannot hold them.
        """


def broken(what: str) -> MetadataError:
    """The error for a file, or a block in it, that is not as its format wants it."""
    return MetadataError(f"{what}; nothing was changed: save it anew in an editor, or write a new sidecar file")


def unsupported(what: str) -> MetadataError:
    """The error for a sound file that cannot hold what it should."""
    return MetadataError(f"{what}; use a sidecar file", code="metadata_unsupported")


def signed(name: str) -> MetadataError:
    """The error for a file with content credentials (C2PA), whose signature covers all its bytes."""
    return unsupported(f"the {name} is signed (content credentials), and a change would break the signature")


def number(data: bytes, start: int, count: int, order: str) -> int:
    """The unsigned number of `count` bytes at `start`, in `big` or `little` order.

    Raises `MetadataError` where the file ends before.
    """
    if start < 0 or start + count > len(data):
        raise broken("the file is cut short, or points beyond its end")
    return int.from_bytes(data[start : start + count], "big" if order == "big" else "little")


def differing(data: bytes, splices: Iterable[Splice]) -> tuple[Splice, ...]:
    """In ascending order, those that change anything.

    Raises `MetadataError` when two of them change the same bytes: the file has two things in one place then.
    """
    ordered = sorted(splices, key=lambda splice: (splice.start, splice.end))
    if any(one.end > other.start for one, other in pairwise(ordered)):
        raise broken("the file has several things in the same place")
    return tuple(splice for splice in ordered if data[splice.start : splice.end] != splice.data)
