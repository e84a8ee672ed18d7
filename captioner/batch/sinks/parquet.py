"""Captions as Parquet: a folder of parts, each a file of its own that is complete as soon as it has its name.

    captions.parquet/part-00000.parquet …      path, caption, log_prob, confidence, candidates
    captions.parquet/_unfinished.jsonl         what is not enough for a part yet

Parquet cannot be appended to. Captions are kept as JSON lines until there are enough for a part, or the job ends.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from captioner.batch.appending import RecordLog, read_records, unfinished
from captioner.batch.keys import Keys
from captioner.batch.work import Item, Outcome, key_of, record
from captioner.errors import CaptionerError, MissingDependencyError

ROWS = 10_000
"""Captions in a part; the last part of each run may have fewer."""
_AT_ONCE = 1000
"""Captions in a row group."""
UNFINISHED = "_unfinished.jsonl"


class ParquetSink:
    """See `Sink`."""

    def __init__(self, path: Path, *, fresh: bool = False, rows: int = ROWS) -> None:
        """Add parts to the folder at `path`; `fresh` removes those that are there."""
        self.place = str(path)
        self.papers = path
        self._path, self._fresh, self._rows = path, fresh, rows
        self._keys = Keys()

    def __enter__(self) -> ParquetSink:
        _require_pyarrow()
        if self._path.is_file():
            raise CaptionerError(f"{self._path} is a file; name a folder, in which parts are put", code="output")
        self._path.mkdir(parents=True, exist_ok=True)
        if self._fresh:
            for part in (*self._parts(), *self._path.glob(".part-*"), self._path / UNFINISHED):
                part.unlink(missing_ok=True)
            self._fresh = False  # entered again, as when a folder is watched, it goes on
        self._read_parts()
        self._log = RecordLog(self._path / UNFINISHED)
        left = [key_of(fields) for fields in read_records(self._log.path)]
        if left and all(key in self._keys for key in left):  # killed when the part had its name: all of it is there
            self._log.close()
            self._log, left = RecordLog(self._path / UNFINISHED, fresh=True), []
        self._count = len(left)
        for key in left:
            self._keys.add(key)
        return self

    def __exit__(self, *_: Any) -> None:
        try:
            self._finish_part()
        finally:
            self._log.close()
        if not self._count:
            self._log.path.unlink(missing_ok=True)

    def peek(self) -> Callable[[Item], bool]:
        """See `Sink.peek`."""
        if not self._fresh:
            _require_pyarrow()
            self._read_parts()
            for fields in read_records(self._path / UNFINISHED):
                self._keys.add(key_of(fields))
        return self.has

    def has(self, item: Item) -> bool:
        """See `Sink.has`."""
        return item.key in self._keys

    def write(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """See `Sink.write`."""
        self._log.append([record(outcome) for outcome in outcomes])
        for outcome in outcomes:
            self._keys.add(outcome.item.key)
        self._count += len(outcomes)
        if self._count >= self._rows:
            self._finish_part()
        return ()

    def _read_parts(self) -> None:
        for part in self._parts():
            for fields in _rows_of(part):
                self._keys.add(key_of(fields))

    def _parts(self) -> list[Path]:
        return sorted(self._path.glob("part-*.parquet"))

    def _finish_part(self) -> None:
        """Make a part of all that is kept, under a name that appears when it is whole; then forget what was kept."""
        if not self._count:
            return
        import pyarrow
        import pyarrow.parquet

        parts = self._parts()
        number = int(parts[-1].stem.rpartition("-")[2]) + 1 if parts else 0
        part = self._path / f"part-{number:05}.parquet"
        temporary = unfinished(part)
        records = read_records(self._log.path)
        with pyarrow.parquet.ParquetWriter(temporary, schema()) as writer:
            while some := list(islice(records, _AT_ONCE)):  # all at once would take 80 MB
                writer.write_table(pyarrow.Table.from_pylist(some, schema()))
        temporary.replace(part)
        self._log.close()
        self._log = RecordLog(self._path / UNFINISHED, fresh=True)
        self._count = 0


def schema() -> Any:
    """The columns of a part, as pyarrow has them: those of `record`."""
    import pyarrow

    candidate = pyarrow.struct([("caption", pyarrow.string()), ("log_prob", pyarrow.float64())])
    return pyarrow.schema(
        {
            "path": pyarrow.string(),
            "caption": pyarrow.string(),
            "log_prob": pyarrow.float64(),
            "confidence": pyarrow.float64(),
            "candidates": pyarrow.list_(candidate),
            "path_b64": pyarrow.string(),
        }
    )


def _require_pyarrow() -> None:
    try:
        importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise MissingDependencyError("Parquet needs pyarrow: pip install 'captioner[data]'") from None


def _rows_of(part: Path) -> Iterator[dict[str, Any]]:
    """The names in a part, a few at a time."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(part) as file:
            for batch in file.iter_batches(columns=["path", "path_b64"]):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, KeyError, OSError) as error:
        raise CaptionerError(f"{part} is no part of a job ({error}); choose another folder", code="output") from None
