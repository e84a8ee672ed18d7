"""Which row of a feature store each key has: twenty bytes a row in memory, as a store may have millions.

The first eight bytes of the keys are kept sorted, with the eight behind them and their rows. Keys are SHA-256 digests:
no two begin with the same sixteen bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

KEY_BYTES = 32
"""A key is a SHA-256 digest."""
_NUMBERS = np.dtype(">u8")


class RowIndex:
    """Finds the row of a key; one thread may add while others look."""

    _RECENT = 2**15
    """Keys that are held as they are until they are sorted in."""

    def __init__(self, keys: Path) -> None:
        """Index the file of keys, one after another in the order of their rows, and nothing else."""
        self._count = keys.stat().st_size // KEY_BYTES
        self._recent: dict[bytes, int] = {}
        numbers = np.zeros((0, KEY_BYTES // 8), _NUMBERS)
        if self._count:
            numbers = np.memmap(keys, _NUMBERS, mode="r", shape=(self._count, KEY_BYTES // 8))
        self._sorted = _sorted(numbers[:, 0], numbers[:, 1], np.arange(self._count))
        """Both parts of the keys, and rows; replaced as one, so that who looks sees all of the same time."""

    def __len__(self) -> int:
        return self._count

    def find(self, key: bytes) -> int | None:
        """The row of a key, or None."""
        recent = self._recent.get(key)
        if recent is not None:
            return recent
        first, second, rows = self._sorted
        wanted, further = np.frombuffer(key, _NUMBERS, 2)
        place = int(np.searchsorted(first, np.uint64(wanted)))
        while place < len(first) and first[place] == wanted:
            if second[place] == further:
                return int(rows[place])
            place += 1
        return None

    def add(self, keys: Iterable[bytes]) -> None:
        """Take keys that are new, which have the rows behind those that are here."""
        for key in keys:
            self._recent[key] = self._count
            self._count += 1
        if len(self._recent) >= self._RECENT:
            numbers = np.frombuffer(b"".join(self._recent), _NUMBERS).reshape(-1, KEY_BYTES // 8)
            new = (numbers[:, 0], numbers[:, 1], np.fromiter(self._recent.values(), np.uint32))
            first, second, rows = (np.concatenate([old, more]) for old, more in zip(self._sorted, new, strict=True))
            self._sorted = _sorted(first, second, rows)
            self._recent = {}


def _sorted(first: np.ndarray, second: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All three by the first: uint64, uint64, uint32 (rows,)."""
    order = np.argsort(first, kind="stable")
    return first[order].astype(np.uint64), second[order].astype(np.uint64), rows[order].astype(np.uint32)
