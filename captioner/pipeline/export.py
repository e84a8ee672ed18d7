"""Stage `export`: trained weights → the graphs that ship, checked against the network that they came from."""

from __future__ import annotations

import shutil

import numpy as np

from captioner.bundle import DECODER_START, DECODER_STEP, ENCODER, WEIGHTS
from captioner.config.build import DecoderConfig, EncoderConfig, ExportConfig
from captioner.pipeline.features import Features
from captioner.pipeline.workspace import Workspace
from captioner.text.vocabulary import Vocabulary

GRAPHS = (ENCODER, DECODER_START, DECODER_STEP)
GRAPHS_AND_WEIGHTS = (*GRAPHS, WEIGHTS)
"""What the stage leaves, by file name."""
_EXAMPLES, _AT_ONCE = 128, 8
"""Training pictures from which the ranges of int8 are read."""


def export(encoder: EncoderConfig, decoder: DecoderConfig, config: ExportConfig, workspace: Workspace) -> str:
    """Write encoder, decoder graphs and weights into the workspace.

    Raises:
        ExportError: a graph and its network disagree.
    """
    from captioner.export import export_decoder, export_encoder, save_weights
    from captioner.models.caption_model import build_caption_model
    from captioner.models.decoders.base import DecoderSizes
    from captioner.training.callbacks import BEST
    from captioner.training.checkpoint import load_checkpoint

    vocabulary = Vocabulary.load(workspace.vocabulary)
    features = Features.load(workspace.features)
    sizes = DecoderSizes(features.encoder.feature_shape, len(vocabulary), vocabulary.pad)
    model = build_caption_model(decoder, sizes, encoder if features.encoder.trained_with_decoder else None)
    model.load_state_dict(load_checkpoint(workspace.training / BEST))
    model.eval()

    workspace.graphs.mkdir(parents=True, exist_ok=True)
    if model.encoder is not None:
        export_encoder(model.encoder, workspace.graphs / ENCODER)
    elif features.graph is not None:
        shutil.copyfile(features.graph, workspace.graphs / ENCODER)
    export_decoder(model.decoder, sizes, workspace.graphs)
    save_weights(model, workspace.graphs / WEIGHTS)
    if config.quantize == "int8":
        _quantize(features, workspace, vocabulary.bos)
    size = sum((workspace.graphs / name).stat().st_size for name in GRAPHS)
    quantized = ", then quantised to int8" if config.quantize == "int8" else ""
    return f"graphs agree with the network{quantized}, {size / 1e6:.1f} MB"


def _quantize(features: Features, workspace: Workspace, bos: int) -> None:
    from captioner.quantize import quantize_decoder, quantize_encoder
    from captioner.runtime.session import OnnxEncoder
    from captioner.training.prepared import PreparedSplit

    training = PreparedSplit(workspace.split("train"))
    pictures = np.arange(min(_EXAMPLES, len(training)))
    batches = [pictures[start : start + _AT_ONCE] for start in range(0, len(pictures), _AT_ONCE)]
    inputs = [features.inputs(training.rows[batch, 0]) for batch in batches]
    if features.encoder.trained_with_decoder:  # what its decoder is shown is what the graph in int8 sees
        quantize_encoder(workspace.graphs / ENCODER, inputs)
        see = OnnxEncoder(workspace.graphs / ENCODER)
        inputs = [see(pixels) for pixels in inputs]
    captions = [[[bos, *training.captions(picture)[0].tolist()] for picture in batch] for batch in batches]
    quantize_decoder(
        workspace.graphs / DECODER_START, workspace.graphs / DECODER_STEP, list(zip(inputs, captions, strict=True))
    )
