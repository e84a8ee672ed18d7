"""Which row of a feature store each key has: twelve bytes a row in memory, as a store may have millions.

The first eight bytes of the keys are kept sorted, with their rows; what is found is compared with the whole key, in the
file. Keys are digests, so two that begin alike are next to impossible, and are told apart all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

KEY_BYTES = 32
"""A key is a SHA-256 digest."""


class RowIndex:
    """Finds the row of a key; one thread may add while others look."""

    _RECENT = 2**15
    """Keys that are held as they are until they are sorted in."""

    def __init__(self, keys: Path) -> None:
        """Index the file of keys, one after another in the order of their rows, and nothing else."""
        self._path = keys
        self._count = keys.stat().st_size // KEY_BYTES
        self._recent: dict[bytes, int] = {}
        begins = self._file()["begin"] if self._count else np.zeros(0, ">u8")
        order = np.argsort(begins, kind="stable").astype(np.uint32)
        self._sorted = (np.asarray(begins, np.uint64)[order], order)
        """Beginnings and rows; replaced as one, so that who looks sees both of the same time."""

    def __len__(self) -> int:
        return self._count

    def find(self, key: bytes) -> int | None:
        """The row of a key, or None."""
        recent = self._recent.get(key)
        if recent is not None:
            return recent
        begins, rows = self._sorted
        begin = np.uint64(int.from_bytes(key[:8], "big"))
        place = int(np.searchsorted(begins, begin))
        while place < len(begins) and begins[place] == begin:
            row = int(rows[place])
            if self._key(row) == key:
                return row
            place += 1
        return None

    def add(self, keys: Iterable[bytes]) -> None:
        """Take keys that are new and that the file has by now, in its order."""
        for key in keys:
            self._recent[key] = self._count
            self._count += 1
        if len(self._recent) >= self._RECENT:
            begins, rows = self._sorted
            new = np.array([int.from_bytes(key[:8], "big") for key in self._recent], np.uint64)
            begins = np.concatenate([begins, new])
            rows = np.concatenate([rows, np.fromiter(self._recent.values(), np.uint32, len(self._recent))])
            order = np.argsort(begins, kind="stable")
            self._sorted = (begins[order], rows[order])
            self._recent = {}

    def _key(self, row: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek(row * KEY_BYTES)
            return file.read(KEY_BYTES)

    def _file(self) -> np.ndarray:
        kind = np.dtype([("begin", ">u8"), ("rest", f"V{KEY_BYTES - 8}")])
        return np.memmap(self._path, kind, mode="r", shape=(self._count,))
