"""What people wrote of pictures, for scoring: from any data set that the package reads, or a COCO captions JSON.

Also finds the reference of each prediction: by id, by file name, or by file name without its ending.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioner.datasets.registry import captions_of
from captioner.errors import ConfigError, MetricError
from captioner.evaluation.predictions import MARKERS, Prediction

_NAMED = 3


@dataclass(frozen=True)
class ReferenceSet:
    """References by image id."""

    name: str
    """How to name the set to a person."""
    captions: Mapping[str, tuple[str, ...]]
    """At least one caption an image id."""
    file_names: Mapping[str, str]
    """Image ids by the file name of the picture, where that is another."""
    training: tuple[str, ...] = ()
    """The training captions of the same data, when a part other than it is scored."""


@dataclass(frozen=True)
class Matched:
    """Predictions and references by the same image ids, in the order of the predictions."""

    predictions: Mapping[str, str]
    references: Mapping[str, tuple[str, ...]]
    without_words: tuple[str, ...]
    """The pictures whose caption is empty; they score 0."""


def read_references(source: str, split: str | None = None) -> ReferenceSet:
    """Read references.

    Args:
        source: a folder in a layout that the package reads, the name `scenes`, or a COCO captions JSON.
        split: the part of the data set to take; None takes every picture that has captions.

    Raises:
        ConfigError: it is none of these, or cannot be read.
        DataError: the data set is incomplete, or has no such split.
        MetricError: the JSON is not COCO captions, or has a split asked of it.
    """
    path = Path(source)
    if path.is_file():
        if split:
            raise ConfigError(f"{source} is one file without splits; leave --split away")
        return _read_coco(path)
    captions, training = captions_of(source, split)
    return ReferenceSet(f"{source}, {split}" if split else source, captions, {}, training)


def references_beside(predictions: Sequence[Prediction]) -> ReferenceSet:
    """The references that stand in the file of the predictions. Raises `ConfigError` when a prediction has none."""
    bare = [each for each in predictions if not each.references]
    if bare:
        raise ConfigError(
            f"{bare[0].place} has no references beside its caption; name them with --references FOLDER or FILE"
        )
    return ReferenceSet("the file of predictions", {each.image: each.references for each in predictions}, {})


def match(predictions: Sequence[Prediction], references: ReferenceSet) -> Matched:
    """Bring predictions and references together.

    Raises:
        MetricError: a picture is predicted twice, or is on one side only.
    """
    _refuse_markers(references)
    names = _Names(references)
    found: dict[str, Prediction] = {}
    unknown: list[str] = []
    for each in predictions:
        image_id = names.find(each)
        if image_id is None:
            unknown.append(each.image)
        elif image_id in found:
            other = found[image_id]
            raise MetricError(f"{image_id} is predicted twice: {other.place} and {each.place}; one caption a picture")
        else:
            found[image_id] = each
    if unknown:
        raise MetricError(f"{references.name} has no references for {_named(unknown)}; are these the right references?")
    missing = [known for known in references.captions if known not in found]
    if missing:
        raise MetricError(
            f"no prediction for {_named(missing)} of {references.name}; caption every picture, or name the part that "
            "is predicted with --split"
        )
    captions = {image_id: each.caption for image_id, each in found.items()}
    return Matched(
        captions,
        {image_id: references.captions[image_id] for image_id in found},
        tuple(image_id for image_id, caption in captions.items() if not has_words(caption)),
    )


class _Names:
    """Which picture a prediction means: by the whole name, else by its last part, else by that without its ending.

    A name that several pictures have means none of them. Where pictures have file names, a path is compared with these
    alone: the number that is the id of one picture may be the file name of another.
    """

    def __init__(self, references: ReferenceSet) -> None:
        self._ids = references.captions.keys()
        named = {image_id: name for name, image_id in references.file_names.items()}
        self._levels: list[tuple[Callable[[str], str], dict[str, str | None]]] = []
        for key in (str, _last_part, lambda name: _stem(_last_part(name))):
            level: dict[str, str | None] = {}
            for image_id in references.captions:
                name = key(named.get(image_id, image_id))
                level[name] = None if name in level else image_id
            self._levels.append((key, level))

    def find(self, prediction: Prediction) -> str | None:
        """The id of the picture; None when there is none, or more than one."""
        if not prediction.is_path and prediction.image in self._ids:
            return prediction.image
        for key, level in self._levels:
            if key(prediction.image) in level:
                return level[key(prediction.image)]
        return None


def _last_part(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]


def _stem(name: str) -> str:
    return re.sub(r"\.(?:jpe?g|png|gif|webp|bmp|tiff?|avif)$", "", name, flags=re.IGNORECASE)


def _refuse_markers(references: ReferenceSet) -> None:
    """Raise MetricError where markers were left in references, or a picture has none with a word in it."""
    for image_id, captions in references.captions.items():
        for caption in captions:
            if found := MARKERS.search(caption):
                raise MetricError(
                    f"a reference of {image_id} in {references.name} has the marker {found[0]}; take markers away "
                    "before scoring, they count as words"
                )
    empty = [image_id for image_id, captions in references.captions.items() if not any(map(has_words, captions))]
    if empty:
        raise MetricError(f"{references.name} has no reference with a word in it for {_named(empty)}")


def has_words(caption: str) -> bool:
    """Whether there is a letter or a digit in a caption."""
    return any(map(str.isalnum, caption))


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _read_coco(path: Path) -> ReferenceSet:
    """COCO captions: `images` with id and file_name, `annotations` with image_id and caption."""
    wanted = "a COCO captions JSON has `images` with id and file_name, and `annotations` with image_id and caption"
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise MetricError(f"{path} is not JSON ({error}); {wanted}") from None
    captions: dict[str, list[str]] = {}
    file_names: dict[str, str] = {}
    try:
        for annotation in data["annotations"]:
            captions.setdefault(str(annotation["image_id"]), []).append(_text(annotation["caption"]))
        for image in data.get("images", ()):
            file_names[str(image.get("file_name", image["id"]))] = str(image["id"])
    except (KeyError, TypeError, AttributeError):
        raise MetricError(f"{path} is not in the layout of COCO; {wanted}") from None
    if not captions:
        raise MetricError(f"there are no captions in {path}; {wanted}")
    known = {image_id: tuple(texts) for image_id, texts in captions.items()}
    return ReferenceSet(str(path), known, {name: key for name, key in file_names.items() if key in known})


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
