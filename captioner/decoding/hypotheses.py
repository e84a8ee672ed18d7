"""Captions in the making, side by side in arrays; knows neither models nor how captions are chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from captioner.decoding.ranking import length_normalised
from captioner.types import Candidate


@dataclass(frozen=True)
class Hypotheses:
    """Captions in the making, one a row, all of the same length.

    The rows of a picture lie together, the most probable first, and pictures keep their order.
    """

    picture: np.ndarray
    """Which picture a row belongs to: int64 (rows,)."""
    tokens: np.ndarray
    """What was said so far, without the begin token: int64 (rows, time)."""
    token_log_probs: np.ndarray
    """Natural-log probability of each token: float64 (rows, time)."""
    log_prob: np.ndarray
    """Their sum: float64 (rows,)."""

    @classmethod
    def start(cls, pictures: int) -> Hypotheses:
        """One empty caption for each picture."""
        return cls(
            picture=np.arange(pictures),
            tokens=np.empty((pictures, 0), dtype=np.int64),
            token_log_probs=np.empty((pictures, 0), dtype=np.float64),
            log_prob=np.zeros(pictures, dtype=np.float64),
        )

    def __len__(self) -> int:
        return len(self.picture)

    def take(self, rows: np.ndarray) -> Hypotheses:
        """The hypotheses at `rows`, in that order; rows may repeat."""
        return Hypotheses(self.picture[rows], self.tokens[rows], self.token_log_probs[rows], self.log_prob[rows])

    def extend(self, rows: np.ndarray, tokens: np.ndarray, log_probs: np.ndarray) -> Hypotheses:
        """The hypotheses at `rows`, each with one more token and its log-probability."""
        parents = self.take(rows)
        return Hypotheses(
            picture=parents.picture,
            tokens=np.concatenate((parents.tokens, tokens[:, None]), axis=1),
            token_log_probs=np.concatenate((parents.token_log_probs, log_probs[:, None]), axis=1),
            log_prob=parents.log_prob + log_probs,
        )

    def candidate(self, row: int, *, finished: bool, length_penalty: float) -> Candidate:
        """Row `row` as a record; `finished` says that its last token is the end token, which is left out."""
        tokens = self.tokens[row].tolist()
        log_prob = float(self.log_prob[row])
        return Candidate(
            tokens=tuple(tokens[:-1] if finished else tokens),
            token_log_probs=tuple(self.token_log_probs[row].tolist()),
            log_prob=log_prob,
            score=length_normalised(log_prob, len(tokens), length_penalty),
            finished=finished,
        )
