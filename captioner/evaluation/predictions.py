"""Captions that any system wrote, from a file: JSON lines of ours, or a COCO results JSON.

    {"path": "pictures/photo.jpg", "caption": "a dog runs"}           one object a line, as `captioner caption --json` …
    {"image_id": "photo.jpg", "caption": "a dog runs", "references": ["…", "…"]}      … and `build_and_run.py` write
    [{"image_id": 42, "caption": "a dog runs"}, …]                    COCO results

Knows nothing of references beyond those that stand in the file, and nothing of scores.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioner.errors import ConfigError, MetricError

MARKERS = re.compile(
    r"(?i)(?<!\w)(?:startseq|endseq|startofseq|endofseq|<start(?:seq)?>|<end(?:seq)?>|</?s>|<[sbe]os>|<pad>|<unk>|"
    r"<\|?(?:start|end)of(?:text|seq)\|?>|\[(?:CLS|SEP|PAD|UNK|[SBE]OS|START|END)\]|zeosz)(?!\w)"
)
"""What models put around captions and programs forget to take away; left in, it adds 4 to 5 points of BLEU-4."""

_BEGINNINGS = frozenset(["start", "begin", "bos", "sos", "go", "cls"])
_ENDS = frozenset(["end", "stop", "eos", "eot", "sep"])
"""Words that may well stand at the border of a caption, but not of every one."""


@dataclass(frozen=True)
class Prediction:
    """One caption of the file."""

    image: str
    """The picture as the file names it: an id, or a path."""
    is_path: bool
    """Whether `image` is a path, of which the file name counts."""
    caption: str
    """The caption; empty where the system had none."""
    references: tuple[str, ...]
    """The references that stand beside it; usually none."""
    place: str
    """Where it stands, for messages."""


def read_predictions(path: Path) -> list[Prediction]:
    """Read a file of predictions.

    Raises:
        ConfigError: the file cannot be read.
        MetricError: it is in neither format, or an entry lacks picture or caption, or there is none.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    found = [_prediction(entry, place) for entry, place in _entries(text, path)]
    if not found:
        raise MetricError(f"there are no captions in {path}")
    _refuse_markers(found)
    return found


def _entries(text: str, path: Path) -> Iterator[tuple[Any, str]]:
    formats = "JSON lines with image_id or path, and caption; or a COCO results list"
    if text.lstrip().startswith("["):
        try:
            entries = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise MetricError(f"{path} is damaged: {error}; expected {formats}") from None
        yield from ((entry, f"entry {number} of {path.name}") for number, entry in enumerate(entries, start=1))
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise MetricError(f"line {number} of {path} is not JSON ({error}); expected {formats}") from None
        yield entry, f"line {number} of {path.name}"


def _prediction(entry: Any, place: str) -> Prediction:
    if not isinstance(entry, Mapping):
        raise MetricError(f"{place} is not an object with image_id or path, and caption")
    image = entry.get("image_id", entry.get("path"))
    if isinstance(image, bool) or not isinstance(image, str | int):
        raise MetricError(f"{place} names no picture: give it an image_id or a path")
    caption = entry.get("caption", "" if "error" in entry else None)  # a picture that failed has no caption
    if not isinstance(caption, str):
        raise MetricError(f"{place} has no caption: give it a text; an empty one scores 0")
    references = entry.get("references", ())
    if not isinstance(references, Sequence) or not all(isinstance(each, str) for each in references):
        raise MetricError(f"the references in {place} are not a list of texts")
    if isinstance(references, str):
        raise MetricError(f"the references in {place} are a single text instead of a list of them")
    return Prediction(str(image), "image_id" not in entry, caption, tuple(references), place)


def _refuse_markers(predictions: Sequence[Prediction]) -> None:
    """Raise `MetricError` for captions in which the marks of a model's begin and end were left."""
    for each in predictions:
        if found := MARKERS.search(each.caption):
            marked = sum(1 for other in predictions if MARKERS.search(other.caption))
            raise MetricError(
                f"{each.place} has the marker {found[0]} in its caption, as {marked:,} of {len(predictions):,} do; "
                "take markers away before scoring, they count as words"
            )
    words = [each.caption.lower().split() for each in predictions]
    for place, position, markers in ((0, "begins", _BEGINNINGS), (-1, "ends", _ENDS)):
        borders = {each[place].strip("<>[]{}|.") if each else "" for each in words}
        if len(words) > 1 and len(borders) == 1 and borders <= markers:
            raise MetricError(
                f'every caption {position} with the word "{borders.pop()}", which looks like a marker; take it away '
                "before scoring"
            )
