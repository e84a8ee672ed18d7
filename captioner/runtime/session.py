"""ONNX Runtime sessions, opened in the one way that this package wants them. Knows nothing of captions."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime

from captioner.errors import BundleError


def available_threads() -> int:
    """How many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_session(model: Path | bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """A session on the CPU with an explicit number of threads.

    Raises:
        BundleError: the graph cannot be read.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take the processor from each other on a busy machine: 104 → 56 pictures/s was
    # measured with two of them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors alone
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common class of their own
        name = "graph" if isinstance(model, bytes) else model.name
        reason = str(error).splitlines()[0][:200]
        raise BundleError(f"{name} is not a graph that ONNX Runtime can run: {reason}") from None


class OnnxEncoder:
    """An exported encoder: pixels in, features out. Safe to call from several threads at once."""

    def __init__(self, model: Path | bytes, threads: int = 1) -> None:
        self._session = open_session(model, threads)
        self._input = self._session.get_inputs()[0].name

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels float32 (batch, 3, size, size) → features float32 (batch, *feature_shape)."""
        features: np.ndarray = self._session.run(None, {self._input: pixels})[0]
        return features
