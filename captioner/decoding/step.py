"""The protocol between decoding and the networks: one step of a caption model, seen as numbers alone.

Knows neither words nor torch nor ONNX Runtime. Implemented twice: `models/torch_step.py` and `runtime/onnx_step.py`.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

State = Any
"""What a model remembers between steps; a value, never kept inside the model. Only the model itself looks into it."""


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
