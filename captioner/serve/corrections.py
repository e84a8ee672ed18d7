"""Better captions that people give, kept with their pictures in a tar shard, which `captioner doctor` and builds read.

    KEY.jpg     the picture as it came; KEY is the beginning of its SHA-256
    KEY.was     what the captioner had said, where that is known; readers of shards pass over it
    KEY.txt     the better caption
    KEY.gone    of a caption that was taken back: zeros

The shard only grows. A picture that is corrected again is appended again: readers gather the captions of one name, so
the later caption is added to the earlier one. An end that was cut off, by a kill or a full disk, is removed when the
shard is opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from captioner.errors import ConfigError, printable
from captioner.serve.limits import Limits
from captioner.serve.problems import Problem

KEY_DIGITS = 32
"""Hexadecimal digits of a key: 128 bits tell any two pictures apart."""
_BLOCK = tarfile.BLOCKSIZE
_OUR_BEGINNING = re.compile(rb"[0-9a-f]{32}\.")
_OUR_NAME = re.compile(r"[0-9a-f]{32}\.[a-z]+|apart")
_END = bytes(2 * _BLOCK)
_TEXT, _WAS, _GONE, _APART = ".txt", ".was", ".gone", "apart"
_SUFFIXES = ((b"\x89PNG", 0, ".png"), (b"GIF8", 0, ".gif"), (b"WEBP", 8, ".webp"), (b"BM", 0, ".bmp"),
             (b"II", 0, ".tiff"), (b"MM", 0, ".tiff"), (b"ftyp", 4, ".avif"))  # fmt: skip


class Corrections:
    """An open shard; nobody else can open it meanwhile."""

    def __init__(self, path: Path, limits: Limits) -> None:
        """Open or make it. Raises ConfigError when it cannot be, is no tar file, or another service holds it."""
        self._path, self._limits = path, limits
        self._lock = threading.Lock()
        self._captions: dict[str, list[str]] = {}
        self._last = ""
        if path.suffix.lower() != ".tar":
            raise ConfigError(f"--corrections {path}: it becomes a tar archive; give it a name that ends in .tar")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._file = FileIO(handle, "r+")
        except OSError as error:
            raise ConfigError(f"--corrections {path}: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise ConfigError(f"--corrections {path}: another service writes there; choose another file") from None
        try:
            self._end = self._read()
            self._write(b"")
        except OSError as error:
            self._file.close()
            raise ConfigError(f"--corrections {path}: {error.strerror}") from None
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Let go of the shard."""
        self._file.close()

    async def keep(self, picture: bytes, texts: Mapping[str, str]) -> dict[str, Any]:
        """Append a picture with its better `caption`, and what it `was`.

        Returns its key, the caption's id, whether it was added (else it was there before), and all captions now.

        Raises Problem for an empty caption, and when the disk or the limit is full.
        """
        caption = _one_line(texts.get("caption", ""))
        if not caption:
            raise Problem(422, "empty_caption", "the caption is empty")
        was = _one_line(texts.get("was", ""))
        return await asyncio.to_thread(self._keep, picture, caption, was)  # finished, whether or not one waits for it

    async def take_back(self, key: str, mark: str) -> dict[str, Any]:
        """Forget a caption that was kept, and the picture that was kept with it; `mark` is the `id` of `keep`'s answer.

        Returns the key and the captions that are left. Raises Problem when there is no such caption.
        """
        return await asyncio.to_thread(self._take_back, key, mark)

    def _take_back(self, key: str, mark: str) -> dict[str, Any]:
        with self._lock:
            known = self._captions.get(key, [])
            caption = next((each for each in known if _mark(each) == mark), None)
            if caption is None:
                raise Problem(404, "no_correction", "no such caption is kept for this picture")
            try:
                for member in self._group(key, caption):
                    gone = _member(key + _GONE, bytes(member.size))
                    os.pwrite(self._file.fileno(), gone, member.offset_data - _BLOCK)
                os.fsync(self._file.fileno())
            except OSError as error:
                raise Problem(507, "corrections_full", f"the file cannot be written ({error.strerror})") from None
            known.remove(caption)
            return {"key": key, "captions": list(known)}

    def _group(self, key: str, caption: str) -> list[tarfile.TarInfo]:
        """The members of a caption that are left: its text last, so that what was broken off is found again."""
        group: list[tarfile.TarInfo] = []
        for member, _ in self._members(self._end):
            group = [*group, member] if member.name.startswith(f"{key}.") else []
            if member.name == key + _TEXT:
                text = os.pread(self._file.fileno(), min(member.size, 2**20), member.offset_data)
                if caption in text.decode("utf-8", "replace").split("\n"):
                    return [each for each in group if not each.name.endswith(_GONE)]
                group = []
        return []

    def _keep(self, picture: bytes, caption: str, was: str) -> dict[str, Any]:
        with self._lock:
            return self._add(hashlib.sha256(picture).hexdigest()[:KEY_DIGITS], picture, caption, was)

    def _add(self, key: str, picture: bytes, caption: str, was: str) -> dict[str, Any]:
        known = self._captions.get(key, [])
        is_new = caption not in known
        if is_new:
            data = _member(_APART, b"") if key == self._last else b""  # else its text would take the place of the last
            data += _member(key + _suffix(picture), picture)
            if was:
                data += _member(key + _WAS, was.encode())
            data += _member(key + _TEXT, caption.encode() + b"\n")
            if self._end + len(data) > self._limits.corrections_bytes:
                raise Problem(507, "corrections_full", "the file of corrections is full; tell who runs this service")
            if not self._is_in_place():
                raise Problem(
                    507, "corrections_lost", "the file of corrections was moved away; tell who runs this service"
                )
            try:
                self._write(data)
            except OSError as error:
                raise Problem(
                    507, "corrections_full", f"the correction could not be written ({error.strerror})"
                ) from None
            known = self._captions.setdefault(key, [])
            known.append(caption)
            self._last = key
        return {"key": key, "id": _mark(caption), "added": is_new, "captions": list(known)}

    def _is_in_place(self) -> bool:
        """Whether the name still leads to what is written."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except OSError:
            return False

    def _write(self, data: bytes) -> None:
        """Put members at the end, and the end of the archive behind them; whole, or not at all."""
        left, at = memoryview(data + _END), self._end
        try:
            while left:
                written = os.pwrite(self._file.fileno(), left, at)
                left, at = left[written:], at + written
            os.ftruncate(self._file.fileno(), at)
            os.fsync(self._file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                os.pwrite(self._file.fileno(), _END, self._end)
                os.ftruncate(self._file.fileno(), self._end + len(_END))
            raise
        self._end += len(data)

    def _read(self) -> int:
        """Read what is there; returns where the last complete group ends."""
        size = os.fstat(self._file.fileno()).st_size
        end = begin = 0
        try:
            for member, after in self._members(size):
                if not _OUR_NAME.fullmatch(member.name):  # what follows the last text is cut off: never somebody else's
                    raise ConfigError(
                        f"--corrections {self._path}: {member.name} in it is no correction; choose another file"
                    )
                stem, dot, suffix = member.name.rpartition(".")
                if dot + suffix == _TEXT:
                    text = os.pread(self._file.fileno(), min(member.size, 2**20), member.offset_data)
                    self._captions.setdefault(stem, []).extend(text.decode("utf-8", "replace").split("\n")[:-1])
                    self._last, end = stem, after
                begin = after
        except tarfile.HeaderError:
            raise ConfigError(
                f"--corrections {self._path}: no tar file, or damaged at byte {begin}; choose another file"
            ) from None
        return end

    def _members(self, size: int) -> Iterator[tuple[tarfile.TarInfo, int]]:
        """Each member that is there as a whole, and where it ends. Raises `tarfile.HeaderError` for another thing."""
        at = 0
        while True:
            block = os.pread(self._file.fileno(), _BLOCK, at)
            if len(block) < _BLOCK:
                if at == 0 and block.strip(b"\0") and not _OUR_BEGINNING.match(block):
                    raise tarfile.HeaderError("not one of ours, and not to be written over")
                return
            if not block.strip(b"\0"):  # the end of the archive
                return
            member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            member.offset_data = at + _BLOCK
            after = at + _BLOCK + -(-member.size // _BLOCK) * _BLOCK
            if after > size:
                return
            yield member, after
            at = after


def _member(name: str, data: bytes) -> bytes:
    """A member of a tar file with its padding."""
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = len(data), int(time.time()), 0o644
    return member.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % _BLOCK)


def _mark(caption: str) -> str:
    """What a caption is called in addresses, and so in logs, where it itself has no place."""
    return hashlib.sha256(caption.encode()).hexdigest()[:KEY_DIGITS]


def _one_line(text: str) -> str:
    """A text as one line, as a line is a caption; what a terminal would obey appears as an escape."""
    return printable(" ".join(text.split()))


def _suffix(picture: bytes) -> str:
    """What readers of shards tell pictures by; decided by the content."""
    found = (suffix for begins, at, suffix in _SUFFIXES if picture[at : at + len(begins)] == begins)
    return next(found, ".jpg")
