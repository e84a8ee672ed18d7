"""The captions of Flickr8k and Flickr30k as Kaggle has them: `captions.txt`, one line a caption under `image,caption`.

    captions.txt      1000268201_693b08cb0e.jpg,A child in a pink dress .
    Images/

All behind the first comma is the caption, whether it is in quotes or has commas of its own.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import ClassVar

from captioner.datasets.layout import Columns, Entry, Report
from captioner.datasets.picture_files import PictureFiles
from captioner.datasets.problems import Problem, ProblemKind
from captioner.datasets.text_files import first_line, lines
from captioner.errors import DataError
from captioner.types import ImageSource

CAPTION_FILE = "captions.txt"
HEADERS = ("image,caption", "image_name,caption", "image,caption_text")


class KaggleLayout:
    """One file of captions, and the pictures below its folder."""

    label: ClassVar = "kaggle"
    looked_for: ClassVar = f"{CAPTION_FILE} with the first line {HEADERS[0]}, or a folder with it"

    def __init__(self, captions: Path) -> None:
        self.files = (captions,)
        self._captions = captions
        self._pictures = PictureFiles(captions.parent)
        self.reading = f"all behind the first comma of a line is a caption; the pictures are below {captions.parent}"

    @classmethod
    def find(cls, path: Path, columns: Columns, *, named: bool) -> KaggleLayout | None:
        """See `Layout.find`."""
        file = path if path.is_file() else path / CAPTION_FILE
        if file.is_file() and first_line(file).strip().lower() in HEADERS:
            return cls(file) if named or file.name == CAPTION_FILE else None
        if named:
            found = repr(first_line(file)[:60]) if file.is_file() else "no such file"
            raise DataError(f"{file}: expected the first line {HEADERS[0]}, found {found}")
        return None

    def entries(self, report: Report) -> Iterator[Entry]:
        """See `Layout.entries`."""
        for number, text in islice(lines(self._captions, report), 1, None):
            name, comma, caption = text.partition(",")
            place = f"{self._captions.name} line {number}"
            if not comma or not name.strip():
                report(Problem(place, ProblemKind.MALFORMED_LINE, "not name,caption; the line is left out"))
                continue
            yield Entry(name.strip(), (_unquoted(caption.strip()),), place)

    def source(self, name: str, locator: str) -> ImageSource | None:
        """See `Layout.source`."""
        return self._pictures.find(name)


def _unquoted(caption: str) -> str:
    """A caption without the quotes that hold its commas together; one that only begins with quotes is as it is."""
    if len(caption) < 2 or not (caption.startswith('"') and caption.endswith('"')):
        return caption
    try:
        cells = next(csv.reader([caption], strict=True))
    except csv.Error:
        return caption
    return cells[0] if len(cells) == 1 else caption
