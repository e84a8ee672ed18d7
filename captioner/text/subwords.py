"""A vocabulary of pieces of words: for scripts without spaces, and languages with more words than a layer can hold.

Byte-pair encoding: R. Sennrich, B. Haddow and A. Birch, "Neural machine translation of rare words with subword units",
2016, arXiv 1508.07909, section 3.2. A caption is first cut into words by the rules of `normalize`, a word is spelled in
characters with `▁` before it, and the pairs that were most frequent in the training captions are merged, the most
frequent first. The rules are called `subwords-v1`.

The library `tokenizers` counts the pairs and merges them. Putting pieces together again needs no library, so captions
are written without it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from captioner.errors import MissingDependencyError, VocabularyError
from captioner.text.normalize import words as split_words
from captioner.text.scripts import NO_SPACES_AT_ALL, spaceless_share
from captioner.text.vocabulary import SPECIAL_TOKENS, SUBWORD_RULES, Vocabulary, count_words

START = "\u2581"
"""Begins every word; a sign, which no word has in it."""
_UNKNOWN = SPECIAL_TOKENS[3]
_LONGEST = 25
"""Pieces have fewer characters, where there are spaces."""
_LONGEST_WITHOUT_SPACES = 5
"""Likewise where there are none: else whole sentences, which are one word there, would become pieces."""


_SOME = 0.1
"""Of all letters, from which on it counts that there are such scripts."""


@dataclass(frozen=True)
class SubwordVocabulary(Vocabulary):
    """Pieces of words, and the pairs of pieces that are merged; `words` are the pieces.

    Raises `VocabularyError` for what is wrong with the pieces, and when a merge is of pieces that are not there.
    """

    merges: tuple[str, ...] = ()
    """Pairs of pieces with a space between them, in the order in which they are merged."""

    rules: ClassVar[str] = SUBWORD_RULES
    unit: ClassVar[str] = "pieces of words"

    def __post_init__(self) -> None:
        super().__post_init__()
        for merge in self.merges:
            pair = merge.split(" ") if isinstance(merge, str) else []
            if len(pair) != 2 or not {*pair, "".join(pair)} <= self._ids.keys():
                raise VocabularyError(f"field merges has {merge!r}, which is no pair of pieces that make a third one")

    @classmethod
    def build(cls, captions: Iterable[str], min_count: int, size: int = 8000) -> SubwordVocabulary:
        """At most `size` pieces, each of them in the captions of the training split at least `min_count` times.

        The same captions, in any order, give the same vocabulary.

        Raises:
            VocabularyError: no character is frequent enough, or more than `size` are.
            MissingDependencyError: the library `tokenizers` is not installed.
        """
        return cls.from_counts(count_words(captions), min_count, size)

    @classmethod
    def from_counts(cls, counts: Counter[str], min_count: int, size: int = 8000) -> SubwordVocabulary:
        """The same of words that are counted already."""
        characters: Counter[str] = Counter()
        for word, count in counts.items():
            for char in START + word:
                characters[char] += count
        alphabet = [char for char, count in characters.items() if count >= min_count and char != START]
        if not alphabet:
            raise VocabularyError(
                f"no character occurs {min_count} times in the training captions; lower --min-count or add captions"
            )
        if len(alphabet) >= size:
            raise VocabularyError(
                f"the training captions have {len(alphabet):,} characters; raise --vocabulary-size or --min-count"
            )
        pieces, merges = _train(counts, {START, *alphabet}, min_count, size)
        return cls(pieces, merges)

    def extended(self, captions: Iterable[str], min_count: int) -> SubwordVocabulary:
        """These pieces with their ids, and behind them the characters of `captions` that are not here.

        What is new is spelled in the pieces that are here. With no new character it is the same vocabulary.
        """
        counts: Counter[str] = Counter()
        for caption in captions:
            counts.update(char for word in split_words(caption) for char in word if char not in self._ids)
        new = sorted((char for char, count in counts.items() if count >= min_count), key=lambda c: (-counts[c], c))
        return SubwordVocabulary((*self.words, *new), self.merges)

    def to_json(self) -> dict[str, Any]:
        """What `vocabulary.json` holds: the pieces, whose places are their ids, and the merges."""
        return {**super().to_json(), "merges": list(self.merges)}

    def split(self, text: str) -> list[str]:
        """The pieces of a caption; a run of characters that are not here is one that nothing is known of."""
        found: list[str] = self._encoder.encode(_spelled(split_words(text))).tokens
        return found

    def _join(self, said: list[str]) -> str:
        """The words that pieces make, with spaces between them where their script has spaces."""
        text = ""
        for word in filter(None, "".join(said).split(START)):
            touch = not text or (NO_SPACES_AT_ALL.match(text[-1]) and NO_SPACES_AT_ALL.match(word[0]))
            text += word if touch else " " + word
        return text

    @cached_property
    def _encoder(self) -> Any:
        tokenizers = _library()
        pieces = {piece: place for piece, place in self._ids.items() if place >= len(SPECIAL_TOKENS)}
        model = tokenizers.models.BPE(
            vocab={**pieces, _UNKNOWN: self.unk},
            merges=[tuple(merge.split(" ")) for merge in self.merges],
            unk_token=_UNKNOWN,
            fuse_unk=True,
        )
        encoder = tokenizers.Tokenizer(model)
        encoder.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
        return encoder


def _train(counts: Counter[str], alphabet: set[str], min_count: int, size: int) -> tuple[tuple[str, ...], Any]:
    """Pieces in the order in which they were found, and merges."""
    tokenizers = _library()
    without_spaces = spaceless_share(counts) > _SOME
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=min_count,
        max_token_length=_LONGEST_WITHOUT_SPACES if without_spaces else _LONGEST,
        show_progress=False,
    )
    learner = tokenizers.Tokenizer(tokenizers.models.BPE())
    learner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    # Rare characters part a word: pieces are found on both sides of them, and none has one in it.
    kept = (("".join(char if char in alphabet else " " for char in START + word), n) for word, n in counts.items())
    # Sorted, because pairs of equal count are merged in the order in which they were seen.
    learner.train_from_iterator((word for word, count in sorted(kept) for _ in range(count)), trainer)
    model = json.loads(learner.to_str())["model"]
    return tuple(sorted(model["vocab"], key=model["vocab"].get)), tuple(" ".join(pair) for pair in model["merges"])


def _spelled(words: Iterable[str]) -> str:
    return " ".join(START + word for word in words)


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise MissingDependencyError(
            "cutting captions into pieces of words needs tokenizers: pip install 'captioner[subwords]'"
        ) from None
    return tokenizers
