"""What every sink offers, and which keys an output holds already. Knows no kind of output."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np

from captioner.batch.work import Item, Outcome


class Sink(AbstractContextManager["Sink"], Protocol):
    """Takes captions, and keeps them safe: what `write` has taken survives a kill of the process right after it.

    Made for one output and entered before anything else: that is when the output is opened, what a killed job left half
    written is repaired, and what is in it already is found. Entering raises `CaptionerError` when the output cannot be
    written.
    """

    @property
    def place(self) -> str:
        """Where captions go, for a person."""
        ...

    @property
    def papers(self) -> Path:
        """What the names of the job's own files begin with: its lock and its log of failures lie beside the output."""
        ...

    def has(self, item: Item) -> bool:
        """Whether the item was dealt with before, and is to be left alone."""
        ...

    def write(self, outcomes: Sequence[Outcome]) -> None:
        """Take captions, in order; none of them is an error. Raises `CaptionerError` or OSError when it cannot."""
        ...


class Keys:
    """A set of keys in eight bytes each: a million of them take 8 MB.

    Kept is a hash of each (BLAKE2b, 64 bits). That one of a million keys is taken for another has a chance of less than
    one in ten million.
    """

    _RECENT = 2**14

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._sorted = np.zeros(0, np.uint64)
        self._recent: set[int] = set()
        for key in keys:
            self.add(key)

    def __contains__(self, key: str) -> bool:
        number = _number(key)
        if number in self._recent:
            return True
        place = int(np.searchsorted(self._sorted, np.uint64(number)))
        return place < len(self._sorted) and int(self._sorted[place]) == number

    def add(self, key: str) -> None:
        """Take a key."""
        self._recent.add(_number(key))
        if len(self._recent) >= self._RECENT:
            recent = np.fromiter(self._recent, np.uint64, len(self._recent))
            self._sorted = np.union1d(self._sorted, recent)
            self._recent.clear()


def _number(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")
