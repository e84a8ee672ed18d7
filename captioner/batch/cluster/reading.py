"""The pictures of one shard, as a stream: no more of it than a few pictures is ever in memory.

Tar files are read from their beginning to their end, Parquet a page at a time. Pictures of a folder in an object store
are fetched some ahead. Keys are those of `captioner batch` without an engine.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Self

from captioner.batch.cluster.parts import pyarrow
from captioner.batch.cluster.places import Place, reason_of
from captioner.batch.cluster.shards import PARQUET, TAR, Shard, stem_of
from captioner.batch.keys import Keys
from captioner.batch.work import Item
from captioner.chunks import map_chunks
from captioner.datasets.columns import find_fields
from captioner.datasets.layout import Columns
from captioner.datasets.parquet import holds_pictures, open_parquet, picture_name
from captioner.datasets.shards import is_the_picture, split_member
from captioner.errors import CaptionerError, DataError, ImageError, printable
from captioner.images import MAX_FILE_BYTES, BytesSource, FileSource
from captioner.types import ImageSource

_AHEAD = 8
"""Pictures that are fetched side by side from an object store."""
_PIECE = 8_000_000
"""Bytes of a Parquet file that are decoded together."""


@dataclass(frozen=True)
class BadSource:
    """A picture that cannot be read: the error is raised where its bytes would be."""

    name: str
    """How to name it to a person."""
    error: ImageError
    """Why."""
    version: str = "missing"

    def read_bytes(self) -> bytes:
        """Raises the error."""
        raise self.error


def pictures_of(shard: Shard, image_column: str = "") -> Iterator[Item]:
    """The pictures of a shard, each key once.

    Raises:
        DataError: the file is not what its name says, or breaks off; what came before is good.
        OSError: it cannot be read now.
        MissingDependencyError: Parquet without pyarrow.
    """
    if shard.kind == TAR:
        items = _of_tar(shard)
    elif shard.kind == PARQUET:
        items = _of_parquet(shard, image_column)
    else:
        items = _of_folder(shard)
    met = Keys()
    for item in items:
        if item.key not in met:
            met.add(item.key)
            yield item


def check_parquet(shard: Shard, image_column: str) -> None:
    """Raise `DataError` when a Parquet shard has no column with pictures, before a whole job is started for it."""
    with Place(shard.url).open() as file:
        _image_column(_parquet(file, shard), shard, image_column)


# ---- folders --------------------------------------------------------------------------------------------------------


def _of_folder(shard: Shard) -> Iterator[Item]:
    folder = Place(shard.url)
    if folder.local is not None:
        for name in shard.names:
            path = folder.local / name
            yield Item(name, FileSource(path), str(path))
        return

    def fetch(names: list[str]) -> Item:
        return Item(names[0], _fetched(folder.below(names[0])))

    yield from map_chunks(fetch, shard.names, size=1, threads=_AHEAD)


def _fetched(place: Place) -> ImageSource:
    """The bytes of a picture in an object store, or why there are none."""
    name = printable(place.url)
    try:
        data = place.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return BadSource(name, ImageError(f"{name}: no such file; check the path", code="missing"))
    except Exception as error:  # stores have exceptions of their own
        return BadSource(name, ImageError(f"{name}: cannot be read ({reason_of(error)}); try again", code="unreadable"))
    return _in_memory(name, data)


def _in_memory(name: str, data: bytes) -> ImageSource:
    return _too_large(name) if len(data) > MAX_FILE_BYTES else BytesSource(name, data)


def _too_large(name: str) -> BadSource:
    message = f"{name}: more than {MAX_FILE_BYTES:,} bytes; save the picture smaller"
    return BadSource(name, ImageError(message, code="too_large"))


# ---- tar files ------------------------------------------------------------------------------------------------------


def _of_tar(shard: Shard) -> Iterator[Item]:
    """Members with one name up to the first dot are a group, and have one picture, as webdataset has it."""
    stem = stem_of(shard.name)
    key, picture, is_plain = None, None, False
    try:
        with Place(shard.url).open() as file, tarfile.open(fileobj=file, mode="r|*", tarinfo=_Header) as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # else all of them are kept
                if not member.isfile():
                    continue
                group, suffix = split_member(member.name)
                if group != key:
                    if picture is not None:
                        yield Item(f"{stem}/{key}", picture)
                    key, picture, is_plain = group, None, False
                if is_the_picture(suffix, has_one=picture is not None, is_plain=is_plain):
                    picture = _member(tar, member, printable(f"{shard.url}/{member.name}"))
                    is_plain = suffix.count(".") == 1
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        at = f" after {key}" if key else ""
        reason = f"is no tar file, or breaks off{at} ({error}); get it again"
        if picture is not None:
            yield Item(f"{stem}/{key}", picture)
        raise DataError(f"{shard.url} {reason}") from None
    if picture is not None:
        yield Item(f"{stem}/{key}", picture)


class _Header(tarfile.TarInfo):
    """What is before a member. `tarfile` takes the end of what is there, and nonsense, for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        """The next one. Raises EOFError when there is none, nor the zeros that every archive ends with."""
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise EOFError(error or "its end is missing") from None


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> ImageSource:
    if member.size > MAX_FILE_BYTES:
        return _too_large(name)
    file = tar.extractfile(member)
    return BytesSource(name, file.read() if file else b"")


