"""Captions that frame a score: what people reach against each other, and what says nothing about the picture.

A number alone means little: one constant sentence has a BLEU-1 of 50 on Flickr8k. Knows words, not where they are from.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from captioner.metrics.base import CaptionPairs, Metric, Statistics
from captioner.metrics.ngrams import References

_CONSIDERED = 20_000
"""Captions among which the most typical one is looked for."""


def leave_one_out(references: References) -> list[CaptionPairs]:
    """Each reference as a prediction, with the others of its picture as references; one round a reference.

    There are as many rounds as the picture with the most references has; pictures with fewer of them begin anew.
    Pictures with a single reference are left out, and no rounds are left when all are such.
    """
    several = [captions for captions in references.words if len(captions) > 1]
    rounds = []
    for number in range(max(map(len, several), default=0)):
        left_out = [number % len(captions) for captions in several]
        others = tuple(each[:out] + each[out + 1 :] for each, out in zip(several, left_out, strict=True))
        chosen = tuple(each[out] for each, out in zip(several, left_out, strict=True))
        rounds.append(CaptionPairs(chosen, References(others, references.cutting)))
    return rounds


def mean_over_rounds(metric: Metric, rounds: Sequence[CaptionPairs]) -> Statistics:
    """Statistics whose score is the mean of the scores of several rounds over the same pictures."""
    parts = [metric.statistics(pairs) for pairs in rounds]
    places = np.cumsum([part.values.shape[1] for part in parts])[:-1]

    def combine(sums: np.ndarray) -> np.ndarray:
        scores = [part.combine(own) for part, own in zip(parts, np.split(sums, places, axis=-1), strict=True)]
        mean: np.ndarray = np.mean(scores, axis=0)
        return mean

    return Statistics(np.concatenate([part.values for part in parts], axis=1), combine)


def most_typical(captions: Sequence[tuple[str, ...]]) -> int:
    """The place of the caption that is most like all the others; of equals, the first.

    Alike is the mean cosine of the vectors of CIDEr (`cider.py`), each caption taken as a picture of its own. Of more
    than 20,000 captions, evenly spaced ones are considered. Raises `ValueError` when there is none.
    """
    considered = np.unique(np.linspace(0, len(captions) - 1, min(len(captions), _CONSIDERED)).astype(np.int64))
    chosen = References(tuple((tuple(captions[place]),) for place in considered))
    likeness = np.zeros(len(considered))
    for order, counted in enumerate(chosen.ngrams, start=1):
        width = chosen.index.size(order)
        if not width:
            continue
        rarity = np.log(len(considered) / np.bincount(counted.ngram, minlength=width))
        weight = counted.count * rarity[counted.ngram]
        norm = np.sqrt(np.bincount(counted.caption, weight**2, len(considered)))
        unit = np.divide(weight, norm[counted.caption], out=np.zeros(len(weight)), where=norm[counted.caption] > 0)
        centre = np.bincount(counted.ngram, unit, width)
        likeness += np.bincount(counted.caption, unit * centre[counted.ngram], len(considered))
    return int(considered[int(np.argmax(likeness))])


def shuffled(pairs: CaptionPairs, *, seed: int = 1) -> CaptionPairs:
    """The same predictions, each beside the references of another picture.

    A caption depends on its feature alone, so this is what shuffling the features among the pictures gives. Pictures
    are moved round a random circle, so that none keeps its own.
    """
    circle = np.random.default_rng(seed).permutation(len(pairs))
    moved = list(pairs.predictions)
    for place, other in zip(circle, np.roll(circle, 1), strict=True):
        moved[place] = pairs.predictions[other]
    return pairs.with_predictions(moved)
