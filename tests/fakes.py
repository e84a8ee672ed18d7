"""Caption models for tests: tables instead of networks, whose answers depend on the picture and on all words before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from captioner.types import SpecialTokens

SPECIAL = SpecialTokens(pad=0, bos=1, eos=2, unk=3)
FIRST_WORD = 4

History = tuple[int, ...]
Table = Callable[[int, History], np.ndarray]
"""Picture and words so far, to the log-probabilities of the next token: float32 (vocab,)."""


class TableModel:
    """A `StepModel` that looks its answers up. Picture p is the row of the features whose first number is p.

    The state is the list of what each row was told, so a row that is reordered wrongly is answered wrongly.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.rows_of_steps: list[int] = []
        """How many rows each call of `step` had."""

    def start(self, features: np.ndarray) -> list[tuple[int, History]]:
        return [(int(feature.flat[0]), ()) for feature in features]

    def step(
        self, tokens: np.ndarray, state: list[tuple[int, History]]
    ) -> tuple[np.ndarray, list[tuple[int, History]]]:
        assert tokens.dtype == np.int64
        assert tokens.shape == (len(state),)
        self.rows_of_steps.append(len(state))
        told = [(picture, (*history, int(token))) for (picture, history), token in zip(state, tokens, strict=True)]
        assert all(history[0] == SPECIAL.bos for _, history in told)
        log_probs = np.stack([self.table(picture, history[1:]) for picture, history in told])
        log_probs.flags.writeable = False  # a model's buffers are its own
        return log_probs, told

    def reorder(self, state: list[tuple[int, History]], rows: np.ndarray) -> list[tuple[int, History]]:
        assert rows.dtype == np.int64
        return [state[row] for row in rows]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Natural-log probabilities, float32, over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return (shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))).astype(np.float32)


def random_table(seed: int, words: int, *, eos_bonus: float = 0.0, spread: float = 1.5) -> Table:
    """Random answers over the special tokens and `words` words, the same for the same picture and history."""
    known: dict[tuple[int, History], np.ndarray] = {}

    def table(picture: int, history: History) -> np.ndarray:
        if (picture, history) not in known:
            logits = np.random.default_rng([seed, picture, *history]).normal(scale=spread, size=FIRST_WORD + words)
            logits[SPECIAL.eos] += eos_bonus
            known[picture, history] = log_softmax(logits)
        return known[picture, history]

    return table


def pictures(count: int) -> np.ndarray:
    """Features (count, 1) of the pictures 0, 1, …"""
    return np.arange(count, dtype=np.float32)[:, None]


def distribution(words: int, **probabilities: float) -> np.ndarray:
    """Log-probabilities from named probabilities: `eos`, `pad`, … and `w0`, `w1`, … for the words; the rest is 0."""
    values = np.zeros(FIRST_WORD + words)
    for name, probability in probabilities.items():
        token = FIRST_WORD + int(name[1:]) if name.startswith("w") else getattr(SPECIAL, name)
        values[token] = probability
    with np.errstate(divide="ignore"):
        return np.log(values).astype(np.float32)
