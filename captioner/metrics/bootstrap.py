"""How far a score may be trusted: bootstrap over pictures (Efron and Tibshirani 1993), and paired between two systems.

A sample draws as many pictures as there are, with replacement; document frequencies stay those of the full set. The
paired form draws the same pictures for both systems (Koehn 2004, "Statistical significance tests for machine
translation evaluation"), so that what makes a picture hard for both does not count as a difference.
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
    """Twice the share of samples on the other side of zero, at least 1 / samples: how easily chance alone does this."""

    @property
    def is_real(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.interval[0] > 0 or self.interval[1] < 0


def compare(
    first: Sequence[Statistics], second: Sequence[Statistics], *, samples: int = SAMPLES, seed: int = SEED
) -> list[Difference]:
    """The paired differences between two systems, one a metric. Raises `MetricError` for different pictures."""
    ours, theirs = np.split(bootstrap([*first, *second], samples=samples, seed=seed), 2)
    differences = []
    for one, other, before, after in zip(first, second, ours, theirs, strict=True):
        gain = after - before
        p_value = 2 * min(float((gain <= 0).mean()), float((gain >= 0).mean()))
        p_value = min(1.0, max(p_value, 1 / samples))
        differences.append(Difference(one.score, other.score, interval(gain), p_value))
    return differences


def _draws(images: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each picture is in each sample, float64 (some samples, images), a block at a time."""
    chance = np.random.default_rng(seed)
    block = max(1, _COUNTS_AT_ONCE // images)
    for begin in range(0, samples, block):
        rows = min(block, samples - begin)
        drawn = chance.integers(images, size=(rows, images))
        drawn += np.arange(rows)[:, None] * images
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images).astype(np.float64)
