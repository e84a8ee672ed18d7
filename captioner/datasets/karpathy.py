"""The splits of Karpathy and Fei-Fei (CVPR 2015): `dataset_coco.json`, `dataset_flickr8k.json` and the like.

    {"images": [{"filename": "dog.jpg", "filepath": "val2014", "split": "restval", "sentences": [{"raw": "…"}]}, …]}

`filepath` is in the form for COCO alone; `restval` is for training, as is the custom.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from captioner.datasets.columns import split_of_row
from captioner.datasets.folders import files_in
from captioner.datasets.layout import Columns, Entry, Report
from captioner.datasets.picture_files import PictureFiles
from captioner.datasets.problems import Problem, ProblemKind
from captioner.datasets.text_files import json_head, json_items
from captioner.errors import DataError
from captioner.types import ImageSource

_PATTERN = "dataset*.json"


class KarpathyLayout:
    """One file, and the pictures below its folder."""

    label: ClassVar = "karpathy"
    looked_for: ClassVar = f"a JSON file {_PATTERN} whose images have sentences and a split, or a folder with it"

    def __init__(self, file: Path) -> None:
        self.files = (file,)
        self._file = file
        self._pictures = PictureFiles(file.parent)
        self.reading = "the list `images` of a JSON file: name, split and sentences of each; restval is for training"

    @classmethod
    def find(cls, path: Path, columns: Columns, *, named: bool) -> KarpathyLayout | None:
        """See `Layout.find`."""
        files = [path] if path.is_file() else files_in(path, _PATTERN)
        found = [file for file in files if {"sentences", "split"} <= set(json_head(file, "images.item"))]
        if len(found) == 1:
            return cls(found[0])
        if named:
            what = "several such files" if found else "no JSON file with the list `images`, with sentences and splits"
            raise DataError(f"{path} has {what}; name the file itself")
        return None

    def entries(self, report: Report) -> Iterator[Entry]:
        """See `Layout.entries`."""
        for number, image in enumerate(json_items(self._file, "images.item"), start=1):
            place = f"{self._file.name} image {number}"
            name = _name(image)
            captions = _captions(image)
            if name is None or captions is None:
                wrong = "no filename" if name is None else "sentences are not a list of objects with raw or tokens"
                report(Problem(place, ProblemKind.MALFORMED_LINE, f"{wrong}; left out"))
            else:
                yield Entry(name, captions, place, split_of_row(image.get("split")))

    def source(self, name: str, locator: str) -> ImageSource | None:
        """See `Layout.source`."""
        return self._pictures.find(name)


def _name(image: Any) -> str | None:
    name = image.get("filename") if isinstance(image, dict) else None
    if not isinstance(name, str) or not name:
        return None
    folder = image.get("filepath")
    return f"{folder}/{name}" if isinstance(folder, str) and folder else name


def _captions(image: dict[str, Any]) -> tuple[str, ...] | None:
    sentences = image.get("sentences") if isinstance(image, dict) else None
    if not isinstance(sentences, list):
        return None
    found = []
    for sentence in sentences:
        raw = sentence.get("raw") if isinstance(sentence, dict) else None
        tokens = sentence.get("tokens") if isinstance(sentence, dict) else None
        if not isinstance(raw, str) and isinstance(tokens, list) and all(isinstance(token, str) for token in tokens):
            raw = " ".join(tokens)
        if not isinstance(raw, str):
            return None
        found.append(raw)
    return tuple(found)
