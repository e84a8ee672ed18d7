"""A folder of pictures, each with its captions in a text file beside it: `dog.jpg` and `dog.txt` or `dog.caption`.

FOLDER/dog.jpg    FOLDER/dog.txt          one caption a line; dog.jpg.txt is fine too
FOLDER/train/…    FOLDER/dev/…            folders called like splits are splits; other folders are not
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import ClassVar

from captioner.datasets.layout import SPLITS, Columns, Entry, Report, in_folder
from captioner.datasets.picture_files import SUFFIXES, file_at
from captioner.datasets.problems import Problem, ProblemKind
from captioner.datasets.text_files import lines
from captioner.errors import DataError
from captioner.types import ImageSource

TEXTS = (".txt", ".caption")
_LOOKED_AT = 1_000
"""Pictures among which one with a text beside it must be, for the folder to be recognised."""


class SidecarLayout:
    """Pictures and the texts beside them, below one folder."""

    label: ClassVar = "sidecar"
    looked_for: ClassVar = "a folder of pictures with texts of the same names beside them, dog.jpg and dog.txt"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files = (folder,)
        self._has_splits = any(
            name.lower() in SPLITS and (folder / name).is_dir()
            for name in sorted(os.listdir(folder))  # noqa: PTH208
        )
        self.reading = f"each line of {' or '.join(TEXTS)} is a caption of the picture beside it" + (
            "; the folders say which split a picture is in" if self._has_splits else ""
        )

    @classmethod
    def find(cls, path: Path, columns: Columns, *, named: bool) -> SidecarLayout | None:
        """See `Layout.find`."""
        if not path.is_dir():
            if named:
                raise DataError(f"{path} is a file; name the folder with the pictures and the texts beside them")
            return None
        pairs = islice(_pairs(path, Path()), _LOOKED_AT if not named else None)
        if any(picture is not None and text is not None for picture, text in pairs):
            return cls(path)
        if named:
            raise DataError(f"{path}: no picture has a text beside it; expected dog.txt or dog.caption beside dog.jpg")
        return None

    def entries(self, report: Report) -> Iterator[Entry]:
        """See `Layout.entries`."""
        for picture, text in _pairs(self._folder, Path()):
            if picture is None:
                assert text is not None
                reason = "no picture of this name beside it; left out"
                report(Problem(text.as_posix(), ProblemKind.CAPTION_WITHOUT_PICTURE, reason))
                continue
            captions: tuple[str, ...] = ()
            if text is not None:
                captions = tuple(line for _, line in lines(self._folder / text, in_folder(text.parent, report)))
            place = picture.as_posix() if text is None else text.as_posix()
            split = SPLITS.get(picture.parts[0].lower(), "") if len(picture.parts) > 1 else ""
            yield Entry(picture.as_posix(), captions, place, split)

    def source(self, name: str, locator: str) -> ImageSource | None:
        """See `Layout.source`."""
        return file_at(self._folder / name)


def _pairs(folder: Path, below: Path) -> Iterator[tuple[Path | None, Path | None]]:
    """Each picture with its text, and each text without a picture, as paths below the folder; in the order of names."""
    try:
        with os.scandir(folder / below) as found:
            entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found if entry.name[0] != "."]
    except OSError as error:
        raise DataError(f"cannot read {folder / below}: {error.strerror}; check its permissions") from None
    texts = {name for name, is_folder in entries if not is_folder and Path(name).suffix.lower() in TEXTS}
    ends = sorted({Path(name).suffix for name in texts}, key=lambda end: (TEXTS.index(end.lower()), end))
    used = set()
    for name, is_folder in sorted(entries):
        if is_folder:
            yield from _pairs(folder, below / name)
        elif Path(name).suffix.lower() in SUFFIXES:
            stem = Path(name).stem
            text = next((each + end for each in (name, stem) for end in ends if each + end in texts), None)
            used.add(text)
            yield below / name, None if text is None else below / text
    for text in sorted(texts - used):
        yield None, below / text
