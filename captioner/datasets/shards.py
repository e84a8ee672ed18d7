"""WebDataset shards: tar files whose members come in groups of one name, `000017.jpg` and `000017.txt`.

    train-000000.tar …       the names of several shards, or of their folders, say which split they are
    0001.jpg 0001.txt        a caption a line; or .caption, or .json with a caption in it

Shards are never unpacked. One pass finds where each picture begins; it is read from there, in any order.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import ClassVar

from captioner.datasets.columns import find_fields
from captioner.datasets.folders import files_in, folders_in
from captioner.datasets.layout import SPLITS, Columns, Entry, Report, split_in
from captioner.datasets.picture_files import SUFFIXES as PICTURES
from captioner.datasets.problems import Problem, ProblemKind
from captioner.errors import DataError, ImageError, printable
from captioner.images import MAX_FILE_BYTES
from captioner.types import ImageSource

SUFFIX = ".tar"
TEXTS = (".txt", ".caption", ".text")
_MAX_TEXT_BYTES = 2**20
_LOOKED_AT = 100
"""Groups among which one with a picture and a text must be, for a folder to be recognised."""


@dataclass
class _Group:
    """The members of one name."""

    key: str
    picture: tarfile.TarInfo | None = None
    is_plain: bool = False
    text: bytes | None = None
    json: bytes | None = None
    is_cut: bool = False
    """Whether there is more of the text than is read."""


class ShardsLayout:
    """One shard or many."""

    label: ClassVar = "shards"
    looked_for: ClassVar = (
        "WebDataset shards, tar files with 0001.jpg and 0001.txt in them, or a folder with such files"
    )

    def __init__(self, folder: Path, files: tuple[Path, ...], columns: Columns) -> None:
        self.files = files
        self._folder = folder
        self._columns = columns
        splits = "; the names of the shards say which split they are" if _splits(folder, files) else ""
        self.reading = f"members of one name are a picture and its captions{splits}; nothing is unpacked"

    @classmethod
    def find(cls, path: Path, columns: Columns, *, named: bool) -> ShardsLayout | None:
        """See `Layout.find`."""
        if path.is_file():
            files = [path] if named or path.suffix.lower() == SUFFIX else []
        else:
            files = [file for folder in (path, *folders_in(path)) for file in files_in(folder, f"*{SUFFIX}")]
            if files and not named and not _has_pairs(files[0]):
                return None  # pictures or a backup that were packed; the captions are elsewhere
        if files:
            return cls(path if path.is_dir() else path.parent, tuple(files), columns)
        if named:
            raise DataError(
                f"{path} has no {SUFFIX} files, nor have the folders in it; compressed ones must be unzipped"
            )
        return None

    def entries(self, report: Report) -> Iterator[Entry]:
        """See `Layout.entries`."""
        splits = _splits(self._folder, self.files)
        for place, file in enumerate(self.files):
            for group in _groups(file):
                yield from self._entry(file, place, group, splits.get(file, ""), report)

    def source(self, name: str, locator: str) -> ImageSource | None:
        """See `Layout.source`."""
        place, offset, size = map(int, locator.split(":"))
        return MemberSource(name, self.files[place], offset, size)

    def _entry(self, file: Path, place: int, group: _Group, split: str, report: Report) -> Iterator[Entry]:
        name = (file.relative_to(self._folder).with_suffix("") / group.key).as_posix()
        where = f"{file.name} member {group.key}"
        if group.picture is None:
            if group.text is not None or group.json is not None:
                reason = "no picture of this name in the shard; left out"
                report(Problem(where, ProblemKind.CAPTION_WITHOUT_PICTURE, reason))
            return
        captions = _captions(group, self._columns, where, report)
        if captions is not None:
            locator = f"{place}:{group.picture.offset_data}:{group.picture.size}"
            yield Entry(name, captions, f"{file.name} member {group.picture.name}", split, locator)


@dataclass(frozen=True)
class MemberSource:
    """A picture in a tar file."""

    picture: str
    """Its name in the data set."""
    path: Path
    """The tar file."""
    offset: int
    """Where its bytes begin."""
    size: int
    """How many there are."""

    @property
    def name(self) -> str:
        """The tar file and the picture's name in it."""
        return printable(f"{self.path}/{self.picture}")

    @property
    def version(self) -> str:
        """Size and time of the tar file, and the place in it; `missing` when there is none."""
        try:
            status = self.path.stat()
        except OSError:
            return "missing"
        return f"{status.st_size} {status.st_mtime_ns} {self.offset}"

    def read_bytes(self) -> bytes:
        """The bytes of the member. Raises `ImageError`: `too_large`, or `unreadable`."""
        if self.size > MAX_FILE_BYTES:
            raise ImageError(
                f"{self.name}: more than {MAX_FILE_BYTES:,} bytes; save the picture smaller", code="too_large"
            )
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read(self.size)
        except OSError as error:
            raise ImageError(
                f"{self.name}: cannot be read ({error.strerror}); check the file", code="unreadable"
            ) from None
        if len(data) < self.size:
            raise ImageError(f"{self.name}: the tar file ends before it does; get it again", code="unreadable")
        return data


