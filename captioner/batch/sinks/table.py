"""Captions as CSV: a header, and one row a picture, appended as they come. Safe to open in a spreadsheet.

Spreadsheets take text that begins with `=`, `+`, `-`, `@`, a tab or a line end for a formula. Such cells begin with an
apostrophe here, which `plain` takes away again (OWASP, CSV injection).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from captioner.batch.appending import append_whole
from captioner.batch.keys import Keys
from captioner.batch.work import Item, Outcome, key_of, record
from captioner.errors import CaptionerError

COLUMNS = ("path", "caption", "log_prob", "confidence", "path_b64")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


class CsvSink:
    """See `Sink`."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        """Append to the file at `path`, or begin it anew when `fresh`."""
        self.place = str(path)
        self.papers = path
        self._path, self._fresh = path, fresh
        self._keys = Keys()

    def __enter__(self) -> CsvSink:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        whole = 0
        if self._path.exists() and not self._fresh:
            with self._path.open("rb") as file:
                whole = self._read_keys(file)
        self._fresh = False  # entered again, as when a folder is watched, it goes on
        self._file = self._path.open("a+b", buffering=0)
        self._file.truncate(whole)
        if not whole:
            self._append([COLUMNS])
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def peek(self) -> Callable[[Item], bool]:
        """See `Sink.peek`."""
        if self._path.is_file() and not self._fresh:
            with self._path.open("rb") as file:
                self._read_keys(file)
        return self.has

    def has(self, item: Item) -> bool:
        """See `Sink.has`."""
        return item.key in self._keys

    def write(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """See `Sink.write`."""
        fields = [record(outcome) for outcome in outcomes]
        self._append([[safe(_text(each.get(name))) for name in COLUMNS] for each in fields])
        for outcome in outcomes:
            self._keys.add(outcome.item.key)
        return ()

    def _read_keys(self, file: IO[bytes]) -> int:
        """Take the keys of a table; returns where its whole rows end. Raises `CaptionerError` for another table."""
        whole = 0
        for end, row in _rows(file, self._path):
            if len(row) != len(COLUMNS) or (not whole and tuple(row) != COLUMNS):
                raise CaptionerError(
                    f"{self._path} is a table of something else (expected {', '.join(COLUMNS)}; "
                    f"found {', '.join(row)}); choose another name",
                    code="output",
                )
            if whole:
                self._keys.add(key_of({name: plain(cell) for name, cell in zip(COLUMNS, row, strict=True)}))
            whole = end
        return whole

    def _append(self, rows: Sequence[Sequence[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        append_whole(self._file, text.getvalue().encode())


def safe(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; numbers stay as they are."""
    return f"'{cell}" if cell.startswith(_FORMULA) and not _is_number(cell) else cell


def plain(cell: str) -> str:
    """The inverse of `safe`."""
    return cell[1:] if cell.startswith("'") else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _rows(file: IO[bytes], path: Path) -> Iterator[tuple[int, list[str]]]:
    """Where each row ends, and its cells; a last row that was cut short is left out.

    Raises `CaptionerError` when it is another row that cannot be read: what follows would be cut off with it.
    """
    end = number = 0
    is_over = False

    def lines() -> Iterator[str]:
        nonlocal end, number, is_over
        for line in file:
            if not line.endswith(b"\n"):
                break
            number += 1
            end += len(line)
            yield line.decode("utf-8", "replace")
        is_over = True

    try:
        for row in csv.reader(lines(), strict=True):
            yield end, row
    except csv.Error as error:
        if not is_over:
            raise CaptionerError(
                f"{path} is damaged in line {number} ({error}); mend it, or choose another name", code="output"
            ) from None
        # The file ends within the quotes of a cell.
