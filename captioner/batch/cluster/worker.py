"""One shard, from its pictures to its part: what a worker of a cluster does. Knows nothing of Ray.

    worker = ShardCaptioner(packed, task)      once a process
    worker({"shard": [line]})                  a shard a call, as Ray Data calls the classes that it is given

A call may be made again for the same shard, after a kill or on another machine: the part has the same name and takes
the place of the first one.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from captioner.batch.cluster.parts import part_name, write_part
from captioner.batch.cluster.places import Place, reason_of
from captioner.batch.cluster.reading import pictures_of
from captioner.batch.cluster.shards import Shard, stem_of
from captioner.batch.work import Item, Outcome, UnsureError, outcome_of, record
from captioner.errors import CaptionerError, DataError
from captioner.images import BytesSource
from captioner.runtime.captioner import Captioner, load

FAILURES_KEPT = 1_000
"""Failures of a shard that are named in its record; all of them are in its part."""
Packed = Sequence[Mapping[str, bytes]]
"""The files of each bundle: a captioner on its way to machines that do not have it."""


@dataclass(frozen=True)
class Task:
    """What is to be done with every shard."""

    out: str
    """The folder of the parts."""
    options: dict[str, Any] = field(default_factory=dict)
    """How captions are searched for, as `Captioner.caption` takes it."""
    min_confidence: float = 0.0
    """Captions that are acceptable with a lower probability are withheld."""
    image_column: str = ""
    """Of Parquet files; empty: the one that is called like it."""
    device: str = "cpu"
    """What computes."""


class ShardCaptioner:
    """A captioner that takes descriptions of shards and gives records of what became of them."""

    def __init__(self, packed: Packed, task: Task) -> None:
        self._captioner = unpack(packed, task.device)
        self._task = task

    def __call__(self, batch: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """`shard`, lines as of `Shard.to_json` → `record`, an object of JSON each."""
        shards = [Shard.from_json(str(line)) for line in batch["shard"]]
        return {"record": [json.dumps(self.caption(shard)) for shard in shards]}

    def caption(self, shard: Shard) -> dict[str, Any]:
        """The record of a shard."""
        return caption_shard(shard, self._captioner, self._task)


def pack(captioner: Captioner) -> Packed:
    """The bundles of a captioner as bytes."""
    folders = [graphs.bundle.folder for graphs in captioner.graphs]
    return [{path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()} for folder in folders]


def unpack(packed: Packed, device: str = "cpu") -> Captioner:
    """The inverse of `pack`; the bundles are verified once more."""
    with tempfile.TemporaryDirectory() as home:
        folders = []
        for number, files in enumerate(packed):
            folder = Path(home, str(number))
            folder.mkdir()
            for name, content in files.items():
                (folder / name).write_bytes(content)
            folders.append(folder)
        return load(folders, device=device)


def caption_shard(shard: Shard, captioner: Captioner, task: Task) -> dict[str, Any]:
    """Caption a shard, put its part in place, and return what the manifest is to know of it.

    A picture that cannot be captioned is a row with an error, and so is a shard that breaks off. When the shard or its
    part cannot be reached at all, there is no part, see `not_done`.
    """
    began = time.monotonic()
    run = _Run(shard, captioner, task)
    try:
        size, digest = Place(task.out).below(part_name(shard.id)).write(lambda file: write_part(file, run.outcomes()))
    except CaptionerError as error:
        return not_done(shard, error.message)
    except Exception as error:  # stores have exceptions of their own
        return not_done(shard, f"{shard.url}: {reason_of(error)}")
    return {
        "id": shard.id,
        "kind": shard.kind,
        "input": shard.name,
        "version": shard.version,
        "part": {"name": part_name(shard.id), "size": size, "sha256": digest},
        "rows": run.rows,
        "captioned": run.rows - run.unsure - run.failed.total(),
        "unsure": run.unsure,
        "failed": dict(run.failed),
        "failures": run.failures,
        "bytes": shard.size,
        "seconds": round(time.monotonic() - began, 3),
    }


def not_done(shard: Shard, reason: str) -> dict[str, Any]:
    """The record of a shard that is left for the next run; the manifest does not take it."""
    return {"id": shard.id, "not_done": reason}


class _Run:
    """The outcomes of one shard, counted as they pass."""

    def __init__(self, shard: Shard, captioner: Captioner, task: Task) -> None:
        self._shard, self._captioner, self._task = shard, captioner, task
        self._waiting: deque[Item] = deque()
        self._broken: DataError | None = None
        self.rows = self.unsure = 0
        self.failed: Counter[str] = Counter()
        self.failures: list[dict[str, Any]] = []

    def outcomes(self) -> Iterator[Outcome]:
        """All of them, in the order of the shard."""
        for result in self._captioner.iter_results(self._sources(), **self._task.options):
            yield self._counted(outcome_of(self._waiting.popleft(), result, self._task.min_confidence))
        if self._broken is not None:
            item = Item(stem_of(self._shard.name), BytesSource(self._shard.url, b""))
            yield self._counted(Outcome(item, self._broken))

    def _sources(self) -> Iterator[Any]:
        try:
            for item in pictures_of(self._shard, self._task.image_column):
                self._waiting.append(item)
                yield item.source
        except DataError as error:  # what came before it is good
            self._broken = error

    def _counted(self, outcome: Outcome) -> Outcome:
        self.rows += 1
        if isinstance(outcome.result, CaptionerError):
            if isinstance(outcome.result, UnsureError):
                self.unsure += 1
            else:
                self.failed[outcome.result.code] += 1
            if len(self.failures) < FAILURES_KEPT:
                self.failures.append(record(outcome))
        return outcome
