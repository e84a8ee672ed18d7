"""What every caption metric takes and gives: the protocol, and predictions paired with their references.

Knows nothing of any one metric. Pairing tokenises each caption once and counts its n-grams at most once, so that
metrics that look at the same pairs share the work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from captioner.errors import MetricError
from captioner.metrics.ngrams import NgramCounts, count_ngrams
from captioner.metrics.tokenizer import tokenize
from captioner.types import Score

_NAMED_IN_ERRORS = 3


@dataclass(frozen=True)
class CaptionPairs:
    """Predictions and their references as words, picture by picture in the order of the predictions."""

    predictions: tuple[tuple[str, ...], ...]
    """The words of one caption a picture; may be empty."""
    references: tuple[tuple[tuple[str, ...], ...], ...]
    """The words of at least one caption a picture."""

    @classmethod
    def from_texts(cls, predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> CaptionPairs:
        """Check and tokenise captions by image id.

        Raises `MetricError` when there is nothing to score, when an id is missing on either side, or when a picture has
        no reference or a plain string instead of a list of them.
        """
        _check(predictions, references)
        return cls(
            tuple(tuple(tokenize(text)) for text in predictions.values()),
            tuple(tuple(tuple(tokenize(text)) for text in references[image_id]) for image_id in predictions),
        )

    @cached_property
    def prediction_ngrams(self) -> tuple[NgramCounts, ...]:
        """The n-grams of each prediction."""
        return tuple(count_ngrams(tokens) for tokens in self.predictions)

    @cached_property
    def reference_ngrams(self) -> tuple[tuple[NgramCounts, ...], ...]:
        """The n-grams of each reference of each picture."""
        return tuple(tuple(count_ngrams(tokens) for tokens in captions) for captions in self.references)

    def signature(self, name: str, *settings: str) -> str:
        """The protocol in one line, such as `CIDEr|tok:ptb|refs:5|n:4|version:1`; `refs:1-5` where they vary."""
        counts = [len(captions) for captions in self.references]
        fewest, most = min(counts), max(counts)
        references = f"refs:{fewest}" if fewest == most else f"refs:{fewest}-{most}"
        return "|".join([name, "tok:ptb", references, *settings, "version:1"])


class Metric(Protocol):
    """A way to score captions against what people wrote of the same pictures."""

    @property
    def name(self) -> str:
        """How tables and signatures call it."""
        ...

    def score(self, predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> Score:
        """Score captions by image id. Raises `MetricError` when the two sides do not fit together."""
        ...

    def score_pairs(self, pairs: CaptionPairs) -> Score:
        """Score captions that are checked and tokenised already."""
        ...


def _check(predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> None:
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
    more = f" and {len(image_ids) - _NAMED_IN_ERRORS} more" if len(image_ids) > _NAMED_IN_ERRORS else ""
    raise MetricError(f"{problem} {named}{more}; every picture needs one prediction and at least one reference")
