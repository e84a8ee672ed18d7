"""Files of text that people wrote with any editor: lines, tables and JSON, each read as a stream, faults named.

What cannot be read is reported with the file and the line, and left out. Knows nothing of pictures.
"""

from __future__ import annotations

import codecs
import csv
import importlib
import json
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from captioner.datasets.folders import files_in
from captioner.datasets.layout import Report, split_in
from captioner.datasets.problems import Problem, ProblemKind
from captioner.errors import DataError, MissingDependencyError

MAX_LINE_BYTES = 16 * 2**20
"""Longer lines are not captions; they are not held in memory."""
_MAX_LOOKED_AT = 64 * 2**20
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
"""Byte order marks, as editors on Windows write them, and the encoding that each stands for."""


def lines(path: Path, report: Report) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not blank, without its end, which any system may have written.

    The encoding is UTF-8 or UTF-16. Raises `DataError` when the file cannot be read. A line that is not text is
    reported and left out.
    """
    try:
        with path.open("rb") as file:
            encoding = _skip_mark(file)
            number = 0
            for line in _raw_lines(file, "\n".encode(encoding)):
                number += 1
                place = f"{path.name} line {number}"
                if line is None:
                    report(Problem(place, ProblemKind.MALFORMED_LINE, "longer than 16 MB; the line is left out"))
                    continue
                try:
                    text = line.decode(encoding).rstrip("\r\n")
                except UnicodeDecodeError as error:
                    reason = f"byte {error.start + 1} is not {encoding.upper()[:6].rstrip('-')}; the line is left out"
                    report(Problem(place, ProblemKind.UNDECODABLE_BYTES, reason))
                    continue
                parts = text.split("\r")  # as the Macs of old end their lines
                yield from ((number + place, part) for place, part in enumerate(parts) if part.strip())
                number += len(parts) - 1
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check the file") from None


def _skip_mark(file: BinaryIO) -> str:
    """The encoding of a text by its first bytes; what is read next is behind its byte order mark."""
    start = file.read(4)
    mark = next((mark for mark in _MARKS if start.startswith(mark)), b"")
    file.seek(len(mark))
    if not mark and start[::2] == b"\0\0":  # ASCII in UTF-16 has a zero byte on one side
        return "utf-16-be"
    if not mark and start[1::2] == b"\0\0":
        return "utf-16-le"
    return _MARKS.get(mark, "utf-8")


def files_by_split(folder: Path, suffixes: Collection[str]) -> tuple[Path, ...]:
    """The files in a folder that end so, when there is one, or when the name of each says of which split it is.

    None of them otherwise, as nobody can tell what each is for; and none when it is no folder.
    """
    found = sorted(file for suffix in suffixes for file in files_in(folder, f"*{_any_case(suffix)}"))
    return tuple(found) if len(found) == 1 or all(split_in(path.stem) for path in found) else ()


def _any_case(suffix: str) -> str:
    """A pattern for a suffix in upper and lower case."""
    return "".join(f"[{char.lower()}{char.upper()}]" if char.isalpha() else char for char in suffix)


def first_line(path: Path) -> str:
    """The first line that is not blank, or an empty text when there is none or it cannot be read."""
    faults: list[Problem] = []
    try:
        found = next((text for _, text in lines(path, faults.append)), "")
    except DataError:
        return ""
    return "" if faults else found


def table(
    path: Path, report: Report, *, separator: str, quoted: bool = True, header: bool = True
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column name of each row below the header; without a header the columns are `1`, `2`, ….

    Args:
        path: the file.
        report: is told of rows with too few or too many cells, which are left out.
        separator: between cells: a comma, a tab, a bar, a semicolon.
        quoted: whether quotes hold cells together that have separators or line ends in them (RFC 4180).
        header: whether the first row names the columns.

    Raises `DataError` when the file cannot be read, or has no header.
    """
    source = lines(path, report)
    taken: list[tuple[int, str]] = []  # the lines that the row is made of
    again: deque[tuple[int, str]] = deque()  # those behind one with a quote that nobody closed

    def text() -> Iterator[str]:
        while (line := again.popleft() if again else next(source, None)) is not None:
            taken.append(line)
            yield line[1] + "\n"

    def reader() -> Iterator[list[str]]:
        if not quoted:
            return csv.reader(text(), delimiter=separator, quoting=csv.QUOTE_NONE)
        return csv.reader(text(), delimiter=separator, strict=True)

    rows = reader()
    names: list[str] | None = None
    while True:
        taken.clear()
        try:
            row = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            reason = f"quotes that do not fit together ({error}); the line is left out"
            report(Problem(f"{path.name} line {taken[0][0]}", ProblemKind.MALFORMED_LINE, reason))
            again.extendleft(reversed(taken[1:]))
            rows = reader()
            continue
        first, last = taken[0][0], taken[-1][0]
        if names is not None and any(_cells(line, separator) == len(names) for _, line in taken[1:-1]):
            reason = f"a quote is open until line {last}, over lines that are rows themselves; the line is left out"
            report(Problem(f"{path.name} line {first}", ProblemKind.MALFORMED_LINE, reason))
            again.extendleft(reversed(taken[1:]))
            rows = reader()
            continue
        place = f"{path.name} line {first}" if first == last else f"{path.name} lines {first} to {last}"
        if names is None:
            names = [name.strip() for name in row] if header else [str(place) for place in range(1, len(row) + 1)]
            if header:
                continue
        if len(row) != len(names):
            reason = f"{len(row)} cells, expected {len(names)} ({', '.join(names)}); the line is left out"
            report(Problem(place, ProblemKind.MALFORMED_LINE, reason))
            continue
        yield last, dict(zip(names, row, strict=True))
    if names is None:
        raise DataError(f"{path} is empty; expected a first line that names the columns")


