"""A JSON file that is one list of objects, as neuraltalk2 reads it.

captions.json      [{"file_path": "images/dog.jpg", "captions": ["A dog runs.", "…"]}, …]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from captioner.datasets.columns import entries_of, find_fields, has_fields
from captioner.datasets.layout import Columns, Entry, Report, split_in
from captioner.datasets.picture_files import PictureFiles
from captioner.datasets.problems import Problem, ProblemKind
from captioner.datasets.text_files import files_by_split, json_head, json_items
from captioner.errors import DataError
from captioner.types import ImageSource


class CaptionListLayout:
    """One file, or one or more for each split."""

    label: ClassVar = "caption-list"
    suffixes: ClassVar = (".json",)
    looked_for: ClassVar = (
        "a JSON file with a list of objects, each with a picture and its captions, or a folder with it"
    )

    def __init__(self, folder: Path, files: tuple[Path, ...], columns: Columns) -> None:
        self.files = files
        self._columns = columns
        self._pictures = PictureFiles(folder)
        self.reading = f"a list of JSON objects: {find_fields(json_head(files[0], 'item'), columns, files[0].name)}"

    @classmethod
    def find(cls, path: Path, columns: Columns, *, named: bool) -> CaptionListLayout | None:
        """See `Layout.find`."""
        files = (path,) if path.is_file() else files_by_split(path, cls.suffixes)
        lists = files if all(json_head(file, "item") for file in files) else ()
        if named and not lists:
            raise DataError(f"{path} has no JSON file that begins with a list of objects; name the file itself")
        if not lists or not (named or all(has_fields(json_head(file, "item"), columns) for file in lists)):
            return None
        return cls(path if path.is_dir() else path.parent, lists, columns)

    def entries(self, report: Report) -> Iterator[Entry]:
        """See `Layout.entries`."""
        for file in self.files:
            fields = find_fields(json_head(file, "item"), self._columns, file.name)
            split = split_in(file.stem) if len(self.files) > 1 else ""
            yield from entries_of(_objects(file, report), fields, report, split)

    def source(self, name: str, locator: str) -> ImageSource | None:
        """See `Layout.source`."""
        return self._pictures.find(name)


def _objects(file: Path, report: Report) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, item in enumerate(json_items(file, "item"), start=1):
        place = f"{file.name} item {number}"
        if isinstance(item, dict):
            yield place, item
        else:
            report(Problem(place, ProblemKind.MALFORMED_LINE, "not an object; left out"))
