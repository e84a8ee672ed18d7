"""Parquet with pictures in it, or with their names: one file, or a folder of them, as Hugging Face `datasets` writes.

    data/train-00000-of-00002.parquet     image: {bytes, path}, caption: text or a list of texts
    data/test-00000-of-00001.parquet      the names of several files say which split they are

Needs pyarrow (extra `data`). Rows are read a few at a time; a picture is read when it is wanted, with some of its
neighbours.
"""

from __future__ import annotations

import importlib
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, ClassVar

from captioner.datasets.columns import Fields, entries_of, find_fields, has_fields
from captioner.datasets.folders import files_in
from captioner.datasets.layout import Columns, Entry, Report, split_in
from captioner.datasets.picture_files import PictureFiles
from captioner.errors import DataError, ImageError, MissingDependencyError, printable
from captioner.types import ImageSource

SUFFIXES = (".parquet", ".pq")
_ROWS = 1_024
_GROUPS_KEPT, _PIECES_KEPT = 2, 4  # row groups that are open, and pieces of each in memory
_PIECE, _BUFFER = 8_000_000, 1_000_000  # bytes


class ParquetLayout:
    """One file or several."""

    label: ClassVar = "parquet"
    looked_for: ClassVar = "a Parquet file with pictures or their names, and captions, or a folder with such files"

    def __init__(self, folder: Path, files: tuple[Path, ...], columns: Columns) -> None:
        self.files = files
        self._columns = columns
        self._pictures = PictureFiles(folder)
        self._embedded = {file: holds_pictures(_schema(file), self._fields(file).image) for file in files}
        where = "holds the pictures themselves" if any(self._embedded.values()) else "names the pictures"
        self.reading = f"Parquet: {self._fields(files[0])}; it {where}"

    @classmethod
    def find(cls, path: Path, columns: Columns, *, named: bool) -> ParquetLayout | None:
        """See `Layout.find`. Raises `MissingDependencyError` when there are such files and pyarrow is not installed."""
        if path.is_file():
            files = [path] if named or path.suffix.lower() in SUFFIXES else []
        else:
            files = [file for folder in (path, path / "data") for file in files_in(folder) if _is_ours(file)]
        if not files:
            if named:
                raise DataError(f"{path} has no Parquet file, nor has its folder data; name one of them")
            return None
        if path.is_dir() and not named and not all(has_fields(_schema(file).names, columns) for file in files):
            return None
        return cls(path if path.is_dir() else path.parent, tuple(files), columns)

    def entries(self, report: Report) -> Iterator[Entry]:
        """See `Layout.entries`."""
        for place, file in enumerate(self.files):
            fields = self._fields(file)
            split = split_in(file.stem) if len(self.files) > 1 else ""
            if self._embedded[file]:
                stem = file.relative_to(self._pictures.folder).with_suffix("").as_posix()
                yield from _embedded_entries(file, stem, place, fields, report, split)
            else:
                rows = ((f"{file.name} row {number}", row) for number, _, row in _rows(file, fields, fields.image))
                yield from entries_of(rows, fields, report, split)

    def source(self, name: str, locator: str) -> ImageSource | None:
        """See `Layout.source`."""
        if not locator:
            return self._pictures.find(name)
        place, group, row = map(int, locator.split(":"))
        file = self.files[place]
        return ParquetSource(name, file, group, row, self._fields(file).image)

    def _fields(self, file: Path) -> Fields:
        return find_fields(_schema(file).names, self._columns, file.name)


@dataclass(frozen=True)
class ParquetSource:
    """A picture in a cell of a Parquet file."""

    picture: str
    """Its name in the data set."""
    path: Path
    """The file."""
    group: int
    """Which row group."""
    row: int
    """Which row of it."""
    column: str
    """The column with the bytes."""

    @property
    def name(self) -> str:
        """The file and the picture's name in it."""
        return printable(f"{self.path}/{self.picture}")

    @property
    def version(self) -> str:
        """Size and time of the file, and the place in it; `missing` when there is none."""
        try:
            status = self.path.stat()
        except OSError:
            return "missing"
        return f"{status.st_size} {status.st_mtime_ns} {self.group}:{self.row}"

    def read_bytes(self) -> bytes:
        """The bytes of the cell. Raises `ImageError`: `unreadable`, or `missing` for an empty cell."""
        try:
            version = self.version.rpartition(" ")[0]
            cell = _cell(self.path, version, self.group, self.column, self.row)
        except (OSError, DataError, IndexError) as error:
            raise ImageError(f"{self.name}: cannot be read ({error}); check the file", code="unreadable") from None
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(data, bytes):
            raise ImageError(f"{self.name}: the cell is empty; check the file", code="missing")
        return data


