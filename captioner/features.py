"""The feature store: what an encoder made of each picture, computed once, kept on disk, read through a memory map.

A store is a folder for one encoder graph and one preprocessing:

    identity.json   what the rows are: shape, dtype, and whatever else makes them what they are (graph, preprocessing)
    rows.bin        the rows, one after another, nothing else
    keys.bin        32 bytes a row: SHA-256 of the picture's bytes; for other views of it see `views.py`

Both grow only at the end, rows first, so a process killed at any moment leaves at worst rows without keys, which the
next one cuts off. A changed picture has another key and becomes a new row; a changed encoder has another folder.
Knows nothing of networks: `extract` is handed the function that turns pictures into rows.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from captioner.chunks import map_chunks
from captioner.errors import FeatureError, ImageError
from captioner.images import PreprocessSpec, decode_image
from captioner.row_index import KEY_BYTES, RowIndex
from captioner.types import Record
from captioner.views import is_part, view_key, view_of

DTYPES = ("float16", "uint8")


class FeatureStore:
    """Rows of equal shape and dtype, found by the content of the picture that they came from."""

    def __init__(self, folder: Path, shape: Sequence[int], dtype: str, identity: Mapping[str, Any]) -> None:
        """Open the store of this identity below `folder`, or begin it; what a killed writer left undone is cut off.

        Args:
            folder: where all stores live; each identity gets a folder of its own inside.
            shape: of one row.
            dtype: `float16` for features, `uint8` for pixels.
            identity: JSON-able facts that the rows depend on; any change makes another store.

        Raises:
            FeatureError: the folder holds something else, or cannot be written.
        """
        if dtype not in DTYPES:
            raise FeatureError(f"a feature store keeps {' or '.join(DTYPES)}, not {dtype}")
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        facts = {"shape": list(self.shape), "dtype": dtype, **identity}
        text = json.dumps(facts, sort_keys=True, indent=2)
        self.folder = folder / hashlib.sha256(text.encode()).hexdigest()[:16]
        self._row_bytes = int(np.prod(self.shape)) * self.dtype.itemsize
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _keep_identity(self.folder / "identity.json", text)
            self._repair()
        except OSError as error:
            raise FeatureError(f"cannot write features to {self.folder}: {error.strerror}") from None
        self._rows = RowIndex(self._keys_path)

    @property
    def _rows_path(self) -> Path:
        return self.folder / "rows.bin"

    @property
    def _keys_path(self) -> Path:
        return self.folder / "keys.bin"

    def _repair(self) -> None:
        """Cut both files to the rows that are complete in both."""
        self._rows_path.touch()
        self._keys_path.touch()
        complete = min(
            self._rows_path.stat().st_size // self._row_bytes,
            self._keys_path.stat().st_size // KEY_BYTES,
        )
        self._cut(complete)

    def _cut(self, rows: int) -> None:
        os.truncate(self._rows_path, rows * self._row_bytes)
        os.truncate(self._keys_path, rows * KEY_BYTES)

    def __len__(self) -> int:
        return len(self._rows)

    def row_of(self, key: bytes) -> int | None:
        """The row of the picture with this key, or None."""
        return self._rows.find(key)

    def append(self, keys: Sequence[bytes], rows: np.ndarray) -> None:
        """Add one row a key; keys that are there already are left as they are. Durable when it returns.

        Raises:
            FeatureError: a row is not finite in the store's dtype (float16 ends at 65,504), or the disk is full.
        """
        with np.errstate(over="ignore"):
            stored = rows.astype(self.dtype)
        if stored.shape != (len(keys), *self.shape):
            raise FeatureError(f"rows have shape {stored.shape}; this store expected {(len(keys), *self.shape)}")
        if not np.isfinite(stored).all():
            raise FeatureError(
                "the encoder gave features that float16 cannot hold; its weights or preprocessing are wrong"
            )
        new = {key: index for index, key in enumerate(keys) if self._rows.find(key) is None}
        try:
            _append_durably(self._rows_path, stored[list(new.values())].tobytes())
            _append_durably(self._keys_path, b"".join(new))
        except OSError as error:
            with suppress(OSError):
                self._cut(len(self))  # a part of a row would shift all that are added later
            raise FeatureError(f"cannot write features to {self.folder}: {error.strerror}") from None
        self._rows.add(new)

    def reader(self) -> RowReader:
        """A reader of the rows that are there now; it holds no keys, and can be sent to another process."""
        return RowReader(self._rows_path, len(self), self.shape, str(self.dtype))


@dataclass(frozen=True)
class RowReader:
    """Reads rows of a store by number. Memory stays flat: the map is opened for each read and let go after it."""

    path: Path
    count: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def is_whole(self) -> bool:
        """Whether all the rows are there."""
        row_bytes = int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize
        return self.path.is_file() and self.path.stat().st_size >= self.count * row_bytes

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Rows by number, int (n,) → (n, *shape), a copy in the store's dtype.

        Raises:
            FeatureError: the file is gone or shorter than it was.
        """
        # Pages of a map that stays open count as this process's memory until the system wants them back, so that
        # training would seem to grow with the data.
        try:
            mapped = np.memmap(self.path, dtype=self.dtype, mode="r", shape=(self.count, *self.shape))
        except (OSError, ValueError):
            raise FeatureError(
                f"the features in {self.path} are gone or cut short; build again to compute them"
            ) from None
        return np.array(mapped[rows])


