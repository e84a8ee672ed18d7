"""Captions in SQLite: the table `captions`, one row a picture, which any program can query while a job writes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from captioner.batch.keys import Keys
from captioner.batch.work import Item, Outcome, identity, key_of, record
from captioner.errors import CaptionerError

_TABLE = """
    CREATE TABLE IF NOT EXISTS captions (
        path TEXT, path_b64 TEXT NOT NULL DEFAULT '', caption TEXT NOT NULL, log_prob REAL, confidence REAL,
        candidates TEXT, PRIMARY KEY (path, path_b64)
    ) WITHOUT ROWID
"""
# The key's columns come first, in their order: else SQLite's own check of such a table finds NULL where there is none.
_IS_THERE = "SELECT 1 FROM sqlite_master WHERE name = 'captions'"
_READ = "SELECT path, path_b64, caption, log_prob, confidence, candidates FROM captions"
_WRITE = """
    INSERT OR REPLACE INTO captions (path, path_b64, caption, log_prob, confidence, candidates)
    VALUES (?, ?, ?, ?, ?, ?)
"""


class SqliteSink:
    """See `Sink`."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        """Add to the database at `path`; `fresh` empties its table of captions first."""
        self.place = f"{path}, table captions"
        self.papers = path
        self._path, self._fresh = path, fresh

    def __enter__(self) -> SqliteSink:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._path, isolation_level=None, timeout=30)
            if not self._fresh and self._database.execute(_IS_THERE).fetchone():
                self._database.execute(_READ)  # before anything changes: it may be somebody else's
            self._database.execute("PRAGMA journal_mode = WAL")  # who reads does not wait for who writes
            if self._fresh:
                self._database.execute("DROP TABLE IF EXISTS captions")
                self._fresh = False  # entered again, as when a folder is watched, it goes on
            self._database.execute(_TABLE)
        except sqlite3.Error as error:
            raise CaptionerError(
                f"{self._path} cannot be used as a database of captions ({error}); choose another name", code="output"
            ) from None
        return self

    def __exit__(self, *_: Any) -> None:
        self._database.close()

    def peek(self) -> Callable[[Item], bool]:
        """See `Sink.peek`."""
        keys = Keys()
        if self._path.is_file() and not self._fresh:
            try:
                with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as database:
                    for path, path_b64 in database.execute("SELECT path, path_b64 FROM captions"):
                        keys.add(key_of({"path": path, "path_b64": path_b64}))
            except sqlite3.Error as error:
                raise CaptionerError(f"{self._path} is no database of captions ({error})", code="output") from None
        return lambda item: item.key in keys

    def has(self, item: Item) -> bool:
        """See `Sink.has`."""
        found = self._database.execute("SELECT 1 FROM captions WHERE path = ? AND path_b64 = ?", _key(item))
        return found.fetchone() is not None

    def write(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """See `Sink.write`."""
        rows = []
        for outcome in outcomes:
            fields = record(outcome)
            candidates = json.dumps(fields["candidates"], ensure_ascii=False)
            path, path_b64 = _key(outcome.item)
            rows.append((path, path_b64, fields["caption"], fields["log_prob"], fields["confidence"], candidates))
        try:
            self._database.execute("BEGIN")
            self._database.executemany(_WRITE, rows)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise CaptionerError(f"cannot write {self._path}: {error}", code="output") from None
        return ()


def _key(item: Item) -> tuple[str, str]:
    """The key as text that SQLite takes, bytes that are not UTF-8 as escapes; and what tells it from such a name."""
    path = item.key.encode("utf-8", "backslashreplace").decode()
    return path, identity(item.key).get("path_b64", "")
