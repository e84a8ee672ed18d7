"""A set of keys in eight bytes each: a million of them take 8 MB. Knows nothing of what they are keys of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


class Keys:
    """Takes keys, and says which it has.

    Kept is a hash of each (BLAKE2b, 64 bits). That one of a million keys is taken for another has a chance of less than
    one in ten million.
    """

    _RECENT, _SHARE = 2**11, 64
    """The last keys are in a set, which takes ten times as much, until there are so many, and such a share of all."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._sorted = np.zeros(0, np.uint64)
        self._recent: set[int] = set()
        for key in keys:
            self.add(key)

    def __contains__(self, key: str) -> bool:
        return self._has(_number(key))

    def add(self, key: str) -> None:
        """Take a key."""
        number = _number(key)
        if self._has(number):
            return
        self._recent.add(number)
        if len(self._recent) >= max(self._RECENT, len(self._sorted) // self._SHARE):
            recent = np.sort(np.fromiter(self._recent, np.uint64, len(self._recent)))
            self._sorted = np.insert(self._sorted, np.searchsorted(self._sorted, recent), recent)
            self._recent.clear()

    def _has(self, number: int) -> bool:
        if number in self._recent:
            return True
        place = int(np.searchsorted(self._sorted, np.uint64(number)))
        return place < len(self._sorted) and int(self._sorted[place]) == number


def _number(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")