def _is_ours(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _pyarrow() -> Any:
    try:
        importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise MissingDependencyError("reading Parquet needs pyarrow: pip install 'captioner[data]'") from None
    return importlib.import_module("pyarrow")


def open_parquet(file: Path | IO[bytes]) -> Any:
    """A `ParquetFile` that is read as it is decoded; otherwise pyarrow reads a whole row group at once."""
    return _pyarrow().parquet.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)


@lru_cache(maxsize=64)
def _schema(file: Path) -> Any:
    pyarrow = _pyarrow()
    try:
        return pyarrow.parquet.read_schema(file)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{file} is not Parquet ({' '.join(str(error).split())[:120]}); get it again") from None


def holds_pictures(schema: Any, column: str) -> bool:
    """Whether a column holds bytes, plainly or as `{bytes, path}`."""
    kind, types = schema.field(column).type, _pyarrow().types
    if types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _rows(file: Path, fields: Fields, image: str) -> Iterator[tuple[int, tuple[int, int], dict[str, Any]]]:
    """Number from 1, row group and row in it, and the columns that matter, of each row; `image` is that of pictures."""
    pyarrow = _pyarrow()
    columns = [name for name in (image, *fields.captions, fields.split) if name]
    number = 0
    try:
        with open_parquet(file) as parquet:
            for group in range(parquet.num_row_groups):
                row = 0
                for batch in parquet.iter_batches(batch_size=_ROWS, row_groups=[group], columns=columns):
                    for values in batch.to_pylist():
                        number += 1
                        yield number, (group, row), values
                        row += 1
    except (OSError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{file} breaks off after row {number} ({reason}); get it again") from None


def _embedded_entries(file: Path, stem: str, place: int, fields: Fields, report: Report, split: str) -> Iterator[Entry]:
    """Entries of a file with pictures in it; of those only the names are read, or none where there are none."""
    kind = _schema(file).field(fields.image).type
    has_path = _pyarrow().types.is_struct(kind) and kind.get_field_index("path") >= 0
    for number, (group, row), values in _rows(file, fields, f"{fields.image}.path" if has_path else ""):
        cell = values.get(fields.image)
        own = cell.get("path") if isinstance(cell, dict) else None
        where = f"{file.name} row {number}"
        name = picture_name(stem, number, own)
        entry = fields.entry({**values, fields.image: name}, where, report, split)
        if entry is not None:
            yield Entry(entry.name, entry.captions, where, entry.split, f"{place}:{group}:{row}")


def picture_name(stem: str, number: int, own: object) -> str:
    """What the picture in a row is called: names in cells need not be unique, so its place tells it apart.

    Args:
        stem: of the file.
        number: of the row, from 1.
        own: the name in the cell, if there is one.
    """
    return f"{stem}/{number:07}" + (f"-{Path(own).name}" if isinstance(own, str) and own else "")


class _Cells:
    """A column of a row group, read from the front a piece at a time; the last few pieces stay in memory.

    Row groups of pictures may be larger than the memory, and pictures are mostly read in order. One before the pieces
    that are left is found by beginning again.
    """

    def __init__(self, path: Path, group: int, column: str) -> None:
        self._path, self._group, self._column = path, group, column
        self._begin()

    def _begin(self) -> None:
        self._file = open_parquet(self._path)
        about = self._file.metadata.row_group(self._group)
        at_once = max(1, _PIECE * about.num_rows // max(1, about.total_byte_size))
        self._batches = self._file.iter_batches(at_once, row_groups=[self._group], columns=[self._column])
        self._pieces: deque[tuple[int, Any]] = deque(maxlen=_PIECES_KEPT)
        self._read = 0

    def cell(self, row: int) -> Any:
        """What is in a row. Raises IndexError when there is no such row, and what pyarrow raises."""
        if self._pieces and row < self._pieces[0][0]:
            self.close()
            self._begin()
        while row >= self._read:
            batch = next(self._batches, None)
            if batch is None:
                raise IndexError(f"the row group ends after row {self._read}")
            self._pieces.append((self._read, batch.column(0)))
            self._read += batch.num_rows
        start, cells = next(piece for piece in reversed(self._pieces) if piece[0] <= row)
        return cells[row - start].as_py()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


_kept: dict[tuple[Path, str, int, str], _Cells] = {}
_keeping = threading.Lock()


def _cell(path: Path, version: str, group: int, column: str, row: int) -> Any:
    """What is in a cell; the last few row groups stay open, as pictures are mostly read in order."""
    pyarrow = _pyarrow()
    key = (path, version, group, column)
    with _keeping:
        try:
            if key not in _kept:
                while len(_kept) >= _GROUPS_KEPT:
                    _kept.pop(next(iter(_kept))).close()
                _kept[key] = _Cells(path, group, column)
            return _kept[key].cell(row)
        except (OSError, pyarrow.ArrowException) as error:
            _kept.pop(key, None)
            raise DataError(" ".join(str(error).split())[:120]) from None
