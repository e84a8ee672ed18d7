"""The folder of one build: what lies where, whether it can be written, and who is working in it.

Knows nothing of what the stages do. Files that one stage leaves for another are JSON, written whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from captioner.errors import CaptionerError, ConfigError

MIN_FREE_BYTES = 200_000_000


@dataclass(frozen=True)
class Workspace:
    """Paths of one build."""

    out: Path
    """What belongs to this build alone."""
    cache: Path
    """Features and encoder graphs, shared by all builds that use the same."""

    @property
    def vocabulary(self) -> Path:
        """Words and ids."""
        return self.out / "prepared" / "vocabulary.json"

    @property
    def prepared(self) -> Path:
        """What `prepare` found: counts, problems, and a digest of all records."""
        return self.out / "prepared" / "data.json"

    @property
    def features(self) -> Path:
        """What `features` did: encoder, preprocessing, and where the rows are."""
        return self.out / "prepared" / "features.json"

    def split(self, name: str) -> Path:
        """The arrays of one split, for training."""
        return self.out / "prepared" / name

    def pictures(self, split: str) -> Path:
        """The pictures of one split, one JSON object a line: id, name, captions, row."""
        return self.split(split) / "pictures.jsonl"

    @property
    def marks(self) -> Path:
        """Which stages are done."""
        return self.out / "stages"

    @property
    def training(self) -> Path:
        """Checkpoints and log."""
        return self.out / "training"

    @property
    def graphs(self) -> Path:
        """Exported graphs and weights."""
        return self.out / "graphs"

    @property
    def evaluation(self) -> Path:
        """Predictions and scores."""
        return self.out / "evaluation"

    @property
    def bundle(self) -> Path:
        """The finished captioner."""
        return self.out / "bundle"

    @property
    def report(self) -> Path:
        """The report for people."""
        return self.out / "report"

    @property
    def examples(self) -> Path:
        """A few held-back pictures that have no file of their own, and their true captions."""
        return self.out / "examples"

    def check(self) -> None:
        """Fail before the first step rather than after hours, and before anything of somebody else is replaced.

        Raises:
            ConfigError: a folder cannot be written, the disk is nearly full, or `out` has files in the places of a
                build that no build put there.
        """
        if not self.marks.is_dir():
            places = (self.training, self.graphs, self.evaluation, self.bundle, self.report, self.examples)
            taken = [path.name for path in (self.vocabulary.parent, *places) if path.exists()]
            if taken:
                raise ConfigError(
                    f"{self.out} already has {', '.join(taken)}, and no build of this program made it; choose another "
                    "--out, or move it away"
                )
        for folder in (self.out, self.cache):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.NamedTemporaryFile(dir=folder) as probe:
                    probe.write(b"x")
                    probe.flush()
                free = shutil.disk_usage(folder).free
            except OSError as error:
                raise ConfigError(
                    f"cannot write to {folder}: {error.strerror}; choose another with --out or --cache"
                ) from None
            if free < MIN_FREE_BYTES:
                raise ConfigError(
                    f"only {free // 1_000_000} MB are free where {folder} is; a build wants at least "
                    f"{MIN_FREE_BYTES // 1_000_000} MB: free some, or choose another place with --out or --cache"
                )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other builds out of the folder; the system lets go when this process ends, however it ends.

        Raises:
            ConfigError: another build is working in the folder.
        """
        lock = FileLock(self.out / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ConfigError(f"another build is working in {self.out}; wait for it, or choose another --out") from None
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def lock_cache(self) -> Iterator[None]:
        """Keep other builds from writing to the cache; waits until it is free."""
        lock = FileLock(self.cache / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"  waiting for another build that fills {self.cache}", file=sys.stderr, flush=True)  # noqa: T201
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all."""
    write_text(path, [json.dumps(value, indent=2, ensure_ascii=False)])


def write_text(path: Path, lines: Iterable[str]) -> None:
    """Write lines of text whole or not at all. Raises CaptionerError when the disk does not take them."""
    with lines_of(path) as write:
        for line in lines:
            write(line)


@contextmanager
def lines_of(path: Path) -> Iterator[Callable[[str], object]]:
    """What writes a line of text to a file, which has its name when all are written; errors as for `write_text`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            yield lambda line: file.write(f"{line}\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise CaptionerError(f"cannot write {path}: {error.strerror}", code="output") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_lines(path: Path) -> Iterator[Any]:
    """Read one JSON value a line."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
