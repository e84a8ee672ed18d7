"""The pictures below a folder, as a stream: each file once, in order, whatever links and special files lie there.

Opens nothing. A folder with a million files is read in parts, so that the first picture is there at once and memory
stays the same.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path, PurePosixPath

from captioner.datasets.picture_files import SUFFIXES

_SORTED_AT_ONCE = 10_000
"""Names of one folder that are sorted together; of larger folders one such part comes after the other."""

Skipped = Callable[[str, str], None]
"""Takes the path of something that is left out, and why."""


@dataclass(frozen=True)
class Which:
    """Which files below a folder are meant."""

    include: tuple[str, ...] = ()
    """Patterns as in a shell, of names or of paths below the folder; empty takes what the suffix says is a picture."""
    exclude: tuple[str, ...] = ()
    """Patterns of files and folders to leave out."""
    hidden: bool = False
    """Whether names that begin with a dot are taken too."""
    follow_links: bool = False
    """Whether links that lead out of the folder are followed; those within it never are, as the file itself is met."""
    recursive: bool = True
    """Whether folders below it are looked into."""

    def takes_file(self, path: PurePosixPath) -> bool:
        """Whether a file is meant, by its path below the folder."""
        if self._hides(path):
            return False
        return _matches(path, self.include) if self.include else path.suffix.lower() in SUFFIXES

    def takes_folder(self, path: PurePosixPath) -> bool:
        """Whether a folder is looked into, by its path below the one that was named."""
        return self.recursive and not self._hides(path)

    def _hides(self, path: PurePosixPath) -> bool:
        return (path.name.startswith(".") and not self.hidden) or _matches(path, self.exclude)


def walk(folder: Path, which: Which, skipped: Skipped) -> Iterator[tuple[str, Path]]:
    """Path below the folder, with `/` between its parts, and path, of each picture file.

    A folder's own files come before those of the folders in it. A file that has several names, by hard links or by
    links that are followed, comes once.

    Args:
        folder: where to begin.
        which: the files that are meant.
        skipped: is told of links, special files and folders that cannot be read.
    """
    try:
        home = folder.resolve()
        first = folder.stat()
    except OSError as error:
        skipped(str(folder), error.strerror or "cannot be read")
        return
    seen: set[tuple[int, int]] = set()
    # Folders still to be read, the next one last; with those above each, so that one mounted into itself is told.
    waiting: list[tuple[Path, PurePosixPath, tuple[tuple[int, int], ...]]] = [
        (folder, PurePosixPath(), ((first.st_dev, first.st_ino),))
    ]
    while waiting:
        here, below, above = waiting.pop()
        found: list[tuple[Path, PurePosixPath, tuple[tuple[int, int], ...]]] = []
        for name, is_link in _names(here, skipped):
            path, key = here / name, below / name
            try:
                status = path.stat()
            except OSError as error:
                if which.takes_file(key):
                    skipped(str(path), "a link that leads nowhere" if is_link else error.strerror or "cannot be read")
                continue
            identity = (status.st_dev, status.st_ino)
            if is_link and not _leads_out(path, home, which, key, skipped):
                continue
            is_folder = stat.S_ISDIR(status.st_mode)
            if not (which.takes_folder(key) if is_folder else which.takes_file(key)):
                continue
            if is_folder and identity in above:
                skipped(str(path), "leads back to a folder above it")
            elif not is_folder and not stat.S_ISREG(status.st_mode):
                skipped(str(path), "a pipe, socket or device")
            elif identity in seen:
                skipped(str(path), "another name of what was met before")
            else:
                # Only what can be met twice is remembered: memory does not grow with the number of files.
                if which.follow_links or (status.st_nlink > 1 and not is_folder):
                    seen.add(identity)
                if is_folder:
                    found.append((path, key, (*above, identity)))
                else:
                    yield str(key), path
        waiting.extend(sorted(found, key=lambda entry: entry[1].name, reverse=True))


def _names(folder: Path, skipped: Skipped) -> Iterator[tuple[str, bool]]:
    """The names in a folder, and whether each is a link; sorted, of large folders part by part."""
    try:
        with os.scandir(folder) as entries:
            while part := sorted((entry.name, entry.is_symlink()) for entry in islice(entries, _SORTED_AT_ONCE)):
                yield from part
    except OSError as error:
        skipped(str(folder), error.strerror or "cannot be read")


def _leads_out(path: Path, home: Path, which: Which, key: PurePosixPath, skipped: Skipped) -> bool:
    """Whether a link leads to something that is met in no other way, and is to be followed."""
    try:
        inside = path.resolve().is_relative_to(home)
    except (OSError, RuntimeError):  # a loop of links
        inside = True
    if not inside and not which.follow_links and (which.takes_folder(key) if path.is_dir() else which.takes_file(key)):
        skipped(str(path), "a link out of the folder; --follow-links takes it")
    return which.follow_links and not inside


def _matches(path: PurePosixPath, patterns: Sequence[str]) -> bool:
    return any(fnmatch(path.name, pattern) or fnmatch(str(path), pattern) for pattern in patterns)
