"""One job at a time writes to an output: a lock that the system lets go of, however the process ends.

Every reader may read meanwhile. Needs no library.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from captioner.errors import CaptionerError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`, which is removed in the end.

    Raises `CaptionerError` when another job holds it, or it cannot be made.
    """
    handle = _open(path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(handle)


def _open(path: Path) -> int:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise CaptionerError(
                f"cannot write {path}: {error.strerror}; choose another place", code="output"
            ) from None
        if not _take(handle):
            os.close(handle)
            raise CaptionerError(
                f"another job is writing there ({path} is held); wait for it, or choose another output", code="busy"
            )
        with suppress(OSError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        os.close(handle)  # the job before removed it between opening and taking: what was taken is no longer there


if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _take(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
