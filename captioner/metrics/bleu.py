"""BLEU-1 to BLEU-4 as coco-caption computes them (Papineni et al. 2002); knows n-grams, not how words are cut.

For the whole set, with c the summed length of the predictions and r that of their closest references:
    BLEU-N = min(1, exp(1 - r/c)) · (p_1 · … · p_N)^(1/N)
where p_n is the share of the predicted n-grams that are in a reference, each counted at most as often as in the one
reference that has it most often (equations 1 to 3 of the paper). The value of one picture is the same formula on that
picture alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from captioner.errors import MetricError
from captioner.metrics.base import CaptionPairs
from captioner.metrics.ngrams import MAX_ORDER, NgramCounts
from captioner.types import Score

# Those of coco-caption: an n-gram that cannot be had counts as next to nothing, not as zero.
_TINY = 1e-15
_SMALL = 1e-9


@dataclass(frozen=True)
class _Statistics:
    """What BLEU sums over pictures."""

    matched: tuple[int, ...]
    """Predicted n-grams found in a reference, for n = 1, 2, …"""
    predicted: tuple[int, ...]
    """Predicted n-grams, for n = 1, 2, …"""
    prediction_length: int
    """Words."""
    reference_length: int
    """Words of the reference whose length is closest; of two equally close ones, the shorter."""


@dataclass(frozen=True)
class Bleu:
    """BLEU with n-grams of up to `order` words.

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

    def score(self, predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> Score:
        """Score captions by image id, 0 to 100. Raises `MetricError` when the two sides do not fit together."""
        return self.score_pairs(CaptionPairs.from_texts(predictions, references))

    def score_pairs(self, pairs: CaptionPairs) -> Score:
        """Score captions that are checked and tokenised already."""
        images = [
            _statistics(prediction, references, len(words), [len(caption) for caption in captions], self.order)
            for prediction, references, words, captions in zip(
                pairs.prediction_ngrams, pairs.reference_ngrams, pairs.predictions, pairs.references, strict=True
            )
        ]
        return Score(
            name=self.name,
            value=100 * _bleu(_total(images)),
            per_image=tuple(100 * _bleu(image) for image in images),
            signature=pairs.signature(self.name, "reflen:closest"),
        )


def _statistics(
    prediction: NgramCounts,
    references: Sequence[NgramCounts],
    prediction_length: int,
    reference_lengths: Sequence[int],
    order: int,
) -> _Statistics:
    matched = []
    for n in range(order):
        matched.append(
            sum(
                min(count, max(reference[n].get(ngram, 0) for reference in references))
                for ngram, count in prediction[n].items()
            )
        )
    return _Statistics(
        matched=tuple(matched),
        predicted=tuple(max(0, prediction_length - n) for n in range(order)),
        prediction_length=prediction_length,
        reference_length=min(reference_lengths, key=lambda length: (abs(length - prediction_length), length)),
    )


def _total(images: Sequence[_Statistics]) -> _Statistics:
    return _Statistics(
        matched=tuple(map(sum, zip(*(image.matched for image in images), strict=True))),
        predicted=tuple(map(sum, zip(*(image.predicted for image in images), strict=True))),
        prediction_length=sum(image.prediction_length for image in images),
        reference_length=sum(image.reference_length for image in images),
    )


def _bleu(statistics: _Statistics) -> float:
    """BLEU between 0 and 1."""
    precisions = [
        (matched + _TINY) / (predicted + _SMALL)
        for matched, predicted in zip(statistics.matched, statistics.predicted, strict=True)
    ]
    geometric_mean = math.prod(precisions) ** (1 / len(precisions))
    ratio = (statistics.prediction_length + _TINY) / (statistics.reference_length + _SMALL)
    return geometric_mean * (math.exp(1 - 1 / ratio) if ratio < 1 else 1.0)
