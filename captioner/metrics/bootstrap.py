"""How far a score may be trusted: bootstrap over pictures (Efron and Tibshirani 1993), and paired between two systems.

A sample draws as many pictures as there are, with replacement; document frequencies stay those of the full set. The
paired form draws the same pictures for both systems (Koehn 2004, "Statistical significance tests for machine
translation evaluation"), so that what makes a picture hard for both does not count as a difference; whether chance
alone makes as much is asked of random exchanges between the systems, which stays exact for a few pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from captioner.errors import MetricError
from captioner.metrics.base import Statistics

SAMPLES = 1000
SEED = 1
LEVEL = 95
"""Per cent of the samples that an interval holds."""
_ROUNDING = 1e-6
"""Of a difference of scores that ought to be equal."""
_COUNTS_AT_ONCE = 5_000_000


def bootstrap(statistics: Sequence[Statistics], *, samples: int = SAMPLES, seed: int = SEED) -> np.ndarray:
    """The scores of resampled sets, float64 (statistics, samples); sample i is the same pictures for all of them.

    Raises `MetricError` when the statistics are not of equally many pictures.
    """
    images = {len(each.values) for each in statistics}
    if len(images) != 1 or 0 in images:
        raise MetricError("only scores of the same pictures can be resampled together, and at least one picture")
    values = np.concatenate([each.values for each in statistics], axis=1)
    sums = np.concatenate([counts @ values for counts in _draws(images.pop(), samples, seed)])  # (samples, numbers)
    places = np.cumsum([each.values.shape[1] for each in statistics])[:-1]
    return np.stack([each.combine(part) for each, part in zip(statistics, np.split(sums, places, axis=1), strict=True)])


def interval(scores: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of resampled scores (samples,)."""
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(scores, [tail, 100 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """One metric over the same pictures for two systems."""

    first: float
    """The score of the first."""
    second: float
    """The score of the second."""
    interval: tuple[float, float]
    """The middle 95 % of second less first, over the samples."""
    p_value: float
    """How easily chance alone makes a difference as large: the share of random exchanges of the two systems' captions
    that do, the actual one counted among them."""

    @property
    def is_real(self) -> bool:
        """Whether the interval leaves out zero, and chance alone makes as much in fewer than one of twenty cases.

        The interval of a few pictures is too narrow; the exchanges are exact for any number.
        """
        return (self.interval[0] > 0 or self.interval[1] < 0) and self.p_value < 1 - LEVEL / 100


def compare(
    first: Sequence[Statistics], second: Sequence[Statistics], *, samples: int = SAMPLES, seed: int = SEED
) -> list[Difference]:
    """The paired differences between two systems, one a metric. Raises `MetricError` for different pictures."""
    ours, theirs = np.split(bootstrap([*first, *second], samples=samples, seed=seed), 2)
    differences = []
    for one, other, before, after in zip(first, second, ours, theirs, strict=True):
        gain = after - before
        gain[np.abs(gain) < _ROUNDING] = 0
        p_value = _chance(one, other, samples, seed)
        differences.append(Difference(one.score, other.score, interval(gain), p_value))
    return differences


def _chance(one: Statistics, other: Statistics, samples: int, seed: int) -> float:
    """How often a random exchange of captions between the systems makes as large a difference as there is.

    Approximate randomisation (Noreen 1989; Riezler and Maxwell 2005, "On some pitfalls in automatic evaluation and
    significance testing for MT"): were the systems equal, each picture's captions might as well be the other's.
    """
    moved = other.values - one.values  # (images, numbers): what an exchange adds to the first
    before, after = one.values.sum(axis=0), other.values.sum(axis=0)
    actual = abs(other.score - one.score)
    as_large = 1
    for exchanged in _exchanges(len(moved), samples, seed):
        change = exchanged @ moved  # (some samples, numbers)
        gain = other.combine(after - change) - one.combine(before + change)
        as_large += int((np.abs(gain) >= actual - _ROUNDING).sum())
    return as_large / (samples + 1)


def _exchanges(images: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Which pictures' captions are exchanged, 0 or 1, float64 (some samples, images), a block at a time."""
    chance = np.random.default_rng(seed)
    block = max(1, _COUNTS_AT_ONCE // images)
    for begin in range(0, samples, block):
        yield chance.integers(2, size=(min(block, samples - begin), images)).astype(np.float64)


def _draws(images: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each picture is in each sample, float64 (some samples, images), a block at a time."""
    chance = np.random.default_rng(seed)
    block = max(1, _COUNTS_AT_ONCE // images)
    for begin in range(0, samples, block):
        rows = min(block, samples - begin)
        drawn = chance.integers(images, size=(rows, images))
        drawn += np.arange(rows)[:, None] * images
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images).astype(np.float64)
