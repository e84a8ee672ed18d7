"""Splits for pictures that come without: by what is in them, so that they stay where they are when data is added.

A picture's share of 0 to 1 follows from its content alone, and the lowest shares are held back. Pictures that are
nearly the same go together, wherever the one of the lowest share goes: no copy of a held-back picture is trained on.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

SHARES = {"test": 0.1, "dev": 0.1}
"""What is held back of data without splits; the rest is `train`."""
DEV_SHARE = 0.1
"""What is held back of a training split that has no `dev` beside it."""


def split_by_content(shares: np.ndarray, groups: np.ndarray, *, held_back: Mapping[str, float]) -> list[str]:
    """The split of each picture.

    Args:
        shares: of each picture a number from 0 up to 1 that follows from its content, float64 (pictures,).
        groups: of each picture, int64 (pictures,), a number below that of the pictures.
        held_back: splits beside `train`, each with its part of 0 to 1.

    With two groups or more, `train` and `dev` are never empty: the group of the lowest share is `dev` if no other is,
    and that of the highest is `train`.
    """
    names = [*held_back, "train"]
    lowest = np.ones(len(shares))
    np.minimum.at(lowest, groups, shares)
    split_of = np.searchsorted(np.cumsum(list(held_back.values())), lowest, "right").astype(np.int8)
    named = np.unique(groups)
    if len(named) > 1:
        ranked = named[np.argsort(lowest[named], kind="stable")[[0, -1]]]
        for split, place in (("train", ranked[-1]), ("dev", ranked[0])):
            if names.index(split) not in split_of[named]:
                split_of[place] = names.index(split)
    return [names[split] for split in split_of[groups]]
