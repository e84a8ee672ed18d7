"""Which field of a row is the picture and which are its captions; and a row, with these, as an entry.

What all formats share that have one picture or one caption a row, under names that people chose: tables, JSON, Parquet.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from captioner.datasets.layout import SPLITS, Columns, Entry, Report
from captioner.datasets.problems import Problem, ProblemKind
from captioner.errors import DataError

_IMAGE = (
    *("image", "file_name", "filename", "file", "image_path", "filepath", "file_path", "path", "image_name"),
    *("image_file", "img", "img_path", "img_name", "picture", "photo", "jpg", "image_id", "name", "id"),
    *("bild", "bilddatei", "datei", "dateiname", "foto", "imagen", "archivo", "fichier", "immagine", "图片", "صورة"),
)
_CAPTION = (
    *("caption", "captions", "text", "texts", "sentence", "sentences", "description", "descriptions", "comment"),
    *("comments", "alt_text", "alt", "title", "label", "raw", "txt"),
    *("beschreibung", "bildbeschreibung", "bildunterschrift", "descripción", "descripcion", "légende", "didascalia"),
    *("描述", "وصف"),
)
_SPLIT = ("split", "subset", "partition", "fold")
"""Names in the order of preference, in lower case, with `_` for blanks and dashes."""


@dataclass(frozen=True)
class Fields:
    """The fields of a row that matter."""

    image: str
    """Names the picture, or holds its bytes."""
    captions: tuple[str, ...]
    """Each holds a caption, or a list of them."""
    split: str = ""
    """Names the split; empty when there is none."""

    def __str__(self) -> str:
        split = f", the split in {self.split}" if self.split else ""
        captions = f", captions in {', '.join(self.captions)}" if self.captions else ""
        return f"pictures in {self.image}{captions}{split}"

    def entry(self, row: Mapping[str, Any], place: str, report: Report, split: str = "") -> Entry | None:
        """The row as an entry; None, and a report, when it names no picture or its captions are no text.

        `split` is that of the file, for rows that have none of their own.
        """
        name = row.get(self.image)
        if isinstance(name, int) and not isinstance(name, bool):
            name = str(name)
        if not isinstance(name, str) or not name.strip():
            report(Problem(place, ProblemKind.MALFORMED_LINE, f"no name of a picture in {self.image}; left out"))
            return None
        captions: list[str] = []
        for field in self.captions:
            found = _texts(row.get(field))
            if found is None:
                report(Problem(place, ProblemKind.MALFORMED_LINE, f"{field} is not a text or a list of them; left out"))
                return None
            captions += found
        own = row.get(self.split) if self.split else None
        return Entry(name.strip(), tuple(captions), place, split_of_row(own) or split)


def split_of_row(value: object) -> str:
    """What a row says of its split: one of the values of `SPLITS`, or a further name; empty when it says nothing."""
    text = value.strip() if isinstance(value, str) else ""
    return SPLITS.get(text.lower(), text)


def find_fields(names: Iterable[str], columns: Columns, where: str) -> Fields:
    """The fields among `names`: those that a person named, and else those that are called like it.

    Raises `DataError` with the names that there are, and the options that choose among them.
    """
    there = list(names)
    listed = ", ".join(there) or "none"
    for option, chosen in (("--image-column", columns.image), ("--caption-column", columns.caption)):
        if chosen and chosen not in there:
            raise DataError(f"{where} has no column {chosen!r}, which {option} names; it has: {listed}")
    image = columns.image or _first(there, _IMAGE)
    if not image:
        raise DataError(f"{where}: no column is called like pictures; name it with --image-column; it has: {listed}")
    rest = [name for name in there if name != image]
    captions = (columns.caption,) if columns.caption else _captions(rest) if columns.caption is not None else ()
    if not captions and columns.caption is not None:
        raise DataError(f"{where}: no column is called like captions; name it with --caption-column; it has: {listed}")
    twice = next((name for name in (image, *captions) if there.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{where} has more than one column called {twice}; rename all but one")
    return Fields(image, captions, _first([name for name in rest if name not in captions], _SPLIT))


def has_fields(names: Iterable[str], columns: Columns) -> bool:
    """Whether `find_fields` would find them."""
    try:
        find_fields(names, columns, "")
    except DataError:
        return False
    return True


def entries_of(
    rows: Iterable[tuple[str, Mapping[str, Any]]], fields: Fields, report: Report, split: str = ""
) -> Iterator[Entry]:
    """Entries of rows, each with its place; a split is that of all rows which have none of their own."""
    for place, row in rows:
        entry = fields.entry(row, place, report, split)
        if entry is not None:
            yield entry


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _first(names: Sequence[str], known: Sequence[str]) -> str:
    by_plain = {_plain(name): name for name in reversed(names)}
    return next((by_plain[name] for name in known if name in by_plain), "")


def _captions(names: Sequence[str]) -> tuple[str, ...]:
    """All fields of the first known name: `caption`, or `caption_0`, `caption_1` and so on."""
    for known in _CAPTION:
        found = tuple(name for name in names if _plain(name).rstrip("0123456789").rstrip("_") == known)
        if found:
            return found
    return ()


def _texts(value: Any) -> list[str] | None:
    """A text, a list of texts or of objects with one, or such a list as text in JSON; None for anything else."""
    if value is None:
        return []
    if isinstance(value, str):
        start = value.strip()[:2]
        if start not in ('["', "['") or not value.rstrip().endswith("]"):
            return [value]
        try:
            # Lists as text are JSON, or are written as Python shows them, by programs that do not know better.
            value = json.loads(value) if start == '["' else ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return [value]
    if not isinstance(value, list):
        return None
    found: list[str] = []
    for each in value:
        text = (
            next((each[name] for name in ("raw", "caption", "text") if name in each), None)
            if isinstance(each, dict)
            else each
        )
        if not isinstance(text, str):
            return None
        found.append(text)
    return found
