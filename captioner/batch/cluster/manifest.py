"""What is done: a record a shard, beside the parts, from which the next run knows what is left.

    OUT/_manifest.json                     the job: captioner, options; written first
    OUT/_manifest/000001-….jsonl           a line a shard; each run writes files of its own, later lines count

A part without a record does not count, and is removed by the next run. One process writes: that of the job itself.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from captioner.batch.cluster.parts import is_part, part_name
from captioner.batch.cluster.places import TEMPORARY, Place
from captioner.batch.cluster.shards import PICTURES, Shard
from captioner.errors import CaptionerError, ConfigError

HEADER, RECORDS = "_manifest.json", "_manifest"
FORMAT = 1
_LINES = 1_000
"""Records in a file: that much is written again for each, where nothing can be appended to a file."""
_SHARE = 0.1
"""Of the time that is spent on writing records, at most; those that wait are done again after a kill."""


@dataclass(frozen=True)
class Done:
    """A shard that is done."""

    kind: str
    version: str
    """Of its input, then."""
    size: int
    """Of its part, in bytes."""
    captioned: int
    unsure: int
    failed: Counter[str]
    """By the code of the error."""


class Manifest:
    """The records of one output. Raises `CaptionerError` or OSError wherever the store does not do what it should."""

    def __init__(self, out: Place, job: Mapping[str, Any]) -> None:
        """Of the folder `out`; `job` is what must be the same for records to count: captioner, options and the like."""
        self._out, self._job = out, dict(job)
        self._records: list[str] = []
        self._files = self._written = 0
        self._told, self._cost = 0.0, 0.0
        self._run = ""
        self.done: dict[str, Done] = {}
        """By the id of the shard."""

    def read(self, *, fresh: bool = False) -> None:
        """Find out what is done; nothing is written. With `fresh` nothing is, but the folder must be a job's.

        Raises ConfigError when the folder is another job's, or nobody's.
        """
        files = self._out.files()
        if HEADER not in files:
            if any(not name.startswith((".", TEMPORARY)) for name in files):
                raise ConfigError(f"{self._out.url} has files and no {HEADER}; choose an empty folder, or a new one")
            return
        header = _header(self._out)
        if fresh:
            return
        if header.get("format", 0) > FORMAT:
            raise CaptionerError(f"{self._out.url} was written by a newer captioner; upgrade this one")
        for name, value in self._job.items():
            if header.get(name) != value:
                raise ConfigError(
                    f"{self._out.url} was written with another {name} ({_short(header.get(name))}, now "
                    f"{_short(value)}); choose another --out, or --existing overwrite"
                )
        for fields in _lines(self._out, sorted(name for name in files if name.startswith(f"{RECORDS}/"))):
            self._take(fields)
        sizes = {name: facts.get("size") for name, facts in files.items()}
        self.done = {each: done for each, done in self.done.items() if sizes.get(part_name(each)) == done.size}

    def begin(self, shards: Iterable[Shard], *, fresh: bool = False) -> None:
        """Make the folder ready to be written to: remove what a killed run left, and what no longer holds.

        Parts of groups of pictures that are no longer what they were go at once: their pictures are in other groups
        now, and would be there twice.

        Args:
            shards: all of the source.
            fresh: whether all that is there is removed.
        """
        now = {shard.id: shard.version for shard in shards}
        files = self._out.files()
        if fresh:
            self.done = {}
            self._out.below(RECORDS).remove()
        gone = [each for each, done in self.done.items() if done.kind == PICTURES and now.get(each) != done.version]
        for each in gone:
            del self.done[each]
        there = {part_name(each) for each in self.done}
        for name in files:
            if (is_part(name) and name not in there) or name.startswith(TEMPORARY):
                self._out.below(name).remove()
        runs = [int(name.partition("/")[2][:6]) for name in files if name.startswith(f"{RECORDS}/")]
        self._run = f"{max(runs, default=0) + 1:06}-{secrets.token_hex(4)}"
        self._write_header()

    def has(self, shard: Shard) -> bool:
        """Whether the shard is done, and is what it was then."""
        done = self.done.get(shard.id)
        return done is not None and done.version == shard.version

    def record(self, fields: Mapping[str, Any]) -> None:
        """Take the record of a shard whose part is in place; it is written now, or soon if that takes long."""
        self._records.append(json.dumps(fields))
        self._take(fields)
        if len(self._records) >= _LINES or time.monotonic() - self._told > self._cost / _SHARE:
            self.flush()

    def flush(self) -> None:
        """Write all records that were taken."""
        if len(self._records) == self._written:
            return
        began = time.monotonic()
        text = "\n".join(self._records) + "\n"
        place = self._out.below(f"{RECORDS}/{self._run}-{self._files:05}.jsonl")
        place.write(lambda file: file.write(text.encode()))
        self._written = len(self._records)
        if self._written >= _LINES:
            self._files, self._written, self._records = self._files + 1, 0, []
        self._told = time.monotonic()
        self._cost = self._told - began

    def tidy(self) -> None:
        """Remove what killed workers left half written; none works any more."""
        if self._out.local is not None:
            for path in self._out.local.glob(f"{TEMPORARY}*"):
                path.unlink(missing_ok=True)

    def failures(self) -> Iterator[dict[str, Any]]:
        """What failed, of all shards that are done, as their records name it."""
        names = sorted(name for name in self._out.files() if name.startswith(f"{RECORDS}/"))
        told: set[str] = set()
        for fields in _lines(self._out, reversed(names), backwards=True):
            if fields.get("id") in self.done and fields["id"] not in told:
                told.add(fields["id"])
                yield from ({**each, "version": fields["version"]} for each in fields["failures"])

    def _take(self, fields: Mapping[str, Any]) -> None:
        try:
            self.done[fields["id"]] = Done(
                fields["kind"],
                fields["version"],
                fields["part"]["size"],
                fields["captioned"],
                fields["unsure"],
                Counter(fields["failed"]),
            )
        except (KeyError, TypeError):
            raise CaptionerError(
                f"{self._out.url}/{RECORDS} has a line that is no record; choose another --out"
            ) from None

    def _write_header(self) -> None:
        text = json.dumps({"format": FORMAT, **self._job}, indent=2, ensure_ascii=False) + "\n"
        self._out.below(HEADER).write(lambda file: file.write(text.encode()))


def _header(out: Place) -> dict[str, Any]:
    try:
        found = json.loads(out.below(HEADER).read())
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("format"), int):
        raise CaptionerError(f"{out.url}/{HEADER} is not a manifest; choose another --out")
    return found


def _lines(out: Place, names: Iterable[str], *, backwards: bool = False) -> Iterator[dict[str, Any]]:
    for name in names:
        lines = out.below(name).read().splitlines()
        for line in reversed(lines) if backwards else lines:
            try:
                fields = json.loads(line)
            except ValueError:
                fields = None
            if not isinstance(fields, dict):
                raise CaptionerError(f"{out.url}/{name} is damaged; choose another --out, or --existing overwrite")
            yield fields


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 80 else f"{text[:77]}…"
