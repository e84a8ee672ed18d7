"""Exported graphs in int8: a quarter of the size, and on most processors faster; knows nothing of captions.

Encoders are quantised statically, weights by channel, with the ranges of the activations read off example pictures
(Jacob et al. 2018, arXiv 1712.05877); what follows a convolution must be quantised with it, or its output takes up
ranges that a ReLU then throws away. Rounding weights shifts the mean of what a convolution gives, for every picture
alike, and in a narrow deep network this is most of the error; so the shift is measured on the examples and goes into
the biases (Nagel et al. 2019, arXiv 1906.04721, section 4.2). Decoders are quantised dynamically: matrix products
alone, whose inputs vary from word to word. What quantises is ONNX Runtime's own.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from captioner.runtime.session import declared, open_session

_INT8_STEPS = 127


def quantize_encoder(path: Path, examples: Sequence[np.ndarray]) -> None:
    """Replace an encoder's graph by one in int8.

    Args:
        path: the graph, pixels → features.
        examples: pixels float32 (batch, 3, size, size), from training pictures; a hundred pictures are plenty.
    """
    name = next(iter(declared(open_session(path).get_inputs())))
    with _beside(path) as (prepared, result):
        quant_pre_process(path, prepared, skip_symbolic_shape=True)  # batch norm becomes part of the convolutions
        _correct_biases(prepared, name, examples)
        quantize_static(
            prepared,
            result,
            _Examples(name, examples),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )


def quantize_decoder(path: Path) -> None:
    """Replace a graph of a decoder by one whose matrices are int8, by channel."""
    with _beside(path) as (_, result):
        quantize_dynamic(path, result, per_channel=True, weight_type=QuantType.QInt8)


def _correct_biases(path: Path, input_name: str, examples: Sequence[np.ndarray]) -> None:
    """Add to the bias of every convolution in a graph what rounding its weights takes from the means of its channels.

    Beside each convolution stands one whose weights are what rounding takes away; its mean over positions and pictures
    is the shift.
    """
    model = onnx.load(path)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv" and node.input[1] in constants]
    if not convolutions:
        return
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    shifts = [f"{node.output[0]}_shift" for node in convolutions]
    for node, shift in zip(convolutions, shifts, strict=True):
        weights = numpy_helper.to_array(constants[node.input[1]])
        beside = onnx.NodeProto()
        beside.CopyFrom(node)
        beside.name = lost = f"{shift}_by_position"
        beside.input[:], beside.output[:] = [node.input[0], f"{shift}_weights"], [lost]
        probe.graph.initializer.append(numpy_helper.from_array(weights - _rounded(weights), beside.input[1]))
        probe.graph.node.extend([beside, helper.make_node("GlobalAveragePool", [lost], [shift])])
        probe.graph.output.append(helper.make_tensor_value_info(shift, TensorProto.FLOAT, None))
    session = open_session(probe.SerializeToString())
    seen = [session.run(shifts, {input_name: pixels}) for pixels in examples]  # (batch, channels, 1, 1) each
    for node, found in zip(convolutions, zip(*seen, strict=True), strict=True):
        bias = np.concatenate(found).mean(axis=(0, 2, 3))  # (channels,)
        if len(node.input) > 2:
            bias += numpy_helper.to_array(constants[node.input[2]])
        name = f"{node.output[0]}_corrected_bias"  # one of its own: several convolutions may have shared the old one
        node.input[2:] = [name]
        model.graph.initializer.append(numpy_helper.from_array(bias, name))
    used = {name for node in model.graph.node for name in node.input}
    for unused in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(unused)
    onnx.save(model, path)


def _rounded(weights: np.ndarray) -> np.ndarray:
    """What int8 makes of weights (channels, …): as many equal steps for each channel as its largest weight needs."""
    steps = np.abs(weights).max(axis=tuple(range(1, weights.ndim)), keepdims=True) / _INT8_STEPS
    rounded: np.ndarray = np.rint(np.divide(weights, steps, where=steps > 0, out=np.zeros_like(weights))) * steps
    return rounded


class _Examples(CalibrationDataReader):
    """One batch after the other, in the form that ONNX Runtime asks for."""

    def __init__(self, name: str, batches: Sequence[np.ndarray]) -> None:
        self._feeds = iter([{name: batch} for batch in batches])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next one; None at the end."""
        return next(self._feeds, None)


@contextmanager
def _beside(path: Path) -> Iterator[tuple[Path, Path]]:
    """Two places for graphs; what is in the second one when all went well replaces `path`."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # advice to prepare graphs that are prepared
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".quantize") as folder:
            result = Path(folder) / "result.onnx"
            yield Path(folder) / "prepared.onnx", result
            result.replace(path)
    finally:
        logger.setLevel(level)
