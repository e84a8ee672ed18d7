"""Tells pictures that are nearly the same: the same photograph in another size, format or compression.

A perceptual hash finds the candidates, a small copy of the picture in colour confirms them. Knows no files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image

SIDE = 32
"""Side in pixels of the square from which a picture's hash is taken."""
SMALL = 8
"""Side of the small copy; a hash has as many bits as that has pixels."""
SMALL_BYTES = 3 * SMALL * SMALL
MOST_BITS = 8
"""Pictures whose hashes differ in more bits are not compared any further."""
MOST_DIFFERENCE = 6.0
"""Small copies of nearly the same picture differ by no more, in the mean over pixels and channels; white is 255."""
_BANDS = MOST_BITS + 1
_BLOCK = 2**20  # comparisons at a time
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
    """Pairs of places of pictures that are nearly the same, each once, the lower place first.

    Args:
        hashes: uint64 (pictures,).
        small: places (n,) → the small copies of those pictures, uint8 (n, 192).

    Two hashes that differ in 8 bits at most agree in one of nine parts at least, so that only pictures which share a
    part are compared (Manku, Jain and Das Sarma 2007, "Detecting near-duplicates for web crawling", section 3).
    """
    edges = np.linspace(0, 64, _BANDS + 1).astype(int)
    masks = [np.uint64(2 ** int(high) - 2 ** int(low)) for low, high in pairwise(edges)]
    for band, mask in enumerate(masks):
        parts = hashes & mask
        order = np.argsort(parts, kind="stable")  # places that share a part stay in their order
        starts = np.flatnonzero(np.diff(parts[order])) + 1
        for places in np.split(order, starts):
            for one, other in _near_hashes(places, hashes):
                differing = hashes[one] ^ hashes[other]
                first_shared = np.ones(len(one), bool)
                for earlier in masks[:band]:
                    first_shared &= differing & earlier != 0
                one, other = one[first_shared], other[first_shared]
                difference = np.abs(small(one).astype(np.int16) - small(other)).mean(axis=1)
                near = difference <= MOST_DIFFERENCE
                yield from zip(one[near].tolist(), other[near].tolist(), strict=True)


def _near_hashes(places: np.ndarray, hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs among places, ascending, whose hashes differ in few bits, a block at a time: int64 (pairs,) twice."""
    mine = hashes[places]
    rows = max(1, _BLOCK // max(1, len(places)))
    for first in range(0, len(places) - 1, rows):
        differing = mine[first : first + rows, None] ^ mine[None, first + 1 :]  # (rows, others)
        one, other = np.nonzero(np.bitwise_count(differing) <= MOST_BITS)
        above = other >= one  # the others begin one further
        if above.any():
            yield places[first + one[above]], places[first + 1 + other[above]]


def _cosines() -> np.ndarray:
    """The rows of the cosine transform of 32 numbers for the 8 lowest frequencies: (8, 32)."""
    frequency, place = np.arange(SMALL)[:, None], np.arange(SIDE)[None, :]
    rows: np.ndarray = np.cos(np.pi * (2 * place + 1) * frequency / (2 * SIDE))
    return rows


_COSINES = _cosines()
