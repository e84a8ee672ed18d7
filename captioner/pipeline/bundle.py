"""Stage `bundle`: graphs, words, scores and the record of training → one sealed folder."""

from __future__ import annotations

import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from captioner.bundle import MODEL_CARD, Manifest, bundle_of, load_bundle, save_bundle
from captioner.config.build import BuildConfig
from captioner.datasets.scenes import ScenesDataset
from captioner.pipeline.encoders import captioner_named
from captioner.pipeline.evaluate import CONFIDENCE, SCORES
from captioner.pipeline.export import GRAPHS, GRAPHS_AND_WEIGHTS
from captioner.pipeline.features import Features
from captioner.pipeline.neighbours import write_neighbours
from captioner.pipeline.origin import origin_of
from captioner.pipeline.train import RECORD, folders_in
from captioner.pipeline.workspace import Workspace, read_json, read_lines
from captioner.text.vocabulary import Vocabulary

LIBRARIES = ("torch", "lightning", "transformers", "onnx", "onnxruntime", "numpy", "pillow")
"""Those whose versions go into the manifest."""
UNKNOWN_LICENCE = "not recorded: see where they come from"


def make_bundle(config: BuildConfig, workspace: Workspace, *, threads: int) -> str:
    """Save the bundle, and load it once to see that it is whole.

    Raises:
        BundleError: it cannot be written.
    """
    features = Features.load(workspace.features)
    vocabulary = Vocabulary.load(workspace.vocabulary)
    data = read_json(workspace.prepared)
    training = read_json(workspace.training / RECORD)
    sizes = {"feature_shape": features.encoder.feature_shape, "vocabulary": len(vocabulary)}
    counts = {split: sum(1 for _ in read_lines(workspace.pictures(split))) for split in data["splits"]}
    seen = {
        name: getattr(config.encoder, name)
        for name in ("features", "framing", "picture_size", "views", "mirrored", "finetune", "frozen")
    }
    options = {**asdict(config.data), **seen, **asdict(config.train), "quantize": config.export.quantize}
    for name in ("data", "start_from", "teachers"):  # paths of this machine
        del options[name]
    manifest = Manifest(
        created=datetime.now(UTC).isoformat(timespec="microseconds"),
        encoder=asdict(features.encoder),
        decoder={**asdict(config.decoder), **sizes, "parameters": training.pop("parameters")},
        preprocess=features.spec,
        decode=config.decode,
        vocabulary_fingerprint=vocabulary.fingerprint,
        training={
            "data": data["name"],
            "pictures": counts,
            "options": options,
            "versions": _versions(),
            **training,
            **_logs_of(started_from=config.train.start_from, teachers=config.train.teachers),
            **_going_on(config),
        },
        scores=tuple(read_json(workspace.evaluation / SCORES)),
        confidence=read_json(workspace.evaluation / CONFIDENCE),
        licences=_licences(config, features),
    )
    names = GRAPHS_AND_WEIGHTS if config.export.keep_weights else GRAPHS
    files = {name: workspace.graphs / name for name in names}
    if config.export.model_card:
        files[MODEL_CARD] = Path(config.export.model_card)
    files |= write_neighbours(workspace, config.export.neighbours, threads=threads)
    save_bundle(workspace.bundle, manifest, vocabulary, files)
    load_bundle(workspace.bundle)
    size = sum(path.stat().st_size for path in workspace.bundle.iterdir())
    return f"{workspace.bundle}, {size / 1e6:.1f} MB"


def _logs_of(**options: str) -> dict[str, list[Any]]:
    """What the manifests of captioners that options name say of their training, under the names of the options."""
    return {
        name: [load_bundle(bundle_of(folder)).manifest.training for folder in folders_in(option)]
        for name, option in options.items()
        if option
    }


def _going_on(config: BuildConfig) -> dict[str, Any]:
    """What the manifest of the captioner that the build went on from says of its training."""
    origin = origin_of(config.origin)
    return {} if origin is None else {"from": origin.manifest.training}


def _licences(config: BuildConfig, features: Features) -> dict[str, str]:
    """What was named, or what is known: drawn scenes are ours, and the encoder of a captioner keeps its licence."""
    is_drawn = ScenesDataset.recognises(config.data.data)
    known = "Apache-2.0" if is_drawn else UNKNOWN_LICENCE
    encoder = config.export.encoder_licence
    if not encoder and not features.encoder.trained_with_decoder:
        folder = captioner_named(features.encoder.name) or captioner_named(config.encoder.encoder)
        encoder = load_bundle(folder).manifest.licences.get("encoder", "") if folder else UNKNOWN_LICENCE
    return {"encoder": encoder or known, "training data": config.export.data_licence or known}


def _versions() -> dict[str, str]:
    installed = {each.name.lower(): each.version for each in metadata.distributions() if each.name}
    # A library may have another name here, as ONNX Runtime for GPUs has.
    return {"python": platform.python_version(), **{name: installed.get(name, "unknown") for name in LIBRARIES}}
