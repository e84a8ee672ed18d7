"""The whole way from pictures and captions to a bundle: the stages in order, each with what it depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from captioner.bundle import MANIFEST, bundle_of
from captioner.config.build import BuildConfig, EncoderConfig, TrainConfig
from captioner.errors import ConfigError
from captioner.pipeline.bundle import make_bundle
from captioner.pipeline.evaluate import CONFIDENCE, FRAMING, SCORES, evaluate_splits
from captioner.pipeline.export import GRAPHS_AND_WEIGHTS, export
from captioner.pipeline.features import compute_features, features_are_whole
from captioner.pipeline.origin import origin_of
from captioner.pipeline.prepare import digest, open_data, prepare
from captioner.pipeline.report import make_report
from captioner.pipeline.stage import Stage, run_stages
from captioner.pipeline.train import RECORD, train
from captioner.pipeline.workspace import Workspace
from captioner.runtime.session import available_threads


def build(config: BuildConfig, workspace: Workspace) -> None:
    """Run every stage that is not up to date. Progress goes to stderr.

    Raises:
        CaptionerError: a stage cannot do its work; the message says why, and what is done stays done.
    """
    _require_hardware(config.train)
    model_card = _content(config.export.model_card)
    threads = config.train.threads or available_threads()
    origin = origin_of(config.origin)
    begun = {} if origin is None else {"from": origin.manifest.created, "words": origin.vocabulary.fingerprint}
    dataset = open_data(config.data, threads=threads)
    workspace.check()
    folder = workspace
    with workspace.lock():
        stages = [
            Stage(
                "prepare",
                lambda: {"records": digest(dataset), **asdict(config.data), **begun},
                [folder.vocabulary, folder.prepared],
                partial(prepare, dataset, config.data, folder, known=origin.vocabulary if origin else None),
            ),
            Stage(
                "features",
                _facts(config.encoder, files=_files_of(config.encoder)),
                [folder.features, *(folder.pictures(split) for split in dataset.splits)],
                partial(compute_features, dataset, config.data, config.encoder, folder, threads=threads),
                intact=partial(features_are_whole, folder),
            ),
            Stage(
                "train",
                # Where it is computed, and with how many threads, does not make it another training.
                _facts(config.decoder, replace(config.train, threads=0, accelerator="auto")),
                [folder.training / RECORD],
                partial(
                    train,
                    config.data,
                    config.encoder,
                    config.decoder,
                    config.train,
                    folder,
                    threads=threads,
                    origin=origin,
                ),
                unfinished=[folder.training],
            ),
            Stage(
                "export",
                lambda: {"quantize": config.export.quantize},
                [folder.graphs / name for name in GRAPHS_AND_WEIGHTS],
                partial(export, config.encoder, config.decoder, config.export, folder),
            ),
            Stage(
                "evaluate",
                _facts(config.decode),
                [folder.evaluation / SCORES, folder.evaluation / FRAMING, folder.evaluation / CONFIDENCE],
                partial(evaluate_splits, dataset, config.decode, folder, threads=threads),
            ),
            Stage(
                "bundle",
                _facts(config.export, model_card=model_card),
                [folder.bundle / MANIFEST],
                partial(make_bundle, config, folder, threads=threads),
            ),
            Stage(
                "report",
                dict,
                [folder.report / "index.html"],
                partial(make_report, dataset, folder),
            ),
        ]
        run_stages(stages, folder.marks)


def _require_hardware(config: TrainConfig) -> None:
    """Fail before the first step when the machine has not what training is to run on; one CPU or GPU it always has."""
    if (config.accelerator, config.devices, config.precision) != ("auto", 1, "32-true"):
        from captioner.training.fit import require_hardware

        require_hardware(config)


def _content(file: str) -> str:
    """SHA-256 of a file that is named. Raises ConfigError when it cannot be read."""
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}; name another file, or none") from None


def _facts(*configs: Any, **more: Any) -> Callable[[], Mapping[str, Any]]:
    """Options as the inputs of a stage."""
    return lambda: {**{type(config).__name__: asdict(config) for config in configs}, **more}


def _files_of(config: EncoderConfig) -> list[tuple[str, int, int]]:
    """Name, size and time of the encoder's own files: others under the same names are another input."""
    path = bundle_of(Path(config.encoder_weights or config.encoder))
    files = sorted([*path.glob("*.json"), *path.glob("*.safetensors")]) if path.is_dir() else [path]
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
