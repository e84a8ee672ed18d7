"""Finished encoder graphs → graphs that look twice, or say less; knows nothing of the networks that they came from."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from captioner.errors import ConfigError

_LAST = np.iinfo(np.int64).min
"""As the end of a slice that runs backwards: to the first one."""


def write_pooled(grid: Path, path: Path) -> None:
    """Write an encoder that gives the mean over the regions, (batch, channels), of what the one at `grid` gives."""
    model = onnx.load(grid)
    output = model.graph.output[0]
    regions = _renamed_output(model, "pooled_regions")
    axes = _constant(model, "pooled_axes", [1])
    model.graph.node.append(helper.make_node("ReduceMean", [regions, axes], [output.name], keepdims=0))
    del output.type.tensor_type.shape.dim[1]
    _write(model, path)


def write_mirrored(graph: Path, path: Path) -> None:
    """Write an encoder that looks at every picture and at its mirror image, and gives the mean of what it sees.

    The mirror image shows the same things, and what differs is noise, that of int8 not least; K. Simonyan and A.
    Zisserman 2015, arXiv 1409.1556, section 3.2, average class scores in this way. The regions of a grid, a square,
    listed row by row, are put back into the places of the picture first.

    Args:
        graph: pixels (batch, 3, size, size) → features (batch, channels) or (batch, regions, channels).
        path: where the new one goes, which takes and gives the same.

    Raises:
        ConfigError: the regions are no square.
    """
    model = onnx.load(graph)
    pixels, output = model.graph.input[0].name, model.graph.output[0]
    both, seen = "mirrored_both", _renamed_output(model, "mirrored_seen")
    for node in model.graph.node:
        node.input[:] = [both if name == pixels else name for name in node.input]
    first, second = "mirrored_first", "mirrored_second"
    before, image = _reversed(model, pixels, axis=3)
    before.append(helper.make_node("Concat", [pixels, image], [both], axis=0))
    after = [helper.make_node("Split", [seen], [first, second], axis=0, num_outputs=2)]
    shape = [dim.dim_value for dim in output.type.tensor_type.shape.dim]
    if len(shape) == 3:
        after += _rows_reversed(model, second, "mirrored_back", *shape[1:])
        second = "mirrored_back"
    after.append(helper.make_node("Mean", [first, second], [output.name]))
    nodes = [*before, *model.graph.node, *after]
    del model.graph.node[:], model.graph.value_info[:]  # which speak of one look
    model.graph.node.extend(nodes)
    _write(model, path)


def _rows_reversed(model: ModelProto, grid: str, result: str, regions: int, channels: int) -> list[NodeProto]:
    """Nodes that turn every row of a grid (batch, regions, channels) round."""
    side = round(regions**0.5)
    if side * side != regions:
        raise ConfigError(f"--mirrored: a grid of {regions} regions is no square, so it cannot be turned round")
    square = _constant(model, "mirrored_square", [-1, side, side, channels])
    flat = _constant(model, "mirrored_flat", [-1, regions, channels])
    nodes, turned = _reversed(model, "mirrored_rows", axis=2)
    return [
        helper.make_node("Reshape", [grid, square], ["mirrored_rows"]),
        *nodes,
        helper.make_node("Reshape", [turned, flat], [result]),
    ]


def _reversed(model: ModelProto, tensor: str, axis: int) -> tuple[list[NodeProto], str]:
    """Nodes that turn one axis round, and the name of what comes out."""
    values = {"start": [-1], "end": [_LAST], "axis": [axis], "step": [-1]}
    slots = [_constant(model, f"{tensor}_reversed_{name}", value) for name, value in values.items()]
    result = f"{tensor}_reversed"
    return [helper.make_node("Slice", [tensor, *slots], [result])], result


def _renamed_output(model: ModelProto, new: str) -> str:
    """Give what the graph computes another name, so that its own can be given to something else."""
    old = model.graph.output[0].name
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    return new


def _constant(model: ModelProto, name: str, values: list[int]) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    return name


def _write(model: ModelProto, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(model.SerializeToString())
    temporary.replace(path)
