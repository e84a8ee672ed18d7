"""The entries of a layout gathered into pictures, on disk: any number of them, in any order, in little memory.

SQLite keeps them in a file of its own that vanishes with the process. Knows no layout, and opens no picture.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from captioner.datasets.layout import Entry
from captioner.datasets.likeness import SMALL_BYTES
from captioner.datasets.looks import Look
from captioner.datasets.problems import Problem, ProblemKind
from captioner.errors import printable

_PRECEDENCE = {"test": 0, "dev": 1, "train": 3}
"""Splits in the order in which they keep a picture that is in two of them; others come before `train`."""
_TABLES = """
    CREATE TABLE pictures (id INTEGER PRIMARY KEY, name TEXT UNIQUE, locator TEXT, split TEXT, place TEXT,
        content BLOB, hash BLOB, small BLOB);
    CREATE TABLE captions (id INTEGER PRIMARY KEY, picture INTEGER, number INTEGER, text TEXT, place TEXT);
    CREATE INDEX captions_of ON captions (picture, number, id);
    CREATE TABLE problems (id INTEGER PRIMARY KEY, kind TEXT, name TEXT, reason TEXT, UNIQUE (kind, name));
"""


@dataclass(frozen=True)
class Indexed:
    """A picture with all its captions."""

    number: int
    """Of the picture, in the order in which the layout first named them."""
    name: str
    """Its name in the data set."""
    locator: str
    """What the layout finds its bytes by."""
    split: str
    """Its split; empty where it has none."""
    place: str
    """Where it was first named."""
    captions: tuple[str, ...]
    """In the order of the layout; none is without words."""


class CaptionIndex:
    """Pictures and captions by name. Not to be shared between threads."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # a file without a name, removed when it is closed
        self._database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000;")
        self._database.executescript(_TABLES)

    def add(self, entries: Iterable[Entry]) -> None:
        """Take the entries of a layout; empty captions, and pictures in two splits, become problems."""
        ask = self._database.execute
        ask("BEGIN")
        for entry in entries:
            if not _is_unicode(entry.name):
                reason = "its name is not Unicode; rename it; left out"
                self.report(Problem(printable(entry.name), ProblemKind.UNDECODABLE_BYTES, reason))
                continue
            row = ask("SELECT id, split FROM pictures WHERE name = ?", (entry.name,)).fetchone()
            if row is None:
                facts = (entry.name, entry.locator, entry.split, entry.place)
                ask("INSERT INTO pictures (name, locator, split, place) VALUES (?, ?, ?, ?)", facts)
                number = int(ask("SELECT last_insert_rowid()").fetchone()[0])
            else:
                number = int(row[0])
                if entry.split and entry.split != row[1]:
                    self._move(number, entry.name, row[1], entry.split)
                elif entry.split and not entry.captions:
                    reason = f"listed twice in {entry.place}; taken once"
                    self.report(Problem(entry.name, ProblemKind.DUPLICATE, reason))
            for caption in entry.captions:
                self._add_caption(number, caption, entry)
        ask("COMMIT")

    def _add_caption(self, picture: int, caption: str, entry: Entry) -> None:
        named = entry.place if entry.number is None else f"{entry.name}#{entry.number}"
        if not _is_unicode(caption):
            reason = f"{entry.name}: half of a character in the caption (a lone surrogate); left out"
            self.report(Problem(named, ProblemKind.UNDECODABLE_BYTES, reason))
            return
        if not any(map(str.isalnum, caption)):
            self.report(Problem(named, ProblemKind.EMPTY_CAPTION, f"{entry.name}: no words; left out"))
            return
        if entry.number is not None:
            same = "SELECT 1 FROM captions WHERE picture = ? AND number = ?"
            if self._database.execute(same, (picture, entry.number)).fetchone():
                self.report(Problem(named, ProblemKind.DUPLICATE, "numbered twice; the first is kept"))
                return
        values = (picture, entry.number or 0, caption.strip(), entry.place)
        self._database.execute("INSERT INTO captions (picture, number, text, place) VALUES (?, ?, ?, ?)", values)

    def _move(self, number: int, name: str, old: str, new: str) -> None:
        """A picture is named in a further split."""
        kept = min(filter(None, (old, new)), key=lambda split: (_PRECEDENCE.get(split, 2), split))
        if old:
            reason = f"in {old} and in {new}; kept in {kept} only"
            self.report(Problem(name, ProblemKind.IN_TWO_SPLITS, reason))
        self._database.execute("UPDATE pictures SET split = ? WHERE id = ?", (kept, number))

    def report(self, problem: Problem) -> None:
        """Take a problem, unless one of this name and kind is known already."""
        self._database.execute(
            "INSERT OR IGNORE INTO problems (kind, name, reason) VALUES (?, ?, ?)",
            (problem.kind.name, printable(problem.name), printable(problem.reason)),  # names may be any bytes
        )

    def problems(self, kind: ProblemKind | None = None, most: int = -1) -> Iterator[Problem]:
        """The problems in the order found, all or those of a kind, at most so many."""
        query = "SELECT name, kind, reason FROM problems WHERE ? IN ('', kind) ORDER BY id LIMIT ?"
        for name, found, reason in self._database.execute(query, (kind.name if kind else "", most)):
            yield Problem(name, ProblemKind[found], reason)

    def problem_counts(self) -> dict[ProblemKind, int]:
        """How many problems there are of each kind that occurs, in the order of `ProblemKind`."""
        counts = dict(self._database.execute("SELECT kind, COUNT(*) FROM problems GROUP BY kind"))
        return {kind: counts[kind.name] for kind in ProblemKind if kind.name in counts}

    def split_counts(self) -> dict[str, int]:
        """How many pictures each split has, those without one under an empty name."""
        return dict(self._database.execute("SELECT split, COUNT(*) FROM pictures GROUP BY split ORDER BY MIN(id)"))

    def pictures(self, split: str | None = None) -> Iterator[Indexed]:
        """The pictures of a split, or all, with their captions, in their order; some may have none."""
        where = "" if split is None else "WHERE split = :split"
        query = (
            "SELECT pictures.id, name, locator, split, pictures.place, text FROM pictures"  # noqa: S608 - no values in it
            f" LEFT JOIN captions ON captions.picture = pictures.id {where}"
            " ORDER BY pictures.id, captions.number, captions.id"
        )
        rows = self._database.cursor().execute(query, {"split": split})
        for facts, group in groupby(rows, key=lambda row: row[:5]):
            number, name, locator, in_split, place = facts
            captions = tuple(text for *_, text in group if text is not None)
            yield Indexed(number, name, locator, in_split, place, captions)

    def set_splits(self, splits: Iterable[tuple[int, str]]) -> None:
        """Put pictures, by number, into splits."""
        self._database.execute("BEGIN")
        rows = ((split, number) for number, split in splits)
        self._database.executemany("UPDATE pictures SET split = ? WHERE id = ?", rows)
        self._database.execute("COMMIT")

    def set_looks(self, looks: Iterable[tuple[int, Look]]) -> None:
        """Keep what was found in pictures, by number."""
        self._database.execute("BEGIN")
        rows = (
            (look.content, *((look.likeness.bits, look.likeness.small) if look.likeness else (None, None)), number)
            for number, look in looks
        )
        self._database.executemany("UPDATE pictures SET content = ?, hash = ?, small = ? WHERE id = ?", rows)
        self._database.execute("COMMIT")

    def small_copies(self, numbers: Iterable[int]) -> np.ndarray:
        """The small copies of pictures, by number, as `likeness.py` makes them: uint8 (pictures, 192)."""
        ask = self._database.execute
        found = (ask("SELECT small FROM pictures WHERE id = ?", (number,)).fetchone()[0] for number in numbers)
        return np.frombuffer(b"".join(found), np.uint8).reshape(-1, SMALL_BYTES)

    def remove(self, numbers: Iterable[int]) -> None:
        """Forget pictures and their captions."""
        self._database.execute("BEGIN")
        for number in numbers:
            self._database.execute("DELETE FROM captions WHERE picture = ?", (number,))
            self._database.execute("DELETE FROM pictures WHERE id = ?", (number,))
        self._database.execute("COMMIT")

    def remove_unreadable(self) -> None:
        """Forget the pictures in which nothing could be found."""
        unreadable = [number for (number,) in self.query("SELECT id FROM pictures WHERE small IS NULL")]
        self.remove(unreadable)

    def query(self, text: str, values: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of a question in SQL about `pictures` and `captions`, for counting."""
        yield from self._database.cursor().execute(text, values)


def _is_unicode(text: str) -> bool:
    """Whether a text can be written down: JSON may hold halves of characters, and names of files any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
