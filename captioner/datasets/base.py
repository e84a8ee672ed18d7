"""What every data set of pictures and captions offers; knows no format, no pixels and no words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeAlias

from captioner.datasets.problems import Problem
from captioner.errors import DataError
from captioner.types import Record

Judge: TypeAlias = Callable[[str, str], bool]
"""Takes an image id and a caption; says whether the caption is true of the picture."""


class CaptionDataset(Protocol):
    """Pictures with their captions, in splits. A new format is one class like this and one row of the registry."""

    @property
    def name(self) -> str:
        """How to name the data set to a person."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that it has: always `train` and `dev`, often `test`."""
        ...

    @property
    def listed(self) -> int:
        """How many different pictures the splits name, the ones with problems included."""
        ...

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What was wrong with the data and was left out because of it."""
        ...

    @property
    def judge(self) -> Judge | None:
        """Tells true captions from false ones; None where only a person could."""
        ...

    def records(self, split: str) -> Iterator[Record]:
        """The records of one split, always in the same order.

        Raises `DataError` when there is no such split.
        """
        ...


@dataclass(frozen=True)
class LimitedDataset:
    """The first few records of each split of another data set, for trying things."""

    dataset: CaptionDataset
    """The data set in full."""
    limit: int
    """At most this many records of each split."""

    @property
    def name(self) -> str:
        """The name of the data set, with the limit."""
        return f"{self.dataset.name}, first {self.limit} of each split"

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of the data set."""
        return self.dataset.splits

    @property
    def listed(self) -> int:
        """Pictures of the data set in full, because `problems` are those of the data set in full."""
        return self.dataset.listed

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The problems of the data set in full."""
        return self.dataset.problems

    @property
    def judge(self) -> Judge | None:
        """The judge of the data set."""
        return self.dataset.judge

    def records(self, split: str) -> Iterator[Record]:
        """The first `limit` records of a split. Raises `DataError` when there is no such split."""
        return islice(self.dataset.records(split), self.limit)


def require_split(dataset: CaptionDataset, split: str) -> None:
    """Raise `DataError` unless the data set has the split."""
    if split not in dataset.splits:
        raise DataError(f"{dataset.name} has no split {split!r}; it has {', '.join(dataset.splits)}")
