"""The protocol between decoding and the networks: one step of a caption model, seen as numbers alone.

Knows neither words nor torch nor ONNX Runtime. Implemented twice: `models/torch_step.py` and `runtime/onnx_step.py`.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from captioner.errors import CaptionerError
from captioner.types import SpecialTokens

State = Any
"""What a model remembers between steps; a value, never kept inside the model. Only the model itself looks into it."""


_ROUNDING = 1e-3
"""A log-softmax in low precision may come out this far above zero."""


class StepModel(Protocol):
    """A caption model that is asked for one word at a time. A row is one caption in the making."""

    def start(self, features: np.ndarray) -> State:
        """The state before the first token.

        `features`: float32 (batch, channels) or (batch, regions, channels). The state has one row a picture.
        """
        ...

    def step(self, tokens: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Feed one token to each row.

        `tokens`: int64 (rows,). Returns natural-log probabilities of the next token, float32 (rows, vocab), and the
        state after the token.
        """
        ...

    def reorder(self, state: State, rows: np.ndarray) -> State:
        """The state whose row i is row `rows[i]` of `state`; rows may repeat, be left out and change in number.

        `rows`: int64 (new_rows,).
        """
        ...


def checked_log_probs(log_probs: np.ndarray, rows: int, special: SpecialTokens) -> np.ndarray:
    """The answer of a model as float32 (rows, vocab), or `CaptionerError` when it cannot be log-probabilities."""
    last_special = max(special.pad, special.bos, special.eos, special.unk)
    shape = np.shape(log_probs)
    if len(shape) != 2 or shape[0] != rows or shape[1] <= last_special:
        raise CaptionerError(
            f"the caption model returned log-probabilities of shape {shape}; expected ({rows}, vocab) with a vocab "
            f"above {last_special}: are model and vocabulary of the same bundle?",
            code="decoding",
        )
    checked = np.asarray(log_probs, dtype=np.float32)
    highest = checked.max()  # NaN when there is any
    if not highest <= _ROUNDING:
        raise CaptionerError(
            f"the caption model returned {highest} as a log-probability, which is 0 or less: its weights are damaged, "
            "or its last layer is not a log-softmax",
            code="decoding",
        )
    return checked
