"""What people wrote of pictures, for scoring: from any data set that the package reads, or a COCO captions JSON.

Also finds the reference of each prediction: by id, by file name, or by file name without its ending.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioner.datasets.registry import captions_of
from captioner.errors import ConfigError, MetricError
from captioner.evaluation.predictions import Prediction

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
    stems: dict[str, str | None] = {}
    for known in references.captions:
        stem = _stem(known)
        stems[stem] = None if stem in stems else known  # of two pictures with one stem, neither is meant
    found: dict[str, Prediction] = {}
    unknown: list[str] = []
    for each in predictions:
        image_id = _find(each, references, stems)
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
        tuple(image_id for image_id, caption in captions.items() if not any(map(str.isalnum, caption))),
    )


def _find(prediction: Prediction, references: ReferenceSet, stems: Mapping[str, str | None]) -> str | None:
    names = [prediction.image, re.split(r"[/\\]", prediction.image)[-1]]
    for name in names if prediction.is_path else names[:1]:
        if name in references.captions:
            return name
        if name in references.file_names:
            return references.file_names[name]
    return stems.get(_stem(names[-1]))


def _stem(name: str) -> str:
    return re.sub(r"\.(?:jpe?g|png|gif|webp|bmp|tiff?|avif)$", "", name, flags=re.IGNORECASE)


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
