"""A folder of pictures, each with its captions in a text file beside it: `dog.jpg` and `dog.txt` or `dog.caption`.

FOLDER/dog.jpg    FOLDER/dog.txt          one caption a line; dog.jpg.txt is fine too
FOLDER/train/…    FOLDER/dev/…            folders called like splits are splits; other folders are not
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import ClassVar

from captioner.datasets.folders import folders_in, names_in_order
from captioner.datasets.layout import SPLITS, Columns, Entry, Report, in_folder, split_of_folders
from captioner.datasets.picture_files import SUFFIXES, file_at, folders_below
from captioner.datasets.problems import Problem, ProblemKind
from captioner.datasets.text_files import lines
from captioner.errors import DataError
from captioner.types import ImageSource

TEXTS = (".txt", ".caption")
_TEXT_ENDS = tuple(case(end) for end in TEXTS for case in (str.lower, str.upper))
_PICTURE_ENDS = tuple(case(end) for case in (str.lower, str.upper, str.capitalize) for end in sorted(SUFFIXES))
_LOOKED_AT = 1_000
"""Pictures among which one with a text beside it must be, for the folder to be recognised."""


class SidecarLayout:
    """Pictures and the texts beside them, below one folder."""

    label: ClassVar = "sidecar"
    looked_for: ClassVar = "a folder of pictures with texts of the same names beside them, dog.jpg and dog.txt"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files = (folder,)
        named = {SPLITS.get(each.name.lower(), "") for each in folders_below(folder)}
        self._has_splits = "train" in named or any(each.name.lower() in SPLITS for each in folders_in(folder))
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
            split = split_of_folders(picture.parts[:-1]) if self._has_splits else ""
            yield Entry(picture.as_posix(), captions, place, split)

    def source(self, name: str, locator: str) -> ImageSource | None:
        """See `Layout.source`."""
        return file_at(self._folder / name)


def _pairs(
    folder: Path, below: Path, above: tuple[tuple[int, int], ...] = ()
) -> Iterator[tuple[Path | None, Path | None]]:
    """Each picture with its text, and each text without a picture, as paths below the folder; in the order of names.

    Links to folders are followed, but not to one of those `above`, each by its device and number.
    """
    try:
        status = (folder / below).stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            return
        for name, is_folder in names_in_order(folder / below):
            path = below / name
            if is_folder:
                yield from _pairs(folder, path, (*above, identity))
            elif path.suffix.lower() in SUFFIXES:
                texts = (stem.with_name(stem.name + end) for stem in (path, path.with_suffix("")) for end in _TEXT_ENDS)
                yield path, next((text for text in texts if (folder / text).is_file()), None)
            elif path.suffix.lower() in TEXTS and not _has_picture(folder / path):
                yield None, path
    except OSError as error:
        raise DataError(f"cannot read {folder / below}: {error.strerror}; check its permissions") from None


def _has_picture(text: Path) -> bool:
    """Whether there is a picture that a text is named after, or after whose name without its end."""
    named = text.with_suffix("")
    return (named.suffix.lower() in SUFFIXES and named.is_file()) or any(
        named.with_name(named.name + end).is_file() for end in _PICTURE_ENDS
    )
