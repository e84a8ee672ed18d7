"""Opens a data set by its name, folder or file; knows which layouts there are, and nothing of what is in them."""

from __future__ import annotations

from pathlib import Path

from captioner.datasets.base import CaptionDataset, LimitedDataset, require_split
from captioner.datasets.caption_list import CaptionListLayout
from captioner.datasets.coco import CocoLayout
from captioner.datasets.collection import Collection
from captioner.datasets.flickr import FlickrLayout
from captioner.datasets.flickr30k import Flickr30kLayout
from captioner.datasets.imagefolder import ImageFolderLayout
from captioner.datasets.index import CaptionIndex
from captioner.datasets.json_lines import JsonLinesLayout
from captioner.datasets.kaggle import KaggleLayout
from captioner.datasets.karpathy import KarpathyLayout
from captioner.datasets.layout import Columns, Layout
from captioner.datasets.parquet import ParquetLayout
from captioner.datasets.scenes import ScenesDataset
from captioner.datasets.shards import ShardsLayout
from captioner.datasets.sidecar import SidecarLayout
from captioner.datasets.table import TableLayout
from captioner.datasets.text_files import files_by_split
from captioner.errors import ConfigError, DataError

AUTO = "auto"
_ORDER: tuple[type[Layout], ...] = (
    FlickrLayout,
    KaggleLayout,
    Flickr30kLayout,
    KarpathyLayout,
    CocoLayout,
    ImageFolderLayout,
    ShardsLayout,
    ParquetLayout,
    JsonLinesLayout,
    TableLayout,
    CaptionListLayout,
    SidecarLayout,
)
"""In which they are tried: what is peculiar comes before what could be many things."""
LAYOUTS: dict[str, type[Layout]] = {layout.label: layout for layout in _ORDER}
"""By label; each says whether it recognises a folder or file."""

FOUND = Columns()
"""No column is named by the person: they are found."""


def open_dataset(
    data: str, *, limit: int = 0, layout: str = AUTO, columns: Columns = FOUND, threads: int = 1
) -> CaptionDataset:
    """Open the data set that `data` names.

    Args:
        data: the name `scenes`, or `scenes:de` and others, or a folder or file in a layout that is recognised.
        limit: keep the first N records of each split; 0 keeps all.
        layout: one of `LAYOUTS`, or `auto`: the first that recognises it.
        columns: which columns of a table are which; empty ones are found.
        threads: that look at pictures, where splits have to be made.

    Raises:
        ConfigError: it is neither a name nor a folder or file.
        DataError: it is in no known layout, or has no picture with a caption.
    """
    dataset: CaptionDataset
    if ScenesDataset.recognises(data):
        dataset = ScenesDataset.open(data)
    else:
        found = find_layout(Path(data), layout, columns)
        dataset = Collection(found, name_of(Path(data), found), threads=threads)
        dataset.require_pictures()
    return LimitedDataset(dataset, limit) if limit else dataset


def find_layout(path: Path, layout: str = AUTO, columns: Columns = FOUND) -> Layout:
    """The layout of a folder or file; arguments and errors as for `open_dataset`."""
    if layout != AUTO and layout not in LAYOUTS:
        raise ConfigError(f"--format {layout} is unknown; choose one of {', '.join((AUTO, *LAYOUTS))}")
    if not path.exists():
        raise ConfigError(f"{path} is neither a known name nor a folder or file; known are {ScenesDataset.looked_for}")
    candidates = LAYOUTS.values() if layout == AUTO else (LAYOUTS[layout],)
    for candidate in candidates:
        found = candidate.find(path, columns, named=layout != AUTO)
        if found is not None:
            return found
    reason = _near_miss(path, columns)
    if reason:
        raise DataError(f"{path} is in no known layout: {reason}")
    looked_for = "; ".join(f"{candidate.looked_for} ({label})" for label, candidate in LAYOUTS.items())
    raise DataError(f"{path} is in no known layout; looked for: {looked_for}")


def _near_miss(path: Path, columns: Columns) -> str:
    """What is wrong with a file of a folder that looks as if it had the captions; empty when there is none."""
    for layout in (TableLayout, JsonLinesLayout, CaptionListLayout):
        for file in files_by_split(path, layout.suffixes):
            try:
                layout.find(file, columns, named=True)
            except DataError as error:
                return error.message
    return ""


def name_of(path: Path, layout: Layout) -> str:
    """How a data set is named to a person."""
    return layout.title if isinstance(layout, FlickrLayout) else path.resolve().name or str(path)


def captions_of(data: str, split: str | None = None) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The captions of every picture by image id, and the training captions when `split` is a part other than `train`.

    Args:
        data: as for `open_dataset`; where there are captions but no pictures, all of them count.
        split: the part to take; None takes every picture that has captions.

    Raises:
        ConfigError: it is neither a name nor a folder or file.
        DataError: it is in no known layout, or has no such split.
    """
    if split is None and not ScenesDataset.recognises(data):
        return _captions_of_all(find_layout(Path(data))), ()
    dataset = open_dataset(data)
    if split is not None:
        require_split(dataset, split)
    parts = dataset.splits if split is None else (split,)
    captions = {record.image_id: record.captions for part in parts for record in dataset.records(part)}
    if split in (None, "train"):
        return captions, ()
    return captions, tuple(caption for record in dataset.records("train") for caption in record.captions)


def _captions_of_all(layout: Layout) -> dict[str, tuple[str, ...]]:
    """The captions of every picture, in a split or not; where there are pictures, only of those that are there."""
    index = CaptionIndex()
    index.add(layout.entries(index.report))
    captions, there = {}, set()
    for picture in index.pictures():
        if picture.captions:
            captions[picture.name] = picture.captions
            if layout.source(picture.name, picture.locator) is not None:
                there.add(picture.name)
    if not captions:
        raise DataError(f"{layout.files[0]} has no picture with a caption; give the data that holds both")
    return {name: found for name, found in captions.items() if name in there or not there}