# ---- Parquet --------------------------------------------------------------------------------------------------------


def _of_parquet(shard: Shard, image_column: str) -> Iterator[Item]:
    stem, number = stem_of(shard.name), 0
    try:
        with Place(shard.url).open() as file:
            parquet = _parquet(file, shard)
            column = _image_column(parquet, shard, image_column)
            about = parquet.metadata
            # By the size of the pictures: rows may have any.
            size = sum(about.row_group(place).total_byte_size for place in range(about.num_row_groups))
            at_once = max(1, min(1024, _PIECE * about.num_rows // max(1, size)))
            for batch in parquet.iter_batches(batch_size=at_once, columns=[column]):
                cells = batch.column(0)
                for place in range(len(cells)):
                    number += 1
                    yield _cell_item(shard, stem, number, cells[place].as_py())
    except OSError as error:
        if error.errno is not None or type(error) is not OSError:
            raise
        raise _breaks_off(shard, number, error) from None  # pyarrow's own, of what it cannot decode
    except pyarrow().ArrowException as error:
        raise _breaks_off(shard, number, error) from None


def _cell_item(shard: Shard, stem: str, number: int, cell: Any) -> Item:
    own = cell.get("path") if isinstance(cell, dict) else None
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    key = picture_name(stem, number, own)
    name = printable(f"{shard.url}/{key}")
    if not isinstance(data, bytes):
        return Item(key, BadSource(name, ImageError(f"{name}: the cell is empty; check the file", code="missing")))
    return Item(key, _in_memory(name, data))


def _parquet(file: IO[bytes], shard: Shard) -> Any:
    arrow = pyarrow()
    try:
        return open_parquet(file)
    except arrow.ArrowException as error:
        raise DataError(f"{shard.url} is not Parquet ({' '.join(str(error).split())[:120]}); get it again") from None


def _image_column(parquet: Any, shard: Shard, image_column: str) -> str:
    schema = parquet.schema_arrow
    column = find_fields(schema.names, Columns(image_column, None), shard.url).image
    if not holds_pictures(schema, column):
        raise DataError(
            f"{shard.url}: the column {column} has names, and not the pictures themselves; leave out --engine ray, or "
            "name their folder"
        )
    return column


def _breaks_off(shard: Shard, number: int, error: Exception) -> CaptionerError:
    return DataError(f"{shard.url} breaks off after row {number} ({' '.join(str(error).split())[:120]}); get it again")
