import pytest

from captioner.datasets.collection import Collection
from captioner.datasets.flickr import CAPTION_FILE, SPLIT_FILES, FlickrLayout
from captioner.datasets.registry import open_dataset
from captioner.datasets.scenes import ScenesDataset
from captioner.errors import ConfigError, DataError


@pytest.fixture
def flickr_folder(tmp_path):
    names = [f"{number}.jpg" for number in range(4)]
    (tmp_path / CAPTION_FILE).write_text("".join(f"{name}#0\tA dog .\n" for name in names))
    (tmp_path / SPLIT_FILES["train"]).write_text("\n".join(names[:3]))
    (tmp_path / SPLIT_FILES["dev"]).write_text("\n".join([*names[3:], "absent.jpg"]))
    (tmp_path / "images").mkdir()
    for name in names:
        (tmp_path / "images" / name).touch()
    return str(tmp_path)


def test_the_name_scenes_opens_the_embedded_data_set():
    assert open_dataset("scenes") == ScenesDataset()


def test_a_folder_is_recognised_by_its_layout(flickr_folder):
    dataset = open_dataset(flickr_folder)
    assert isinstance(dataset, Collection)
    assert isinstance(dataset.layout, FlickrLayout)
    assert len(list(dataset.records("train"))) == 3


def test_limit_keeps_the_first_records_of_each_split(flickr_folder):
    full, limited = open_dataset(flickr_folder), open_dataset(flickr_folder, limit=2)
    assert list(limited.records("train")) == list(full.records("train"))[:2]
    assert list(limited.records("dev")) == list(full.records("dev"))
    assert (limited.splits, limited.listed, limited.problems) == (full.splits, full.listed, full.problems)
    assert limited.judge is None
    with pytest.raises(DataError, match="has no split 'novel'"):
        limited.records("novel")


def test_limited_scenes_still_judge_captions():
    dataset = open_dataset("scenes", limit=3)
    records = list(dataset.records("novel"))
    assert [record.image_id for record in records] == ["novel-000000", "novel-000001", "novel-000002"]
    assert all(dataset.judge(record.image_id, caption) for record in records for caption in record.captions)


@pytest.mark.parametrize(
    ("data", "error", "found"),
    [
        ("scnes", ConfigError, ("neither a known name nor a folder", "the name scenes")),
        (None, DataError, ("no known layout", CAPTION_FILE)),
    ],
)
def test_what_is_unknown_lists_what_was_looked_for(tmp_path, data, error, found):
    with pytest.raises(error) as caught:
        open_dataset(data or str(tmp_path))
    for part in found:
        assert part in caught.value.message
