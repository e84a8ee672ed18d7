"""The data set that a layout on disk holds: its pictures with all their captions, in splits.

Splits are those of the layout where it has any. Otherwise pictures are looked at once, and held back by what is in them
(`splits.py`). What is missing or cannot be read is left out and named. Knows no layout in particular.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from captioner.datasets.base import require_split
from captioner.datasets.index import CaptionIndex, Indexed
from captioner.datasets.layout import Layout
from captioner.datasets.likeness import nearly_the_same
from captioner.datasets.looks import look_at_all
from captioner.datasets.problems import Problem, ProblemKind
from captioner.datasets.splits import DEV_SHARE, SHARES, split_by_content
from captioner.datasets.union_find import UnionFind
from captioner.errors import DataError, printable
from captioner.progress import Progress
from captioner.types import ImageSource, Record

_AT_ONCE = 1024
"""Pictures between two visits of the index."""
_FIRST = ("train", "dev", "test")


@dataclass(frozen=True)
class Groups:
    """Pictures that are the same or nearly the same."""

    numbers: np.ndarray
    """Of all pictures in the index: int64 (pictures,)."""
    shares: np.ndarray
    """A number from 0 up to 1 that follows from the content of each alone: float64 (pictures,)."""
    of: np.ndarray
    """The group of each, named by the place of its first picture: int64 (pictures,)."""
    same: np.ndarray
    """Places of pictures whose files are the same: the first one, and each further one; int64 (pairs, 2)."""
    near: np.ndarray
    """Places of pictures that are nearly the same, as many pairs as connect them; int64 (pairs, 2)."""


class Collection:
    """A `CaptionDataset` over a layout."""

    judge = None
    """Only people can tell whether a caption of a photograph is true."""

    def __init__(self, layout: Layout, name: str, *, threads: int = 1) -> None:
        """Read all captions, find the pictures, and see to the splits.

        Args:
            layout: where to read.
            name: how the data set is named to a person.
            threads: that look at pictures, where that is needed.

        Raises:
            DataError: a file cannot be read.
        """
        self.name = name
        self.layout = layout
        self.index = CaptionIndex()
        """All that was read."""
        self.looked_at = False
        """Whether the index knows what is in the pictures."""
        self._threads = threads
        self.index.add(layout.entries(self.index.report))
        named = self.index.split_counts()
        self.has_splits = any(named)
        """Whether the layout has splits of its own; `dev` may be missing among them."""
        self.unlisted = named.get("", 0) if self.has_splits else 0
        """Pictures with captions that are in none of the splits; nothing is made of them."""
        self.listed = sum(named.values()) - self.unlisted
        """Pictures that the splits name, or all where there are no splits; those with problems included."""
        self._leave_out_what_is_missing()
        if not self.has_splits or ("train" in named and "dev" not in named):
            self._hold_back()
        found = self.index.split_counts()
        self.splits = tuple(sorted(found, key=lambda split: _FIRST.index(split) if split in _FIRST else len(_FIRST)))
        """Those that have pictures."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What was left out."""
        return tuple(self.index.problems())

    def records(self, split: str) -> Iterator[Record]:
        """The records of a split, in the order of the layout. Raises `DataError` when there is no such split."""
        require_split(self, split)
        return (
            Record(picture.name, self.source(picture), picture.captions, split)
            for picture in self.index.pictures(split)
        )

    def source(self, picture: Indexed) -> ImageSource:
        """Where the bytes of a picture are."""
        source = self.layout.source(picture.name, picture.locator)
        if source is None:
            raise DataError(f"{picture.name} was there a moment ago; leave the data alone while it is read")
        return source

    def look(self) -> None:
        """Look at every picture once, and leave out those that cannot be read."""
        if self.looked_at:
            return
        self.looked_at = True
        total = sum(self.index.split_counts().values())
        with Progress("looking at pictures", total, " pictures") as progress:
            pictures = self.index.pictures()
            while some := list(islice(pictures, _AT_ONCE)):
                looks = list(look_at_all(map(self.source, some), threads=self._threads))
                progress.advance(len(some))
                self.index.set_looks((picture.number, look) for picture, look in zip(some, looks, strict=True))
                for picture, look in zip(some, looks, strict=True):
                    if look.error:
                        reason = f"{look.error}; left out"
                        self.index.report(Problem(picture.name, ProblemKind.CORRUPT_PICTURE, reason))
        self.index.remove_unreadable()

    def groups(self) -> Groups:
        """Which pictures are the same or nearly the same; after `look`."""
        count = sum(self.index.split_counts().values())
        numbers, contents = np.zeros(count, np.int64), np.zeros((count, 2), np.uint64)
        hashes, has_hash = np.zeros(count, np.uint64), np.zeros(count, bool)
        rows = self.index.query("SELECT id, content, hash FROM pictures ORDER BY id")
        for place, (number, content, bits) in enumerate(rows):
            numbers[place] = number
            contents[place] = np.frombuffer(content[:16], ">u8")  # half of a SHA-256 tells contents apart as well
            if bits is not None:
                hashes[place], has_hash[place] = int.from_bytes(bits, "big"), True
        order = np.lexsort(contents.T)  # equal contents beside each other, in their own order
        begins = np.append(True, (contents[order[1:]] != contents[order[:-1]]).any(axis=1))[:count]
        first_of = np.empty(count, np.int64)  # the first picture of the same content
        first_of[order] = order[begins][np.cumsum(begins) - 1]
        further = np.flatnonzero(first_of != np.arange(count))
        distinct = np.flatnonzero(has_hash & (first_of == np.arange(count)))

        def small(places: np.ndarray) -> np.ndarray:
            return self.index.small_copies(numbers[distinct[places]].tolist())

        near = np.fromiter(nearly_the_same(hashes[distinct], small), np.dtype((np.int64, 2)))
        same, near = np.stack([first_of[further], further], axis=1), distinct[near]
        joined = UnionFind(count)
        for pairs in (same, near):
            for one, other in pairs:
                joined.join(int(one), int(other))
        return Groups(numbers, contents[:, 0] / 2**64, joined.groups(np.arange(count)), same, near)

    def _leave_out_what_is_missing(self) -> None:
        """Forget pictures without a file, without a caption, or outside of the splits."""
        gone = []
        for picture in self.index.pictures():
            outside = self.has_splits and not picture.split
            where = f"in {picture.split}" if picture.split else picture.place
            if self.layout.source(picture.name, picture.locator) is None:
                if outside:
                    kind, reason = ProblemKind.CAPTION_WITHOUT_PICTURE, "no file and in no split; captions left out"
                else:
                    kind, reason = ProblemKind.MISSING_PICTURE, f"{where}, but not among the pictures; left out"
                self.index.report(Problem(picture.name, kind, reason))
            elif not picture.captions and not outside:
                reason = f"{where}, but has no caption; left out"
                self.index.report(Problem(picture.name, ProblemKind.MISSING_CAPTIONS, reason))
            elif not outside:
                continue
            gone.append(picture.number)
        self.index.remove(gone)

    def _hold_back(self) -> None:
        """Take a dev split from what there is to train on, and a test split too where the layout has no splits."""
        self.look()
        found = self.groups()
        kept = np.ones(len(found.numbers), bool)
        if self.has_splits:
            training = (split == "train" for (split,) in self.index.query("SELECT split FROM pictures ORDER BY id"))
            kept = np.fromiter(training, bool, len(kept))
        groups = np.unique(found.of[kept], return_inverse=True)[1]
        splits = split_by_content(
            found.shares[kept], groups, held_back={"dev": DEV_SHARE} if self.has_splits else SHARES
        )
        self.index.set_splits(zip(found.numbers[kept].tolist(), splits, strict=True))

    def require_pictures(self) -> None:
        """Raise `DataError`, with the commonest reason, when no picture with a caption is left."""
        if not self.splits:
            raise DataError(f"{self.name}: {self._why_nothing_is_left()}")

    def _why_nothing_is_left(self) -> str:
        counts = self.index.problem_counts()
        if not counts:
            return "there are no pictures with captions"
        kind = max(counts, key=lambda kind: counts[kind])
        example = next(self.index.problems(kind))
        return (
            f"no pictures with captions are left ({counts[kind]:,} × {kind}, for example {printable(example.name)}: "
            f"{example.reason}); `captioner doctor` tells more"
        )
