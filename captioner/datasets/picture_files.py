"""Finds the files that captions name, wherever below a folder they lie. Opens none."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from captioner.datasets.folders import folders_in
from captioner.datasets.layout import SPLITS
from captioner.images import FileSource

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif"})
"""What names of pictures end in, in lower case; used to find pictures, never to decide how one is read."""
_MOST_FOLDERS = 10_000
_DEPTH = 3


class PictureFiles:
    """Files by the names that captions give them: a path below the folder, or a bare name in any folder below it.

    Whole paths go before bare names, and folders before those below them. Names with backslashes, as Windows writes
    them, are understood on every system; absolute names and `..` are not followed out of the folder, but taken for what
    they end in. So are relative ones whose first folder is nowhere here, as when the data was moved; where it is here,
    its picture is missing. Memory depends on the number of folders, not of files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._folders = [folder, *folders_below(folder)]
        self._names = {name.lower() for name in SPLITS} | {path.name for path in self._folders[1:]}
        """Folders that are here, and those that say which split a picture is in: they are never left out of a name."""

    def find(self, name: str) -> FileSource | None:
        """The file that `name` stands for, or None."""
        # Letters with marks may be composed on one side and not on the other, as a Mac writes them.
        forms = dict.fromkeys((name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)))
        return next((found for form in forms if (found := self._find(parts_of(form), form))), None)

    def _find(self, parts: Sequence[str], name: str) -> FileSource | None:
        elsewhere = _is_absolute(name)
        for beginning in range(len(parts)):  # the name as it is, then without what may only have been true elsewhere
            if beginning and not elsewhere and parts[beginning - 1] in self._names:
                return None
            relative = Path(*parts[beginning:])
            found = next((source for folder in self._folders if (source := file_at(folder / relative))), None)
            if found is not None:
                return found
        return None


def file_at(path: Path) -> FileSource | None:
    """The file at a path; None when there is none, or when no file could be called so."""
    return FileSource(path) if os.path.isfile(path) else None  # noqa: PTH113 - pathlib raises for names that are too long


def _is_absolute(name: str) -> bool:
    """Whether a name begins at the root of some system, or leads out of the folder: where it was is not here."""
    return PurePosixPath(name).is_absolute() or bool(PureWindowsPath(name).anchor) or ".." in name


def parts_of(name: str) -> tuple[str, ...]:
    """The parts of a path as any system writes it, without root, drive, `.` and `..`."""
    windows = "\\" in name and "/" not in name
    path = PureWindowsPath(name) if windows else PurePosixPath(name)
    return tuple(part for part in path.parts if part not in (path.anchor, ".", "..", "/"))


def folders_below(folder: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """Folders below a folder, the nearer ones first, each level in order; hidden ones are left out."""
    level = [folder]
    count = 0
    for _ in range(depth):
        found = []
        for parent in level:
            found += folders_in(parent)
        for path in found:
            count += 1
            if count > _MOST_FOLDERS:
                return
            yield path
        level = found
