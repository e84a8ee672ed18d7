"""ONNX Runtime sessions, opened and run in the one way that this package wants. Knows nothing of captions.

What a graph gives is checked where it comes out: whoever made it, the end is an array of the right batch or a
BundleError of one line.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from captioner.errors import BundleError, ConfigError

Shape = tuple[int | str | None, ...]
"""As graphs declare them: a number, or the name of a size that is free."""

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_AT_ONCE = {"cpu": 1, "cuda": 64}
"""Pictures that are seen together. On a CPU one after the other: what is computed on the way stays in its cache, which
was quicker than batches by a tenth, and a batch of 16 took 300 MB more."""
_EXTERNAL_KEY = re.compile(b"location")
"""Every tensor whose values lie outside of the graph's own file has an entry with this key."""
_LENGTHS = (b"\x08", b"\x00")
"""What may stand in front of it: how long it is."""


def available_threads() -> int:
    """How many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_session(model: Path | bytes, threads: int = 1, device: str = "cpu") -> onnxruntime.InferenceSession:
    """A session with an explicit number of threads, on the CPU or a GPU; what a GPU cannot do, the CPU does.

    Raises:
        BundleError: the graph cannot be read, or wants to read other files.
        ConfigError: there is no such device here.
    """
    provider = _PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise ConfigError(
            f"--device {device}: this ONNX Runtime runs on the CPU alone; install onnxruntime-gpu in its place"
        )
    providers = list(dict.fromkeys((provider, _PROVIDERS["cpu"])))
    name = "graph" if isinstance(model, bytes) else model.name
    _refuse_external_data(model, name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take the processor from each other on a busy machine: 104 → 56 pictures/s was
    # measured with two of them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # nothing: an error is raised too, and reported once
    # By content, an ORT file could pass for a graph; what is checked here holds for ONNX.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    source = model if isinstance(model, bytes) else str(model)
    try:
        session = onnxruntime.InferenceSession(source, options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions have no common class of their own
        raise BundleError(f"{name} is not a graph that ONNX Runtime can run: {_first_line(error)}") from None
    if provider not in session.get_providers():  # it goes on without
        raise ConfigError(f"--device {device}: ONNX Runtime cannot use it; see that its driver and libraries are there")
    return session


def run_graph(
    session: onnxruntime.InferenceSession, outputs: Sequence[str], feeds: Mapping[str, np.ndarray], rows: int
) -> list[np.ndarray]:
    """Run a graph.

    Args:
        session: an open graph.
        outputs: names of what shall come out, tensors all.
        feeds: its inputs by name.
        rows: how many rows each output must have.

    Raises:
        BundleError: ONNX Runtime gives up, or an output has another number of rows.
    """
    try:
        values: list[np.ndarray] = session.run(list(outputs), dict(feeds))
    except Exception as error:  # as above
        raise BundleError(f"a graph of this captioner failed in ONNX Runtime: {_first_line(error)}") from None
    for name, value in zip(outputs, values, strict=True):
        if value.shape[:1] != (rows,):
            raise BundleError(f"a graph of this captioner gave {name} the shape {value.shape}; expected {rows} rows")
    return values


def declared(tensors: Sequence[onnxruntime.NodeArg]) -> dict[str, tuple[str, Shape]]:
    """Type and shape of a graph's inputs or outputs by name, for example `("tensor(float)", ("batch", 512))`."""
    return {tensor.name: (tensor.type, tuple(tensor.shape)) for tensor in tensors}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def _refuse_external_data(model: Path | bytes, name: str) -> None:
    """A graph in ONNX may take the values of a tensor from any file that it names; ours are whole in themselves.

    A bundle's hashes cover the files that it lists, and no others. ONNX Runtime has no option against this, so the
    graph's bytes are searched for the key that such a tensor needs: the text `location`, 8 bytes long, and therefore
    preceded by 8, or by 0 where the length is written longer than necessary.
    """
    try:
        found = _has_key(model) if isinstance(model, bytes) else _names_other_files(model)
    except OSError as error:
        raise BundleError(f"cannot read {name}: {error.strerror}") from None
    except ValueError:  # nothing cannot be mapped
        raise BundleError(f"{name} is empty; copy the bundle again") from None
    if found:
        raise BundleError(f"{name} takes values from other files, which no bundle may; export the captioner again")


def _names_other_files(path: Path) -> bool:
    """Whether the key is in the file, which is mapped and never held in memory as a whole."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _has_key(content)


def _has_key(content: bytes | mmap.mmap) -> bool:
    # One search for the text, and a look at what is in front of it: a third of the time of a search for each length.
    return any(content[at.start() - 1 : at.start()] in _LENGTHS for at in _EXTERNAL_KEY.finditer(content) if at.start())


class OnnxEncoder:
    """An exported encoder: pixels in, features out. Safe to call from several threads at once."""

    def __init__(self, model: Path | bytes, threads: int = 1, device: str = "cpu") -> None:
        self._session = open_session(model, threads, device)
        self.at_once = _AT_ONCE[device]
        """Pictures that it sees together; more are seen one part after the other."""
        inputs, outputs = declared(self._session.get_inputs()), declared(self._session.get_outputs())
        kinds = [kind for kind, _ in (*inputs.values(), *outputs.values())]
        if len(inputs) != 1 or len(outputs) != 1 or kinds != ["tensor(float)"] * 2:
            raise BundleError("the encoder graph does not turn pixels into features; export the captioner again")
        (self._input, (_, self.input_shape)) = next(iter(inputs.items()))
        (self._output, (_, self.output_shape)) = next(iter(outputs.items()))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels float32 (batch, 3, size, size) → features float32 (batch, *feature_shape).

        Raises BundleError when the graph fails.
        """
        parts = [pixels[first : first + self.at_once] for first in range(0, len(pixels), self.at_once)]
        found = [run_graph(self._session, [self._output], {self._input: part}, len(part))[0] for part in parts]
        return found[0] if len(found) == 1 else np.concatenate(found)
