import io
import re
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from captioner.datasets.scenes import ScenesDataset, split_of
from captioner.datasets.scenes_drawing import COLOUR_VALUES, draw_scene
from captioner.datasets.scenes_grammar import true_captions
from captioner.datasets.scenes_world import COLOURS, SHAPES, Scene, SceneObject, are_clearly_placed
from captioner.errors import DataError


@pytest.fixture(scope="module")
def dataset():
    return ScenesDataset(train=1000, dev=120, test=120, novel=120)


@pytest.fixture(scope="module")
def records(dataset):
    return {split: list(dataset.records(split)) for split in dataset.splits}


def pairs_of(records):
    return [{item.pair for item in record.source.scene.objects} for record in records]


def test_default_sizes_and_names():
    dataset = ScenesDataset()
    assert dataset.splits == ("train", "dev", "test", "novel")
    assert dataset.listed == 6900
    assert dataset.problems == ()


def test_ids_are_unique_and_numbered(records):
    ids = [record.image_id for of_split in records.values() for record in of_split]
    assert len(set(ids)) == len(ids) == 1360
    assert records["train"][123].image_id == records["train"][123].source.name == "train-000123"
    assert {record.split for record in records["dev"]} == {"dev"}


def test_the_seed_decides_everything(records):
    again = ScenesDataset(train=20)
    other = ScenesDataset(seed=1, train=20)
    assert list(again.records("train")) == records["train"][:20]
    assert list(other.records("train")) != records["train"][:20]


def test_a_record_does_not_depend_on_the_sizes_of_splits(dataset, records):
    assert list(islice(ScenesDataset().records("test"), 10)) == records["test"][:10]
    assert dataset.scene_of("train-000007") == records["train"][7].source.scene


def test_train_dev_and_test_share_no_scene(records):
    keys = {split: {record.source.scene.key for record in records[split]} for split in ("train", "dev", "test")}
    assert keys["train"].isdisjoint(keys["dev"])
    assert keys["train"].isdisjoint(keys["test"])
    assert keys["dev"].isdisjoint(keys["test"])
    assert all(split_of(key) == split for split, of_split in keys.items() for key in of_split)


def test_the_key_ignores_order_and_chance():
    first = SceneObject("circle", "red", "small", 0.2, 0.2)
    second = SceneObject("star", "blue", "large", 0.7, 0.7)
    moved = SceneObject("circle", "red", "small", 0.22, 0.19, scale=1.04, angle=5)
    elsewhere = SceneObject("circle", "red", "small", 0.5, 0.2)
    assert Scene((first, second)).key == Scene((second, moved), "pink", "clouds", 9).key
    assert Scene((first, second)).key != Scene((elsewhere, second)).key


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_novel_pairs_are_in_every_novel_scene_and_nowhere_else(seed):
    dataset = ScenesDataset(seed=seed, train=600, dev=60, test=60, novel=60)
    novel = set(dataset.novel_pairs)
    assert len(novel) == len({colour for colour, _ in novel}) == len({shape for _, shape in novel}) == 4
    assert all(pairs & novel for pairs in pairs_of(dataset.records("novel")))
    for split in ("train", "dev", "test"):
        assert not any(pairs & novel for pairs in pairs_of(dataset.records(split)))
    seen = set().union(*pairs_of(dataset.records("train")))
    assert {colour for colour, _ in seen} == set(COLOURS)
    assert {shape for _, shape in seen} == set(SHAPES)


def test_captions_are_five_different_true_ones(dataset, records):
    for split in dataset.splits:
        for record in records[split][:100]:
            assert len(set(record.captions)) == 5
            assert set(record.captions) <= true_captions(record.source.scene)
            assert all(dataset.judge(record.image_id, caption) for caption in record.captions)


def test_the_vocabulary_is_small_and_training_has_all_of_it(records):
    words = {
        split: Counter(word for record in of_split for text in record.captions for word in re.findall("[a-z]+", text))
        for split, of_split in records.items()
    }
    assert 40 <= len(words["train"]) <= 60
    assert min(words["train"].values()) >= 5  # the default min_count keeps every word
    assert set().union(*words.values()) == set(words["train"])


def test_objects_are_few_inside_and_apart(records):
    for record in (record for of_split in records.values() for record in of_split):
        objects = record.source.scene.objects
        assert 1 <= len(objects) <= 4
        for number, item in enumerate(objects):
            assert item.radius <= min(item.x, item.y, 1 - item.x, 1 - item.y)
            assert all(are_clearly_placed(item, other) for other in objects[:number])


def test_iterating_draws_nothing(monkeypatch, dataset):
    def refuse(scene, size):
        raise AssertionError("drawn")

    monkeypatch.setattr("captioner.datasets.scenes.draw_png", refuse)
    record = next(dataset.records("dev"))
    with pytest.raises(AssertionError, match="drawn"):
        record.source.read_bytes()


def test_drawing_does_not_depend_on_order(records):
    forwards = [record.source.read_bytes() for record in records["dev"][:20]]
    backwards = [record.source.read_bytes() for record in reversed(records["dev"][:20])]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == 20


@pytest.mark.parametrize("size", [16, 64, 100])
def test_pictures_are_png_of_the_size_asked_for(size):
    record = next(ScenesDataset(size=size).records("train"))
    with Image.open(io.BytesIO(record.source.read_bytes())) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (size, size))


def test_the_middle_of_every_object_has_its_colour(records):
    for record in records["train"][:200]:
        with Image.open(io.BytesIO(record.source.read_bytes())) as picture:
            pixels = np.asarray(picture)
        for item in record.source.scene.objects:
            assert tuple(pixels[int(item.y * 64), int(item.x * 64)]) == COLOUR_VALUES[item.colour]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_stays_in_its_box_and_a_large_one_is_larger(shape):
    empty = np.asarray(draw_scene(Scene(()), 64)).astype(int)
    areas = {}
    for size in ("small", "large"):
        item = SceneObject(shape, "green", size, 0.5, 0.5)
        pixels = np.asarray(draw_scene(Scene((item,)), 64)).astype(int)
        greenish = (pixels[..., 1] - pixels[..., 0] > 40) & (np.abs(pixels - empty).sum(axis=2) > 100)
        rows, columns = np.nonzero(greenish)
        reach = max(abs(rows + 0.5 - 32).max(), abs(columns + 0.5 - 32).max())
        assert reach <= 64 * item.radius + 2
        areas[size] = greenish.sum()
    assert areas["large"] > 2 * areas["small"]


@pytest.mark.parametrize("image_id", ["train-001000", "train--1", "train-x", "train", "other-000001", ""])
def test_an_unknown_id_is_refused(dataset, image_id):
    with pytest.raises(DataError, match="scenes has no picture"):
        dataset.is_true(image_id, "a red circle")


def test_an_unknown_split_is_refused(dataset):
    with pytest.raises(DataError, match="has no split 'val'; it has train, dev, test, novel"):
        dataset.records("val")


@pytest.mark.parametrize("options", [{"size": 8}, {"train": -1}, {"novel": -5}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(DataError):
        ScenesDataset(**options)
