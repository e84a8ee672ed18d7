"""Where the pictures of a job come from: files, folders, lists of names. All are streams; nothing is opened here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from captioner.batch.walk import Skipped, Which, walk
from captioner.batch.work import Item
from captioner.datasets.layout import Layout
from captioner.errors import ConfigError
from captioner.images import FileSource


class Source(Protocol):
    """Gives the items of a job; each time it is asked, all of them, in the same order as long as nothing changes."""

    @property
    def can_be_asked_again(self) -> bool:
        """Whether that is so; what comes from stdin is gone when it was read."""
        ...

    @property
    def home(self) -> Path:
        """The folder that keys are relative to, and where a job without an output of its own keeps its papers."""
        ...

    def items(self, skipped: Skipped) -> Iterator[Item]:
        """The items, streamed. `skipped` is told of what is left out, and why."""
        ...


class FolderSource:
    """The pictures below a folder."""

    can_be_asked_again = True

    def __init__(self, folder: Path, which: Which) -> None:
        self.home = folder
        self._which = which

    def items(self, skipped: Skipped) -> Iterator[Item]:
        """See `Source.items`."""
        for key, path in walk(self.home, self._which, skipped):
            yield Item(key, FileSource(path), str(path))


class FilesSource:
    """Files and folders in the order in which they were named; keys are the paths as given."""

    can_be_asked_again = True

    def __init__(self, paths: tuple[str, ...], which: Which) -> None:
        self.home = Path()
        self._paths = paths
        self._which = which

    def items(self, skipped: Skipped) -> Iterator[Item]:
        """See `Source.items`."""
        for name in self._paths:
            path = Path(name)
            if path.is_dir():
                for _, found in walk(path, self._which, skipped):
                    yield Item(found.as_posix(), FileSource(found), str(found))
            else:
                yield Item(path.as_posix(), FileSource(path), name)


class ListSource:
    """Names of files on stdin, one a line, or with a zero byte after each as `find -print0` writes them.

    Asked again it gives nothing: what was read is gone.
    """

    can_be_asked_again = False

    def __init__(self, *, null: bool = False) -> None:
        self.home = Path()
        self._end = b"\0" if null else b"\n"

    def items(self, skipped: Skipped) -> Iterator[Item]:
        """See `Source.items`."""
        if sys.stdin is None:
            raise ConfigError("the list of pictures is to come from stdin, and stdin is closed")
        rest = b""
        while chunk := os.read(sys.stdin.fileno(), 2**16):
            *names, rest = (rest + chunk).split(self._end)
            for name in names:
                yield from self._item(os.fsdecode(name))
        yield from self._item(os.fsdecode(rest))

    def _item(self, name: str) -> Iterator[Item]:
        name = name.removesuffix("\r") if self._end == b"\n" else name
        if name:
            yield Item(Path(name).as_posix(), FileSource(Path(name)), name)


class LayoutSource:
    """The pictures of a table, of JSON lines, of Parquet or of tar shards, whatever captions these may have."""

    can_be_asked_again = True

    def __init__(self, path: Path, layout: Layout) -> None:
        self.home = path if path.is_dir() else path.parent
        self._layout = layout

    def items(self, skipped: Skipped) -> Iterator[Item]:
        """See `Source.items`; a picture that is named several times comes several times."""
        for entry in self._layout.entries(lambda each: skipped(each.name, each.reason.removesuffix("; left out"))):
            source = self._layout.source(entry.name, entry.locator) or FileSource(self.home / entry.name)
            yield Item(entry.name, source, str(source.path) if isinstance(source, FileSource) else "")


class SeveralSources:
    """One source after the other."""

    def __init__(self, sources: tuple[Source, ...]) -> None:
        self.home = Path()
        self._sources = sources
        self.can_be_asked_again = all(source.can_be_asked_again for source in sources)

    def items(self, skipped: Skipped) -> Iterator[Item]:
        """See `Source.items`."""
        for source in self._sources:
            yield from source.items(skipped)
