"""CIDEr as coco-caption computes it (Vedantam, Zitnick and Parikh 2015); knows n-grams, not how words are cut.

A caption is one vector for each n = 1 … 4, with a number for each of its n-grams: how often the n-gram occurs, times
how rare it is among the pictures,
    g = count · (log |pictures| - log max(1, pictures with the n-gram in a reference))          (equation 1)
Prediction c and reference r are alike by
    Σ min(g_c, g_r) · g_r / (|g_c| · |g_r|) · exp(-(l_c - l_r)² / (2 · 6²))                      (CIDEr-D)
with their lengths l. The mean over n and references, times 10, is CIDEr on the paper's scale. Scores here are that
times 100, so that the usual 0.481 reads 48.1.

What coco-caption calls CIDEr is the paper's CIDEr-D: clipped, and less for other lengths. Both names are in use for
this one number, so both are in the table, and their signatures say the same. The paper's plain CIDEr has neither; it
is not computed here, since no published figure of the last decade uses it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from captioner.metrics.base import CaptionPairs, Metric, Statistics
from captioner.metrics.ngrams import MAX_ORDER, NgramCounts, References

_SIGMA = 6.0


@dataclass(frozen=True)
class _Table:
    """The n-grams of one length in the references, sorted by picture and n-gram."""

    rarity: np.ndarray
    """float64 (ngrams,): the weight of one occurrence."""
    norm: np.ndarray
    """float64 (references,): the Euclidean length of each reference's vector."""
    key: np.ndarray
    """int64 (rows,): picture · ngrams + n-gram, ascending."""
    reference: np.ndarray
    """int64 (rows,): the number of the reference."""
    weight: np.ndarray
    """float64 (rows,): count · rarity."""


class CiderD:
    """CIDEr-D of any captions against the references of a set of pictures.

    Document frequencies and the vectors of the references are computed once; a call costs a few arrays. Made for
    evaluation and as the reward of self-critical training (Rennie et al. 2017), where every batch calls it.
    """

    def __init__(self, references: References | Sequence[Sequence[Sequence[str]]]) -> None:
        """Weigh the references.

        Args:
            references: the words of the captions of each picture; at least one caption a picture.
        """
        if not isinstance(references, References):
            references = References(tuple(tuple(map(tuple, captions)) for captions in references))
        self.references = references
        self._rarest = math.log(max(1, len(references.words)))
        self._tables = tuple(self._table(order) for order in range(1, MAX_ORDER + 1))

    def __call__(self, captions: Sequence[Sequence[str]], images: Sequence[int] | np.ndarray) -> np.ndarray:
        """The score of each caption on the paper's scale, 0 to 10, float64 (captions,).

        Args:
            captions: the words of each caption.
            images: the place of each caption's picture among those of the references, (captions,); a picture may
                have any number of captions.
        """
        lengths = np.array([len(words) for words in captions], np.int64)
        return self.score(self.references.index.count(captions), lengths, np.asarray(images, np.int64))

    def score(self, ngrams: Sequence[NgramCounts], lengths: np.ndarray, images: np.ndarray) -> np.ndarray:
        """The same for captions whose n-grams are counted with the index of the references."""
        counts = self.references.counts_per_image[images]  # (captions,)
        first = np.cumsum(counts) - counts  # a caption beside each reference of its picture is a pair
        pair_caption = np.repeat(np.arange(len(images)), counts)  # (pairs,)
        pair_reference = np.arange(len(pair_caption)) + np.repeat(self.references.first[images] - first, counts)
        likeness = np.zeros(len(pair_caption))
        for table, counted in zip(self._tables, ngrams, strict=True):
            likeness += self._cosine(table, counted, images, first, pair_caption, pair_reference)
        # coco-caption takes the number of word pairs for the length of a caption.
        pairs_of_words = np.maximum(0, self.references.lengths - 1)[pair_reference]
        difference = np.maximum(0, lengths - 1)[pair_caption] - pairs_of_words
        likeness *= np.exp(-(difference**2) / (2 * _SIGMA**2)) / len(self._tables)
        scores: np.ndarray = 10 * np.bincount(pair_caption, likeness, len(images)) / counts
        return scores

    def _cosine(
        self,
        table: _Table,
        counted: NgramCounts,
        images: np.ndarray,
        first: np.ndarray,
        pair_caption: np.ndarray,
        pair_reference: np.ndarray,
    ) -> np.ndarray:
        """The clipped cosine of each pair, float64 (pairs,)."""
        width = len(table.rarity)
        known = counted.ngram < width
        rarity = np.full(len(known), self._rarest)  # an n-gram never seen is as rare as can be
        rarity[known] = table.rarity[counted.ngram[known]]
        weight = counted.count * rarity
        norm = np.sqrt(np.bincount(counted.caption, weight**2, len(images)))

        caption, weight = counted.caption[known], weight[known]
        key = images[caption] * width + counted.ngram[known]
        begin, end = np.searchsorted(table.key, key), np.searchsorted(table.key, key, side="right")
        hits = end - begin  # references of the picture that have the n-gram
        row = np.repeat(begin - (np.cumsum(hits) - hits), hits) + np.arange(hits.sum())
        caption, weight = np.repeat(caption, hits), np.repeat(weight, hits)
        pair = first[caption] + table.reference[row] - self.references.first[images[caption]]
        product = np.minimum(weight, table.weight[row]) * table.weight[row]
        total = np.bincount(pair, product, len(pair_caption))
        lengths = norm[pair_caption] * table.norm[pair_reference]
        cosine: np.ndarray = np.divide(total, lengths, out=np.zeros(len(total)), where=lengths > 0)
        return cosine

    def _table(self, order: int) -> _Table:
        references = self.references
        counted, width = references.ngrams[order - 1], references.index.size(order)
        keys = references.image[counted.caption] * width + counted.ngram
        by_key = np.argsort(keys, kind="stable")
        keys = keys[by_key]
        pictures = np.bincount(keys[np.diff(keys, prepend=-1) > 0] % max(1, width), minlength=width)  # that have each
        rarity = self._rarest - np.log(np.maximum(1, pictures))
        weight = counted.count * rarity[counted.ngram]
        norm = np.sqrt(np.bincount(counted.caption, weight**2, len(references.captions)))
        return _Table(rarity, norm, keys, counted.caption[by_key], weight[by_key])


@dataclass(frozen=True)
class Cider(Metric):
    """CIDEr with document frequencies counted over the references of the set that is scored, 0 to 1000.

    A set of one picture scores 0, since nothing in it is rarer than anything else.

    Args:
        name: `CIDEr` or `CIDEr-D`, two names of one number.
    """

    name: str = "CIDEr"

    @property
    def variant(self) -> str:
        """Clipped, with a Gaussian on the difference in length."""
        return "d,n4,sigma6"

    def statistics(self, pairs: CaptionPairs) -> Statistics:
        """The score of each picture."""
        scores = pairs.references.once(CiderD).score(pairs.ngrams, pairs.lengths, np.arange(len(pairs)))
        return Statistics.mean_of(100 * scores)
