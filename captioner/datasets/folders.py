"""What lies in a folder, however much that is: names are looked through one by one, and sorted on disk where many.

Python's own listings hold all names of a folder at once, and there may be a million. Hidden names are left out.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from fnmatch import fnmatchcase
from itertools import chain, islice
from pathlib import Path

_IN_MEMORY = 20_000
"""So many names are sorted in memory."""


def files_in(folder: Path, pattern: str = "*") -> list[Path]:
    """The files of a folder whose names match a pattern of the shell, in order; none when it cannot be read."""
    return sorted(
        Path(entry.path) for entry in _entries(folder) if fnmatchcase(entry.name, pattern) and entry.is_file()
    )


def has_files(folder: Path) -> bool:
    """Whether it is a folder with a file in it."""
    return any(entry.is_file() for entry in _entries(folder))


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, in order, links to folders too; none when it cannot be read."""
    return sorted(Path(entry.path) for entry in _entries(folder) if entry.is_dir())


def names_in_order(folder: Path) -> Iterator[tuple[str, bool]]:
    """The names in a folder, each with whether it is a folder itself, in the order of their bytes.

    Raises OSError when it cannot be read.
    """
    with os.scandir(folder) as found:
        names = ((os.fsencode(each.name), each.is_dir()) for each in found if each.name[0] != ".")
        first = list(islice(names, _IN_MEMORY))
        ordered = iter(sorted(first)) if len(first) < _IN_MEMORY else _sorted_on_disk(chain(first, names))
        for name, is_folder in ordered:
            yield os.fsdecode(name), bool(is_folder)


def _sorted_on_disk(names: Iterator[tuple[bytes, bool]]) -> Iterator[tuple[bytes, bool]]:
    with closing(sqlite3.connect("", isolation_level=None)) as database:  # a file that vanishes when it is closed
        database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000;")
        database.execute("CREATE TABLE names (name BLOB PRIMARY KEY, is_folder INTEGER) WITHOUT ROWID")
        database.execute("BEGIN")
        database.executemany("INSERT INTO names VALUES (?, ?)", names)
        database.execute("COMMIT")
        yield from database.execute("SELECT name, is_folder FROM names ORDER BY name")


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            yield from (entry for entry in found if not entry.name.startswith("."))
    except OSError:
        return
