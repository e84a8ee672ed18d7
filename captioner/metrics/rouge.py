"""ROUGE-L as coco-caption computes it (Lin 2004, equations 2 to 4); knows nothing of n-grams.

With l the length of the longest common subsequence of prediction and reference, precision is l over the length of the
prediction and recall l over that of the reference. The best precision P and the best recall R over the references,
which may come from two of them, give (1 + β²)·P·R / (R + β²·P) with β = 1.2. The value of a set is the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from captioner.metrics.base import CaptionPairs, Metric, Statistics

_BETA_SQUARED = 1.2**2


@dataclass(frozen=True)
class RougeL(Metric):
    """ROUGE-L with recall weighted 1.2 times as much as precision, 0 to 100."""

    @property
    def name(self) -> str:
        """`ROUGE-L`."""
        return "ROUGE-L"

    @property
    def variant(self) -> str:
        """How much more recall counts than precision."""
        return "beta1.2"

    def statistics(self, pairs: CaptionPairs) -> Statistics:
        """The score of each picture."""
        return Statistics.mean_of(
            [
                100 * _rouge_l(prediction, references)
                for prediction, references in zip(pairs.predictions, pairs.references.words, strict=True)
            ]
        )


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """How many words two captions have in common in the same order, gaps allowed.

    One column of the usual table is one integer, with a bit for each word of `first`: a bit is zero where the column
    goes up by one (Hyyrö 2004, "Bit-parallel LCS-length computation revisited"). Captions fit into a machine word, so
    this is several times faster than filling the table.
    """
    positions: dict[str, int] = {}
    for index, word in enumerate(first):
        positions[word] = positions.get(word, 0) | 1 << index
    every_bit = (1 << len(first)) - 1
    column = every_bit
    for word in second:
        matches = column & positions.get(word, 0)
        column = (column + matches | column - matches) & every_bit
    return len(first) - column.bit_count()


def _rouge_l(prediction: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """ROUGE-L of one picture, between 0 and 1. An empty caption has nothing in common with any other."""
    if not prediction:
        return 0.0
    common = [longest_common_subsequence(prediction, reference) for reference in references]
    precision = max(common) / len(prediction)
    recall = max(length / max(1, len(reference)) for length, reference in zip(common, references, strict=True))
    if precision == 0:
        return 0.0
    return (1 + _BETA_SQUARED) * precision * recall / (recall + _BETA_SQUARED * precision)
