"""Stage `prepare`: read the captions, report what is wrong with them, and build the vocabulary.

The vocabulary comes from the training split alone. Knows nothing of pixels.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from captioner.config.build import DataConfig
from captioner.datasets.base import CaptionDataset
from captioner.datasets.layout import Columns
from captioner.datasets.problems import ProblemLog
from captioner.datasets.registry import open_dataset
from captioner.errors import DataError
from captioner.pipeline.workspace import Workspace, write_json
from captioner.text.choice import build_vocabulary
from captioner.text.vocabulary import Vocabulary

READ_BY = ("data", "format", "image_column", "caption_column", "limit")
"""The options that say how the data set is read."""


def open_data(config: DataConfig, *, threads: int = 1) -> CaptionDataset:
    """The data set that the options name; arguments and errors as for `open_dataset`."""
    columns = Columns(config.image_column, config.caption_column)
    return open_dataset(config.data, limit=config.limit, layout=config.format, columns=columns, threads=threads)


def digest(dataset: CaptionDataset) -> str:
    """SHA-256 over all records: ids, captions, splits, and the versions of the pictures; no picture is read."""
    total = hashlib.sha256()
    for split in dataset.splits:
        for record in dataset.records(split):
            total.update(repr((split, record.image_id, record.captions, record.source.version)).encode())
    return total.hexdigest()


def prepare(
    dataset: CaptionDataset, config: DataConfig, workspace: Workspace, *, known: Vocabulary | None = None
) -> str:
    """Write vocabulary and counts; `known` are words to begin with, which keep their ids.

    Raises:
        DataError: too much is bad, or there is nothing to train on or to choose by.
    """
    log = ProblemLog(dataset.problems)
    if log.problems:
        print(log.summary(), file=sys.stderr)  # noqa: T201
    log.check(dataset.listed, config.max_bad_share)
    captions = sum(len(record.captions) for split in dataset.splits for record in dataset.records(split))
    log.check_lines(captions, config.max_bad_share)
    counts = Counter(dict.fromkeys(dataset.splits, 0))
    training = _training_captions(dataset, counts)
    if known is None:
        vocabulary = build_vocabulary(training, config.tokenizer, config.min_count, config.vocabulary_size)
    else:
        vocabulary = known.extended(training, config.min_count)
    for split in ("train", "dev"):
        if not counts[split]:
            raise DataError(f"{dataset.name} has no pictures in its {split} split; training needs train and dev")
    workspace.vocabulary.parent.mkdir(parents=True, exist_ok=True)
    vocabulary.save(workspace.vocabulary)
    problems = [{"name": each.name, "kind": each.kind, "reason": each.reason} for each in log.problems]
    where = str(Path(config.data).resolve()) if Path(config.data).exists() else config.data
    write_json(
        workspace.prepared,
        {
            "name": dataset.name,
            **{name: getattr(config, name) for name in READ_BY},
            "data": where,
            "splits": counts,
            "problems": problems,
        },
    )
    found = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    new = "" if known is None else f", {len(vocabulary) - len(known):,} of them new"
    return f"{found}; {len(vocabulary):,} {vocabulary.unit}{new}"


def _training_captions(dataset: CaptionDataset, counts: Counter[str]) -> Iterator[str]:
    """The captions of `train`, counting the pictures of all splits on the way: one pass over the data."""
    for split in dataset.splits:
        for record in dataset.records(split):
            counts[split] += 1
            if split == "train":
                yield from record.captions
