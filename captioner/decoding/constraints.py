"""What may not be said next: a forbidden token gets log-probability minus infinity. Knows nothing of the search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from captioner.config.decode import DecodeConfig
from captioner.types import SpecialTokens

FORBIDDEN = -np.inf


@dataclass(frozen=True)
class WordRules:
    """Words that a caption must have, and words that it must not have, as token ids."""

    must: tuple[int, ...] = ()
    """All of them appear somewhere; a caption does not end before."""
    must_not: tuple[int, ...] = ()
    """None of them appears."""

    def said(self, history: np.ndarray) -> np.ndarray:
        """Which rows have which of the words that must appear: (rows, time) → bool (rows, words)."""
        if not self.must:
            return np.zeros((len(history), 0), bool)
        said: np.ndarray = (history[:, :, None] == np.array(self.must, np.int64)).any(axis=1)
        return said


NO_RULES = WordRules()


def constrain(
    log_probs: np.ndarray,
    history: np.ndarray,
    config: DecodeConfig,
    special: SpecialTokens,
    words: WordRules = NO_RULES,
) -> np.ndarray:
    """A copy of `log_probs` in which everything forbidden is minus infinity and the rest is as it was.

    Pad, begin and unknown are never generated; the end token not before `min_length` words; no word that would complete
    a run of `no_repeat_ngram` words which the caption has already; and `words` rules. What remains is not renormalised.

    `log_probs`: (rows, vocab); `history`: int64 (rows, time), the words of each row so far.
    """
    allowed = log_probs.copy()
    allowed[:, [special.pad, special.bos, special.unk]] = FORBIDDEN
    if history.shape[1] < config.min_length:
        allowed[:, special.eos] = FORBIDDEN
    if words.must_not:
        allowed[:, words.must_not] = FORBIDDEN
    if words.must:
        allowed[~words.said(history).all(axis=1), special.eos] = FORBIDDEN
    if config.no_repeat_ngram:
        rows, tokens = repeated_ngram_ends(history, config.no_repeat_ngram)
        allowed[rows, tokens] = FORBIDDEN
    return allowed


def repeated_ngram_ends(history: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The (rows, tokens) that would complete a run of `n` tokens which the row has already.

    `history`: int64 (rows, time). A pair may occur more than once.
    """
    time = history.shape[1]
    if time < n:
        nothing = np.empty(0, dtype=np.int64)
        return nothing, nothing
    runs = time - n + 1
    same = np.ones((len(history), runs), dtype=bool)  # which runs begin as the one that the next token would complete
    for place in range(n - 1):
        same &= history[:, place : place + runs] == history[:, runs + place, None]
    rows, starts = np.nonzero(same)
    return rows, history[rows, starts + n - 1]
