"""The exported decoder behind the step protocol of `decoding`. Knows nothing of words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from captioner.errors import BundleError
from captioner.runtime.session import declared, open_session, run_graph

TOKENS, LOG_PROBS, FEATURES = "tokens", "log_probs", "features"
ATTENDED = "attended"
"""The tensor of the state that adds up where a decoder with attention has looked, (batch, regions)."""
NEXT = "next_"
"""The step graph calls a state tensor `x` when it comes in and `next_x` when it goes out."""


@dataclass(frozen=True)
class OnnxState:
    """What a decoder remembers, by the names that its graphs give to the tensors.

    What follows from the picture alone is large, and the same for all captions of a picture. It is kept once a picture,
    and copied for the captions only when others of them, or fewer, are left.
    """

    changing: Mapping[str, np.ndarray]
    """What every word changes, one row a caption."""
    steady: Mapping[str, np.ndarray]
    """What stays as it is, one row a caption too."""
    pictures: Mapping[str, np.ndarray]
    """The same, one row a picture."""
    owner: np.ndarray
    """The picture of each caption: int64 (captions,)."""


class OnnxStepModel:
    """`StepModel` over two graphs: `start` (features → state) and `step` (tokens, state → log_probs, next state).

    The step graph gives back the tensors of the state that words change; the others are steady.
    """

    def __init__(self, start: Path | bytes, step: Path | bytes, threads: int = 1, device: str = "cpu") -> None:
        self._start = open_session(start, threads, device)
        self._step = open_session(step, threads, device)
        begins, state = declared(self._start.get_inputs()), declared(self._start.get_outputs())
        takes, gives = declared(self._step.get_inputs()), declared(self._step.get_outputs())
        if (
            begins.keys() != {FEATURES}
            or takes.keys() != {TOKENS, *state}
            or not {LOG_PROBS} < gives.keys() <= {LOG_PROBS, *(NEXT + name for name in state)}
            or any(not kind.startswith("tensor(") for kind, _ in (*state.values(), *gives.values()))
        ):
            raise BundleError("the start graph and the step graph do not fit together; export the captioner again")
        self.state_names = list(state)
        """The tensors of the state."""
        self.changing = [name for name in state if NEXT + name in gives]
        """Those of them that words change."""
        self._wanted = [LOG_PROBS, *(NEXT + name for name in self.changing)]
        self.features_shape = begins[FEATURES][1]
        self.log_probs_shape = gives[LOG_PROBS][1]

    def start(self, features: np.ndarray) -> OnnxState:
        """See `StepModel.start`."""
        values = run_graph(self._start, self.state_names, {FEATURES: features}, len(features))
        state = dict(zip(self.state_names, values, strict=True))
        changing = {name: state.pop(name) for name in self.changing}
        return OnnxState(changing, state, state, np.arange(len(features)))

    def step(self, tokens: np.ndarray, state: OnnxState) -> tuple[np.ndarray, OnnxState]:
        """See `StepModel.step`."""
        log_probs, *values = run_graph(self._step, self._wanted, self.feeds(tokens, state), len(tokens))
        return log_probs, replace(state, changing=dict(zip(self.changing, values, strict=True)))

    def reorder(self, state: OnnxState, rows: np.ndarray) -> OnnxState:
        """See `StepModel.reorder`."""
        changing = {name: values[rows] for name, values in state.changing.items()}
        owner = state.owner[rows]
        if np.array_equal(owner, state.owner):
            return replace(state, changing=changing)
        steady = {name: values[owner] for name, values in state.pictures.items()}
        return OnnxState(changing, steady, state.pictures, owner)

    def feeds(self, tokens: np.ndarray, state: OnnxState) -> dict[str, np.ndarray]:
        """What the step graph is given, by name."""
        return {TOKENS: tokens, **state.changing, **state.steady}
