"""Which sink writes what a person asked for, by a name or by what the output's name ends in. Knows no more of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from captioner.batch.sinks.anew import Anew
from captioner.batch.sinks.base import Sink
from captioner.batch.sinks.database import SqliteSink
from captioner.batch.sinks.gallery import GallerySink
from captioner.batch.sinks.json_lines import JsonLinesSink, StdoutSink
from captioner.batch.sinks.metadata import FIELDS, MetadataSink
from captioner.batch.sinks.own_files import EXISTING
from captioner.batch.sinks.parquet import ParquetSink
from captioner.batch.sinks.sidecar import SidecarSink
from captioner.batch.sinks.table import CsvSink
from captioner.errors import ConfigError

STDOUT = "-"
_RECORDS: dict[str, tuple[str, Callable[[Path, Path, bool], Sink]]] = {
    "jsonl": (".jsonl", lambda path, home, fresh: JsonLinesSink(path, fresh=fresh)),
    "csv": (".csv", lambda path, home, fresh: CsvSink(path, fresh=fresh)),
    "parquet": (".parquet", lambda path, home, fresh: ParquetSink(path, fresh=fresh)),
    "sqlite": (".sqlite", lambda path, home, fresh: SqliteSink(path, fresh=fresh)),
    "html": (".html", lambda path, home, fresh: GallerySink(path, home, fresh=fresh)),
}
"""Those that write one output: what its name ends in, and how they are made."""
_ENDS = {end: name for name, (end, _) in _RECORDS.items()} | {".db": "sqlite", ".htm": "html", ".json": "jsonl"}
OWN_FILES = ("sidecar", "metadata")
"""Those that write a file for each picture, or into it."""
NAMES = (*_RECORDS, *OWN_FILES)


@dataclass(frozen=True)
class Output:
    """Where captions go."""

    to: str = ""
    """One of `NAMES`; empty: by what the name of `out` ends in."""
    out: str = ""
    """The file; for texts beside pictures the folder that they go to, empty: that of the pictures."""
    existing: str = "skip"
    """What becomes of captions that are there, one of `own_files.EXISTING`."""
    fields: tuple[str, ...] | None = None
    """Of metadata: which fields are written; None: all."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What a job that writes over what is there is told from others by, but for the output: captioner and options."""


def make_sink(output: Output, home: Path) -> Sink:
    """The sink for an output; `home` is the folder of the pictures.

    Raises `ConfigError` when nobody can tell what is wanted, or it does not go together.
    """
    if output.existing not in EXISTING:
        raise ConfigError(f"--existing {output.existing} is unknown; choose one of {', '.join(EXISTING)}")
    to = "jsonl" if output.out == STDOUT and not output.to else output.to or _by_suffix(output.out)
    if to not in NAMES:
        raise ConfigError(f"--to {to} is unknown; choose one of {', '.join(NAMES)}")
    if output.fields is not None and to != "metadata":
        raise ConfigError("--fields are those of --to metadata; leave it out")
    if output.existing not in ("skip", "overwrite") and to not in OWN_FILES:
        raise ConfigError(f"--existing {output.existing} is for sidecar and metadata; here: skip or overwrite")
    if output.out == STDOUT and to == "jsonl":
        return StdoutSink()
    if to == "sidecar":
        if Path(output.out).suffix.lower() in _ENDS and not Path(output.out).is_dir():
            raise ConfigError(
                f"--to sidecar: {output.out} is to be a folder of texts, and ends like a file; leave out --to"
            )
        return SidecarSink(home, output.existing, output.facts, folder=Path(output.out) if output.out else None)
    if to == "metadata":
        if output.out:
            raise ConfigError("--to metadata writes into the pictures; leave out --out, or choose another --to")
        return MetadataSink(home, output.existing, output.facts, fields=output.fields or FIELDS)
    if not output.out:
        raise ConfigError(f"--to {to} wants a place: --out captions{_RECORDS[to][0]}")
    path, make = Path(output.out), _RECORDS[to][1]
    return Anew(lambda fresh: make(path, home, fresh), path, output.existing, output.facts)


def _by_suffix(out: str) -> str:
    to = _ENDS.get(Path(out).suffix.lower(), "") if out else ""
    if not to:
        known = ", ".join(end for end, _ in _RECORDS.values())
        raise ConfigError(
            f"where captions shall go is not said: --out FILE, ending in one of {known}, --to sidecar or --to metadata"
        )
    return to
