"""BLEU-1 to BLEU-4 as coco-caption computes them (Papineni et al. 2002); knows n-grams, not how words are cut.

For the whole set, with c the summed length of the predictions and r that of their closest references:
    BLEU-N = min(1, exp(1 - r/c)) · (p_1 · … · p_N)^(1/N)
where p_n is the share of the predicted n-grams that are in a reference, each counted at most as often as in the one
reference that has it most often (equations 1 to 3 of the paper). The value of one picture is the same formula on that
picture alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from captioner.errors import MetricError
from captioner.metrics.base import CaptionPairs, Metric, Statistics
from captioner.metrics.ngrams import MAX_ORDER

# Those of coco-caption: an n-gram that cannot be had counts as next to nothing, not as zero.
_TINY = 1e-15
_SMALL = 1e-9


@dataclass(frozen=True)
class Bleu(Metric):
    """BLEU with n-grams of up to `order` words, 0 to 100.

    Args:
        order: 1 to 4. Raises `MetricError` otherwise.
    """

    order: int = MAX_ORDER

    def __post_init__(self) -> None:
        if not 1 <= self.order <= MAX_ORDER:
            raise MetricError(f"BLEU-{self.order} is not defined here; the order goes from 1 to {MAX_ORDER}")

    @property
    def name(self) -> str:
        """`BLEU-1` to `BLEU-4`."""
        return f"BLEU-{self.order}"

    @property
    def variant(self) -> str:
        """The reference length that the brevity penalty takes."""
        return "closest-length"

    def statistics(self, pairs: CaptionPairs) -> Statistics:
        """Matched n-grams of each length, predicted ones of each length, words predicted, words of the reference."""
        predicted = np.maximum(0, pairs.lengths[:, None] - np.arange(self.order))  # (images, order)
        values = [pairs.matched_ngrams[:, : self.order], predicted, pairs.lengths[:, None], _closest(pairs)[:, None]]
        return Statistics(np.concatenate(values, axis=1).astype(np.float64), self._combine)

    def _combine(self, sums: np.ndarray) -> np.ndarray:
        matched, predicted = sums[..., : self.order], sums[..., self.order : 2 * self.order]
        precisions = (matched + _TINY) / (predicted + _SMALL)
        ratio = (sums[..., -2] + _TINY) / (sums[..., -1] + _SMALL)
        brevity = np.exp(np.minimum(0, 1 - 1 / ratio))
        scores: np.ndarray = 100 * precisions.prod(axis=-1) ** (1 / self.order) * brevity
        return scores


def _closest(pairs: CaptionPairs) -> np.ndarray:
    """Words of the reference whose length is closest; of two equally close ones, the shorter. int64 (images,)."""
    references = pairs.references
    distance = np.abs(references.lengths - pairs.lengths[references.image])
    order = np.lexsort((references.lengths, distance, references.image))
    closest: np.ndarray = references.lengths[order][references.first]
    return closest
