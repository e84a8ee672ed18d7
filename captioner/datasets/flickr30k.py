"""Flickr30k as `results.csv`: name, number and caption between bars.

results.csv                   image_name| comment_number| comment
flickr30k_images/
"""

from __future__ import annotations

import re
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

CAPTION_FILES = ("results.csv", "flickr30k_images/results.csv")
HEADER = ("image_name", "comment_number", "comment")

_CAPTION_LINE = re.compile(r"(?P<name>[^|]*[^|\s])\s*\|\s*\d{1,6}\s*\|(?P<caption>.*)")


class Flickr30kLayout:
    """One file of captions, and the pictures below its folder."""

    label: ClassVar = "flickr30k"
    looked_for: ClassVar = f"{CAPTION_FILES[0]} with the first line {'| '.join(HEADER)}, or a folder with it"

    def __init__(self, captions: Path) -> None:
        self.files = (captions,)
        self._captions = captions
        self._pictures = PictureFiles(captions.parent)
        self.reading = f"name | number | caption on each line; the pictures are below {captions.parent}"

    @classmethod
    def find(cls, path: Path, columns: Columns, *, named: bool) -> Flickr30kLayout | None:
        """See `Layout.find`."""
        candidates = [path] if path.is_file() else [path / name for name in CAPTION_FILES]
        for file in candidates:
            if file.is_file() and tuple(cell.strip() for cell in first_line(file).split("|")) == HEADER:
                return cls(file)
        if named:
            raise DataError(f"{path} has no {CAPTION_FILES[0]} with the first line {'| '.join(HEADER)}; name the file")
        return None

    def entries(self, report: Report) -> Iterator[Entry]:
        """See `Layout.entries`."""
        for number, text in islice(lines(self._captions, report), 1, None):
            line = _CAPTION_LINE.fullmatch(text.strip())
            place = f"{self._captions.name} line {number}"
            if line is None:
                report(Problem(place, ProblemKind.MALFORMED_LINE, "not name| number| caption; the line is left out"))
            else:
                yield Entry(line["name"].strip(), (line["caption"].strip(),), place)

    def source(self, name: str, locator: str) -> ImageSource | None:
        """See `Layout.source`."""
        return self._pictures.find(name)
