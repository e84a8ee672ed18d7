"""Stage `features`: what the encoder sees in every picture, computed once and kept.

A frozen encoder is exported to ONNX first, and its features are computed with that very graph. For an encoder that is
trained with the decoder, the store keeps the pictures themselves, resized. Corrupt pictures are reported and left out.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from captioner.config.build import DataConfig, EncoderConfig
from captioner.datasets.base import CaptionDataset
from captioner.datasets.problems import Problem, ProblemKind, ProblemLog
from captioner.errors import DataError
from captioner.features import Extracted, FeatureStore, Represent, RowReader, extract
from captioner.images import DECODING, PreprocessSpec
from captioner.pipeline.encoders import EncoderFacts, open_encoder
from captioner.pipeline.workspace import Workspace, lines_of, read_json, write_json
from captioner.runtime.session import OnnxEncoder
from captioner.text.vocabulary import Vocabulary


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
    vocabulary = Vocabulary.load(workspace.vocabulary)
    kept: dict[str, int] = {}
    seen = _SplitOfRow()
    with workspace.lock_cache():
        encoder, spec, graph = open_encoder(config, workspace)
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
            kept[split] = _write_split(_good(bar, split, seen, log), vocabulary, data.max_words, workspace, split)
    fresh = _found_now(log, dataset)
    if fresh.problems:
        print(fresh.summary(), file=sys.stderr)  # noqa: T201
    log.check(dataset.listed, data.max_bad_share)
    fresh.check(sum(read_json(workspace.prepared)["splits"].values()), data.max_bad_share)  # all, or the first few

    for split in dataset.splits:
        if not kept[split]:
            raise DataError(f"{dataset.name} has no readable pictures in its {split} split; mend it, or take it away")

    left_out = tuple(log.summary().splitlines())
    Features(encoder, spec, graph, store.reader(), left_out).save(workspace.features)
    return f"{sum(kept.values()):,} pictures, {len(store) - already:,} of them new"


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


class _SplitOfRow:
    """Which split each row of the store was met in first: a byte a row, as there may be millions."""

    def __init__(self) -> None:
        self._splits: list[str] = []
        self._number_of = bytearray()

    def setdefault(self, row: int, split: str) -> str:
        """The split of a row, which is `split` when it had none."""
        if split not in self._splits:
            self._splits.append(split)
        self._number_of.extend(bytes(max(0, row + 1 - len(self._number_of))))
        number = self._number_of[row] = self._number_of[row] or self._splits.index(split) + 1
        return self._splits[number - 1]


def _good(extracted: Iterable[Extracted], split: str, seen: _SplitOfRow, log: ProblemLog) -> Iterator[Extracted]:
    """The pictures that can be used; the others go to the log."""
    for each in extracted:
        image_id = each.record.image_id
        if each.error is not None:
            log.add(Problem(image_id, ProblemKind.CORRUPT_PICTURE, f"{each.error.message}; left out"))
            continue
        assert each.row is not None
        if (first := seen.setdefault(each.row, split)) != split:
            reason = f"the same picture is in {first} and {split}; left out of {split}"
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
    pictures: Iterable[Extracted], vocabulary: Vocabulary, max_words: int, workspace: Workspace, split: str
) -> int:
    """Write what training and evaluation read of each picture, as they come; returns how many there were."""
    from captioner.training.prepared import PreparedSplit

    count = 0
    with lines_of(workspace.pictures(split)) as write:

        def written() -> Iterator[tuple[Sequence[int], Sequence[Sequence[int]]]]:
            nonlocal count
            for each in pictures:
                count += 1
                record = each.record
                fields = {"image_id": record.image_id, "name": record.source.name, "captions": record.captions}
                write(json.dumps({**fields, "row": each.row}, ensure_ascii=False))
                yield each.views, [vocabulary.encode(caption)[:max_words] for caption in record.captions]

        PreparedSplit.save(workspace.split(split), written())
    return count
