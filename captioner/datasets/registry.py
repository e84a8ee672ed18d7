"""Opens a data set by its name or its folder; knows which formats there are, and nothing of what is in them."""

from __future__ import annotations

from pathlib import Path

from captioner.datasets.base import CaptionDataset, LimitedDataset, require_split
from captioner.datasets.flickr import Flickr8kDataset
from captioner.datasets.scenes import ScenesDataset
from captioner.errors import ConfigError, DataError

FORMATS: dict[str, type[ScenesDataset] | type[Flickr8kDataset]] = {
    "scenes": ScenesDataset,
    "Flickr8k": Flickr8kDataset,
}
"""The formats, in the order in which they are tried: each says whether it recognises a name or folder, and opens it."""


def open_dataset(data: str, *, limit: int = 0) -> CaptionDataset:
    """Open the data set that `data` names.

    Args:
        data: the name `scenes`, or a folder in a layout that is recognised.
        limit: keep the first N records of each split; 0 keeps all.

    Raises:
        ConfigError: it is neither a name nor a folder.
        DataError: it is a folder in no known layout, or what it names is incomplete.
    """
    for candidate in FORMATS.values():
        if candidate.recognises(data):
            dataset = candidate.open(data)
            return LimitedDataset(dataset, limit) if limit else dataset
    looked_for = "; ".join(f"{candidate.looked_for} ({name})" for name, candidate in FORMATS.items())
    if not Path(data).is_dir():
        raise ConfigError(f"--data {data} is neither a known name nor a folder; looked for: {looked_for}")
    raise DataError(f"--data {data} is a folder in no known layout; looked for: {looked_for}")


def captions_of(data: str, split: str | None = None) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The captions of every picture by image id, and the training captions when `split` is a part other than `train`.

    Args:
        data: as for `open_dataset`; a folder that has captions but no lists of splits will do.
        split: the part to take; None takes every picture that has captions.

    Raises:
        ConfigError: it is neither a name nor a folder.
        DataError: it is a folder in no known layout, or has no such split.
    """
    if split is None and Flickr8kDataset.recognises(data):
        return Flickr8kDataset.captions(data), ()
    dataset = open_dataset(data)
    if split is not None:
        require_split(dataset, split)
    parts = dataset.splits if split is None else (split,)
    captions = {record.image_id: record.captions for part in parts for record in dataset.records(part)}
    if split in (None, "train"):
        return captions, ()
    return captions, tuple(caption for record in dataset.records("train") for caption in record.captions)