def _has_pairs(file: Path) -> bool:
    """Whether one of the first groups of a tar file is a picture with its text; True when it cannot be read."""
    try:
        return any(
            group.picture is not None and (group.text is not None or group.json is not None)
            for group in islice(_groups(file), _LOOKED_AT)
        )
    except DataError:
        return True


def _splits(folder: Path, files: tuple[Path, ...]) -> dict[Path, str]:
    """The split of each shard; none when the name of one does not say which."""
    found = {}
    for file in files:
        inner = file.relative_to(folder).parts
        found[file] = (SPLITS.get(inner[0].lower(), "") if len(inner) > 1 else "") or split_in(file.stem)
    return found if len(files) > 1 and all(found.values()) else {}


def _groups(file: Path) -> Iterator[_Group]:
    """The groups of a shard in order: neighbours whose names are the same up to the first dot of the last part."""
    group = _Group("")
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                key, suffix = split_member(member.name)
                if key != group.key:
                    if group.key:
                        yield group
                    group = _Group(key)
                _take(group, member, suffix, tar)
                tar.members = []  # type: ignore[attr-defined]  # else all of them are kept
    except (tarfile.TarError, OSError, EOFError) as error:
        at = f" after {group.key}" if group.key else ""
        raise DataError(f"{file} is no tar file, or breaks off{at} ({error}); unzip it, or get it again") from None
    if group.key:
        yield group


def split_member(name: str) -> tuple[str, str]:
    """The name of a member's group, up to the first dot of its last part, and what follows it, in lower case."""
    folder, slash, file = name.rpartition("/")
    stem, dot, suffix = file.partition(".")
    return f"{folder}{slash}{stem}", f"{dot}{suffix}".lower()


def is_the_picture(suffix: str, *, has_one: bool, is_plain: bool) -> bool:
    """Whether a member is the picture of its group.

    `0001.depth.png` is beside `0001.jpg` what people made of it: the plain end is the picture.

    Args:
        suffix: as of `split_member`.
        has_one: whether a member before it was taken for the picture.
        is_plain: whether that one has a plain end.
    """
    last = suffix[suffix.rfind(".") :]
    return last in PICTURES and (not has_one or (suffix == last and not is_plain))


def _take(group: _Group, member: tarfile.TarInfo, suffix: str, tar: tarfile.TarFile) -> None:
    last = suffix[suffix.rfind(".") :]
    if is_the_picture(suffix, has_one=group.picture is not None, is_plain=group.is_plain):
        group.picture, group.is_plain = member, suffix == last
    elif last in TEXTS or last == ".json":
        file = tar.extractfile(member)
        data = file.read(_MAX_TEXT_BYTES) if file else b""
        group.is_cut = group.is_cut or member.size > _MAX_TEXT_BYTES
        if last == ".json":
            group.json = data
        else:
            group.text = data


def _captions(group: _Group, columns: Columns, where: str, report: Report) -> tuple[str, ...] | None:
    """The captions of a group, none when it has no text; None, and a report, when its text cannot be read."""
    if group.is_cut:
        report(Problem(where, ProblemKind.MALFORMED_LINE, "its text has more than 1 MB; left out"))
        return None
    if group.text is not None:
        try:
            return tuple(line for line in group.text.decode("utf-8-sig").splitlines() if line.strip())
        except UnicodeDecodeError as error:
            reason = f"byte {error.start + 1} of its text is not UTF-8; left out"
            report(Problem(where, ProblemKind.UNDECODABLE_BYTES, reason))
            return None
    if group.json is None:
        return ()
    try:
        row = json.loads(group.json)
        fields = find_fields(["__key__", *row], Columns("__key__", columns.caption), where)
    except (ValueError, TypeError, RecursionError):
        report(Problem(where, ProblemKind.MALFORMED_LINE, "its .json is not an object of JSON; left out"))
        return None
    except DataError as error:
        report(Problem(where, ProblemKind.MALFORMED_LINE, f"{error.message}; left out"))
        return None
    entry = fields.entry({**row, "__key__": group.key}, where, report)
    return None if entry is None else entry.captions
