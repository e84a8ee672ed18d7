"""Which encoder looks at the pictures: a network that is exported, one to train, or that of a finished captioner."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from captioner.bundle import ENCODER, MANIFEST, PRETRAINED, bundle_of, load_bundle, pretrained_bundle
from captioner.config.build import AUTO, BUILTIN, EncoderConfig
from captioner.errors import ConfigError, WeightsError
from captioner.images import PreprocessSpec
from captioner.pipeline.workspace import Workspace


@dataclass(frozen=True)
class EncoderFacts:
    """What there is to know of an encoder once it has done its work."""

    name: str
    """As in `Encoder`, like the fields below."""
    origin: str
    features: str
    """`pooled` or `grid`."""
    feature_shape: tuple[int, ...]
    trained_with_decoder: bool
    mirrored: bool = False
    """Whether its graph looks at mirror images too."""


def open_encoder(config: EncoderConfig, workspace: Workspace) -> tuple[EncoderFacts, PreprocessSpec, Path | None]:
    """Facts of the encoder, how pictures become pixels for it, and its graph unless it is still to be trained.

    Raises:
        ConfigError: the encoder cannot do what the options ask of it.
        WeightsError: its weights cannot be had.
    """
    from captioner.export import export_encoder
    from captioner.models.encoders.registry import build_encoder

    if config.encoder == AUTO and not config.encoder_weights and not config.finetune:
        config = _settled(config)
    captioner = captioner_named(config.encoder)
    if captioner is not None and not config.finetune:
        return _open_captioners(captioner, config, workspace)
    encoder = build_encoder(config)
    facts = EncoderFacts(
        encoder.name, encoder.origin, config.features, encoder.feature_shape, encoder.trained_with_decoder
    )
    if encoder.trained_with_decoder:
        if config.mirrored:
            raise ConfigError(
                f"--mirrored: {encoder.name} is trained together with the decoder; show it mirror images by --views 2, "
                "and leave --mirrored to encoders that are finished"
            )
        return facts, encoder.preprocess, None
    known = json.dumps([asdict(facts), encoder.preprocess.to_json()], sort_keys=True)
    graph = workspace.cache / "encoders" / f"{hashlib.sha256(known.encode()).hexdigest()[:16]}.onnx"
    if not graph.exists():
        print("  exporting the encoder", file=sys.stderr)  # noqa: T201
        export_encoder(encoder, graph)
    if config.mirrored:
        return replace(facts, mirrored=True), encoder.preprocess, _mirrored(graph)
    return facts, encoder.preprocess, graph


def _mirrored(graph: Path) -> Path:
    """The graph beside this one that looks at mirror images too."""
    from captioner.encoder_graphs import write_mirrored

    kept = graph.with_stem(f"{graph.stem}-mirrored")
    if not kept.exists():
        write_mirrored(graph, kept)
    return kept


def _settled(config: EncoderConfig) -> EncoderConfig:
    """VGG16 where its weights can be had, else the encoder that ships."""
    from captioner.models.encoders.registry import build_encoder

    vgg16 = replace(config, encoder="vgg16")
    try:
        build_encoder(vgg16)
    except WeightsError as error:
        if pretrained_bundle() is None:
            raise
        print(  # noqa: T201
            f"  no weights of VGG16: {error.message}\n  taking the encoder of the captioner that ships "
            "(--encoder builtin) in its place; for VGG16, name its file with --encoder-weights",
            file=sys.stderr,
        )
        return replace(config, encoder=BUILTIN)
    return vgg16


def captioner_named(encoder: str) -> Path | None:
    """The bundle whose encoder is meant: the one that ships, or that of a folder; None when it is no captioner."""
    folder = PRETRAINED if encoder == BUILTIN else bundle_of(Path(encoder))
    return folder if (folder / MANIFEST).is_file() else None


def _open_captioners(
    folder: Path, config: EncoderConfig, workspace: Workspace
) -> tuple[EncoderFacts, PreprocessSpec, Path]:
    """The encoder of a finished captioner, as the graph that it is there."""
    from captioner.encoder_graphs import write_pooled

    bundle = load_bundle(folder)
    manifest, graph = bundle.manifest, bundle.path(ENCODER)
    spec = replace(manifest.preprocess, framing=config.framing)
    if config.picture_size not in (0, spec.size):
        raise ConfigError(
            f"--picture-size {config.picture_size}: the encoder of {config.encoder} is finished, and looks at pictures "
            f"of {spec.size} × {spec.size}; leave --picture-size away"
        )
    shape = tuple(manifest.encoder["feature_shape"])
    gives = "grid" if len(shape) == 2 else "pooled"
    sha256 = hashlib.sha256(graph.read_bytes()).hexdigest()[:16]
    kept = workspace.cache / "encoders" / f"{sha256}{'-pooled' if config.features != gives else ''}.onnx"
    if config.features == "grid" and gives == "pooled":
        raise ConfigError(f"--features grid: the encoder of {config.encoder} gives one vector a picture")
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        if config.features == gives:
            shutil.copyfile(graph, kept)
        else:
            write_pooled(graph, kept)
    if config.features != gives:
        shape = shape[1:]
    looks_twice = manifest.encoder.get("mirrored", False)
    if config.mirrored and not looks_twice:
        kept, looks_twice = _mirrored(kept), True
    name = BUILTIN if config.encoder == BUILTIN else manifest.encoder["name"]
    return EncoderFacts(name, manifest.encoder["origin"], config.features, shape, False, looks_twice), spec, kept
