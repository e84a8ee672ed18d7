"""What scores do not show: captions all alike, learned by heart, stuttering, or written without looking.

Takes words, gives numbers and sentences about them; knows no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from captioner.metrics.base import CaptionPairs
from captioner.metrics.cider import Cider
from captioner.metrics.framing import shuffled

# Where a sentence becomes a warning.
_SAME_CAPTION = 0.2
_SHUFFLED_KEEPS = 0.5
_REPEATING = 0.05  # beyond twice what people do
_COPIED = 0.9
_MIN_PICTURES = 10
"""Below this many pictures shares say little, and nothing but emptiness is warned of."""


@dataclass(frozen=True)
class Finding:
    """One thing to know about a set of captions."""

    text: str
    """In words."""
    is_warning: bool = False
    """Whether something may be broken."""


@dataclass(frozen=True)
class Habits:
    """How captions are worded, whatever they are about."""

    length: float
    """Words a caption, on average."""
    repeating_share: float
    """The share of captions in which a pair of neighbouring words occurs twice."""
    distinct_2: float
    """Different pairs of neighbouring words by such pairs (Li et al. 2016, "A diversity-promoting objective function").
    """


@dataclass(frozen=True)
class Health:
    """Numbers about the captions of a set of pictures. Shares go from 0 to 1."""

    pictures: int
    """How many captions there are."""
    empty: int
    """Captions without a word."""
    distinct: int
    """How many different captions."""
    most_common: str
    """The caption that most pictures get."""
    most_common_share: float
    """The share of pictures that get it."""
    copied_share: float | None
    """The share of captions that are in the training data word for word; None when that is not known."""
    vocabulary_used: int
    """How many different words."""
    vocabulary_share: float | None
    """The share of the words of the training data that is ever used; None when they are not known."""
    distinct_1: float
    """Different words by words (Li et al. 2016, "A diversity-promoting objective function")."""
    distinct_2: float
    """As in `Habits`."""
    repeating_share: float
    """As in `Habits`."""
    reference_repeating_share: float
    """The same of the references."""
    lengths: dict[int, int]
    """How many captions there are of each length in words."""
    mean_length: float
    """Words a caption."""
    mean_reference_length: float
    """Words a reference."""
    cider: float
    """CIDEr of the captions."""
    shuffled_cider: float | None
    """CIDEr of the captions after a shuffle among the pictures; None for a single picture."""

    def findings(self) -> tuple[Finding, ...]:
        """The numbers in words, warnings first."""
        many = self.pictures >= _MIN_PICTURES
        found = [
            Finding(f"{self.empty:,} captions have no words.", is_warning=True) if self.empty else None,
            self._sameness(many),
            self._dependence(many),
            Finding(
                f"{self.repeating_share:.0%} of the captions say a pair of neighbouring words twice, "
                f"{self.reference_repeating_share:.0%} of the references.",
                is_warning=many and self.repeating_share > 2 * self.reference_repeating_share + _REPEATING,
            ),
            self._copying(many),
            self._length(many),
            Finding(
                f"{self.distinct:,} different captions for {self.pictures:,} pictures; {self.vocabulary_used:,} words"
                + (f", {self.vocabulary_share:.0%} of those in the training data" if self.vocabulary_share else "")
                + f"; distinct-1 {self.distinct_1:.3f}, distinct-2 {self.distinct_2:.3f}."
            ),
        ]
        return tuple(sorted((each for each in found if each), key=lambda each: not each.is_warning))

    def _sameness(self, many: bool) -> Finding:
        share = f"for {self.most_common_share:.0%} of pictures"
        if many and self.most_common_share > _SAME_CAPTION:
            return Finding(
                f'The same caption {share}: "{self.most_common}". Is preprocessing the same as in training?',
                is_warning=True,
            )
        return Finding(f'The most frequent caption is said {share}: "{self.most_common}".')

    def _dependence(self, many: bool) -> Finding | None:
        if self.shuffled_cider is None:
            return None
        numbers = f"CIDEr is {self.cider:.1f}, and {self.shuffled_cider:.1f} when the pictures are shuffled"
        if not many:
            return Finding(f"{numbers}.")
        if self.shuffled_cider >= _SHUFFLED_KEEPS * self.cider:
            return Finding(
                f"{numbers}: the captions hardly depend on the pictures. Do features and captions belong together?",
                is_warning=True,
            )
        return Finding(f"{numbers}: the captions depend on the pictures.")

    def _copying(self, many: bool) -> Finding | None:
        if self.copied_share is None:
            return None
        is_warning = many and self.copied_share > _COPIED
        ending = ": it recalls more than it describes." if is_warning else "."
        return Finding(
            f"{self.copied_share:.0%} of the captions are in the training data word for word{ending}", is_warning
        )

    def _length(self, many: bool) -> Finding:
        text = (
            f"Captions have {self.mean_length:.1f} words ({min(self.lengths)} to {max(self.lengths)}), "
            f"references {self.mean_reference_length:.1f}"
        )
        if many and not 0.5 < self.mean_length / max(self.mean_reference_length, 1e-9) < 2:
            return Finding(f"{text}: does decoding end where it should?", is_warning=True)
        return Finding(f"{text}.")


def examine(pairs: CaptionPairs, training: Collection[tuple[str, ...]] | None = None) -> Health:
    """Look at captions beside their references.

    Args:
        pairs: the captions and their references.
        training: the words of all training captions, where they are known.
    """
    captions = pairs.predictions
    counts = Counter(captions)
    words = [word for caption in captions for word in caption]
    manner = habits(captions)
    common, times = counts.most_common(1)[0]
    seen, known = (set(training), {word for caption in training for word in caption}) if training else (set(), set())
    lengths = Counter(map(len, captions))
    return Health(
        pictures=len(captions),
        empty=counts[()],
        distinct=len(counts),
        most_common=" ".join(common),
        most_common_share=times / len(captions),
        copied_share=sum(caption in seen for caption in captions) / len(captions) if seen else None,
        vocabulary_used=len(set(words)),
        vocabulary_share=len(known & set(words)) / len(known) if known else None,
        distinct_1=_share_of_different(words),
        distinct_2=manner.distinct_2,
        repeating_share=manner.repeating_share,
        reference_repeating_share=(
            sum(map(_says_a_pair_twice, pairs.references.captions)) / len(pairs.references.captions)
        ),
        lengths=dict(sorted(lengths.items())),
        mean_length=manner.length,
        mean_reference_length=float(pairs.references.lengths.mean()),
        cider=Cider().statistics(pairs).score,
        shuffled_cider=Cider().statistics(shuffled(pairs)).score if len(captions) > 1 else None,
    )


def habits(captions: Sequence[Sequence[Hashable]]) -> Habits:
    """The habits of captions, given as words or as their ids; at least one caption."""
    return Habits(
        length=sum(map(len, captions)) / len(captions),
        repeating_share=sum(map(_says_a_pair_twice, captions)) / len(captions),
        distinct_2=_share_of_different([pair for caption in captions for pair in pairwise(caption)]),
    )


def _share_of_different(items: Sequence[object]) -> float:
    return len(set(items)) / len(items) if items else 0.0


def _says_a_pair_twice(caption: Sequence[Hashable]) -> bool:
    pairs = list(pairwise(caption))
    return len(set(pairs)) < len(pairs)
