"""Captions as texts beside the pictures: `dog.jpg` and `dog.txt`, as training tools and `datasets/sidecar.py` have it.

Where two pictures would share a text, `dog.jpg` and `dog.png`, each has its own: `dog.jpg.txt` and `dog.png.txt`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captioner.batch.changes import Journal
from captioner.batch.sinks.own_files import OwnFiles
from captioner.batch.work import Item, Outcome
from captioner.datasets.picture_files import SUFFIXES
from captioner.errors import CaptionerError
from captioner.metadata.merging import merged
from captioner.metadata.splice import Splice

_ENDS = tuple(sorted({*SUFFIXES, *map(str.upper, SUFFIXES), *map(str.capitalize, SUFFIXES)}))


class SidecarSink(OwnFiles):
    """See `Sink`."""

    def __init__(
        self,
        home: Path,
        existing: str,
        facts: Mapping[str, Any] | None = None,
        *,
        folder: Path | None = None,
        suffix: str = ".txt",
    ) -> None:
        """Put texts beside the pictures below `home`, or into the same folders below another `folder`.

        Args:
            home: the folder of the source.
            existing: what to do where there is a text, one of `own_files.EXISTING`.
            facts: what tells the job from others, see `UnderWay`.
            folder: where texts go; None puts them beside the pictures.
            suffix: what their names end in.
        """
        where = "beside the pictures" if folder is None else f"in {folder}"
        super().__init__(folder or home, f"*{suffix} {where}", existing, facts)
        self._home, self._folder, self._suffix = home, folder, suffix

    def is_captioned(self, item: Item) -> bool:
        """Whether there is a text with something in it."""
        try:
            return bool(self._text(item).read_bytes().strip())
        except FileNotFoundError:
            return False

    def write_one(self, outcome: Outcome, journal: Journal, **notes: str) -> None:
        """See `OwnFiles.write_one`."""
        target = self._text(outcome.item)
        old: bytes | None = None
        if target.exists():
            old = target.read_bytes()
        target.parent.mkdir(parents=True, exist_ok=True)
        if change := self._change(old or b"", outcome):
            journal.change(target, old, [change], **notes)

    def _change(self, old: bytes, outcome: Outcome) -> Splice | None:
        """What is to be changed in a text; what is kept of it stays as it is, to the byte."""
        if self.existing in ("skip", "overwrite") or not old.strip():
            new = f"{outcome.caption}\n".encode()
            return Splice(0, len(old), new) if new != old else None
        try:
            text = old.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise CaptionerError(
                f"{outcome.item.source.name}: the text that is there is not UTF-8; save it as UTF-8 and use "
                "--retry-errors, or --existing overwrite",
                code="unwritable",
            ) from None
        if merged(text, outcome.caption, self.existing) == text:
            return None
        end = "\r\n" if "\r\n" in text else "\n"
        if self.existing == "prepend":
            start = len(old) - len(text.encode())  # behind the mark of UTF-8
            return Splice(start, start, f"{outcome.caption}{end}".encode())
        before = len(old.rstrip(b"\r\n"))
        return Splice(before, len(old), f"{end}{outcome.caption}{end}".encode())

    def _text(self, item: Item) -> Path:
        """The file of a picture's text."""
        if not item.path:
            raise CaptionerError(
                f"{item.source.name} is no file, and can have no text beside it; write into one file, with --out",
                code="output",
            )
        picture = Path(item.path)
        shared = any(
            end != picture.suffix and (other := picture.with_suffix(end)).exists() and not _is_same(other, picture)
            for end in _ENDS
        )
        text = picture.with_name(picture.name + self._suffix) if shared else picture.with_suffix(self._suffix)
        if self._folder is None:
            return text
        below = os.path.relpath(text, self._home)
        if Path(below).parts[0] == os.pardir:
            raise CaptionerError(
                f"{item.source.name} is not below {self._home.absolute()}, and so its text has no place in "
                f"{self._folder}; name the folder of the pictures, or leave out --out",
                code="output",
            )
        return self._folder / below


def _is_same(one: Path, other: Path) -> bool:
    """Whether two names are one file, as those of different case are where the system does not tell case."""
    try:
        return one.samefile(other)
    except OSError:
        return False
