"""What every layout of pictures and captions on disk offers: a stream of entries, and the bytes behind each.

A layout only reads. Which entries are one picture, whether its file is there, and which split it is in, is found out
for all of them alike in `collection.py`. A new layout is one file with one class, and one row of the registry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol, TypeAlias

from captioner.datasets.problems import Problem
from captioner.types import ImageSource

Report: TypeAlias = Callable[[Problem], None]
"""Takes what is wrong with a line or a member, and is therefore left out."""

SPLITS = {
    **dict.fromkeys(("train", "training", "restval"), "train"),
    **dict.fromkeys(("dev", "val", "valid", "validation", "development", "minival"), "dev"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What data sets call their splits, in lower case → what they are called here. Karpathy's `restval` is for training."""


_WORD = re.compile(r"[a-z]+")


def split_in(name: str) -> str:
    """The split that the name of a file or folder speaks of, one of the values of `SPLITS`; empty when none, or two.

    `captions_train2017.json` is of `train`, `validation-00000-of-00002.parquet` of `dev`.
    """
    found = {SPLITS[word] for word in _WORD.findall(name.lower()) if word in SPLITS}
    return found.pop() if len(found) == 1 else ""


def in_folder(folder: Path, report: Report) -> Report:
    """Reports what is wrong with files of a folder below that of the data by their paths, as names may be the same."""
    return lambda problem: report(replace(problem, name=(folder / problem.name).as_posix()))


def split_of_folders(parts: Sequence[str]) -> str:
    """The split that a folder of a path is called after, one of the values of `SPLITS`; empty when none is."""
    return next((SPLITS[part.lower()] for part in parts if part.lower() in SPLITS), "")


@dataclass(frozen=True)
class Columns:
    """The options with which a person says how to read a file."""

    image: str = ""
    """Column or field that names the picture, or holds its bytes; empty: found by itself."""
    caption: str | None = ""
    """Column or field with the caption or a list of captions; empty: found by itself; None: none is wanted."""


@dataclass(frozen=True)
class Entry:
    """A picture and some or all of its captions, as one line, object or member of a file has them."""

    name: str
    """The picture's name in the data set; entries of one name are one picture. Never empty."""
    captions: tuple[str, ...]
    """As written; may be empty, and so may be each of them."""
    place: str
    """Where it stands, for messages: `captions.txt line 12`, `train.json annotation 7`, `00012.tar member 0031.txt`."""
    split: str = ""
    """One of the values of `SPLITS`, or a further name of the data set's own; empty where it has no splits."""
    locator: str = ""
    """What `Layout.source` needs to find the bytes, in the layout's own words; empty: a file found by `name`."""
    number: int | None = None
    """Of its one caption among those of the picture, where the layout numbers them: their order, and each once."""


class Layout(Protocol):
    """Reads one layout. Memory stays the same whatever the number of entries."""

    label: ClassVar[str]
    """How the layout is called: what `--format` takes, in lower case with dashes."""
    looked_for: ClassVar[str]
    """What it is recognised by, for a message: `a folder with captions.txt whose first line is image,caption`."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it reads, in order; of very many the first few."""
        ...

    @property
    def reading(self) -> str:
        """How it reads them, in one sentence for a person: which columns, which separator, where the pictures are."""
        ...

    @classmethod
    def find(cls, path: Path, columns: Columns, *, named: bool) -> Layout | None:
        """The layout at a path, or None when it is another one; cheap, as it looks at names and first lines alone.

        Args:
            path: a folder or a file that exists.
            columns: what a person said of the columns.
            named: whether a person asked for this very layout with `--format`. Then whatever can be read this way is,
                and else DataError says what was expected and what was found.
        """
        ...

    def entries(self, report: Report) -> Iterator[Entry]:
        """All entries, streamed in the order of the files. Raises `DataError` when a file cannot be read any further.

        What is wrong with one line or member goes to `report`, with its place as the name, and is left out.
        """
        ...

    def source(self, name: str, locator: str) -> ImageSource | None:
        """Where the bytes of a picture are; None when there is no such file. Opens nothing."""
        ...
