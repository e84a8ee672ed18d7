"""A job over shards: what is not done yet goes to the cluster, and what comes back is recorded.

Knows neither Ray nor what a shard looks like inside.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

from captioner.batch.cluster.manifest import Done, Manifest
from captioner.batch.cluster.places import Place
from captioner.batch.cluster.shards import Shard
from captioner.batch.lock import locked
from captioner.batch.work import TEMPORARY
from captioner.progress import Progress

Engine = Callable[[Sequence[Shard]], Iterator[dict[str, Any]]]
"""Takes shards and gives their records, in any order; of one that it gave up, none."""
_TOLD = 20
"""Failures of a shard that are told one by one; all are in the log."""


@dataclass
class Summary:
    """What became of one run."""

    shards: int = 0
    """Done now."""
    there: int = 0
    """Shards that were done before."""
    captioned: int = 0
    """Pictures, in the shards that were done now."""
    unsure: int = 0
    """Pictures whose caption was not sure enough."""
    failed: Counter[str] = field(default_factory=Counter)
    """Pictures that failed now, by the code of the error."""
    failed_before: int = 0
    """Pictures that failed in shards that were done before."""
    not_done: int = 0
    """Shards that could not be reached, or killed their worker."""
    left_out: int = 0
    """Links, special files and folders that cannot be read."""

    @property
    def status(self) -> int:
        """The exit status: 0 when all is captioned, 1 when some failed."""
        return 1 if self.failed or self.failed_before or self.not_done else 0


def failures_of(out: Place) -> Place:
    """The log of failures, beside the output."""
    return Place(f"{out.url}.failures.jsonl")


def left_to_do(shards: Sequence[Shard], manifest: Manifest, retry: str = "changed") -> list[Shard]:
    """The shards that are to be done; as for `Failures`, `retry` takes those too in which pictures failed before."""
    return [shard for shard in shards if not manifest.has(shard) or _is_tried_again(manifest.done[shard.id], retry)]


def run_shards(
    shards: Sequence[Shard],
    out: Place,
    manifest: Manifest,
    engine: Engine,
    *,
    fresh: bool = False,
    retry: str = "changed",
    tell: Callable[[str], None] = lambda _: None,
) -> Summary:
    """Do what is left to do; stopped, what is done is recorded.

    Args:
        shards: all of the source.
        out: the folder of the parts.
        manifest: of that folder.
        engine: does the work.
        fresh: whether all that is there is done again.
        retry: see `left_to_do`.
        tell: is told of each failure, in one line.

    Raises:
        CaptionerError: another job writes there, or nothing can be written.
        ConfigError: the folder is another job's.
    """
    summary = Summary()
    with ExitStack() as stack:
        if out.local is not None:
            stack.enter_context(locked(out.local.with_name(f"{out.local.name}.lock")))
        manifest.read(fresh=fresh)
        manifest.begin(shards, fresh=fresh)
        todo = left_to_do(shards, manifest, retry)
        ids = {shard.id for shard in todo}
        before = [manifest.done[shard.id] for shard in shards if shard.id not in ids]
        summary.there = len(before)
        summary.failed_before = sum(done.failed.total() for done in before)
        try:
            if todo:
                _work(todo, manifest, engine, summary, tell)
        finally:
            manifest.flush()
            manifest.tidy()
            _write_failures(out, manifest)
    return summary


def _work(
    todo: Sequence[Shard], manifest: Manifest, engine: Engine, summary: Summary, tell: Callable[[str], None]
) -> None:
    sizes = {shard.id: max(1, shard.size) for shard in todo}
    size, pictures = sum(sizes.values()), sum(len(shard.names) for shard in todo)
    read = done = 0
    left = dict.fromkeys(shard.id for shard in todo)
    with closing(engine(todo)) as records, Progress("captioning", pictures, " pictures") as progress:  # type: ignore[type-var]
        for fields in records:
            if "not_done" in fields:
                tell(f"{fields['not_done']}; not done")
                continue
            if fields["id"] not in left:
                continue  # given twice
            del left[fields["id"]]
            if (begun := fields.get("begun", 1)) > 1:
                tell(f"shard {fields['id']} was begun {begun} times, as its worker died; it is done")
            manifest.record(fields)
            summary.shards += 1
            summary.captioned += fields["captioned"]
            summary.unsure += fields["unsure"]
            summary.failed.update(fields["failed"])
            for failure in fields["failures"][:_TOLD]:
                tell(failure["error"]["message"])
            read, done = read + sizes[fields["id"]], done + fields["rows"]
            if not pictures:  # nobody knows how many there are in archives: about as many in the bytes that are left
                progress.total = round(done * size / read)
            progress.advance(fields["rows"])
    summary.not_done = len(left)
    if left:
        tell(f"{len(left):,} shards are not done, the first of them {next(iter(left))}; the same command tries again")


def _write_failures(out: Place, manifest: Manifest) -> None:
    """The log, from all records; removed when nothing failed."""
    place = failures_of(out)
    if any(done.failed or done.unsure for done in manifest.done.values()):
        place.write(
            lambda file: file.writelines(
                (json.dumps(fields, ensure_ascii=False) + "\n").encode() for fields in manifest.failures()
            )
        )
    else:
        place.remove()


def _is_tried_again(done: Done, retry: str) -> bool:
    return bool(done.failed) and (retry == "all" or (retry == "temporary" and not TEMPORARY.isdisjoint(done.failed)))
