"""Keys and their rows: found whole, after growing, and even when two begin alike."""

import hashlib
from threading import Thread

import pytest

from captioner.row_index import RowIndex


def key_of(number):
    return hashlib.sha256(str(number).encode()).digest()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.bin"


def write(path, keys):
    with path.open("ab") as file:
        file.write(b"".join(keys))


def test_every_key_has_the_row_of_its_place_in_the_file(path):
    keys = [key_of(number) for number in range(5000)]
    write(path, keys)
    index = RowIndex(path)
    assert len(index) == 5000
    assert [index.find(key) for key in keys] == list(range(5000))
    assert index.find(key_of("another")) is None


def test_what_is_added_is_found_before_and_after_it_is_sorted_in(path, monkeypatch):
    monkeypatch.setattr(RowIndex, "_RECENT", 300)
    path.touch()
    index = RowIndex(path)
    assert index.find(key_of(0)) is None
    keys = [key_of(number) for number in range(1000)]
    for start in range(0, 1000, 50):
        write(path, keys[start : start + 50])
        index.add(keys[start : start + 50])
        assert [index.find(key) for key in keys[: start + 50]] == list(range(start + 50))
        assert index.find(key_of(start + 50)) is None
    assert [RowIndex(path).find(key) for key in keys] == list(range(1000))


def test_keys_that_begin_alike_are_told_apart(path):
    keys = [b"the same" + key_of(number)[8:] for number in range(4)]
    write(path, keys[:3])
    index = RowIndex(path)
    assert [index.find(key) for key in keys] == [0, 1, 2, None]


def test_others_may_look_while_one_adds(path, monkeypatch):
    monkeypatch.setattr(RowIndex, "_RECENT", 50)
    keys = [key_of(number) for number in range(3000)]
    write(path, keys)
    index = RowIndex(path)
    fresh = [key_of(f"new {number}") for number in range(3000)]
    lost = []

    def look():
        while len(index) < 6000:
            lost.extend(number for number in (0, 1500, 2999) if index.find(keys[number]) != number)

    thread = Thread(target=look)
    thread.start()
    for key in fresh:
        write(path, [key])
        index.add([key])
    thread.join()
    assert not lost
    assert index.find(fresh[-1]) == 5999
