"""Entries of a layout become pictures in splits: gathered in any order, the missing named, copies kept on one side."""

import hashlib
import io
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from captioner.datasets import looks as looks_module
from captioner.datasets.collection import Collection
from captioner.datasets.layout import Entry
from captioner.datasets.problems import Problem, ProblemKind
from captioner.errors import DataError
from captioner.images import BytesSource


@dataclass
class Memory:
    """A layout whose entries and pictures are in memory."""

    given: list
    pictures: dict
    label = "memory"
    looked_for = "nothing"
    files = ()
    reading = "as it is"

    def entries(self, report):
        for entry in self.given:
            if isinstance(entry, Problem):
                report(entry)
            else:
                yield entry

    def source(self, name, locator):
        return BytesSource(name, self.pictures[name]) if name in self.pictures else None


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONER_CACHE", str(tmp_path / "cache"))


def photograph(seed, *, side=96, quality=90, kind="JPEG"):
    """Smooth noise: as different from another seed's as two photographs are."""
    small = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    content = io.BytesIO()
    picture = Image.fromarray(small).resize((96, 96), Image.Resampling.BICUBIC).resize((side, side))
    picture.save(content, kind, quality=quality)
    return content.getvalue()


def entry(name, *captions, split="", place=None):
    return Entry(name, captions, place or f"list line {name}", split)


def problems_of(collection):
    return [(problem.name, problem.kind) for problem in collection.problems]


def ids(collection):
    return {split: [record.image_id for record in collection.records(split)] for split in collection.splits}


def test_entries_of_one_name_are_one_picture_wherever_they_stand():
    given = [
        entry("a", "one", split="train"),
        entry("b", "other", split="dev"),
        entry("a", "two", "three"),
        entry("b"),
        entry("a", "four", split="train"),
    ]
    collection = Collection(Memory(given, {"a": b"A", "b": b"B"}), "mine")
    (record,) = collection.records("train")
    assert record.captions == ("one", "two", "three", "four")
    assert (record.image_id, record.split, record.source.read_bytes()) == ("a", "train", b"A")
    assert (collection.splits, collection.listed, collection.problems) == (("train", "dev"), 2, ())


def test_what_is_missing_is_named_and_left_out():
    given = [
        entry("good", "a word", split="train"),
        entry("d", "a word", split="dev"),
        entry("silent", split="train"),
        entry("gone", "a word", split="dev"),
        entry("nowhere", "a word"),
        entry("spare", "a word"),
        entry("good", "!?", split="train", place="line 7"),
        entry("d", "a word", split="test"),
        entry("dev", "a word", split="dev"),
        Problem("line 9", ProblemKind.MALFORMED_LINE, "no good"),
    ]
    collection = Collection(Memory(given, dict.fromkeys(("good", "d", "silent", "spare", "dev"), b"x")), "mine")
    assert ids(collection) == {"train": ["good"], "dev": ["dev"], "test": ["d"]}
    assert sorted(problems_of(collection)) == [
        ("d", ProblemKind.IN_TWO_SPLITS),
        ("gone", ProblemKind.MISSING_PICTURE),
        ("line 7", ProblemKind.EMPTY_CAPTION),
        ("line 9", ProblemKind.MALFORMED_LINE),
        ("nowhere", ProblemKind.CAPTION_WITHOUT_PICTURE),
        ("silent", ProblemKind.MISSING_CAPTIONS),
    ]
    assert (collection.listed, collection.unlisted) == (5, 2)


def test_pictures_without_splits_are_held_back_by_their_content():
    pictures = {f"{seed}": photograph(seed) for seed in range(60)}
    collection = Collection(Memory([entry(name, "a word") for name in pictures], pictures), "mine")
    split_of = {name: split for split, names in ids(collection).items() for name in names}
    assert split_of.keys() == pictures.keys()
    for name, data in pictures.items():
        share = int.from_bytes(hashlib.sha256(data).digest()[:8], "big") / 2**64
        assert split_of[name] == ("test" if share < 0.1 else "dev" if share < 0.2 else "train")


