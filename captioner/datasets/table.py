"""Any CSV or TSV, with whatever names its columns have; the pictures lie beside it, or in folders below.

photos.csv        file,description            separator: comma, tab, semicolon or bar
train.tsv val.tsv …                           several in one folder, each a split
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from captioner.datasets.columns import entries_of, find_fields, has_fields
from captioner.datasets.layout import Columns, Entry, Report, split_in
from captioner.datasets.picture_files import PictureFiles
from captioner.datasets.text_files import files_by_split, first_line, table
from captioner.errors import DataError
from captioner.types import ImageSource

_SEPARATORS = ("\t", "|", ";", ",")


class TableLayout:
    """One table, or one for each split."""

    label: ClassVar = "table"
    suffixes: ClassVar = (".csv", ".tsv", ".tab", ".psv")
    looked_for: ClassVar = (
        "a CSV or TSV whose header names a picture and a caption, or a folder with one, or one a split"
    )

    def __init__(self, folder: Path, files: tuple[Path, ...], columns: Columns) -> None:
        self.files = files
        self._columns = columns
        self._pictures = PictureFiles(folder)

    @classmethod
    def find(cls, path: Path, columns: Columns, *, named: bool) -> TableLayout | None:
        """See `Layout.find`."""
        files = files_by_split(path, cls.suffixes)
        if path.is_file() and (named or path.suffix.lower() in cls.suffixes):
            files = (path,)
        if not files:
            if named:
                raise DataError(f"{path} has not one table, nor one for each split; name the file itself")
            return None
        if not named and not all(has_fields(header_of(file)[0], columns) for file in files):
            if path.is_file():  # there is nothing else that it could be: say what is missing
                find_fields(header_of(path)[0], columns, path.name)
            return None
        for file in files:
            find_fields(header_of(file)[0], columns, file.name)
        return cls(path if path.is_dir() else path.parent, files, columns)

    @property
    def reading(self) -> str:
        """See `Layout.reading`."""
        names, separator = header_of(self.files[0])
        shown = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}[separator]
        return f"a table with {shown}: {find_fields(names, self._columns, self.files[0].name)}"

    def entries(self, report: Report) -> Iterator[Entry]:
        """See `Layout.entries`."""
        for file in self.files:
            names, separator = header_of(file)
            rows = table(file, report, separator=separator)
            fields = find_fields(names, self._columns, file.name)
            placed = ((f"{file.name} line {number}", row) for number, row in rows)
            yield from entries_of(placed, fields, report, split_in(file.stem) if len(self.files) > 1 else "")

    def source(self, name: str, locator: str) -> ImageSource | None:
        """See `Layout.source`."""
        return self._pictures.find(name)


def header_of(file: Path) -> tuple[list[str], str]:
    """The names of the columns, and what separates them: of the known separators the one that the header has."""
    line = first_line(file)
    separator = next((each for each in _SEPARATORS if each in line), ",")
    return [name.strip() for name in next(csv.reader([line], delimiter=separator), [])], separator
