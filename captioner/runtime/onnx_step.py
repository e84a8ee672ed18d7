"""The exported decoder behind the step protocol of `decoding`. Knows nothing of words."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from captioner.errors import BundleError
from captioner.runtime.session import open_session

State = dict[str, np.ndarray]
"""The tensors of the state by the names that the graphs give them, one row a caption."""

TOKENS, LOG_PROBS, FEATURES = "tokens", "log_probs", "features"
NEXT = "next_"
"""The step graph calls a state tensor `x` when it comes in and `next_x` when it goes out."""


class OnnxStepModel:
    """`StepModel` over two graphs: `start` (features → state) and `step` (tokens, state → log_probs, next state)."""

    def __init__(self, start: Path | bytes, step: Path | bytes, threads: int = 1) -> None:
        self._start = open_session(start, threads)
        self._step = open_session(step, threads)
        self._state_names = [tensor.name for tensor in self._start.get_outputs()]
        inputs = {tensor.name for tensor in self._step.get_inputs()}
        if inputs != {TOKENS, *self._state_names}:
            raise BundleError("the start graph and the step graph do not fit together; export the captioner again")

    def start(self, features: np.ndarray) -> State:
        """See `StepModel.start`."""
        values = self._start.run(self._state_names, {FEATURES: features})
        return dict(zip(self._state_names, values, strict=True))

    def step(self, tokens: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """See `StepModel.step`."""
        wanted = [LOG_PROBS, *(NEXT + name for name in self._state_names)]
        log_probs, *values = self._step.run(wanted, {TOKENS: tokens, **state})
        return log_probs, dict(zip(self._state_names, values, strict=True))

    def reorder(self, state: State, rows: np.ndarray) -> State:
        """See `StepModel.reorder`."""
        return {name: values[rows] for name, values in state.items()}
