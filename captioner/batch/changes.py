"""Changes to people's own files: each noted before it is made, made at once or not at all, and undone on request.

    JOURNAL      one object of JSON a change: target, SHA-256 before and after, what turns the new bytes into the old

A file that somebody else has changed since is never written over by an undo. Knows nothing of what files say.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from captioner.batch.appending import RecordLog, count_damaged, read_records_backwards, unfinished
from captioner.batch.work import identity, key_of
from captioner.errors import CaptionerError
from captioner.metadata.splice import Splice, apply, inverse

OF_ONE_FILE = frozenset({errno.EACCES, errno.EPERM, errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG})
"""What the system says of one file, and not of the disk: the others go on."""


class Journal:
    """The journal of one folder of files; `with` closes it."""

    def __init__(self, path: Path) -> None:
        """Open the journal at `path`, which is made with the first change; targets are named relative to its folder."""
        self.path = path
        self._log: RecordLog | None = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._log is not None:
            self._log.close()

    def change(self, target: Path, old: bytes | None, splices: Sequence[Splice], **notes: str) -> None:
        """Change a file, or make it where `old` is None; nobody ever sees half of it.

        Args:
            target: the file; of a link, what it leads to is changed.
            old: what is in it now.
            splices: what is to be changed.
            notes: further fields of the record.

        Raises OSError when it cannot be written; then it is as before.
        """
        new = apply(old or b"", splices)
        undo = [[each.start, each.end, base64.b64encode(each.data).decode()] for each in inverse(old or b"", splices)]
        facts = {"before": None if old is None else _digest(old), "after": _digest(new), "undo": undo}
        if self._log is None:
            self._log = RecordLog(self.path)
        name = os.path.relpath(target, self.path.parent)
        self._log.append([{**identity(name), **facts, **notes}], durable=True)
        try:
            _replace(target, new, self.path)
        except OSError:
            self._log.take_back()  # else a job that goes on would take it for made
            raise

    def last_first(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """All changes, the last one first: target and record."""
        for fields in read_records_backwards(self.path):
            with suppress(KeyError, ValueError):
                yield self.path.parent / key_of(fields), fields

    def was_made(self, target: Path, fields: dict[str, Any]) -> bool:
        """Whether a change that is written down is there: the process may have ended before it was made."""
        return _digest_of(target) == str(fields["after"])


def undo(journal: Path, tell: Callable[[str], None]) -> tuple[int, int]:
    """Undo all changes of a journal; how many were undone, and how many files are left alone, as they changed since.

    `tell` is told of those, in one line each. Killed and called again it goes on.

    Raises:
        CaptionerError: the journal is damaged; nothing was undone.
        OSError: a file cannot be written.
    """
    undone, left = 0, []
    if damaged := count_damaged(journal, _is_whole):
        raise CaptionerError(
            f"{journal} is damaged: {damaged} of its lines cannot be read, and what they changed cannot be undone; "
            "remove them to undo the others",
            code="output",
        )
    for target, fields in Journal(journal).last_first():
        reason = ""
        try:
            _temporary(target, journal).unlink(missing_ok=True)  # of a change that was killed
            now = _digest_of(target)
            if now == fields["before"]:
                continue  # never made, or undone before
            reason = "changed by somebody else since" if now != fields["after"] else _undo_one(target, fields, journal)
        except OSError as error:
            if error.errno not in OF_ONE_FILE:
                raise
            reason = error.strerror or str(error)
        if reason:
            tell(f"{target}: {reason}; left alone")
            left.append(fields)
        else:
            undone += 1
    temporary = unfinished(journal)
    log = RecordLog(temporary, fresh=True)
    log.append(left[::-1])
    log.close()
    temporary.replace(journal)
    if not left:
        journal.unlink()
    return undone, len(left)


def _undo_one(target: Path, fields: dict[str, Any], journal: Path) -> str:
    """Make a file what it was; returns why not, where that cannot be. Raises OSError when it cannot be written."""
    if fields["before"] is None:
        target.unlink()
        return ""
    try:
        splices = [Splice(start, end, base64.b64decode(data, validate=True)) for start, end, data in fields["undo"]]
        old = apply(target.read_bytes(), splices)
    except (ValueError, TypeError):
        return "its line in the journal is damaged"
    if _digest(old) != fields["before"]:
        return "its line in the journal is damaged"
    _replace(target, old, journal)
    return ""


def _is_whole(fields: dict[str, Any]) -> bool:
    """Whether a line of a journal has all that an undo wants."""
    try:
        key_of(fields)
    except (KeyError, ValueError):
        return False
    return {"before", "after", "undo"} <= fields.keys() and isinstance(fields["undo"], list)


def _replace(target: Path, data: bytes, journal: Path) -> None:
    """Put `data` in place of a file in one step; to people it is the same file: times, permissions, owner."""
    target = target.resolve()
    temporary = _temporary(target, journal)
    old = target.stat() if target.exists() else None
    if old is not None and not (old.st_mode & 0o222 and os.access(target, os.W_OK)):
        raise PermissionError(errno.EACCES, "it is write-protected", str(target))
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if old is not None:
            shutil.copystat(target, temporary)
            with suppress(OSError, AttributeError):  # only root may give files away, and not on every system
                os.chown(temporary, old.st_uid, old.st_gid)
        temporary.replace(target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _temporary(target: Path, journal: Path) -> Path:
    """What a file is called until it is whole.

    The name is the journal's own, so that no other job writes there meanwhile, and the same each time, so that what a
    killed job left is written over when it goes on.
    """
    target = target.resolve()
    name = os.fsencode(journal.resolve()) + b"\0" + os.fsencode(target.name)
    return target.with_name(f".{hashlib.sha256(name).hexdigest()[:16]}.part")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_of(path: Path) -> str | None:
    """Of a file's content; None when there is no file."""
    try:
        return _digest(path.read_bytes())
    except FileNotFoundError:
        return None
