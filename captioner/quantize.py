"""Exported graphs in int8: a quarter of the size, and on most processors faster; knows nothing of captions.

Both are quantised statically, weights by channel, with the ranges of the activations read off examples (Jacob et al.
2018, arXiv 1712.05877). In an encoder, what follows a convolution must be quantised with it, or its output takes up
ranges that a ReLU then throws away. Rounding weights shifts the mean of what a convolution gives, for every picture
alike, and in a narrow deep network this is most of the error; so the shift is measured on the examples and goes into
the biases (Nagel et al. 2019, arXiv 1906.04721, section 4.2). In a decoder, matrix products alone are quantised. What
quantises is ONNX Runtime's own.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
import onnxruntime
from onnx import GraphProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from captioner.runtime.onnx_step import FEATURES, OnnxStepModel
from captioner.runtime.session import declared, open_session

Example: TypeAlias = tuple[np.ndarray, Sequence[Sequence[int]]]
"""Features of pictures, (batch, *feature_shape), and what is written about each, as ids from the begin token on."""

_INT8_STEPS = 127
_PRODUCTS = ("MatMul", "Gemm")


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
            _Examples({name: pixels} for pixels in examples),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        _fuse(result)


def quantize_decoder(start: Path, step: Path, examples: Sequence[Example]) -> None:
    """Replace both graphs of a decoder by ones in int8.

    Ranges are read off the examples once and for all. Read off whatever is computed at the moment, as dynamic
    quantisation does, they would make a caption depend on the pictures that happen to be captioned with it.

    Args:
        start: the graph features → state.
        step: the graph tokens, state → log-probabilities, next state.
        examples: training pictures with a caption each; a hundred are plenty.
    """
    model = OnnxStepModel(start, step)
    with _beside(start) as (_, new_start), _beside(step) as (_, new_step):
        _quantize_products(start, new_start, ({FEATURES: features} for features, _ in examples))
        _quantize_products(step, new_step, _steps(model, examples))


def _steps(model: OnnxStepModel, examples: Sequence[Example]) -> Iterator[Mapping[str, np.ndarray]]:
    """What the step graph is given while the captions of the examples are written."""
    for features, captions in examples:
        state, left = model.start(features), list(captions)
        for place in range(max(map(len, captions))):
            state = model.reorder(state, np.flatnonzero([len(caption) > place for caption in left]))
            left = [caption for caption in left if len(caption) > place]
            tokens = np.array([caption[place] for caption in left], np.int64)
            yield model.feeds(tokens, state)
            _, state = model.step(tokens, state)


def _quantize_products(path: Path, result: Path, feeds: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Matrix products with weights in int8, by channel, and the tables of word vectors; all else stays as it is.

    What comes out of a product is left in float32: states add up over the words, and so would its rounding. So are
    products of what is computed with what is computed, as attention has.
    """
    graph = onnx.load(path).graph
    constants = {tensor.name for tensor in graph.initializer}
    quantize_static(
        path,
        result,
        _Examples(feeds),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=list(_PRODUCTS),
        nodes_to_exclude=[
            node.name for node in graph.node if node.op_type in _PRODUCTS and not constants & set(node.input[:2])
        ],
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={"OpTypesToExcludeOutputQuantization": list(_PRODUCTS)},
    )
    model = onnx.load(result)
    _quantize_tables(model.graph)
    onnx.save(model, result)


def _quantize_tables(graph: GraphProto) -> None:
    """Look rows up in int8, each row with a step of its own; a table that a product has in int8 already is shared."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        by_row = node.op_type == "Gather" and not any(each.name == "axis" and each.i for each in node.attribute)
        table = node.input[0] if by_row else ""
        rounded, steps = f"{table}_quantized", f"{table}_scale"
        if rounded not in constants:
            values = numpy_helper.to_array(constants[table]) if table in constants else np.empty(0)
            if values.dtype != np.float32 or values.ndim != 2:
                nodes.append(node)
                continue
            numbers, step = _in_int8(values)
            for name, array in ((rounded, numbers.astype(np.int8)), (steps, step[:, 0])):
                constants[name] = numpy_helper.from_array(array, name)
                graph.initializer.append(constants[name])
        row, found = node.input[1], node.output[0]
        nodes += [
            helper.make_node("Gather", [rounded, row], [f"{found}_rounded"]),
            helper.make_node("Gather", [steps, row], [f"{found}_step"]),
            helper.make_node("Cast", [f"{found}_rounded"], [f"{found}_number"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", [f"{found}_step", "last_axis"], [f"{found}_steps"]),
            helper.make_node("Mul", [f"{found}_number", f"{found}_steps"], [found]),
        ]
        if "last_axis" not in constants:
            constants["last_axis"] = numpy_helper.from_array(np.array([-1]), "last_axis")
            graph.initializer.append(constants["last_axis"])
    del graph.node[:]
    graph.node.extend(nodes)
    _remove_unused(graph)


def _fuse(path: Path) -> None:
    """Let ONNX Runtime join what it computes in one go, now instead of whenever the graph is loaded.

    What depends on the processor is left to loading, so that the graph runs on any CPU; on a GPU, what has no form
    there falls to the CPU. For encoders, whose loading takes half as long then; the graphs of decoders stay as they
    are, where training finds their weights again.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4
    fused = path.with_stem("fused")
    options.optimized_model_filepath = str(fused)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    fused.replace(path)


def _remove_unused(graph: GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)


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
        numbers, step = _in_int8(weights)
        probe.graph.initializer.append(numpy_helper.from_array(weights - numbers * step, beside.input[1]))
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
    _remove_unused(model.graph)
    onnx.save(model, path)


def _in_int8(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (channels, …) as whole numbers from -127 to 127, and how much 1 is in each channel, (channels, 1, …).

    A channel's largest weight is 127 of them.
    """
    steps = np.abs(weights).max(axis=tuple(range(1, weights.ndim)), keepdims=True) / _INT8_STEPS
    return np.rint(np.divide(weights, steps, where=steps > 0, out=np.zeros_like(weights))), steps


class _Examples(CalibrationDataReader):
    """What a graph is given, one after the other, in the form that ONNX Runtime asks for."""

    def __init__(self, feeds: Iterable[Mapping[str, np.ndarray]]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Mapping[str, np.ndarray] | None:
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
