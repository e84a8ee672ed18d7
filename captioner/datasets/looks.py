"""Every picture looked at once: whether it can be read, its content, its likeness; remembered between runs.

What was found is kept in a small database in the cache folder, by the picture's name and version, so that a picture is
read again only when it has changed. Without that folder all is found anew. Knows nothing of captions.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice

from captioner.cache import cache_folder
from captioner.chunks import map_chunks
from captioner.datasets.likeness import SIDE, Likeness, likeness_of
from captioner.errors import CaptionerError, ImageError
from captioner.images import DECODING, decode_image
from captioner.types import ImageSource

_CHUNK = 256
_FILE = "looks-1.sqlite"
_TABLE = (
    "CREATE TABLE IF NOT EXISTS looks (name TEXT PRIMARY KEY, version TEXT, decoding INTEGER, content BLOB,"
    " hash BLOB, small BLOB, error TEXT) WITHOUT ROWID"
)


@dataclass(frozen=True)
class Look:
    """What is known of a picture after one look."""

    content: bytes
    """SHA-256 of its file, 32 bytes; empty when it cannot be read at all."""
    likeness: Likeness | None
    """What it is like; None when it cannot be decoded."""
    error: str = ""
    """Why it cannot be read or decoded, in one line."""


def look_at(source: ImageSource) -> Look:
    """Read and decode one picture."""
    try:
        data = source.read_bytes()
    except ImageError as error:
        return Look(b"", None, error.message)
    content = hashlib.sha256(data).digest()
    try:
        return Look(content, likeness_of(decode_image(data, at_least=SIDE)))
    except ImageError as error:
        return Look(content, None, f"{source.name}: {error.message}")


def look_at_all(sources: Iterable[ImageSource], *, threads: int = 1) -> Iterator[Look]:
    """A look at each picture, in order; those that were seen before, and are what they were, are not read again."""
    remaining = iter(sources)
    with closing(_Memory()) as memory:
        while chunk := list(islice(remaining, _CHUNK)):
            looks = [memory.recall(source) for source in chunk]
            new = [source for source, look in zip(chunk, looks, strict=True) if look is None]
            found = [look for part in map_chunks(_look_at_each, new, size=8, threads=threads) for look in part]
            memory.keep(zip(new, found, strict=True))
            fresh = iter(found)
            yield from (look or next(fresh) for look in looks)


def _look_at_each(sources: list[ImageSource]) -> list[Look]:
    return [look_at(source) for source in sources]


class _Memory:
    """Looks by name and version of the picture; empty, and forgetful, where there is no place to keep them."""

    def __init__(self) -> None:
        self._database: sqlite3.Connection | None = None
        with suppress(CaptionerError, OSError, sqlite3.Error):
            folder = cache_folder()
            folder.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(folder / _FILE, timeout=5, isolation_level=None)
            try:
                database.execute(_TABLE)
            except sqlite3.Error:
                database.close()
                raise
            self._database = database

    def recall(self, source: ImageSource) -> Look | None:
        """What was found of a picture, if it is what it was."""
        if self._database is None:
            return None
        try:
            query = "SELECT version, decoding, content, hash, small, error FROM looks WHERE name = ?"
            row = self._database.execute(query, (_key(source),)).fetchone()
        except sqlite3.Error:
            return None
        if row is None or row[:2] != (source.version, DECODING):
            return None
        content, bits, small, error = row[2:]
        return Look(content, Likeness(bits, small) if small else None, error)

    def keep(self, looks: Iterable[tuple[ImageSource, Look]]) -> None:
        """Remember what was found; what is missing is not worth it."""
        if self._database is None:
            return
        rows = []
        for source, look in looks:
            if look.content:
                bits, small = (look.likeness.bits, look.likeness.small) if look.likeness else (None, None)
                rows.append((_key(source), source.version, DECODING, look.content, bits, small, look.error))
        with suppress(sqlite3.Error):  # a full disk, or another process that does not let go: found anew next time
            self._database.execute("BEGIN")
            self._database.executemany("INSERT OR REPLACE INTO looks VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            self._database.execute("COMMIT")

    def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            self._database.close()


def _key(source: ImageSource) -> str:
    """The name of a picture wherever the process stands."""
    return os.path.abspath(source.name)  # noqa: PTH100 - links are not followed, and the name may be no path
