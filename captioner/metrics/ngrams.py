"""Runs of words and how often they occur in a caption: what BLEU and CIDEr count; knows nothing of either."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

Ngram: TypeAlias = tuple[str, ...]
NgramCounts: TypeAlias = tuple[Counter[Ngram], ...]
"""Counts of the runs of one word, of two words, and so on."""

MAX_ORDER = 4
"""The longest run that caption metrics look at, in words."""


def count_ngrams(tokens: Sequence[str], max_order: int = MAX_ORDER) -> NgramCounts:
    """How often each run of 1, 2, …, `max_order` words occurs in `tokens`."""
    return tuple(
        Counter(zip(*(tokens[start:] for start in range(order)), strict=False)) for order in range(1, max_order + 1)
    )
