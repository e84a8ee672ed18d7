"""The output of one shard: a Parquet file with a row a picture, in the order of the shard.

path, caption, log_prob, confidence, candidates, path_b64      as of `captioner batch --out F.parquet`
error: {code, message}                                         in place of a caption that there is not
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from itertools import islice
from typing import IO, Any

from captioner.batch.sinks.parquet import schema as captions_schema
from captioner.batch.work import Outcome, record
from captioner.errors import MissingDependencyError

_ROWS = 1_000
"""Rows that are held in memory, and in a row group."""


def part_name(shard_id: str) -> str:
    """The file of a shard, the same in every run: a shard that is done again takes the place of what it was."""
    return f"part-{shard_id}.parquet"


def is_part(name: str) -> bool:
    """Whether a file in the output is a part."""
    return name.startswith("part-") and name.endswith(".parquet") and "/" not in name


def write_part(file: IO[bytes], outcomes: Iterable[Outcome]) -> None:
    """Write outcomes as they come."""
    arrow = pyarrow()
    error = arrow.struct([("code", arrow.string()), ("message", arrow.string())])
    schema = captions_schema().append(arrow.field("error", error))
    remaining = iter(outcomes)
    with arrow.parquet.ParquetWriter(file, schema) as writer:
        while rows := [record(outcome) for outcome in islice(remaining, _ROWS)]:
            writer.write_table(arrow.Table.from_pylist(rows, schema))


def pyarrow() -> Any:
    """The library, with what reads and writes Parquet. Raises `MissingDependencyError`."""
    try:
        importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise MissingDependencyError("Parquet needs pyarrow: pip install 'captioner[scale]'") from None
    return importlib.import_module("pyarrow")
