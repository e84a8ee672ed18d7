"""A file that records are appended to, one a line of JSON: whole ones survive whatever happens to the process.

Knows nothing of what the records say.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import IO, Any

_MAX_LINE_BYTES = 2**24


class RecordLog:
    """An open file of records; opened, a last line that was cut short is removed."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        """Open the file, which is made when there is none; `fresh` empties it. Raises OSError when it cannot be."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w+b" if fresh else "a+b", buffering=0)
        self._repair()
        self._before = self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def append(self, records: Sequence[dict[str, Any]], *, durable: bool = False) -> None:
        """Write records; when this returns, the system has them, and if `durable` the disk too.

        Raises OSError when it cannot take them all.
        Then what it took of the last one is taken back if possible, and else by whoever opens the file next.
        """
        if not records:
            return
        self._before = self._file.seek(0, os.SEEK_END)
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        append_whole(self._file, lines.encode())
        if durable:
            os.fsync(self._file.fileno())

    def take_back(self) -> None:
        """Remove what was appended last. Raises OSError when that cannot be."""
        self._file.truncate(self._before)

    def _repair(self) -> None:
        """Cut off what follows the last line end, and lines that are no records before it, from the end backwards."""
        for place, line in _lines_backwards(self._file):
            if line.endswith(b"\n") and _record(line) is not None:
                break
            self._file.truncate(place)


def unfinished(path: Path) -> Path:
    """What a file is called until it is whole.

    Whoever writes it holds the job's lock, and what a killed job left is written over by the next.
    """
    return path.with_name(f".{path.name}.part")


def append_whole(file: FileIO, data: bytes) -> None:
    """Write all of `data` behind what is there, or nothing. Raises OSError when the system does not take it."""
    before = file.seek(0, os.SEEK_END)
    left = memoryview(data)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError:
        with suppress(OSError):
            os.truncate(file.fileno(), before)
        raise


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file, streamed; none when there is no file. Lines that are no records are passed over."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        while line := file.readline(_MAX_LINE_BYTES):
            found = _record(line)
            if found is not None:
                yield found


def read_records_backwards(path: Path) -> Iterator[dict[str, Any]]:
    """The same, the last one first."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for _, line in _lines_backwards(file):
            found = _record(line)
            if found is not None:
                yield found


def count_damaged(path: Path, is_whole: Callable[[dict[str, Any]], bool]) -> int:
    """How many lines are no records, or not whole; a last one that was cut short does not count: nothing came of it."""
    with path.open("rb") as file:
        found = (_record(line) for line in file if line.endswith(b"\n"))
        return sum(fields is None or not is_whole(fields) for fields in found)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _lines_backwards(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Where each line begins, and the line with its end, the last one first."""
    rest, start = b"", file.seek(0, os.SEEK_END)
    while start > 0:
        size = min(2**16, start)
        start -= size
        file.seek(start)
        rest = file.read(size) + rest
        while (cut := rest.rfind(b"\n", 0, len(rest) - 1)) >= 0:
            yield start + cut + 1, rest[cut + 1 :]
            rest = rest[: cut + 1]
    if rest:
        yield 0, rest
