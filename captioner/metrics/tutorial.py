"""BLEU as one well-known tutorial computes it, so that its readers find their numbers again; knows no other metric.

The tutorial is "How to Develop a Deep Learning Photo Caption Generator from Scratch" (machinelearningmastery.com,
2017), whose protocol many a repository has copied. Its words are lower case without ASCII punctuation; words of one
letter and words that are not letters alone are dropped. `startseq` and `endseq` stand around every caption, predicted
or not, and are counted. (The tutorial leaves out the `endseq` of a caption that was cut off; a text does not tell.)
Its BLEU is NLTK's `corpus_bleu` without smoothing, which for the whole set computes
    min(1, exp(1 - r/c)) · exp(Σ_n w_n · log p_n)
with c and r the summed lengths of predictions and of their closest references, and p_n the clipped share of predicted
n-grams (Papineni et al. 2002, equations 1 to 3). Its weights for BLEU-3 are 0.3 each and sum to 0.9 only.

These numbers must never stand beside others. The two markers are always right and always at the ends: they add four to
five points of BLEU-4. The dropped words change every n-gram: most captions begin with "a". And the weights of BLEU-3
make it higher than a geometric mean. Only a number made by this very protocol compares.
"""

from __future__ import annotations

import string
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from captioner.metrics.base import Statistics, check_captions
from captioner.metrics.bootstrap import bootstrap, interval
from captioner.types import Score

_WEIGHTS = ((1.0,), (0.5, 0.5), (0.3, 0.3, 0.3), (0.25, 0.25, 0.25, 0.25))
"""Of the precisions of n = 1, 2, … in BLEU-1 to BLEU-4; those of BLEU-3 are as published."""
_MAX_ORDER = len(_WEIGHTS)
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class _Counts:
    """What the formula needs of a picture, or of all of them."""

    matched: tuple[int, ...]
    """Predicted n-grams found in a reference, for n = 1 … 4."""
    predicted: tuple[int, ...]
    """Predicted n-grams, for n = 1 … 4; a picture whose caption is too short to have any counts one."""
    prediction_length: int
    """Words, markers counted."""
    reference_length: int
    """Words of the reference whose length is closest; of two equally close ones, the shorter."""


def tutorial_words(text: str) -> list[str]:
    """The words of a caption as the tutorial counts them, between its two markers.

    Example: `A man's t-shirt, size 2XL!` gives `startseq mans tshirt size endseq`.
    """
    words = (word.lower().translate(_WITHOUT_PUNCTUATION) for word in text.split())
    return ["startseq", *(word for word in words if len(word) > 1 and word.isalpha()), "endseq"]


def tutorial_bleu(predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> tuple[Score, ...]:
    """`Tutorial BLEU-1` to `Tutorial BLEU-4` of captions by image id, 0 to 100.

    Captions come without the markers. The value of a picture is the same formula on that picture alone; without
    smoothing it is next to 0 where a caption has no n-gram in common with its references.

    Never put these beside numbers of another protocol; the module says why.

    Raises `MetricError` when there is nothing to score, when an id is missing on either side, or when a picture has no
    reference or a plain string instead of a list of them.
    """
    check_captions(predictions, references)
    images = [
        _counts(tutorial_words(text), [tutorial_words(caption) for caption in references[image_id]])
        for image_id, text in predictions.items()
    ]
    counts = [
        Statistics(np.array([_numbers(image) for image in images], np.float64), partial(_bleu, weights=weights))
        for weights in _WEIGHTS
    ]
    resampled = bootstrap(counts)
    numbers = [len(references[image_id]) for image_id in predictions]
    fewest, most = min(numbers), max(numbers)
    settings = f"refs:{fewest}" if fewest == most else f"refs:{fewest}-{most}"
    return tuple(
        Score(
            name=f"Tutorial BLEU-{order}",
            value=own.score,
            per_image=own.per_image,
            signature=(
                f"Tutorial BLEU-{order}|tok:words-of-two-letters-or-more|markers:kept|{settings}|"
                f"variant:nltk,weights:{'-'.join(f'{weight:g}'.removeprefix('0') for weight in weights)}|version:1"
            ),
            interval=interval(samples),
        )
        for order, (weights, own, samples) in enumerate(zip(_WEIGHTS, counts, resampled, strict=True), start=1)
    )


def _numbers(image: _Counts) -> tuple[int, ...]:
    """What is summed over pictures: matched and predicted n-grams for n = 1 … 4, then the two lengths."""
    return (*image.matched, *image.predicted, image.prediction_length, image.reference_length)


def _counts(prediction: Sequence[str], references: Sequence[Sequence[str]]) -> _Counts:
    matched, predicted = [], []
    for order in range(1, _MAX_ORDER + 1):
        ours = _ngrams(prediction, order)
        most: Counter[tuple[str, ...]] = Counter()
        for reference in references:
            most |= _ngrams(reference, order)  # the higher count of each
        matched.append((ours & most).total())  # the lower count of each
        predicted.append(max(1, ours.total()))
    length = len(prediction)
    return _Counts(
        matched=tuple(matched),
        predicted=tuple(predicted),
        prediction_length=length,
        reference_length=min(map(len, references), key=lambda other: (abs(other - length), other)),
    )


def _ngrams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + order]) for start in range(len(words) - order + 1))


def _bleu(sums: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """BLEU, 0 to 100, from sums of `_numbers` (…, 10).

    Where no n-gram matches, the smallest normal number stands for the precision. There is no case for captions without
    a single match: the markers always do.
    """
    matched, predicted = sums[..., :_MAX_ORDER], sums[..., _MAX_ORDER : 2 * _MAX_ORDER]
    precision = np.where(matched > 0, matched / predicted, sys.float_info.min)[..., : len(weights)]
    brevity = np.exp(np.minimum(0.0, 1 - sums[..., -1] / sums[..., -2]))
    bleu: np.ndarray = 100 * brevity * np.exp((np.array(weights) * np.log(precision)).sum(axis=-1))
    return bleu
