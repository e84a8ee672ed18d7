"""What every caption metric takes and gives: predictions paired with their references, statistics, a score.

Knows nothing of any one metric. Pairing tokenises each caption once and counts its n-grams at most once, so that
metrics that look at the same pairs share the work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from captioner.errors import MetricError
from captioner.metrics.cutting import cutting_for
from captioner.metrics.ngrams import MAX_ORDER, NgramCounts, References
from captioner.types import Score

_NAMED_IN_ERRORS = 3


@dataclass(frozen=True)
class CaptionPairs:
    """Predictions and their references as words, picture by picture in the order of the predictions."""

    predictions: tuple[tuple[str, ...], ...]
    """The words of one caption a picture; may be empty."""
    references: References
    """The words of at least one caption a picture."""

    @classmethod
    def from_texts(cls, predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> CaptionPairs:
        """Check and tokenise captions by image id.

        Raises `MetricError` when there is nothing to score, when an id is missing on either side, or when a picture has
        no reference or a plain string instead of a list of them.
        """
        check_captions(predictions, references)
        theirs = [references[image_id] for image_id in predictions]
        cutting = cutting_for(text for captions in theirs for text in captions)
        return cls(
            tuple(tuple(cutting(text)) for text in predictions.values()),
            References(tuple(tuple(tuple(cutting(text)) for text in captions) for captions in theirs), cutting),
        )

    def __len__(self) -> int:
        return len(self.predictions)

    def cut(self, texts: Iterable[str]) -> list[tuple[str, ...]]:
        """The words of other captions, cut as these are."""
        return [tuple(self.references.cutting(text)) for text in texts]

    def with_predictions(self, predictions: Sequence[tuple[str, ...]]) -> CaptionPairs:
        """The same references beside other predictions; what was computed of the references is kept."""
        return CaptionPairs(tuple(predictions), self.references)

    @cached_property
    def lengths(self) -> np.ndarray:
        """The words of each prediction, int64 (images,)."""
        return np.array([len(words) for words in self.predictions], np.int64)

    @cached_property
    def ngrams(self) -> tuple[NgramCounts, ...]:
        """The n-grams of each prediction, numbered as those of the references."""
        return self.references.index.count(self.predictions)

    @cached_property
    def matched_ngrams(self) -> np.ndarray:
        """Predicted n-grams that a reference has, each at most as often as the one that has it most often.

        int64 (images, MAX_ORDER).
        """
        matched = np.zeros((len(self), MAX_ORDER), np.int64)
        for place, (ours, theirs) in enumerate(zip(self.ngrams, self.references.ngrams, strict=True)):
            width = self.references.index.size(place + 1)
            keys = self.references.image[theirs.caption] * width + theirs.ngram
            order = np.argsort(keys, kind="stable")
            wanted, first = np.unique(keys[order], return_index=True)
            if not len(wanted):
                continue
            most = np.maximum.reduceat(theirs.count[order], first)
            known = ours.ngram < width
            own = ours.caption[known] * width + ours.ngram[known]
            found = np.minimum(np.searchsorted(wanted, own), len(wanted) - 1)
            clipped = np.where(wanted[found] == own, np.minimum(most[found], ours.count[known]), 0)
            matched[:, place] = np.bincount(ours.caption[known], clipped, len(self))
        return matched

    def signature(self, name: str, variant: str) -> str:
        """The protocol in one line, such as `CIDEr|tok:ptb|refs:5|variant:d|version:1`; `refs:1-5` where they vary."""
        counts = self.references.counts_per_image
        references = f"refs:{counts.min()}" if counts.min() == counts.max() else f"refs:{counts.min()}-{counts.max()}"
        return f"{name}|tok:{self.references.cutting.value}|{references}|variant:{variant}|version:1"


@dataclass(frozen=True)
class Statistics:
    """What a metric measures on each picture: numbers whose sums over any set of pictures give the score of the set.

    This is what makes one score, scores of single pictures and bootstrap samples the same computation: BLEU, which
    divides sums, is no mean of its pictures' scores.
    """

    values: np.ndarray
    """float64 (images, numbers)."""
    combine: Callable[[np.ndarray], np.ndarray]
    """Sums (…, numbers) → scores (…,) on the scale of 0 to 100."""

    @property
    def score(self) -> float:
        """The score of all pictures together."""
        return float(self.combine(self.values.sum(axis=0)))

    @property
    def per_image(self) -> tuple[float, ...]:
        """The score of each picture alone."""
        return tuple(self.combine(self.values).tolist())

    @classmethod
    def mean_of(cls, scores: Sequence[float] | np.ndarray) -> Statistics:
        """Those of a metric whose score is the mean of its pictures' scores, (images,)."""
        values = np.asarray(scores, np.float64)
        return cls(np.stack([values, np.ones_like(values)], axis=1), lambda sums: sums[..., 0] / sums[..., 1])


class Metric(ABC):
    """A way to score captions against what people wrote of the same pictures."""

    @property
    @abstractmethod
    def name(self) -> str:
        """How tables and signatures call it."""

    @property
    @abstractmethod
    def variant(self) -> str:
        """What tells it from other metrics of the same name, for the signature."""

    def unavailable(self) -> str | None:
        """Why it cannot be computed here and what to install; None when it can, as most always can."""
        return None

    @abstractmethod
    def statistics(self, pairs: CaptionPairs) -> Statistics:
        """What it measures on each picture."""

    def signature(self, pairs: CaptionPairs) -> str:
        """The protocol in one line."""
        return pairs.signature(self.name, self.variant)

    def score(self, predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> Score:
        """Score captions by image id. Raises `MetricError` when the two sides do not fit together."""
        return self.score_pairs(CaptionPairs.from_texts(predictions, references))

    def score_pairs(self, pairs: CaptionPairs) -> Score:
        """Score captions that are checked and tokenised already."""
        statistics = self.statistics(pairs)
        return Score(self.name, statistics.score, statistics.per_image, self.signature(pairs))


def check_captions(predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> None:
    """Raise `MetricError` unless there are captions, and every id has a prediction and at least one reference."""
    if not predictions and not references:
        raise MetricError("there are no captions to score; give at least one prediction with its references")
    _refuse("no references for", [key for key in predictions if key not in references])
    _refuse("no prediction for", [key for key in references if key not in predictions])
    _refuse(
        "a single string instead of a list of references for", [k for k, v in references.items() if isinstance(v, str)]
    )
    _refuse("an empty list of references for", [key for key, captions in references.items() if not captions])


def _refuse(problem: str, image_ids: Sequence[str]) -> None:
    if not image_ids:
        return
    named = ", ".join(image_ids[:_NAMED_IN_ERRORS])
    more = f" and {len(image_ids) - _NAMED_IN_ERRORS:,} more" if len(image_ids) > _NAMED_IN_ERRORS else ""
    raise MetricError(f"{problem} {named}{more}; every picture needs one prediction and at least one reference")
