"""Which of many things belong together when pairs of them do: union-find (Tarjan and van Leeuwen 1984)."""

from __future__ import annotations

import numpy as np


class UnionFind:
    """Things by their numbers, in groups that grow together; a group is named by its lowest member."""

    def __init__(self, count: int) -> None:
        """So many things, each a group of its own."""
        self._parent = np.arange(count)

    def join(self, one: int, other: int) -> bool:
        """Make one group of those of two things; False when they were in one already."""
        low, high = sorted((self._root(one), self._root(other)))
        self._parent[high] = low
        return low != high

    def groups(self, of: np.ndarray) -> np.ndarray:
        """The group of each of some things, int64 (things,), in the same shape."""
        found: np.ndarray = self._parent[of]
        while not np.array_equal(further := self._parent[found], found):
            found = further
        return found

    def _root(self, thing: int) -> int:
        parent = self._parent
        while parent[thing] != thing:
            parent[thing] = parent[parent[thing]]  # path halving
            thing = int(parent[thing])
        return thing
