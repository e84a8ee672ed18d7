"""Words or pieces of words: which kind of vocabulary suits the captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from captioner.text.scripts import spaceless_share
from captioner.text.subwords import SubwordVocabulary
from captioner.text.vocabulary import Vocabulary, count_words

_SPACELESS = 0.2
"""Of all letters: from this share on, cutting at spaces makes no words."""
_TOO_MANY = 50_000
"""Words: a layer that chooses among more is most of a captioner, and sees most of them too seldom to learn them."""


def build_vocabulary(captions: Iterable[str], kind: str, min_count: int, size: int) -> Vocabulary:
    """The vocabulary of the training captions, which are gone through once.

    Args:
        captions: of the training split alone.
        kind: `words`, `subwords`, or `auto`: pieces for scripts without spaces and for very many words.
        min_count: how often a word or piece must occur.
        size: of pieces, at most so many.

    Raises:
        VocabularyError: nothing is frequent enough.
        MissingDependencyError: pieces want the library `tokenizers`, which is not installed.
    """
    counts = count_words(captions)
    if kind == "subwords" or (kind == "auto" and _wants_pieces(counts, min_count)):
        return SubwordVocabulary.from_counts(counts, min_count, size)
    return Vocabulary.from_counts(counts, min_count)


def _wants_pieces(counts: Counter[str], min_count: int) -> bool:
    frequent = sum(count >= min_count for count in counts.values())
    return frequent > _TOO_MANY or spaceless_share(counts) > _SPACELESS
