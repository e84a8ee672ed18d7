"""Runs of words and how often they occur in captions: what BLEU and CIDEr count; knows nothing of either.

Every n-gram has a number, exact and without hashing: that of its first n - 1 words and that of its last word together
make its code, and codes are numbered in order. So counting, matching and weighing are array operations, ten times
faster than dictionaries of tuples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from captioner.metrics.cutting import Cutting

MAX_ORDER = 4
"""The longest run that caption metrics look at, in words."""

_LAST_WORD_BITS = 32

T = TypeVar("T")


@dataclass(frozen=True)
class NgramCounts:
    """How often each n-gram of one length occurs in each of several captions: three columns, sorted by caption."""

    caption: np.ndarray
    """int64 (rows,): the place of the caption among those counted."""
    ngram: np.ndarray
    """int64 (rows,): the number of the n-gram; ascending within a caption, none twice."""
    count: np.ndarray
    """int64 (rows,): how often the caption has it, at least once."""


class NgramIndex:
    """Numbers for the n-grams of a set of captions.

    The n-grams of the captions that it is made from have the numbers below `size(order)`. Others, met later, get
    numbers from there on, which hold within one call of `count` only.
    """

    def __init__(self, captions: Sequence[Sequence[str]]) -> None:
        """Number all n-grams of `captions`."""
        self._words: dict[str, int] = {}
        for caption in captions:
            for word in caption:
                self._words.setdefault(word, len(self._words))
        self._codes: list[np.ndarray] = []  # of each length from two words on, sorted; the place is the number
        words, ends = self._numbered(captions)
        numbers, starts = words, np.arange(len(words))
        for order in range(2, MAX_ORDER + 1):
            codes, starts = _codes(numbers, starts, words, ends, order)
            known, numbers = np.unique(codes, return_inverse=True)
            self._codes.append(known)

    def size(self, order: int) -> int:
        """How many n-grams of `order` words it was made from."""
        return len(self._words) if order == 1 else len(self._codes[order - 2])

    def count(self, captions: Sequence[Sequence[str]]) -> tuple[NgramCounts, ...]:
        """The n-grams of 1, 2, … `MAX_ORDER` words in each of `captions`."""
        words, ends = self._numbered(captions)
        owner = np.repeat(np.arange(len(captions)), [len(caption) for caption in captions])
        numbers, starts = words, np.arange(len(words))
        found = [_counted(owner, numbers)]
        for order in range(2, MAX_ORDER + 1):
            codes, starts = _codes(numbers, starts, words, ends, order)
            numbers = _places(self._codes[order - 2], codes)
            found.append(_counted(owner[starts], numbers))
        return tuple(found)

    def _numbered(self, captions: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
        """All words of all captions as numbers, and for each word where its caption ends; both int64 (words,)."""
        new: dict[str, int] = {}
        words = [
            self._words[word] if word in self._words else new.setdefault(word, len(self._words) + len(new))
            for caption in captions
            for word in caption
        ]
        lengths = np.array([len(caption) for caption in captions], np.int64)
        return np.array(words, np.int64), np.repeat(np.cumsum(lengths), lengths)


@dataclass(frozen=True, eq=False)
class References:
    """The references of a set of pictures as words, numbered through: picture after picture, caption after caption."""

    words: tuple[tuple[tuple[str, ...], ...], ...]
    """The words of at least one caption a picture."""
    cutting: Cutting = Cutting.PTB
    """What cut them."""
    _made: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def once(self, make: Callable[[References], T]) -> T:
        """What `make` makes of these references; made at the first call and kept for further predictions."""
        if make not in self._made:
            self._made[make] = make(self)
        found: T = self._made[make]
        return found

    @cached_property
    def captions(self) -> tuple[tuple[str, ...], ...]:
        """All references in a row."""
        return tuple(caption for captions in self.words for caption in captions)

    @cached_property
    def counts_per_image(self) -> np.ndarray:
        """How many references each picture has, int64 (images,)."""
        return np.array([len(captions) for captions in self.words], np.int64)

    @cached_property
    def image(self) -> np.ndarray:
        """The picture that each reference belongs to, int64 (references,), ascending."""
        return np.repeat(np.arange(len(self.words)), self.counts_per_image)

    @cached_property
    def first(self) -> np.ndarray:
        """The number of each picture's first reference, int64 (images,)."""
        first: np.ndarray = np.cumsum(self.counts_per_image) - self.counts_per_image
        return first

    @cached_property
    def lengths(self) -> np.ndarray:
        """The words of each reference, int64 (references,)."""
        return np.array([len(caption) for caption in self.captions], np.int64)

    @cached_property
    def index(self) -> NgramIndex:
        """Numbers for their n-grams."""
        return NgramIndex(self.captions)

    @cached_property
    def ngrams(self) -> tuple[NgramCounts, ...]:
        """The n-grams of each reference, for 1, 2, … `MAX_ORDER` words."""
        return self.index.count(self.captions)


def _codes(
    numbers: np.ndarray, starts: np.ndarray, words: np.ndarray, ends: np.ndarray, order: int
) -> tuple[np.ndarray, np.ndarray]:
    """A code for each run of `order` words, from the numbers of the runs one word shorter; and where each starts."""
    fits = starts + order <= ends[starts]
    starts = starts[fits]
    return numbers[fits] << _LAST_WORD_BITS | words[starts + order - 1], starts


def _places(known: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The place of each code among the known ones; unknown ones are numbered after those."""
    order = np.argsort(codes)
    places = np.empty(len(codes), np.int64)
    places[order] = np.searchsorted(known, codes[order])  # neighbours are found in what the processor has just read
    new = places == len(known)
    new[~new] = known[places[~new]] != codes[~new]
    places[new] = len(known) + np.unique(codes[new], return_inverse=True)[1]
    return places


def _counted(caption: np.ndarray, ngram: np.ndarray) -> NgramCounts:
    width = int(ngram.max(initial=0)) + 1
    pairs, count = np.unique(caption * width + ngram, return_counts=True)
    return NgramCounts(pairs // width, pairs % width, count)
