"""The exported decoder behind the step protocol of `decoding`. Knows nothing of words."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from captioner.errors import BundleError
from captioner.runtime.session import declared, open_session, run_graph

State = dict[str, np.ndarray]
"""The tensors of the state by the names that the graphs give them, one row a caption."""

TOKENS, LOG_PROBS, FEATURES = "tokens", "log_probs", "features"
ATTENDED = "attended"
"""The tensor of the state that adds up where a decoder with attention has looked, (batch, regions)."""
NEXT = "next_"
"""The step graph calls a state tensor `x` when it comes in and `next_x` when it goes out."""


class OnnxStepModel:
    """`StepModel` over two graphs: `start` (features → state) and `step` (tokens, state → log_probs, next state)."""

    def __init__(self, start: Path | bytes, step: Path | bytes, threads: int = 1) -> None:
        self._start = open_session(start, threads)
        self._step = open_session(step, threads)
        begins, state = declared(self._start.get_inputs()), declared(self._start.get_outputs())
        takes, gives = declared(self._step.get_inputs()), declared(self._step.get_outputs())
        after = {NEXT + name: tensor for name, tensor in state.items()}
        if (
            begins.keys() != {FEATURES}
            or takes.keys() != {TOKENS, *state}
            or not {LOG_PROBS, *after} <= gives.keys()
            or any(not kind.startswith("tensor(") for kind, _ in (*state.values(), *gives.values()))
        ):
            raise BundleError("the start graph and the step graph do not fit together; export the captioner again")
        self.state_names = list(state)
        """The tensors of the state."""
        self.features_shape = begins[FEATURES][1]
        self.log_probs_shape = gives[LOG_PROBS][1]

    def start(self, features: np.ndarray) -> State:
        """See `StepModel.start`."""
        values = run_graph(self._start, self.state_names, {FEATURES: features}, len(features))
        return dict(zip(self.state_names, values, strict=True))

    def step(self, tokens: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """See `StepModel.step`."""
        wanted = [LOG_PROBS, *(NEXT + name for name in self.state_names)]
        log_probs, *values = run_graph(self._step, wanted, {TOKENS: tokens, **state}, len(tokens))
        return log_probs, dict(zip(self.state_names, values, strict=True))

    def reorder(self, state: State, rows: np.ndarray) -> State:
        """See `StepModel.reorder`."""
        return {name: values[rows] for name, values in state.items()}