Represent = Callable[[np.ndarray], np.ndarray]
"""Pictures as the encoder's squares, uint8 (batch, size, size, 3) → what the store keeps, (batch, *shape)."""


@dataclass(frozen=True)
class Extracted:
    """One record after extraction: its row, or why it has none."""

    record: Record
    key: bytes
    """SHA-256 of the picture's bytes; empty when they could not be read."""
    row: int | None
    error: ImageError | None = None
    views: tuple[int, ...] = ()
    """The rows of all views asked for, that of the whole picture first; none after an error."""


def extract(
    records: Iterable[Record],
    store: FeatureStore,
    represent: Represent,
    spec: PreprocessSpec,
    *,
    threads: int = 1,
    batch: int = 16,
    views: int = 1,
) -> Iterator[Extracted]:
    """Make sure that every picture has its row; yields the records in order. Pictures that have one are not decoded.

    With more than one of the `views`, mirror image and random parts get rows as well (`views.py`).

    Reading, decoding and `represent` run in `threads` threads, a batch each; rows are written in order by the caller's
    thread as it iterates. One bad picture is yielded with its error and stops nothing.
    """

    def work(chunk: list[Record]) -> _Batch:
        return _represent_batch(chunk, store, represent, spec, views)

    for done in map_chunks(work, records, size=batch, threads=threads):
        yield from _write_batch(done, store)


@dataclass(frozen=True)
class _Batch:
    records: Sequence[Record]
    views: int
    keys: Sequence[bytes]
    errors: Mapping[int, ImageError]
    new_keys: Sequence[bytes]
    new_rows: np.ndarray | None


def _represent_batch(
    records: Sequence[Record], store: FeatureStore, represent: Represent, spec: PreprocessSpec, views: int
) -> _Batch:
    keys: list[bytes] = []
    errors: dict[int, ImageError] = {}
    squares: dict[bytes, np.ndarray] = {}
    for index, record in enumerate(records):
        key = b""
        try:
            data = record.source.read_bytes()
            key = hashlib.sha256(data).digest()
            squares.update(_new_squares(data, key, store, spec, views, squares.keys()))
        except ImageError as error:
            errors[index] = error
        keys.append(key)
    # As many at a time as there are records, so that more views take no more memory.
    new = list(squares.values())
    parts = [represent(np.stack(new[start : start + len(records)])) for start in range(0, len(new), len(records))]
    return _Batch(records, views, keys, errors, list(squares), np.concatenate(parts) if parts else None)


def _new_squares(
    data: bytes, key: bytes, store: FeatureStore, spec: PreprocessSpec, views: int, made: Collection[bytes]
) -> Iterator[tuple[bytes, np.ndarray]]:
    """The views of one picture that are neither in the store nor made already, as the encoder's squares."""
    for number in range(views):
        own = view_key(key, number)
        if store.row_of(own) is None and own not in made:
            side = spec.decode_side * (2 if is_part(number) else 1)
            yield own, spec.resize(view_of(decode_image(data, at_least=side), key, number))


def _write_batch(batch: _Batch, store: FeatureStore) -> Iterator[Extracted]:
    if batch.new_rows is not None:
        store.append(batch.new_keys, batch.new_rows)
    for index, (record, key) in enumerate(zip(batch.records, batch.keys, strict=True)):
        error = batch.errors.get(index)
        found = [store.row_of(view_key(key, number)) for number in range(batch.views)] if error is None else []
        rows = tuple(row for row in found if row is not None)
        yield Extracted(record, key, rows[0] if rows else None, error, rows)


def _append_durably(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _keep_identity(path: Path, text: str) -> None:
    if path.exists():
        if path.read_text(encoding="utf-8") != text:
            raise FeatureError(f"the features in {path.parent} are of something else; delete this folder")
        return
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
