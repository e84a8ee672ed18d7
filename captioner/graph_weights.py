"""The weights of a network in its exported graphs: under which names they go in, and how they come out again.

A graph that ships is a finished captioner, and also something to go on from. Where a bundle has no weights beside its
graphs, as the one that ships has none to stay small, training begins with what its decoder graphs hold: in int8 the
weights as rounding left them. Knows nothing of the networks themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, numpy_helper

from captioner.errors import WeightsError

_TURNED = "_Transposed"
"""Ends the name of a matrix that a graph multiplies from the other side; ONNX Runtime's word for it."""
_QUANTIZED, _SCALE, _ZERO = "_quantized", "_scale", "_zero_point"


def name_weights(model: ModelProto, weights: Mapping[str, np.ndarray]) -> None:
    """Call the constants of a graph what the network calls them, where the exporter has given them numbers.

    It folds transposed matrices into constants of their own; they are told by their values.

    Args:
        model: changed in place.
        weights: what the network that it was exported from calls its weights.
    """
    taken = {tensor.name for tensor in model.graph.initializer}
    turned = {
        (weight.shape[::-1], weight.T.tobytes()): f"{name}{_TURNED}"
        for name, weight in weights.items()
        if weight.ndim == 2 and name not in taken
    }
    renamed = {}
    for tensor in model.graph.initializer:
        if tensor.name not in weights and len(tensor.dims) == 2:
            values = numpy_helper.to_array(tensor)
            found = turned.pop((values.shape, values.tobytes()), None)
            if found is not None:
                renamed[tensor.name] = tensor.name = found
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]


def read_weights(graphs: Iterable[Path], wanted: Mapping[tuple[str, ...], tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Take weights out of graphs, exactly from graphs in float32 and as rounded from those in int8.

    Args:
        graphs: which together hold them.
        wanted: shapes of the weights, by all the names of each: a tied one has several, and graphs know it by any.

    Returns:
        float32 arrays, by every name.

    Raises:
        WeightsError: one of them is in none of the graphs, or there in another shape; or a graph cannot be read.
    """
    constants = {}
    for graph in graphs:
        try:
            constants.update({each.name: numpy_helper.to_array(each) for each in onnx.load(graph).graph.initializer})
        except (OSError, DecodeError) as error:
            raise WeightsError(f"{graph} cannot be read: {error}") from None
    return {
        name: weight
        for names, shape in wanted.items()
        for weight in [_weight(constants, names, shape)]
        for name in names
    }


def _weight(constants: Mapping[str, np.ndarray], names: Sequence[str], shape: tuple[int, ...]) -> np.ndarray:
    found = _found(constants, names)
    if found is None:
        raise WeightsError(
            f"no weight {names[0]} in the graphs: they are of another network, of an earlier version, or never trained"
        )
    if found.shape != shape:
        raise WeightsError(f"the weight {names[0]} in the graphs is of shape {found.shape}, not {shape}")
    return np.array(found, np.float32, order="C")


def _found(constants: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray | None:
    """A weight, rounded or not; None when it is not there."""
    for name in names:
        for turned in (_TURNED, ""):
            values = _restored(constants, f"{name}{turned}", channel_axis=-1 if turned else 0)
            if values is not None:
                return values.T if turned else values
    return None


def _restored(constants: Mapping[str, np.ndarray], name: str, channel_axis: int) -> np.ndarray | None:
    """A constant as float32, whatever it is kept as; scales are of the whole, or of each place along `channel_axis`."""
    if name in constants:
        return constants[name]
    if name + _QUANTIZED not in constants:
        return None
    rounded = constants[name + _QUANTIZED]
    facts = name if name + _SCALE in constants else name + _QUANTIZED  # a bias has the steps of its product
    step = constants[facts + _SCALE]
    zero = constants.get(facts + _ZERO, np.zeros_like(step)).astype(np.float32)
    if step.ndim and rounded.ndim == 2 and channel_axis == 0:
        step, zero = step[:, None], zero[:, None]
    restored: np.ndarray = (rounded.astype(np.float32) - zero) * step
    return restored
