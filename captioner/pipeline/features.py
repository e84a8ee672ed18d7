"""Stage `features`: what the encoder sees in every picture, computed once and kept.

A frozen encoder is exported to ONNX first, and its features are computed with that very graph. For an encoder that is
trained with the decoder, the store keeps the pictures themselves, resized. Corrupt pictures are reported and left out.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from captioner.bundle import ENCODER, MANIFEST, PRETRAINED, bundle_of, load_bundle, pretrained_bundle
from captioner.config import AUTO, BUILTIN, DataConfig, EncoderConfig
from captioner.datasets.base import CaptionDataset
from captioner.datasets.problems import Problem, ProblemKind, ProblemLog
from captioner.errors import ConfigError, DataError, WeightsError
from captioner.features import Extracted, FeatureStore, Represent, RowReader, extract
from captioner.images import DECODING, PreprocessSpec
from captioner.pipeline.workspace import Workspace, read_json, write_json, write_text
from captioner.runtime.session import OnnxEncoder
from captioner.text.vocabulary import Vocabulary


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


@dataclass(frozen=True)
class Features:
    """What the stage leaves for the others."""

    encoder: EncoderFacts
    """Which encoder it was."""
    spec: PreprocessSpec
    """How pictures become pixels."""
    graph: Path | None
    """The encoder's graph; None when it is still to be trained."""
    reader: RowReader
    """The rows: features, or resized pictures."""
    left_out: tuple[str, ...]
    """What was wrong with the data, a line a kind."""

    def inputs(self, rows: np.ndarray) -> np.ndarray:
        """What the model looks at: float32 features (n, *shape), or pixels (n, 3, size, size)."""
        found = self.reader(rows)
        return self.spec.normalize(found) if self.encoder.trained_with_decoder else found.astype(np.float32)

    def save(self, path: Path) -> None:
        """Write as JSON; `load` is its mirror image."""
        reader = {"path": str(self.reader.path), "count": self.reader.count, "shape": list(self.reader.shape)}
        write_json(
            path,
            {
                "encoder": asdict(self.encoder),
                "preprocess": self.spec.to_json(),
                "graph": str(self.graph) if self.graph else None,
                "rows": {**reader, "dtype": self.reader.dtype},
                "left_out": self.left_out,
            },
        )

    @classmethod
    def load(cls, path: Path) -> Features:
        """Read what `save` wrote."""
        data = read_json(path)
        rows = data["rows"]
        reader = RowReader(Path(rows["path"]), rows["count"], tuple(rows["shape"]), rows["dtype"])
        graph = Path(data["graph"]) if data["graph"] else None
        facts = {**data["encoder"], "feature_shape": tuple(data["encoder"]["feature_shape"])}
        return cls(
            EncoderFacts(**facts), PreprocessSpec.from_json(data["preprocess"]), graph, reader, tuple(data["left_out"])
        )


def features_are_whole(workspace: Workspace) -> bool:
    """Whether rows and graph of the last run of this stage are still in the cache, where anything may be deleted."""
    features = Features.load(workspace.features)
    return features.reader.is_whole and (features.graph is None or features.graph.is_file())


def compute_features(
    dataset: CaptionDataset,
    data: DataConfig,
    config: EncoderConfig,
    workspace: Workspace,
    *,
    threads: int,
) -> str:
    """Fill the store, and write for every split what training and evaluation read.

    Raises:
        DataError: too many pictures are bad.
        WeightsError: the encoder's weights cannot be had.
    """
    log = ProblemLog(dataset.problems)
    splits: dict[str, list[Extracted]] = {}
    seen: dict[bytes, str] = {}
    with workspace.lock_cache():
        encoder, spec, graph = _open_encoder(config, workspace)
        store, represent = _open_store(spec, graph, encoder.feature_shape, workspace)
        already = len(store)
        for split in sorted(dataset.splits, key=_precedence):
            records = dataset.records(split)
            views = config.views if split == "train" else 1
            bar = tqdm(
                extract(records, store, represent, spec, threads=threads, views=views),
                total=read_json(workspace.prepared)["splits"][split],
                desc=f"  {split}",
                unit=" pictures",
                leave=False,
                disable=not sys.stderr.isatty(),
            )
            splits[split] = list(_good(bar, split, seen, log))
    fresh = _found_now(log, dataset)
    if fresh.problems:
        print(fresh.summary(), file=sys.stderr)  # noqa: T201
    log.check(dataset.listed, data.max_bad_share)
    fresh.check(sum(read_json(workspace.prepared)["splits"].values()), data.max_bad_share)  # all, or the first few

    for split in dataset.splits:
        if not splits[split]:
            raise DataError(f"{dataset.name} has no readable pictures in its {split} split; mend it, or take it away")

    vocabulary = Vocabulary.load(workspace.vocabulary)
    for split, pictures in splits.items():
        _write_split(pictures, vocabulary, data.max_words, workspace, split)
    left_out = tuple(log.summary().splitlines())
    Features(encoder, spec, graph, store.reader(), left_out).save(workspace.features)
    kept = sum(len(pictures) for pictures in splits.values())
    return f"{kept:,} pictures, {len(store) - already:,} of them new"