def _cells(line: str, separator: str) -> int:
    """How many cells a line has when it is a row of its own; 0 when it is none."""
    try:
        return len(next(csv.reader([line], delimiter=separator, strict=True), []))
    except csv.Error:
        return 0


def json_lines(path: Path, report: Report) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of each line of JSON; what is no object is reported and left out."""
    for number, text in lines(path, report):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            yield number, value
        else:
            place = f"{path.name} line {number}"
            report(Problem(place, ProblemKind.MALFORMED_LINE, "not a JSON object; the line is left out"))


def json_items(path: Path, prefix: str) -> Iterator[Any]:
    """The items of one array of a JSON file, one after the other, whatever the size of the file.

    Args:
        path: the file.
        prefix: where the array is, in the words of the library `ijson`: `annotations.item`, or `item` at the top.

    Raises:
        DataError: the file cannot be read, or is not JSON; the message says where it breaks off.
        MissingDependencyError: the file has more than 64 MB, and `ijson` is not installed.
    """
    ijson = _ijson()
    if ijson is None:
        if path.stat().st_size > _MAX_LOOKED_AT:
            raise MissingDependencyError(
                f"{path.name}: reading large JSON files needs ijson: pip install 'captioner[data]'"
            )
        yield from _items_at_once(path, prefix)
        return
    try:
        with path.open("rb") as file:
            yield from ijson.items(_AsUtf8(file), prefix, use_float=True)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check the file") from None
    except (ijson.JSONError, UnicodeDecodeError) as error:
        said = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        reason = " ".join(said.split())[:120]
        raise DataError(f"{path} is not JSON ({reason}); it may be cut short: get it again") from None


def json_head(path: Path, prefix: str, *, most: int = 64, whole: bool = False) -> tuple[str, ...]:
    """The keys of the first object at a place in a JSON file, in the words of `json_items`; none when there is no such.

    Cheap: at most `most` keys are looked at, in the first 64 MB unless the `whole` file may be read. Never raises.
    """
    ijson = _ijson()
    if ijson is None:
        try:
            found = _items_at_once(path, prefix) if path.stat().st_size <= _MAX_LOOKED_AT else []
        except (DataError, OSError):
            return ()
        return tuple(found[0])[:most] if found and isinstance(found[0], dict) else ()
    keys: list[str] = []
    try:
        with path.open("rb") as file:
            for place, event, value in ijson.parse(_AsUtf8(file)):
                if place == prefix and event == "map_key":
                    keys.append(value)
                ended = place == prefix and event == "end_map"
                if ended or len(keys) >= most or (file.tell() > _MAX_LOOKED_AT and not whole):
                    break
    except (OSError, UnicodeDecodeError, ijson.JSONError):
        pass
    return tuple(keys)


class _AsUtf8:
    """The rest of a text as bytes in UTF-8, behind its byte order mark."""

    def __init__(self, file: BinaryIO) -> None:
        encoding = _skip_mark(file)
        self._text = None if encoding == "utf-8" else codecs.getreader(encoding)(file)
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """About so many bytes; none at the end."""
        return self._file.read(size) if self._text is None else self._text.read(size).encode()


def _ijson() -> Any:
    try:
        return importlib.import_module("ijson")
    except ImportError:
        return None


def _items_at_once(path: Path, prefix: str) -> list[Any]:
    """What `json_items` gives, of a file that is small enough to be read whole."""
    try:
        with path.open("rb") as file:
            value = json.loads(_AsUtf8(file).read())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check the file") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}); it may be cut short: get it again") from None
    for name in prefix.split(".")[:-1]:  # the last part is `item`
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, list) else []


def _raw_lines(file: BinaryIO, newline: bytes) -> Iterator[bytes | None]:
    """Lines with their ends, as bytes; None for one that is too long. Ends are looked for on whole characters."""
    if len(newline) == 1:
        while line := file.readline(MAX_LINE_BYTES + 1):
            if len(line) <= MAX_LINE_BYTES:
                yield line
                continue
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES)
            yield None
        return
    rest = b""
    while chunk := file.read(2**20):
        rest += chunk
        start = 0
        at = rest.find(newline)
        while at >= 0:
            if at % 2 == 0:
                yield rest[start : at + 2]
                start = at + 2
            at = rest.find(newline, at + 1 + at % 2)
        rest = rest[start:]
        if len(rest) > MAX_LINE_BYTES:
            yield None
            rest = b""
    if rest:
        yield rest
