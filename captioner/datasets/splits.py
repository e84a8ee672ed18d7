"""Splits for pictures that come without: by what is in them, so that they stay where they are when data is added.

A picture's share of 0 to 1 follows from its content alone, and the lowest shares are held back. Pictures that are
nearly the same go together, wherever the one of the lowest share goes: no copy of a held-back picture is trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

SHARES = {"test": 0.1, "dev": 0.1}
"""What is held back of data without splits; the rest is `train`."""
DEV_SHARE = 0.1
"""What is held back of a training split that has no `dev` beside it."""


def together(count: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """The group of each of `count` things when the two of every pair belong together: int64 (count,).

    A group is named by its lowest member. Union-find with path halving (Tarjan and van Leeuwen 1984).
    """
    parent = np.arange(count)

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = int(parent[place])
        return place

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return np.array([root(place) for place in range(count)], np.int64)


def split_by_content(shares: np.ndarray, groups: np.ndarray, *, held_back: Mapping[str, float]) -> list[str]:
    """The split of each picture.

    Args:
        shares: of each picture a number from 0 up to 1 that follows from its content, float64 (pictures,).
        groups: of each picture, int64 (pictures,), from 0 on.
        held_back: splits beside `train`, each with its part of 0 to 1.

    With two groups or more, `train` and `dev` are never empty: the group of the lowest share is `dev` if no other is,
    and that of the highest is `train`.
    """
    lowest = np.ones(len(shares))
    np.minimum.at(lowest, groups, shares)
    edges = np.cumsum(list(held_back.values()))
    names = [*held_back, "train"]
    of_group = {int(group): names[int(np.searchsorted(edges, lowest[group], "right"))] for group in np.unique(groups)}
    ranked = sorted(of_group, key=lambda group: lowest[group])
    if len(ranked) > 1:
        if "train" not in of_group.values():
            of_group[ranked[-1]] = "train"
        if "dev" not in of_group.values():
            of_group[ranked[0]] = "dev"
    return [of_group[int(group)] for group in groups]
