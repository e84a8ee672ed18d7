"""The captions of COCO (Lin et al. 2014; Chen et al. 2015), and all that is written so: two lists in a JSON file.

annotations/captions_train2017.json    {"images": [{"id", "file_name"}, …], "annotations": [{"image_id", "caption"}, …]}
annotations/captions_val2017.json      several files are splits, by their names
train2017/ val2017/                    the pictures, anywhere below the folder
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from captioner.datasets.folders import files_in
from captioner.datasets.layout import Columns, Entry, Report, split_in
from captioner.datasets.picture_files import PictureFiles
from captioner.datasets.problems import Problem, ProblemKind
from captioner.datasets.text_files import json_head, json_items
from captioner.errors import DataError
from captioner.types import ImageSource

_NAMED = "captions_*.json"
_PATTERNS = ((".", _NAMED), ("annotations", _NAMED), (".", "*.json"), ("annotations", "*.json"))


class CocoLayout:
    """One file, or one for each split, and the pictures below their folder."""

    label: ClassVar = "coco"
    looked_for: ClassVar = "a JSON file with the lists `images` and `annotations`, or a folder with one, or one a split"

    def __init__(self, folder: Path, files: tuple[Path, ...]) -> None:
        self.files = files
        self._pictures = PictureFiles(folder)
        splits = "; the names of the files say which split they are" if len(files) > 1 else ""
        self.reading = f"a caption is an annotation, found by image_id{splits}; the pictures are below {folder}"

    @classmethod
    def find(cls, path: Path, columns: Columns, *, named: bool) -> CocoLayout | None:
        """See `Layout.find`."""
        files = [path] if path.is_file() else _caption_files(path)
        if len(files) == 1 or (files and all(split_in(file.stem) for file in files)):
            folder = path if path.is_dir() else path.parent
            return cls(folder.parent if folder.name == "annotations" else folder, tuple(files)) if _fit(files) else None
        if named:
            what = (
                "several such files that are no splits by name" if files else "no JSON file with images and annotations"
            )
            raise DataError(f"{path} has {what}; name the file itself")
        return None

    def entries(self, report: Report) -> Iterator[Entry]:
        """See `Layout.entries`: the pictures of a file in its order, then their captions."""
        for file in self.files:
            split = split_in(file.stem) if len(self.files) > 1 else ""
            names = _Names()
            for number, image in enumerate(json_items(file, "images.item"), start=1):
                place = f"{file.name} image {number}"
                name = image.get("file_name") if isinstance(image, dict) else None
                if not isinstance(name, str) or not name or not _is_id(image.get("id")):
                    report(Problem(place, ProblemKind.MALFORMED_LINE, "not an id and a file_name; left out"))
                elif names.add(image["id"], name):
                    yield Entry(name, (), place, split)
                else:
                    report(Problem(place, ProblemKind.DUPLICATE, f"the id {image['id']} is another image's; left out"))
            yield from _annotations(file, names, report)

    def source(self, name: str, locator: str) -> ImageSource | None:
        """See `Layout.source`."""
        return self._pictures.find(name)


def _annotations(file: Path, names: _Names, report: Report) -> Iterator[Entry]:
    for number, annotation in enumerate(json_items(file, "annotations.item"), start=1):
        place = f"{file.name} annotation {number}"
        caption = annotation.get("caption") if isinstance(annotation, dict) else None
        image = annotation.get("image_id") if isinstance(annotation, dict) else None
        if not isinstance(caption, str) or image is None or not _is_id(image):
            report(Problem(place, ProblemKind.MALFORMED_LINE, "not an image_id and a caption; left out"))
            continue
        name = names.get(image)
        if name is None:
            reason = f"there is no image {image}; left out"
            report(Problem(place, ProblemKind.CAPTION_WITHOUT_PICTURE, reason))
        else:
            yield Entry(name, (caption,), place)


class _Names:
    """The file names of images by their ids, on disk; the file vanishes with the object."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        self._database.execute("CREATE TABLE names (id TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID")

    def add(self, number: int | str, name: str) -> bool:
        """Keep a name; False when the id has one."""
        done = self._database.execute("INSERT OR IGNORE INTO names VALUES (?, ?)", (str(number), name))
        return done.rowcount == 1

    def get(self, number: int | str) -> str | None:
        """The name of an id."""
        found = self._database.execute("SELECT name FROM names WHERE id = ?", (str(number),)).fetchone()
        return None if found is None else found[0]


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _caption_files(folder: Path) -> list[Path]:
    """The files of the first pattern that has some which are written like COCO's.

    Raises `DataError` when only some of those are that COCO's own name is for: the others are broken.
    """
    for below, pattern in _PATTERNS:
        files = files_in(folder / below, pattern)
        found = [file for file in files if _fit([file])]
        if found and len(found) < len(files) and pattern == _NAMED:
            broken = next(file for file in files if file not in found)
            raise DataError(f"{broken} has not the lists images and annotations, or is cut short; get it again")
        if found:
            return found
    return []


def _fit(files: list[Path]) -> bool:
    return all(
        {"id", "file_name"} <= set(json_head(file, "images.item"))
        and {"image_id", "caption"} <= set(json_head(file, "annotations.item", whole=True))
        for file in files
    )