def _open_encoder(config: EncoderConfig, workspace: Workspace) -> tuple[EncoderFacts, PreprocessSpec, Path | None]:
    """The encoder's facts and, unless it is still to be trained, its exported graph."""
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
        return facts, encoder.preprocess, None
    known = json.dumps([asdict(facts), encoder.preprocess.to_json()], sort_keys=True)
    graph = workspace.cache / "encoders" / f"{hashlib.sha256(known.encode()).hexdigest()[:16]}.onnx"
    if not graph.exists():
        print("  exporting the encoder", file=sys.stderr)  # noqa: T201
        export_encoder(encoder, graph)
    return facts, encoder.preprocess, graph


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
    from captioner.export import export_pooled

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
            export_pooled(graph, kept)
    if config.features != gives:
        shape = shape[1:]
    name = BUILTIN if config.encoder == BUILTIN else manifest.encoder["name"]
    return EncoderFacts(name, manifest.encoder["origin"], config.features, shape, False), spec, kept


def _open_store(
    spec: PreprocessSpec, graph: Path | None, shape: tuple[int, ...], workspace: Workspace
) -> tuple[FeatureStore, Represent]:
    """The store of the encoder's features, or of resized pictures, and what makes its rows."""
    if graph is None:
        # Mean and std are applied when rows are read; only what changes the stored pixels makes another store.
        resize = [spec.size, spec.framing, spec.crop_share, spec.resample]
        identity: dict[str, Any] = {"rows": "pixels", "resize": resize, "decoding": DECODING}
        return FeatureStore(workspace.cache / "features", (spec.size, spec.size, 3), "uint8", identity), _unchanged
    sha256 = hashlib.sha256(graph.read_bytes()).hexdigest()
    identity = {"rows": "features", "graph": sha256, "preprocess": spec.to_json(), "decoding": DECODING}
    run = OnnxEncoder(graph)  # one thread a call, as many calls as threads: faster than the other way round

    def represent(squares: np.ndarray) -> np.ndarray:
        return run(spec.normalize(squares))

    return FeatureStore(workspace.cache / "features", shape, "float16", identity), represent


def _unchanged(squares: np.ndarray) -> np.ndarray:
    return squares


def _good(extracted: Iterable[Extracted], split: str, seen: dict[bytes, str], log: ProblemLog) -> Iterator[Extracted]:
    """The pictures that can be used; the others go to the log."""
    for each in extracted:
        image_id = each.record.image_id
        if each.error is not None:
            log.add(Problem(image_id, ProblemKind.CORRUPT_PICTURE, f"{each.error.message}; left out"))
        elif seen.setdefault(each.key, split) != split:
            reason = f"the same picture is in {seen[each.key]} and {split}; left out of {split}"
            log.add(Problem(image_id, ProblemKind.IN_TWO_SPLITS, reason))
        else:
            yield each


def _precedence(split: str) -> int:
    """Splits in the order in which they keep a picture that is in two of them, so that nothing leaks into training."""
    return {"train": 2, "dev": 1}.get(split, 0)


def _found_now(log: ProblemLog, dataset: CaptionDataset) -> ProblemLog:
    """The problems beyond those that `prepare` has reported."""
    known = set(dataset.problems)
    return ProblemLog(problem for problem in log.problems if problem not in known)


def _write_split(
    pictures: list[Extracted], vocabulary: Vocabulary, max_words: int, workspace: Workspace, split: str
) -> None:
    from captioner.training.prepared import PreparedSplit

    PreparedSplit.save(
        workspace.split(split),
        (
            (each.views, [vocabulary.encode(caption)[:max_words] for caption in each.record.captions])
            for each in pictures
        ),
    )
    write_text(
        workspace.pictures(split),
        (
            json.dumps(
                {
                    "image_id": each.record.image_id,
                    "name": each.record.source.name,
                    "captions": each.record.captions,
                    "row": each.row,
                },
                ensure_ascii=False,
            )
            for each in pictures
        ),
    )
