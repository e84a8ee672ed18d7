"""A page as bytes and as text at once, and as it is with texts inserted; nothing else in it ever changes."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from captioner.alttext import html, markdown
from captioner.alttext.encoding import Encoding, Markup, encoding_of
from captioner.alttext.records import Scan
from captioner.errors import DataError

MAX_BYTES = 50_000_000
"""Larger files are refused: no page is as large."""
_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class Insertion:
    """A text that is new in a page."""

    position: int
    """Where, in characters of the old text."""
    text: str
    """What."""


@dataclass(frozen=True)
class Document:
    """A page."""

    data: bytes
    """Its file."""
    markup: Markup
    """What it is written in."""
    encoding: Encoding
    """How bytes and text belong together."""
    text: str
    """Its characters, without the byte order mark."""
    rest: bytes = b""
    """A byte at the end that is only half a character."""

    @classmethod
    def of(cls, data: bytes, markup: Markup) -> Document:
        """The page in a file. Raises DataError when it could not be written back as it was."""
        encoding = encoding_of(data, markup)
        body = data[len(encoding.mark) :]
        half = len(body) % 2 if encoding.codec.startswith("utf-16") else 0
        text = encoding.decode(body[: len(body) - half])
        return cls(data, markup, encoding, text, body[len(body) - half :])

    @cached_property
    def scan(self) -> Scan:
        """Its images."""
        if self.markup in (Markup.MARKDOWN, Markup.MDX):
            return markdown.find_images(self.text, mdx=self.markup is Markup.MDX)
        return html.find_images(self.text, xml=self.markup is Markup.XHTML)

    def with_insertions(self, insertions: Sequence[Insertion]) -> bytes:
        """The file with texts inserted, in order of their places. Raises DataError when not all else would stay."""
        ends = [*(each.position for each in insertions), len(self.text)]
        old = [self.encoding.encode(self.text[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
        if self.encoding.mark + b"".join(old) + self.rest != self.data:
            raise DataError(f"cannot be kept as it is in {self.encoding.codec}; save it as UTF-8")
        new = [self.encoding.encode_new(each.text) for each in insertions]
        pieces = [piece for pair in zip(old, new, strict=False) for piece in pair]
        return b"".join([self.encoding.mark, *pieces, old[-1], self.rest])

    def place(self, position: int) -> tuple[int, int]:
        """Line and column of a character, both from 1."""
        line = bisect_right(self._line_starts, position)
        return line, position - self._line_starts[line - 1] + 1

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(found.end() for found in _LINE_END.finditer(self.text))]


def read_file(path: Path) -> bytes:
    """The content of a page's file. Raises DataError when it cannot be read, or is no page for its size."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError("is no file")
        if status.st_size > MAX_BYTES:
            raise DataError(f"has {status.st_size:,} bytes; pages of up to {MAX_BYTES:,} are read")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}") from None


def replace_file(path: Path, old: bytes, new: bytes) -> None:
    """Put new content in the place of a file's old one, at once and with the same permissions.

    Of a link the file that it leads to is replaced; other hard links to it keep the old content.

    Raises DataError, and leaves the file as it is, when its content is another one by now, or it cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        status = target.stat()
        # Root may write anything, and a new file may take the place of any: who protected this one meant something.
        if not status.st_mode & 0o222 or not os.access(target, os.W_OK):
            raise DataError("is write-protected; nothing was written")
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:50]}.", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(new)
                file.flush()
                os.fsync(file.fileno())
            _keep_owner(name, status)
            if read_file(target) != old:
                raise DataError("has changed in the meantime; nothing was written, run it again")
            os.replace(name, target)  # noqa: PTH105 - the name is none of a path that is kept
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror or error}") from None


def _keep_owner(name: str, status: os.stat_result) -> None:
    """Owner and permissions of a file for another one, as far as the system lets us; permissions always."""
    path = Path(name)
    made = path.stat()
    if hasattr(os, "chown") and (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
        try:
            os.chown(path, status.st_uid, status.st_gid)
        except PermissionError:
            # The bits for the owner would be somebody else's; those are given up with a changed owner.
            path.chmod(stat.S_IMODE(status.st_mode) & 0o777)
            return
    path.chmod(stat.S_IMODE(status.st_mode))
