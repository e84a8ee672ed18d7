"""Stage `train`: features and word ids → the weights of the best epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from captioner.bundle import ENCODER, Bundle, bundle_of, load_bundle
from captioner.config.build import DataConfig, DecoderConfig, EncoderConfig, TrainConfig
from captioner.errors import CaptionerError, ConfigError, WeightsError
from captioner.metrics.evaluate import evaluate
from captioner.pipeline.features import Features
from captioner.pipeline.workspace import Workspace, read_lines, write_json
from captioner.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from captioner.models.caption_model import CaptionModel
    from captioner.models.decoders.base import DecoderSizes

RECORD = "record.json"


@dataclass(frozen=True)
class DevCider:
    """CIDEr of captions of all dev pictures, given in order as word ids; a class, because processes are sent it."""

    vocabulary: Vocabulary
    references: Mapping[str, Sequence[str]]

    def __call__(self, captions: Sequence[Sequence[int]]) -> float:
        """The score, higher is better."""
        predictions = dict(zip(self.references, map(self.vocabulary.decode, captions), strict=True))
        return evaluate(predictions, self.references, metrics=["CIDEr"])[0].value


def train(
    data: DataConfig,
    encoder: EncoderConfig,
    decoder: DecoderConfig,
    config: TrainConfig,
    workspace: Workspace,
    *,
    threads: int,
    origin: Bundle | None = None,
) -> str:
    """Train, and leave checkpoints, log and record in the workspace; `origin` is the captioner to go on from.

    Raises:
        TrainingError: the loss is not a number, or the checkpoints in the folder are of another model.
        WeightsError: the captioner to start from is not there, or another one.
    """
    from captioner.models.decoders.base import DecoderSizes
    from captioner.training.data import CaptionData
    from captioner.training.distillation import Teachers
    from captioner.training.fit import fit
    from captioner.training.module import CaptionTask
    from captioner.training.prepared import PreparedSplit
    from captioner.training.self_critical import SelfCritic

    vocabulary = Vocabulary.load(workspace.vocabulary)
    features = Features.load(workspace.features)
    sizes = DecoderSizes(features.encoder.feature_shape, len(vocabulary), vocabulary.pad)
    trained_encoder = encoder if features.encoder.trained_with_decoder else None
    model = _first_model(decoder, sizes, trained_encoder, config, vocabulary, origin)
    dev = list(read_lines(workspace.pictures("dev")))
    score_dev = DevCider(vocabulary, {picture["image_id"]: picture["captions"] for picture in dev})
    training = PreparedSplit(workspace.split("train"))
    critic = None
    if config.self_critical != "off":
        critic = SelfCritic(
            training,
            vocabulary.special,
            samples=config.samples,
            baseline=config.self_critical,
            max_length=data.max_words,
        )
    teachers = None
    if config.teachers:
        teachers = Teachers(_teachers(config.teachers, vocabulary, features, sizes), config.distill)
    elif origin is not None and config.keep > 0:
        teachers = Teachers([deepcopy(model)], config.keep)  # as it is before it learns
    task = CaptionTask(model, config, vocabulary.special, score_dev, data.max_words, sizes, critic, teachers)
    batches = CaptionData(
        training,
        PreparedSplit(workspace.split("dev")),
        features.inputs,
        vocabulary.special,
        batch_size=config.batch_size,
        seed=config.seed,
    )
    record = fit(task, batches, config, workspace.training, threads=threads)
    parameters = sum(weight.numel() for weight in model.parameters())
    write_json(workspace.training / RECORD, {**asdict(record), "parameters": parameters})
    epochs = f"{record.epochs} epoch{'' if record.epochs == 1 else 's'}"
    return f"{epochs}, best {record.best_dev_cider:.1f} CIDEr on dev after epoch {record.best_epoch}"


def _first_model(
    decoder: DecoderConfig,
    sizes: DecoderSizes,
    encoder: EncoderConfig | None,
    config: TrainConfig,
    vocabulary: Vocabulary,
    origin: Bundle | None,
) -> CaptionModel:
    """The model that training begins with: fresh, or with the weights that `--from` or `--start-from` names."""
    from captioner.export import load_weights
    from captioner.models.caption_model import build_caption_model, grow_from, start_from

    model = build_caption_model(decoder, sizes, encoder, seed=config.seed)
    if origin is not None:
        before = len(origin.vocabulary)
        smaller = build_caption_model(decoder, replace(sizes, vocabulary=before), seed=config.seed)
        try:
            grow_from(model, load_weights(origin.folder, smaller), before)
        except WeightsError as error:
            raise WeightsError(f"--from {origin.folder}: {error.message}") from None
    if config.start_from:
        named = [_finished("--start-from", folder, vocabulary) for folder in folders_in(config.start_from)]
        try:
            start_from(model, *(load_weights(bundle.folder, model) for bundle in named))
        except WeightsError as error:
            raise WeightsError(f"--start-from {config.start_from}: {error.message}") from None
    return model


def folders_in(option: str) -> list[Path]:
    """The folders that an option names, with commas between them."""
    return [Path(name.strip()) for name in option.split(",")]


def _finished(option: str, folder: Path, vocabulary: Vocabulary) -> Bundle:
    """The bundle that an option names. Raises WeightsError when it is none, or has other words."""
    try:
        bundle = load_bundle(bundle_of(folder))
    except CaptionerError as error:
        raise WeightsError(f"{option} {folder} is no finished build or bundle: {error.message}") from None
    if bundle.vocabulary.fingerprint != vocabulary.fingerprint:
        raise WeightsError(
            f"{option} {folder} has other words; build both on the same captions, with the same --min-count"
        )
    return bundle


def _teachers(named: str, vocabulary: Vocabulary, features: Features, sizes: DecoderSizes) -> list[CaptionModel]:
    """The captioners to learn from. Raises WeightsError when one does not fit the student."""
    from captioner.export import load_weights
    from captioner.models.caption_model import start_from
    from captioner.training.distillation import teacher_network

    if features.encoder.trained_with_decoder:
        raise ConfigError("--teachers: they look at features of a frozen encoder; leave --finetune away")
    models = []
    for name in folders_in(named):
        bundle = _finished("--teachers", name, vocabulary)
        if features.graph is None or bundle.path(ENCODER).read_bytes() != features.graph.read_bytes():
            raise WeightsError(
                f"--teachers {name} has another encoder; teachers and student look at the same features: build all of "
                "them with one --encoder FOLDER"
            )
        try:
            model = teacher_network(bundle.manifest.decoder, sizes)
            start_from(model, load_weights(bundle.folder, model))
        except WeightsError as error:
            raise WeightsError(f"--teachers {name}: {error.message}") from None
        models.append(model)
    return models
