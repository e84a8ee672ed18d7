"""Stage `export`: trained weights → the graphs that ship, checked against the network that they came from."""

from __future__ import annotations

import shutil

from captioner.bundle import DECODER_START, DECODER_STEP, ENCODER, WEIGHTS
from captioner.config import DecoderConfig, EncoderConfig
from captioner.pipeline.features import Features
from captioner.pipeline.workspace import Workspace
from captioner.text.vocabulary import Vocabulary

GRAPHS_AND_WEIGHTS = (ENCODER, DECODER_START, DECODER_STEP, WEIGHTS)
"""What the stage leaves, by file name."""


def export(encoder: EncoderConfig, decoder: DecoderConfig, workspace: Workspace) -> str:
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
    size = sum(path.stat().st_size for path in workspace.graphs.iterdir())
    return f"graphs agree with the network, {size / 1e6:.1f} MB"
