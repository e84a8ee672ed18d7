"""One split of a data set as training reads it: word ids and feature rows in four arrays, memory-mapped.

    rows.npy      int64 (pictures, views)  rows of the feature store, that of the whole picture first
    first.npy     int64 (pictures + 1,)    caption numbers: picture p has captions first[p] to first[p + 1]
    offsets.npy   int64 (captions + 1,)    word numbers: caption c has words offsets[c] to offsets[c + 1]
    words.npy     uint32 (words,)          word ids, without begin and end tokens

Knows nothing of text or pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from captioner.errors import DataError


class PreparedSplit:
    """Captions and feature rows of the pictures of one split."""

    def __init__(self, folder: Path) -> None:
        """Map what `save` wrote. Raises DataError when it is not there."""
        self._folder = folder
        try:
            self.rows = np.load(folder / "rows.npy", mmap_mode="r", allow_pickle=False)
            self._first = np.load(folder / "first.npy", mmap_mode="r", allow_pickle=False)
            self._offsets = np.load(folder / "offsets.npy", mmap_mode="r", allow_pickle=False)
            self._words = np.load(folder / "words.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(
                f"the prepared data in {folder} is incomplete; delete the folder and build again"
            ) from error

    @staticmethod
    def save(folder: Path, pictures: Iterable[tuple[Sequence[int], Sequence[Sequence[int]]]]) -> None:
        """Write (rows of its views, captions as word ids) of each picture, as they come; all have as many views."""
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as files:
            rows = files.enter_context(_growing(folder / "rows.npy", np.int64))
            first = files.enter_context(_growing(folder / "first.npy", np.int64))
            offsets = files.enter_context(_growing(folder / "offsets.npy", np.int64))
            words = files.enter_context(_growing(folder / "words.npy", np.uint32))
            first.add([0])
            offsets.add([0])
            for views, captions in pictures:
                rows.width = len(views)
                rows.add(views)
                for caption in captions:
                    words.add(caption)
                    offsets.add([words.count])
                first.add([offsets.count - 1])

    def __reduce__(self) -> tuple[type[PreparedSplit], tuple[Path]]:
        """Be sent to another process as the folder alone: it maps the same files, where a map would become a copy."""
        return PreparedSplit, (self._folder,)

    def __len__(self) -> int:
        return len(self.rows)

    def captions(self, picture: int) -> list[np.ndarray]:
        """The captions of one picture as word ids, uint32 (words,) each."""
        return [
            self._words[self._offsets[caption] : self._offsets[caption + 1]]
            for caption in range(self._first[picture], self._first[picture + 1])
        ]


class _Growing:
    """A `.npy` file that numbers are appended to: a few are kept until there are enough to write."""

    _KEPT = 2**14

    def __init__(self, file: BinaryIO, dtype: Any) -> None:
        self._file = file
        self._dtype = np.dtype(dtype)
        self._recent: list[int] = []
        self.count = 0
        """Numbers so far."""
        self.width = 0
        """Numbers in a row, of an array of two dimensions; 0 is an array of one."""
        self._write_header()
        self._begin = file.tell()

    def add(self, numbers: Sequence[int]) -> None:
        """Append numbers."""
        self._recent.extend(numbers)
        self.count += len(numbers)
        if len(self._recent) >= self._KEPT:
            self._flush()

    def finish(self) -> None:
        """Write what is left, and then how many there are, for which the header has room."""
        self._flush()
        self._file.seek(0)
        self._write_header()
        if self._file.tell() != self._begin:
            raise RuntimeError(f"numpy {np.__version__} leaves no room in headers for arrays that grow")

    def _flush(self) -> None:
        self._file.write(np.array(self._recent, self._dtype).tobytes())
        self._recent.clear()

    def _write_header(self) -> None:
        shape = (self.count // self.width, self.width) if self.width else (self.count,)
        facts = {"descr": self._dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, facts)


@contextmanager
def _growing(path: Path, dtype: Any) -> Iterator[_Growing]:
    with path.open("w+b") as file:
        array = _Growing(file, dtype)
        yield array
        array.finish()
