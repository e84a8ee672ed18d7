"""Several caption models that write one caption together, seen as one; knows nothing of the networks.

The next word's probability is the mean of the probabilities that the models give it, as in Sutskever, Vinyals and Le
2014, arXiv 1409.3215, section 3.2, and later ensembles of captioners.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from captioner.decoding.step import State, StepModel


def join_features(features: Sequence[np.ndarray]) -> np.ndarray:
    """What each of several models sees in the same pictures, (batch, …) each, as one float32 (batch, numbers)."""
    return np.concatenate([each.reshape(len(each), -1) for each in features], axis=1)


class EnsembleStepModel:
    """`StepModel` over several ones with the same words."""

    def __init__(self, models: Sequence[StepModel], shapes: Sequence[tuple[int, ...]]) -> None:
        """Take the models.

        Args:
            models: at least one.
            shapes: what each wants to see of a picture: (channels,) or (regions, channels).
        """
        self._models = models
        self._shapes = shapes
        self._ends = np.cumsum([int(np.prod(shape)) for shape in shapes])

    def start(self, features: np.ndarray) -> State:
        """See `StepModel.start`; `features` as `join_features` puts them together."""
        parts = np.split(features, self._ends[:-1], axis=1)
        return tuple(
            model.start(np.ascontiguousarray(part).reshape(len(part), *shape))
            for model, part, shape in zip(self._models, parts, self._shapes, strict=True)
        )

    def step(self, tokens: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """See `StepModel.step`."""
        answers = [model.step(tokens, part) for model, part in zip(self._models, state, strict=True)]
        return _mean(np.stack([log_probs for log_probs, _ in answers])), tuple(after for _, after in answers)

    def reorder(self, state: State, rows: np.ndarray) -> State:
        """See `StepModel.reorder`."""
        parts: Sequence[Any] = state
        return tuple(model.reorder(part, rows) for model, part in zip(self._models, parts, strict=True))


def _mean(log_probs: np.ndarray) -> np.ndarray:
    """The mean of probabilities, as logarithms: (models, rows, vocab) → (rows, vocab)."""
    highest = log_probs.max(axis=0)
    safe = np.where(np.isfinite(highest), highest, 0.0)  # what all of them rule out stays ruled out
    with np.errstate(divide="ignore"):
        mean: np.ndarray = safe + np.log(np.exp(log_probs - safe).mean(axis=0))
    return mean
