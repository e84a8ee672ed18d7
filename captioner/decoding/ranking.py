"""Which caption is better: length normalisation, and the best few of one picture. Knows nothing of the search."""

from __future__ import annotations

from bisect import insort
from typing import TypeVar

import numpy as np

from captioner.types import Candidate

LogProb = TypeVar("LogProb", float, np.ndarray)


def length_normalised(log_prob: LogProb, length: int, length_penalty: float) -> LogProb:
    """`log_prob / max(1, length) ** length_penalty`: what candidates are ranked by.

    After Wu et al. 2016 (arXiv 1609.08144, equation 14), without the constant. `length` counts tokens as the
    log-probability does: the words, and the end token of a finished caption. Penalty 0 leaves the log-probability as it
    is, 1 makes it the mean over the tokens.
    """
    return log_prob / float(max(1, length) ** length_penalty)


def rank(candidate: Candidate) -> tuple[bool, float, tuple[int, ...]]:
    """The sort key of candidates, best first.

    A finished caption comes before one that was cut off, whatever their scores, because half a sentence is worse than a
    less probable whole one. Then the higher score; then, for equal scores, the lower token ids.
    """
    return (not candidate.finished, -candidate.score, candidate.tokens)


class Shortlist:
    """The `n_best` best candidates seen so far of one picture."""

    def __init__(self, n_best: int) -> None:
        self._n_best = n_best
        self._candidates: list[Candidate] = []

    def add(self, candidate: Candidate) -> None:
        """Take the candidate in, if it is good enough."""
        insort(self._candidates, candidate, key=rank)
        del self._candidates[self._n_best :]

    @property
    def best(self) -> list[Candidate]:
        """At most `n_best` candidates, best first."""
        return list(self._candidates)

    @property
    def floor(self) -> float:
        """The score that a finished caption needs to get in; minus infinity as long as any would."""
        if len(self._candidates) < self._n_best or not self._candidates[-1].finished:
            return float("-inf")
        return self._candidates[-1].score
