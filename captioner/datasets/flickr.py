"""The token files of Flickr8k (Hodosh, Young and Hockenmaier, JAIR 2013) and Flickr30k (Young et al., TACL 2014).

    flickr8k/
      Flickr8k.token.txt            name.jpg#k<TAB>caption, five lines a picture; results_20130124.token in Flickr30k
      Flickr_8k.trainImages.txt     one name a line; without any list there are no splits
      Flickr_8k.devImages.txt
      Flickr_8k.testImages.txt      may be absent
      Flicker8k_Dataset/            or Flickr8k_Dataset/, flickr30k-images/, Images/, images/

The text files may be in `Flickr8k_text/`, and the folder of pictures may be one level further down. Opens no picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from captioner.datasets.folders import folders_in, has_files
from captioner.datasets.layout import Columns, Entry, Report
from captioner.datasets.picture_files import PictureFiles
from captioner.datasets.problems import Problem, ProblemKind
from captioner.datasets.text_files import lines
from captioner.errors import DataError
from captioner.types import ImageSource

CAPTION_FILE = "Flickr8k.token.txt"
CAPTION_FILES = (CAPTION_FILE, "results_20130124.token", "Flickr30k.token.txt")
SPLIT_FILES = {
    "test": "Flickr_8k.testImages.txt",
    "dev": "Flickr_8k.devImages.txt",
    "train": "Flickr_8k.trainImages.txt",
}
"""In order of precedence: a picture in two splits stays in the first, so that nothing leaks into training."""
OPTIONAL_SPLITS = frozenset({"test"})
TEXT_FOLDERS = (".", "Flickr8k_text")
PICTURE_FOLDERS = ("images", "Images", "Flicker8k_Dataset", "Flickr8k_Dataset", "flickr30k-images", "flickr30k_images")

_CAPTION_LINE = re.compile(r"(?P<name>[^/\\\t#]+)#(?P<number>\d{1,6})\t(?P<caption>.*)")
_NAME_LINE = re.compile(r"[^/\\\t]+")


class FlickrLayout:
    """The files of one folder."""

    label: ClassVar = "flickr"
    looked_for: ClassVar = f"a folder with {CAPTION_FILES[0]} or {CAPTION_FILES[1]}, in it or in {TEXT_FOLDERS[1]}/"

    def __init__(self, folder: Path, captions: Path) -> None:
        self.folder = folder
        self._captions = captions
        self._texts = captions.parent
        pictures = _find_picture_folder(folder)
        self._pictures = None if pictures is None else PictureFiles(pictures)

    @classmethod
    def find(cls, path: Path, columns: Columns, *, named: bool) -> FlickrLayout | None:
        """See `Layout.find`."""
        if path.is_file() and path.name in CAPTION_FILES:
            path = path.parent.parent if path.parent.name in TEXT_FOLDERS else path.parent
        captions = _find_captions(path)
        if captions is None and named:
            raise DataError(f"{path} has no {CAPTION_FILES[0]} and no {CAPTION_FILES[1]}; give the folder that has one")
        return None if captions is None else cls(path, captions)

    @property
    def title(self) -> str:
        """The name of the data set."""
        return "Flickr8k" if self._captions.name == CAPTION_FILE else "Flickr30k"

    @property
    def files(self) -> tuple[Path, ...]:
        """See `Layout.files`."""
        lists = [self._texts / name for name in SPLIT_FILES.values()]
        return (self._captions, *(path for path in lists if path.is_file()))

    @property
    def reading(self) -> str:
        """See `Layout.reading`."""
        lists = "the lists beside it say which split a picture is in" if len(self.files) > 1 else "there are no splits"
        where = self._pictures.folder if self._pictures else "nowhere"
        return f"name#number, a tab and a caption on each line; {lists}; the pictures are in {where}"

    def entries(self, report: Report) -> Iterator[Entry]:
        """See `Layout.entries`: the pictures of each list in its order, then those that no list has."""
        yield from _listed(self._texts, report)
        yield from _captioned(self._captions, report)

    def source(self, name: str, locator: str) -> ImageSource | None:
        """See `Layout.source`."""
        return self._pictures.find(name) if self._pictures else None


def _find_captions(folder: Path) -> Path | None:
    candidates = (folder / inner / name for name in CAPTION_FILES for inner in TEXT_FOLDERS)
    return next((path for path in candidates if path.is_file()), None)


def _find_picture_folder(folder: Path) -> Path | None:
    """The folder that holds files, among those of the known names in the folder or one level down."""
    parents = [folder, *folders_in(folder)]
    candidates = [parent / name for parent in parents for name in PICTURE_FOLDERS]
    return next((path for path in candidates if has_files(path)), None)


def _listed(texts: Path, report: Report) -> Iterator[Entry]:
    """The pictures of each split list, in order of precedence: one in two of them stays in the first.

    Raises `DataError` when there is a list, but not all that must be.
    """
    if not any((texts / file_name).is_file() for file_name in SPLIT_FILES.values()):
        return
    for split, file_name in SPLIT_FILES.items():
        path = texts / file_name
        if not path.is_file():
            if split in OPTIONAL_SPLITS:
                continue
            raise DataError(f"{path} is missing; put it beside the captions")
        for number, text in lines(path, report):
            name = text.strip()
            if _NAME_LINE.fullmatch(name):
                yield Entry(name, (), file_name, split)
            else:
                place = f"{path.name} line {number}"
                report(Problem(place, ProblemKind.MALFORMED_LINE, "not the name of a picture; the line is left out"))


def _captioned(path: Path, report: Report) -> Iterator[Entry]:
    """The caption of each line."""
    for line_number, text in lines(path, report):
        line = _CAPTION_LINE.fullmatch(text)
        place = f"{path.name} line {line_number}"
        if line is None:
            report(Problem(place, ProblemKind.MALFORMED_LINE, "not name#number<TAB>caption; the line is left out"))
        else:
            yield Entry(line["name"], (line["caption"],), place, number=int(line["number"]))
