"""JSON lines: one object a line, under whatever names; the pictures lie beside the file, or in folders below.

captions.jsonl         {"image": "dog.jpg", "caption": "A dog runs."}      or a list, "captions": ["…", "…"]
train.jsonl dev.jsonl  several in one folder, each a split
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from captioner.datasets.columns import entries_of, find_fields, has_fields
from captioner.datasets.layout import Columns, Entry, Report, split_in
from captioner.datasets.picture_files import PictureFiles
from captioner.datasets.text_files import files_by_split, json_lines
from captioner.errors import DataError
from captioner.types import ImageSource


class JsonLinesLayout:
    """One file, or one or more for each split."""

    label: ClassVar = "json-lines"
    suffixes: ClassVar = (".jsonl", ".ndjson", ".jsonlines")
    looked_for: ClassVar = (
        "JSON lines with a picture and a caption in each, or a folder with such a file, or one a split"
    )

    def __init__(self, folder: Path, files: tuple[Path, ...], columns: Columns) -> None:
        self.files = files
        self._columns = columns
        self._pictures = PictureFiles(folder)
        self.reading = f"one JSON object a line: {find_fields(keys_of(files[0]), columns, files[0].name)}"

    @classmethod
    def find(cls, path: Path, columns: Columns, *, named: bool) -> JsonLinesLayout | None:
        """See `Layout.find`."""
        files = files_by_split(path, cls.suffixes)
        if path.is_file() and (named or path.suffix.lower() in cls.suffixes):
            files = (path,)
        if not files:
            if named:
                raise DataError(f"{path} has not one file of JSON lines, nor one for each split; name the file itself")
            return None
        if path.is_dir() and not named and not all(has_fields(keys_of(file), columns) for file in files):
            return None
        return cls(path if path.is_dir() else path.parent, files, columns)

    def entries(self, report: Report) -> Iterator[Entry]:
        """See `Layout.entries`."""
        for file in self.files:
            fields = find_fields(keys_of(file), self._columns, file.name)
            placed = ((f"{file.name} line {number}", row) for number, row in json_lines(file, report))
            yield from entries_of(placed, fields, report, split_in(file.stem) if len(self.files) > 1 else "")

    def source(self, name: str, locator: str) -> ImageSource | None:
        """See `Layout.source`."""
        return self._pictures.find(name)


def keys_of(file: Path) -> list[str]:
    """The keys of the first object of a file of JSON lines; none when there is none."""
    return next((list(row) for _, row in json_lines(file, lambda _: None)), [])