def test_no_picture_changes_sides_when_others_are_added_or_names_change():
    pictures = {f"{seed}": photograph(seed) for seed in range(40)}
    few = ids(Collection(Memory([entry(name, "a word") for name in pictures], pictures), "few"))
    more = {f"{seed}": photograph(seed) for seed in range(70)}
    many = ids(Collection(Memory([entry(name, "a word") for name in reversed(more)], more), "many"))
    assert {split: set(names) & set(pictures) for split, names in many.items()} == {
        split: set(names) for split, names in few.items()
    }


def test_nearly_the_same_pictures_stay_on_one_side():
    pictures = {f"{seed}": photograph(seed) for seed in range(50)}
    pictures |= {f"{seed} small": photograph(seed, side=64, quality=70) for seed in range(50)}
    pictures |= {f"{seed} png": photograph(seed, kind="PNG") for seed in range(50)}
    pictures |= {f"{seed} again": photograph(seed) for seed in range(50)}
    collection = Collection(Memory([entry(name, "a word") for name in pictures], pictures), "mine")
    split_of = {name: split for split, names in ids(collection).items() for name in names}
    assert set(split_of.values()) == {"train", "dev", "test"}
    for seed in range(50):
        assert len({split_of[f"{seed}{copy}"] for copy in ("", " small", " png", " again")}) == 1
    found = collection.groups()
    assert len(np.unique(found.of)) == 50
    assert len(found.numbers) == 200
    assert len(found.same) == 50
    assert all(first < second for first, second in found.near)


def test_two_pictures_are_enough_for_train_and_dev():
    for seed in range(8):
        pictures = {"a": photograph(2 * seed), "b": photograph(2 * seed + 1)}
        collection = Collection(Memory([entry(name, "a word") for name in pictures], pictures), "mine")
        assert {"train", "dev"} <= set(collection.splits)


def test_a_dev_split_is_taken_from_train_where_there_is_none():
    pictures = {f"{seed}": photograph(seed) for seed in range(60)}
    given = [entry(name, "a word", split="test" if int(name) < 10 else "train") for name in pictures]
    found = ids(Collection(Memory(given, pictures), "mine"))
    assert sorted(found["test"], key=int) == [f"{seed}" for seed in range(10)]
    assert 1 <= len(found["dev"]) <= 15
    assert len(found["train"]) + len(found["dev"]) == 50


def test_unreadable_pictures_are_named_and_pictures_are_looked_at_once(monkeypatch):
    pictures = {f"{seed}": photograph(seed) for seed in range(20)} | {"bad": b"no picture", "cut": photograph(99)[:300]}
    memory = Memory([entry(name, "a word") for name in pictures], pictures)
    first = Collection(memory, "mine", threads=2)
    assert sorted(problems_of(first)) == [("bad", ProblemKind.CORRUPT_PICTURE), ("cut", ProblemKind.CORRUPT_PICTURE)]

    monkeypatch.setattr(looks_module, "look_at", None)  # whoever looks again, fails
    second = Collection(memory, "mine")
    assert ids(second) == ids(first)
    assert problems_of(second) == problems_of(first)
    pictures["0"] = photograph(1000)
    with pytest.raises(TypeError):
        Collection(memory, "mine")


def test_a_cache_that_cannot_be_used_costs_time_alone(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "looks-1.sqlite").write_bytes(b"no database" * 100)
    pictures = {f"{seed}": photograph(seed) for seed in range(12)}
    memory = Memory([entry(name, "a word") for name in pictures], pictures)
    expected = ids(Collection(memory, "mine"))
    for name in ("file", "broken"):
        monkeypatch.setenv("CAPTIONER_CACHE", str(tmp_path / name))
        assert ids(Collection(memory, "mine")) == expected


def test_when_nothing_is_left_the_commonest_reason_is_given():
    with pytest.raises(DataError, match=r"no pictures with captions are left \(2 × listed picture without a file"):
        Collection(Memory([entry("a", "one"), entry("b", "two"), entry("c")], {"c": b"C"}), "mine").require_pictures()
    with pytest.raises(DataError, match="mine: there are no pictures with captions"):
        Collection(Memory([], {}), "mine").require_pictures()
