"""The `imagefolder` of Hugging Face `datasets`: pictures, and a `metadata.jsonl` or `metadata.csv` that names them.

FOLDER/metadata.jsonl             {"file_name": "dog.jpg", "text": "A dog runs."}
FOLDER/train/metadata.csv …       or one in the folder of each split; names are below the folder of the metadata
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from captioner.datasets.columns import Fields, entries_of, find_fields
from captioner.datasets.folders import folders_in
from captioner.datasets.layout import SPLITS, Columns, Entry, Report, in_folder, split_of_folders
from captioner.datasets.picture_files import file_at, parts_of
from captioner.datasets.text_files import first_line, json_lines, table
from captioner.errors import DataError
from captioner.types import ImageSource

METADATA = ("metadata.jsonl", "metadata.csv")
_NAME = "file_name"


class ImageFolderLayout:
    """The metadata of one folder, or of the folder of each split."""

    label: ClassVar = "imagefolder"
    looked_for: ClassVar = f"a folder, or one a split, with {METADATA[0]} or {METADATA[1]}, which has {_NAME}"

    def __init__(self, folder: Path, files: tuple[Path, ...], columns: Columns) -> None:
        self.files = files
        self._folder = folder
        self._columns = replace(columns, image=columns.image or _NAME)
        self.reading = f"{files[0].name}: {self._fields(files[0])}"

    @classmethod
    def find(cls, path: Path, columns: Columns, *, named: bool) -> ImageFolderLayout | None:
        """See `Layout.find`."""
        folder = path.parent if path.is_file() and path.name in METADATA else path
        found = [folder / name for name in METADATA if (folder / name).is_file()]
        if not found and folder.is_dir():
            splits = [each for each in folders_in(folder) if each.name.lower() in SPLITS]
            found = [each / name for each in splits for name in METADATA if (each / name).is_file()]
        if found and (named or all((columns.image or _NAME) in _names(file) for file in found)):
            return cls(folder, tuple(found), columns)
        if named:
            raise DataError(f"{path} has no {METADATA[0]} and no {METADATA[1]}, nor have folders called like splits")
        return None

    def entries(self, report: Report) -> Iterator[Entry]:
        """See `Layout.entries`."""
        for file in self.files:
            inner = file.parent.relative_to(self._folder)
            place = (inner / file.name).as_posix()
            split = SPLITS.get(inner.name.lower(), "") if inner.parts else ""
            placed = ((f"{place} line {number}", row) for number, row in _rows(file, in_folder(inner, report)))
            for entry in entries_of(placed, self._fields(file), report, split):
                name = inner / Path(*parts_of(entry.name))
                own = entry.split or split_of_folders(name.parts[:-1])
                yield replace(entry, name=name.as_posix(), split=own)

    def source(self, name: str, locator: str) -> ImageSource | None:
        """See `Layout.source`."""
        return file_at(self._folder / name)

    def _fields(self, file: Path) -> Fields:
        return find_fields(_names(file), self._columns, file.name)


def _names(file: Path) -> list[str]:
    """The keys of the first line."""
    if file.suffix == ".csv":
        return [name.strip() for name in next(csv.reader([first_line(file)]), [])]
    return next((list(row) for _, row in json_lines(file, lambda _: None)), [])


def _rows(file: Path, report: Report) -> Iterator[tuple[int, dict[str, Any]]]:
    return table(file, report, separator=",") if file.suffix == ".csv" else json_lines(file, report)
