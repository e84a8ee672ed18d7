"""Networks → ONNX graphs, each compared with its network before it counts as written.

Knows nothing of bundles: it writes single files. The graphs have a dynamic batch dimension and nothing in them tells of
the machine that they were made on.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from captioner.bundle import DECODER_START, DECODER_STEP, WEIGHTS
from captioner.errors import ExportError, WeightsError
from captioner.graph_weights import name_weights, read_weights
from captioner.models.caption_model import CaptionModel
from captioner.models.decoders.base import Decoder, DecoderSizes, State
from captioner.models.encoders.base import Encoder
from captioner.runtime.onnx_step import FEATURES, LOG_PROBS, NEXT, TOKENS
from captioner.runtime.session import open_session

PIXELS = "pixels"
TOLERANCE = 1e-3
"""Largest difference allowed, relative to the largest output; float32 sums in another order differ by about 1e-6."""
_OPSET = 20


class _Start(nn.Module):
    """`Decoder.start` as a module of its own."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, features: Tensor) -> State:
        return self.decoder.start(features)


class _Step(nn.Module):
    """`Decoder.step` as a module of its own, the state as separate arguments; what stays the same is not given back."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, tokens: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        log_probs, after = self.decoder.step(tokens, state)
        named = zip(self.decoder.state_names, after, strict=True)
        return (log_probs, *(tensor for name, tensor in named if name not in self.decoder.steady))


def export_encoder(encoder: Encoder, path: Path) -> None:
    """Write an encoder, pixels → features.

    Raises:
        ExportError: graph and network disagree.
    """
    size = encoder.preprocess.size
    examples = [(torch.rand(batch, 3, size, size) * 2 - 1,) for batch in (2, 3)]
    _export(encoder, examples, path, [PIXELS], [FEATURES])


def export_decoder(decoder: Decoder, sizes: DecoderSizes, folder: Path) -> None:
    """Write a decoder as two graphs: features → state, and tokens with state → log-probabilities with next state.

    Raises:
        ExportError: a graph and the network disagree.
    """
    names = list(decoder.state_names)
    features = [torch.rand(batch, *sizes.feature_shape) for batch in (2, 3)]
    _export(_Start(decoder), [(each,) for each in features], folder / DECODER_START, [FEATURES], names)
    # What is told so far has some length in the first example, and none in the second, as before the first word.
    steps = [
        (torch.arange(len(each)) % sizes.vocabulary, *_made_up_state(decoder, each, told))
        for each, told in zip(features, (3, 0), strict=True)
    ]
    outputs = [LOG_PROBS, *(NEXT + name for name in names if name not in decoder.steady)]
    growing = [{}, *({decoder.growing[name]: "told"} if name in decoder.growing else {} for name in names)]
    _export(_Step(decoder), steps, folder / DECODER_STEP, [TOKENS, *names], outputs, growing)


def _made_up_state(decoder: Decoder, features: Tensor, told: int) -> State:
    """A random state after `told` words; not one that was computed, as two equal inputs would be taken for one."""
    state = []
    for name, tensor in zip(decoder.state_names, decoder.start(features), strict=True):
        shape = list(tensor.shape)
        if name in decoder.growing:
            shape[decoder.growing[name]] = told
        state.append(torch.randn(shape))
    return tuple(state)


def save_weights(model: CaptionModel, path: Path) -> None:
    """The weights alone, to go on training from."""
    # A clone each: tied weights share memory, which safetensors refuses.
    save_file({name: weight.detach().clone().contiguous() for name, weight in model.state_dict().items()}, path)


def load_weights(folder: Path, network: CaptionModel) -> dict[str, Tensor]:
    """The weights of a finished captioner: what `save_weights` wrote, or, where it has none, those in its graphs.

    Args:
        folder: its bundle.
        network: what the weights are for, by whose names graphs are searched; its own weights do not matter.

    Raises:
        WeightsError: they are damaged or of another network, or an encoder's are asked of a bundle that has none.
    """
    path = folder / WEIGHTS
    if not path.exists():
        return _weights_in_graphs(folder, network)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read: {error}") from None


def _weights_in_graphs(folder: Path, network: CaptionModel) -> dict[str, Tensor]:
    if network.encoder is not None:
        raise WeightsError(
            f"{folder} keeps no weights to go on from, only its decoder's, in its graphs; take its encoder as it is, "
            "with --encoder and the same folder"
        )
    names: dict[int, list[str]] = {}  # tied weights share memory
    weights = network.state_dict()
    for name, weight in weights.items():
        names.setdefault(weight.data_ptr(), []).append(name)
    wanted = {tuple(same): tuple(weights[same[0]].shape) for same in names.values()}
    found = read_weights([folder / DECODER_START, folder / DECODER_STEP], wanted)
    return {name: torch.from_numpy(values) for name, values in found.items()}


def _export(
    module: nn.Module,
    examples: Sequence[tuple[Tensor, ...]],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    growing: Sequence[Mapping[int, str]] = (),
) -> None:
    """Trace with the first example, compare with all of them, then put the file in its place.

    `growing` names for each input the axes that are free beside that of the batch.
    """
    module.eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = {name: torch.export.Dim(name) for name in ("batch", *(name for axes in growing for name in axes.values()))}
    free = [
        {0: sizes["batch"], **{axis: sizes[name] for axis, name in axes.items()}}
        for axes in growing or [{} for _ in inputs]
    ]
    # A module with *args has one entry for all of them.
    dynamic = (free[0],) if len(free) == 1 else (free[0], tuple(free[1:]))
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's advice to its own developers
        program = torch.onnx.export(
            module,
            examples[0],
            dynamo=True,
            verbose=False,
            opset_version=_OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=dynamic,
        )
    logger.setLevel(level)
    graph = _without_traces(program.model_proto)  # type: ignore[union-attr]
    name_weights(graph, {name: weight.detach().numpy() for name, weight in module.state_dict().items()})
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(graph.SerializeToString())
    try:
        for example in examples:
            _compare(module, temporary, example, path.name)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the stack traces that the exporter notes at every node: they name files of this machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        del part.metadata_props[:]
        part.doc_string = ""
    return model


def _compare(module: nn.Module, graph: Path, example: tuple[Tensor, ...], name: str) -> None:
    with torch.no_grad():
        expected = module(*example)
    expected = expected if isinstance(expected, tuple) else (expected,)
    session = open_session(graph)
    feeds = {tensor.name: value.numpy() for tensor, value in zip(session.get_inputs(), example, strict=True)}
    for want, got in zip(expected, session.run(None, feeds), strict=True):
        reference = want.numpy()
        scale = max(1.0, float(np.abs(reference).max(initial=0.0)))
        if got.shape != reference.shape or not np.allclose(got, reference, rtol=0, atol=TOLERANCE * scale):
            raise ExportError(
                f"{name} and the network it came from disagree on a batch of {len(example[0])}; nothing was written"
            )
