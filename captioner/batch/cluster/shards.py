"""What a job on many machines is cut into: shards, each described by a few words that are the same in every run.

    a tar file or a Parquet file      a shard, called by its path below the source
    pictures in folders               groups of about so many neighbours in the order of their names

Where a group ends is told by the names themselves: a picture that is added or removed changes its own group, and those
behind it stay what they are. Nothing is opened here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from captioner.batch.cluster.places import Place, version_of
from captioner.batch.walk import Skipped, Which, walk
from captioner.errors import ConfigError

PICTURES, TAR, PARQUET = "pictures", "tar", "parquet"
_KINDS = {".tar": TAR, ".tgz": TAR, ".tar.gz": TAR, ".parquet": PARQUET, ".pq": PARQUET}
"""What names of shards end in."""
_IN_WORDS = {PICTURES: "pictures", TAR: "tar shards", PARQUET: "Parquet files"}


@dataclass(frozen=True)
class Shard:
    """One piece of a job: done as a whole, or not at all."""

    kind: str
    """`PICTURES`, `TAR` or `PARQUET`."""
    name: str
    """Its path below the source; of a group of pictures that of the first one."""
    url: str
    """Where the file is; of a group of pictures the folder that their names are below."""
    version: str
    """Another one when the content is another: size and tag or time of the file, or a digest of those of a group."""
    size: int
    """Bytes of what is to be read."""
    names: tuple[str, ...] = ()
    """Of a group: its pictures, in order."""

    @property
    def id(self) -> str:
        """A name for files, the same in every run: what is left of `name` without odd characters, and a hash of it."""
        digest = hashlib.sha256(f"{self.kind}\0{self.name}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", stem_of(self.name)).strip("-")[-48:]
        return f"{plain}-{digest}" if plain else digest

    def to_json(self) -> str:
        """As a line that `from_json` reads; names that are not UTF-8 are escaped."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Shard:
        """The inverse of `to_json`."""
        fields: dict[str, Any] = json.loads(text)
        return cls(**{**fields, "names": tuple(fields["names"])})


class _WithShards(Which):
    """Takes shards too where it would take pictures."""

    def takes_file(self, path: PurePosixPath) -> bool:
        """See `Which.takes_file`."""
        if not self.include and kind_of(path.name) != PICTURES:
            return not self._hides(path)
        return super().takes_file(path)


def kind_of(name: str) -> str:
    """Which kind of shard a file of this name belongs to."""
    return next((kind for end, kind in _KINDS.items() if name.lower().endswith(end)), PICTURES)


def stem_of(name: str) -> str:
    """The name of a shard without its end."""
    end = next((end for end in sorted(_KINDS, key=len, reverse=True) if name.lower().endswith(end)), "")
    return name[: len(name) - len(end)] if end else name


def find_shards(source: Place, which: Which, group: int, skipped: Skipped, *, leave_out: str = "") -> list[Shard]:
    """All shards of a source, in the order of their names.

    Args:
        source: a tar file, a Parquet file, or a folder of such files, or of pictures.
        which: the files that are meant; links are only followed on local disks.
        group: pictures of folders in a group: half as many at least, twice as many at most.
        skipped: is told of links, special files and folders that cannot be read.
        leave_out: name of a folder in the source that is none of it: that of the output.

    Raises:
        ConfigError: there is nothing of this name, or shards and pictures are mixed.
        OSError: the store does not answer.
    """
    facts = source.facts()
    if facts is None:
        raise ConfigError(f"{source.url}: no such file or folder; check the path")
    if facts.get("type") == "file":
        kind = kind_of(source.name)
        if kind == PICTURES:
            raise ConfigError(f"{source.url} is one file, and no tar or Parquet file; leave out --engine ray")
        return [Shard(kind, source.name, source.url, version_of(facts), int(facts.get("size") or 0))]
    found = _found(source, _WithShards(**asdict(which)), skipped)
    files = sorted(
        (name, facts) for name, facts in found if not (leave_out and name.startswith(f"{leave_out}/"))
    )  # names are different: facts are never compared
    kinds = Counter(kind_of(name) for name, _ in files)
    if len(kinds) > 1:
        there = " and ".join(f"{count:,} {_IN_WORDS[kind]}" for kind, count in kinds.most_common())
        raise ConfigError(f"{source.url} has {there}; choose with --include, for example --include '*.tar'")
    if PICTURES in kinds:
        return list(_groups(source, files, group))
    return [Shard(kind_of(name), name, f"{source.url}/{name}", version, size) for name, (version, size) in files]


def _found(source: Place, which: Which, skipped: Skipped) -> Iterator[tuple[str, tuple[str, int]]]:
    """Name, and version with size, of every file that is meant."""
    if source.local is not None:
        for key, path in walk(source.local, which, skipped):
            try:
                status = path.stat()
            except OSError as error:
                skipped(str(path), error.strerror or "cannot be read")
                continue
            yield key, (f"{status.st_size} {status.st_mtime_ns}", status.st_size)
        return
    for name, facts in source.files().items():
        below = PurePosixPath(name)
        if which.takes_file(below) and all(map(which.takes_folder, [*below.parents][:-1])):
            yield name, (version_of(facts), int(facts.get("size") or 0))


def _groups(source: Place, files: Iterable[tuple[str, tuple[str, int]]], group: int) -> Iterator[Shard]:
    """Pictures in groups."""
    names: list[str] = []
    size, digest = 0, hashlib.sha256()
    for name, (version, length) in files:
        names.append(name)
        size += length
        digest.update(f"{name}\0{version}\n".encode("utf-8", "surrogatepass"))
        if _ends(name, len(names), group):
            yield Shard(PICTURES, names[0], source.url, digest.hexdigest(), size, tuple(names))
            names, size, digest = [], 0, hashlib.sha256()
    if names:
        yield Shard(PICTURES, names[0], source.url, digest.hexdigest(), size, tuple(names))


def _ends(name: str, count: int, group: int) -> bool:
    """Whether a group ends after the picture of this name, its `count`-th: the name's own hash says so."""
    half = max(1, group // 2)
    if count < half:
        return False
    hashed = int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest())
    return hashed % half == 0 or count >= 2 * group
