"""Flickr8k in its official layout (Hodosh, Young and Hockenmaier, JAIR 2013); opens no picture.

    flickr8k/
      Flickr8k.token.txt            name.jpg#k<TAB>caption, five lines a picture
      Flickr_8k.trainImages.txt     one name a line; without any list there are no splits
      Flickr_8k.devImages.txt
      Flickr_8k.testImages.txt      may be absent
      Flicker8k_Dataset/            or Flickr8k_Dataset/, Images/, images/

The text files may be in `Flickr8k_text/`, and the folder of pictures may be one level further down.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from captioner.datasets.layout import Columns, Entry, Report
from captioner.datasets.picture_files import PictureFiles
from captioner.datasets.problems import Problem, ProblemKind
from captioner.datasets.text_files import lines
from captioner.errors import DataError
from captioner.types import ImageSource

CAPTION_FILE = "Flickr8k.token.txt"
SPLIT_FILES = {
    "test": "Flickr_8k.testImages.txt",
    "dev": "Flickr_8k.devImages.txt",
    "train": "Flickr_8k.trainImages.txt",
}
"""In order of precedence: a picture in two splits stays in the first, so that nothing leaks into training."""
OPTIONAL_SPLITS = frozenset({"test"})
TEXT_FOLDERS = (".", "Flickr8k_text")
PICTURE_FOLDERS = ("images", "Images", "Flicker8k_Dataset", "Flickr8k_Dataset")

_CAPTION_LINE = re.compile(r"(?P<name>[^/\\\t#]+)#(?P<number>\d{1,6})\t(?P<caption>.*)")
_NAME_LINE = re.compile(r"[^/\\\t]+")


class FlickrLayout:
    """The files of one Flickr8k folder."""

    label: ClassVar = "flickr8k"
    looked_for: ClassVar = f"a folder with {CAPTION_FILE}, in it or in {TEXT_FOLDERS[1]}/"

    def __init__(self, folder: Path, texts: Path) -> None:
        self.folder = folder
        self._texts = texts
        pictures = _find_picture_folder(folder)
        self._pictures = None if pictures is None else PictureFiles(pictures)

    @classmethod
    def find(cls, path: Path, columns: Columns, *, named: bool) -> FlickrLayout | None:
        """See `Layout.find`."""
        texts = _find_text_folder(path) if path.is_dir() else None
        if texts is None and named:
            raise DataError(f"{path} has no {CAPTION_FILE}; give the folder that holds it")
        return None if texts is None else cls(path, texts)

    @property
    def files(self) -> tuple[Path, ...]:
        """See `Layout.files`."""
        lists = [self._texts / name for name in SPLIT_FILES.values()]
        return (self._texts / CAPTION_FILE, *(path for path in lists if path.is_file()))

    @property
    def reading(self) -> str:
        """See `Layout.reading`."""
        lists = "the lists beside it say which split a picture is in" if len(self.files) > 1 else "there are no splits"
        where = self._pictures.folder if self._pictures else "nowhere"
        return f"name#number, a tab and a caption on each line; {lists}; the pictures are in {where}"

    def entries(self, report: Report) -> Iterator[Entry]:
        """See `Layout.entries`: the pictures of each list in its order, then those that no list has."""
        captions = _read_captions(self._texts / CAPTION_FILE, report)
        for split, names in _read_lists(self._texts, report).items():
            for name in names:
                yield Entry(name, captions.pop(name, ()), SPLIT_FILES[split], split)
        for name, found in captions.items():
            yield Entry(name, found, CAPTION_FILE)

    def source(self, name: str, locator: str) -> ImageSource | None:
        """See `Layout.source`."""
        return self._pictures.find(name) if self._pictures else None


def _find_text_folder(folder: Path) -> Path | None:
    return next((folder / name for name in TEXT_FOLDERS if (folder / name / CAPTION_FILE).is_file()), None)


def _find_picture_folder(folder: Path) -> Path | None:
    """The folder that holds files, among those of the known names in the folder or one level down."""
    parents = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    candidates = [parent / name for parent in parents for name in PICTURE_FOLDERS]
    return next((path for path in candidates if path.is_dir() and any(file.is_file() for file in path.iterdir())), None)


def _read_lists(texts: Path, report: Report) -> dict[str, list[str]]:
    """The names in each split list, none without any. Raises `DataError` when one is there, but not all that must be.

    In order of precedence: a picture in two of them stays in the first.
    """
    lists: dict[str, list[str]] = {}
    if not any((texts / file_name).is_file() for file_name in SPLIT_FILES.values()):
        return lists
    for split, file_name in SPLIT_FILES.items():
        path = texts / file_name
        if not path.is_file():
            if split in OPTIONAL_SPLITS:
                continue
            raise DataError(f"{path} is missing; put it beside {CAPTION_FILE}")
        names: dict[str, None] = {}
        for number, text in lines(path, report):
            name = text.strip()
            place = f"{path.name} line {number}"
            if not _NAME_LINE.fullmatch(name):
                report(Problem(place, ProblemKind.MALFORMED_LINE, "not the name of a picture; the line is left out"))
            elif name in names:
                report(Problem(name, ProblemKind.DUPLICATE, f"listed twice in {file_name}; taken once"))
            else:
                names[name] = None
        lists[split] = list(names)
    return lists


def _read_captions(path: Path, report: Report) -> dict[str, tuple[str, ...]]:
    """The captions of each picture that the file names, in the order of their numbers."""
    numbered: dict[str, dict[int, str]] = {}
    for line_number, text in lines(path, report):
        line = _CAPTION_LINE.fullmatch(text)
        if line is None:
            place = f"{path.name} line {line_number}"
            report(Problem(place, ProblemKind.MALFORMED_LINE, "not name#number<TAB>caption; the line is left out"))
            continue
        name, number, caption = line["name"], int(line["number"]), line["caption"].strip()
        captions = numbered.setdefault(name, {})
        if not any(map(str.isalnum, caption)):
            report(Problem(f"{name}#{number}", ProblemKind.EMPTY_CAPTION, "no words; left out"))
        elif number in captions:
            report(Problem(f"{name}#{number}", ProblemKind.DUPLICATE, "numbered twice; the first is kept"))
        else:
            captions[number] = caption
    return {name: tuple(caption for _, caption in sorted(captions.items())) for name, captions in numbered.items()}
