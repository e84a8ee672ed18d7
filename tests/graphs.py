"""A captioner of hand-made graphs for tests, small enough to be saved in a moment, whole or with one fault.

Its encoder takes the mean of each colour, and its decoder says the same word over and over. Needs the library `onnx`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from captioner.bundle import (
    DECODER_START,
    DECODER_STEP,
    ENCODER,
    NEIGHBOURS,
    NEIGHBOURS_CAPTIONS,
    Manifest,
    save_bundle,
)
from captioner.config.decode import DecodeConfig
from captioner.images import PreprocessSpec
from captioner.text.vocabulary import Vocabulary

WORDS = Vocabulary(("a", "dog", "runs"))
VOCAB = len(WORDS)
SIZE = 8
FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64

Tensors = dict[str, tuple[int, list]]
"""Element type and shape by name."""


def graph(nodes: list, inputs: Tensors, outputs: Tensors, **constants: np.ndarray) -> onnx.ModelProto:
    """A model of these nodes; inputs and outputs are declared as given, whether that is true or not."""
    made = helper.make_graph(
        nodes,
        "hand-made",
        [helper.make_tensor_value_info(name, *tensor) for name, tensor in inputs.items()],
        [helper.make_tensor_value_info(name, *tensor) for name, tensor in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def encoder(size: int = SIZE, copies: int = 1, declared: Any = None, batch: Any = "batch") -> onnx.ModelProto:
    """Pixels (batch, 3, size, size) → features (batch, 3 × copies), of which it may declare something else."""
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Tile", ["mean", "repeats"], ["features"]),
    ]
    pixels, features = (FLOAT, [batch, 3, size, size]), (FLOAT, [batch, declared or 3 * copies])
    return graph(
        nodes, {"pixels": pixels}, {"features": features}, repeats=np.array([1, copies]), axes=np.array([2, 3])
    )


def start(channels: Any = 3, output: str = "Identity") -> onnx.ModelProto:
    """Features (batch, 3) → the state: the features themselves."""
    node = helper.make_node(output, ["features"], ["hidden"])
    return graph([node], {"features": (FLOAT, ["batch", channels])}, {"hidden": (FLOAT, None)})


def step(
    vocab: int = VOCAB, *, declared: Any = VOCAB, damaged: bool = False, fails: bool = False, one_row: bool = False
) -> onnx.ModelProto:
    """Tokens and state → log-probabilities over `vocab` ids, and the state.

    Args:
        vocab: how many it really gives.
        declared: how many it says it gives.
        damaged: its weights are not numbers.
        fails: it looks its first token up in a table of one row.
        one_row: whatever it is asked, it answers for one row.
    """
    weights = np.full((3, vocab), np.nan if damaged else 0.0, np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["looked_up"]),  # (rows, 3)
        helper.make_node("Add", ["looked_up", "hidden"], ["next_hidden"]),
        helper.make_node("MatMul", ["next_hidden", "weights"], ["logits"]),
        helper.make_node("Add", ["logits", "bias"], ["biased"]),
        helper.make_node("LogSoftmax", ["biased"], ["all_rows"], axis=-1),
        helper.make_node("Slice", ["all_rows", "zero", "last", "zero"], ["log_probs"]),
    ]
    return graph(
        nodes,
        {"tokens": (INT, ["batch"]), "hidden": (FLOAT, ["batch", 3])},
        {"log_probs": (FLOAT, ["batch", declared]), "next_hidden": (FLOAT, ["batch", 3])},
        table=np.zeros((1 if fails else vocab, 3), np.float32),
        weights=weights,
        bias=np.linspace(-3, 3, vocab, dtype=np.float32),
        zero=np.array([0]),
        last=np.array([1 if one_row else 2**31]),
    )


def with_external_data(model: onnx.ModelProto, file: str) -> onnx.ModelProto:
    """The same model, its last constant to be read from `file`."""
    tensor = model.graph.initializer[-1]
    for key, value in (("location", file), ("offset", "0"), ("length", str(len(tensor.raw_data)))):
        tensor.external_data.add(key=key, value=value)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    return model


def save_captioner(
    folder: Path,
    *,
    vocabulary: Vocabulary = WORDS,
    confidence: dict[str, Any] | None = None,
    more: Mapping[str, Path] | None = None,
    **graphs: onnx.ModelProto,
) -> Path:
    """Save a captioner below `folder`, sealed as any other, with other graphs and more files where they are given."""
    models = {"encoder": encoder(), "decoder_start": start(), "decoder_step": step(), **graphs}
    parts = folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    for name, model in models.items():
        (parts / f"{name}.onnx").write_bytes(model.SerializeToString())
    manifest = Manifest(
        created="2026-01-02T03:04:05.000006+00:00",
        encoder={},
        decoder={},
        preprocess=PreprocessSpec(size=SIZE),
        decode=DecodeConfig(beam=2, max_length=5, no_repeat_ngram=1),
        vocabulary_fingerprint=vocabulary.fingerprint,
        training={},
        scores=(),
        licences={},
        confidence=confidence,
    )
    names = (ENCODER, DECODER_START, DECODER_STEP)
    save_bundle(folder / "bundle", manifest, vocabulary, {name: parts / name for name in names} | dict(more or {}))
    return folder / "bundle"


COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def save_neighbours(folder: Path) -> dict[str, Path]:
    """Training pictures for a bundle, each of one colour, in the order of `COLOURS`, as `save_captioner` sees them."""
    spec = PreprocessSpec(size=SIZE)
    squares = [np.full((SIZE, SIZE, 3), colour, np.uint8) for colour in COLOURS.values()]
    features = spec.normalize(np.stack(squares)).mean(axis=(2, 3))
    files = {name: folder / name for name in (NEIGHBOURS, NEIGHBOURS_CAPTIONS)}
    np.save(files[NEIGHBOURS], (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float16))
    lines = [json.dumps([f"a {colour} wall", f"all {colour}"]) for colour in COLOURS]
    files[NEIGHBOURS_CAPTIONS].write_text("\n".join(lines) + "\n", encoding="utf-8")
    return files
