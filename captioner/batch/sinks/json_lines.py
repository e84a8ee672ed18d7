"""Captions as JSON lines: one object a picture, appended as they come. `captions.jsonl`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from captioner.batch.appending import RecordLog, read_records
from captioner.batch.keys import Keys
from captioner.batch.work import Item, Outcome, key_of, record
from captioner.errors import CaptionerError

_BEGINNING = b'{"path":'
"""Of every record."""


class JsonLinesSink:
    """See `Sink`."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        """Append to the file at `path`, or begin it anew when `fresh`."""
        self.place = str(path)
        self.papers = path
        self._path, self._fresh = path, fresh
        self._keys = Keys()

    def __enter__(self) -> JsonLinesSink:
        self._refuse_something_else()
        self._log = RecordLog(self._path, fresh=self._fresh)
        self._fresh = False  # entered again, as when a folder is watched, it goes on
        self._read_keys()
        return self

    def __exit__(self, *_: Any) -> None:
        self._log.close()

    def peek(self) -> Callable[[Item], bool]:
        """See `Sink.peek`."""
        if not self._fresh:
            self._refuse_something_else()
            self._read_keys()
        return self.has

    def has(self, item: Item) -> bool:
        """See `Sink.has`."""
        return item.key in self._keys

    def write(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """See `Sink.write`."""
        self._log.append([record(outcome) for outcome in outcomes])
        for outcome in outcomes:
            self._keys.add(outcome.item.key)
        return ()

    def _refuse_something_else(self) -> None:
        """Raise CaptionerError for a file that holds no captions: to open it would cut off what are no records."""
        if self._fresh or not self._path.exists():
            return
        with self._path.open("rb") as file:
            beginning = file.read(len(_BEGINNING))
        first = next(read_records(self._path), {"caption": ""})
        if not _BEGINNING.startswith(beginning) or "caption" not in first:
            raise CaptionerError(f"{self._path} holds something else than captions; choose another name", code="output")

    def _read_keys(self) -> None:
        for fields in read_records(self._path):
            with suppress(KeyError, ValueError):
                self._keys.add(key_of(fields))


class StdoutSink:
    """JSON lines on stdout: nothing is kept, so that a job which is stopped begins anew."""

    place = "stdout"
    papers = None

    def __enter__(self) -> StdoutSink:
        return self

    def __exit__(self, *_: Any) -> None:
        sys.stdout.flush()

    def peek(self) -> Callable[[Item], bool]:
        """See `Sink.peek`."""
        return self.has

    def has(self, item: Item) -> bool:
        """See `Sink.has`."""
        return False

    def write(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """See `Sink.write`."""
        for outcome in outcomes:
            sys.stdout.write(json.dumps(record(outcome)) + "\n")  # ASCII: JSON whatever the encoding of stdout
        sys.stdout.flush()
        return ()
