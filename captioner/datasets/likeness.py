"""Tells pictures that are nearly the same: the same photograph in another size, format or compression.

A perceptual hash finds the candidates, a small copy of the picture in colour confirms them. Knows no files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, count, pairwise

import numpy as np
from PIL import Image

from captioner.datasets.union_find import UnionFind

SIDE = 32
"""Side in pixels of the square from which a picture's hash is taken."""
SMALL = 8
"""Side of the small copy; a hash has as many bits as that has pixels."""
SMALL_BYTES = 3 * SMALL * SMALL
MOST_BITS = 8
"""Pictures whose hashes differ in more bits are not compared any further."""
MOST_DIFFERENCE = 6.0
"""Small copies of nearly the same picture differ by no more, in the mean over pixels and channels; white is 255."""
_PARTS = MOST_BITS + 2
_CONFIRMED = 4096
"""Pairs whose small copies are compared at a time."""
_FLAT = 2.0
"""Pictures whose brightness varies by less, as a standard deviation, are as good as empty: their hash is noise."""


@dataclass(frozen=True)
class Likeness:
    """What is kept of a picture to compare it with others."""

    bits: bytes | None
    """The hash, 8 bytes; None for a picture of one colour, which is like every other one."""
    small: bytes
    """The picture at 8 × 8 pixels, RGB: 192 bytes."""


def likeness_of(rgb: np.ndarray) -> Likeness:
    """The hash of a picture, uint8 (height, width, 3), from the lowest frequencies of its brightness.

    C. Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010, section 3.2.1: the 8 × 8
    lowest coefficients of the cosine transform, each above or below their median.
    """
    picture = Image.fromarray(rgb).resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    small = picture.resize((SMALL, SMALL), Image.Resampling.BOX).tobytes()
    bright = np.asarray(picture.convert("L"), np.float64)  # (32, 32)
    if bright.std() < _FLAT:
        return Likeness(None, small)
    low = _COSINES @ bright @ _COSINES.T  # (8, 8)
    bits = low > np.median(low.flat[1:])  # the first is the mean brightness
    return Likeness(np.packbits(bits).tobytes(), small)


def nearly_the_same(hashes: np.ndarray, small: Callable[[np.ndarray], np.ndarray]) -> Iterator[tuple[int, int]]:
    """Pairs of places of pictures that are nearly the same, the lower place first.

    Of a whole group of such pictures, only as many pairs as connect them: one less than there are pictures.

    Args:
        hashes: uint64 (pictures,).
        small: places (n,) → the small copies of those pictures, uint8 (n, 192).

    Two hashes that differ in 8 bits at most agree in two of ten parts at least, so that only pictures which share two
    parts are compared (Manku, Jain and Das Sarma 2007, "Detecting near-duplicates for web crawling", section 3).
    """
    joined = UnionFind(len(hashes))
    for one, other in _near_hashes(hashes):
        for start in range(0, len(one), _CONFIRMED):
            pair = np.sort(np.stack([one[start : start + _CONFIRMED], other[start : start + _CONFIRMED]]), axis=0)
            groups = joined.groups(pair)
            low, high = pair[:, groups[0] != groups[1]]
            difference = np.abs(small(low).astype(np.int16) - small(high)).mean(axis=1)
            for pictures in zip(low.tolist(), high.tolist(), (difference <= MOST_DIFFERENCE).tolist(), strict=True):
                if pictures[2] and joined.join(*pictures[:2]):
                    yield pictures[:2]


def _near_hashes(hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of places whose hashes differ in few bits, each pair once, some at a time: int64 (pairs,) twice."""
    edges = np.linspace(0, 64, _PARTS + 1).astype(int)
    masks = [np.uint64(2 ** int(high) - 2 ** int(low)) for low, high in pairwise(edges)]
    for first, second in combinations(range(_PARTS), 2):
        shared = hashes & (masks[first] | masks[second])
        order = np.argsort(shared, kind="stable")
        shared, ordered = shared[order], hashes[order]
        here = np.arange(len(order))
        for distance in count(1):  # in order, each with the one so far behind it
            here = here[: np.searchsorted(here, len(order) - distance)]
            here = here[shared[here] == shared[here + distance]]
            if not len(here):
                break
            differing = ordered[here] ^ ordered[here + distance]
            near = np.bitwise_count(differing) <= MOST_BITS
            for earlier in range(second):  # a pair that shares more parts is met with the first two alone
                near &= (differing & masks[earlier] == 0) == (earlier == first)
            if near.any():
                yield order[here[near]], order[here[near] + distance]


def _cosines() -> np.ndarray:
    """The rows of the cosine transform of 32 numbers for the 8 lowest frequencies: (8, 32)."""
    frequency, place = np.arange(SMALL)[:, None], np.arange(SIDE)[None, :]
    rows: np.ndarray = np.cos(np.pi * (2 * place + 1) * frequency / (2 * SIDE))
    return rows


_COSINES = _cosines()
