"""CIDEr as coco-caption computes it (Vedantam, Zitnick and Parikh 2015); knows n-grams, not how words are cut.

A caption is one vector for each n = 1 … 4, with a number for each of its n-grams: how often the n-gram occurs, times
how rare it is among the pictures,
    g = count · (log |pictures| - log max(1, pictures with the n-gram in a reference))          (equation 1)
Prediction c and reference r are alike by
    Σ min(g_c, g_r) · g_r / (|g_c| · |g_r|) · exp(-(l_c - l_r)² / (2 · 6²))                      (CIDEr-D)
with their lengths l. The mean over n and references, times 10, is CIDEr on the paper's scale: what coco-caption calls
CIDEr is the paper's CIDEr-D in all but name. Scores here are that times 100, so that the usual 0.481 reads 48.1.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from captioner.metrics.base import CaptionPairs
from captioner.metrics.ngrams import Ngram, NgramCounts
from captioner.types import Score

_SIGMA = 6.0


@dataclass(frozen=True)
class CaptionVector:
    """A caption as CIDEr sees it."""

    weights: tuple[dict[Ngram, float], ...]
    """The weight of each n-gram, for n = 1, 2, …"""
    norms: tuple[float, ...]
    """The Euclidean length of each of `weights`."""
    length: int
    """Pairs of neighbouring words: one less than words, since coco-caption counts the length so."""


@dataclass(frozen=True)
class DocumentFrequencies:
    """In how many pictures each n-gram occurs; counted once for a set of references and used for any caption.

    Args:
        image_count: pictures in the set.
        frequencies: pictures that have the n-gram in a reference, for each n-gram.
    """

    image_count: int
    frequencies: Mapping[Ngram, int]
    _rarities: dict[Ngram, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        log_images = math.log(max(1, self.image_count))
        rarities = {ngram: log_images - math.log(max(1, frequency)) for ngram, frequency in self.frequencies.items()}
        object.__setattr__(self, "_rarities", rarities)

    @classmethod
    def from_references(cls, references: Iterable[Sequence[NgramCounts]]) -> DocumentFrequencies:
        """Count over the references of each picture."""
        frequencies: Counter[Ngram] = Counter()
        image_count = 0
        for captions in references:
            frequencies.update({ngram for caption in captions for counts in caption for ngram in counts})
            image_count += 1
        return cls(image_count, frequencies)

    def vector(self, caption: NgramCounts) -> CaptionVector:
        """Weigh the n-grams of a caption by how rare they are; an n-gram never seen is as rare as can be."""
        rarest = math.log(max(1, self.image_count))
        weights = tuple(
            {ngram: count * self._rarities.get(ngram, rarest) for ngram, count in counts.items()} for counts in caption
        )
        norms = tuple(math.sqrt(sum(weight * weight for weight in vector.values())) for vector in weights)
        return CaptionVector(weights, norms, length=caption[1].total())


def consensus(prediction: CaptionVector, references: Sequence[CaptionVector]) -> float:
    """CIDEr of one caption on the paper's scale, 0 to 10: its mean likeness to the references of the picture.

    With the vectors of the references made once, this is quick enough to be a reward in training.
    """
    total = sum(_likeness(prediction, reference) for reference in references)
    return 10 * total / len(references)


def _likeness(prediction: CaptionVector, reference: CaptionVector) -> float:
    """The clipped cosine of two captions, mean over n, less for different lengths."""
    cosines = 0.0
    for ours, theirs, our_norm, their_norm in zip(
        prediction.weights, reference.weights, prediction.norms, reference.norms, strict=True
    ):
        if our_norm and their_norm:
            product = sum(
                min(weight, theirs[ngram]) * theirs[ngram] for ngram, weight in ours.items() if ngram in theirs
            )
            cosines += product / (our_norm * their_norm)
    difference = prediction.length - reference.length
    return cosines / len(prediction.weights) * math.exp(-(difference**2) / (2 * _SIGMA**2))


@dataclass(frozen=True)
class Cider:
    """CIDEr.

    Args:
        document_frequencies: counted elsewhere, such as over training captions. Without them they are counted over the
            references of the set that is scored, which is the protocol of published figures; a set of one picture then
            scores 0, since nothing in it is rarer than anything else.
    """

    document_frequencies: DocumentFrequencies | None = None

    @property
    def name(self) -> str:
        """`CIDEr`."""
        return "CIDEr"

    def score(self, predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> Score:
        """Score captions by image id, 0 to 1000. Raises `MetricError` when the two sides do not fit together."""
        return self.score_pairs(CaptionPairs.from_texts(predictions, references))

    def score_pairs(self, pairs: CaptionPairs) -> Score:
        """Score captions that are checked and tokenised already."""
        given = self.document_frequencies
        frequencies = DocumentFrequencies.from_references(pairs.reference_ngrams) if given is None else given
        per_image = tuple(
            100 * consensus(frequencies.vector(prediction), [frequencies.vector(caption) for caption in references])
            for prediction, references in zip(pairs.prediction_ngrams, pairs.reference_ngrams, strict=True)
        )
        settings = ("n:4",) if given is None else ("n:4", f"df:{given.image_count}")
        return Score(
            name=self.name,
            value=sum(per_image) / len(per_image),
            per_image=per_image,
            signature=pairs.signature(self.name, *settings),
        )
