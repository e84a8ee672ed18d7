"""One split of a data set as training reads it: word ids and feature rows in four arrays, memory-mapped.

    rows.npy      int64 (pictures, views)  rows of the feature store, that of the whole picture first
    first.npy     int64 (pictures + 1,)    caption numbers: picture p has captions first[p] to first[p + 1]
    offsets.npy   int64 (captions + 1,)    word numbers: caption c has words offsets[c] to offsets[c + 1]
    words.npy     uint32 (words,)          word ids, without begin and end tokens

Knows nothing of text or pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from captioner.errors import DataError


class PreparedSplit:
    """Captions and feature rows of the pictures of one split."""

    def __init__(self, folder: Path) -> None:
        """Map what `save` wrote. Raises DataError when it is not there."""
        try:
            self.rows = np.load(folder / "rows.npy", allow_pickle=False)
            self._first = np.load(folder / "first.npy", mmap_mode="r", allow_pickle=False)
            self._offsets = np.load(folder / "offsets.npy", mmap_mode="r", allow_pickle=False)
            self._words = np.load(folder / "words.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(
                f"the prepared data in {folder} is incomplete; delete the folder and build again"
            ) from error

    @staticmethod
    def save(folder: Path, pictures: Iterable[tuple[Sequence[int], Sequence[Sequence[int]]]]) -> None:
        """Write (rows of its views, captions as word ids) of each picture; all have as many views."""
        rows, first, offsets, words = [], [0], [0], [np.zeros(0, np.uint32)]
        for row, captions in pictures:
            rows.append(row)
            first.append(first[-1] + len(captions))
            for caption in captions:
                offsets.append(offsets[-1] + len(caption))
                words.append(np.asarray(caption, np.uint32))
        folder.mkdir(parents=True, exist_ok=True)
        np.save(
            folder / "rows.npy", np.asarray(rows, np.int64).reshape(len(rows), -1 if rows else 1), allow_pickle=False
        )
        np.save(folder / "first.npy", np.asarray(first, np.int64), allow_pickle=False)
        np.save(folder / "offsets.npy", np.asarray(offsets, np.int64), allow_pickle=False)
        np.save(folder / "words.npy", np.concatenate(words), allow_pickle=False)

    def __len__(self) -> int:
        return len(self.rows)

    def captions(self, picture: int) -> list[np.ndarray]:
        """The captions of one picture as word ids, uint32 (words,) each."""
        return [
            self._words[self._offsets[caption] : self._offsets[caption + 1]]
            for caption in range(self._first[picture], self._first[picture + 1])
        ]
