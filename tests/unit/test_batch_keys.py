"""A set of keys in few bytes says what a set says."""

import os
import random

import numpy as np

from captioner.batch.keys import Keys


def test_it_says_what_a_set_says():
    chance = random.Random(0)
    keys, known = Keys(["first"]), {"first"}
    for _ in range(20_000):
        key = f"{chance.randrange(12_000)}.jpg"
        assert (key in keys) == (key in known)
        keys.add(key)
        known.add(key)
    assert all(key in keys for key in known)
    assert not any(f"{number}.png" in keys for number in range(12_000))


def test_names_that_are_not_utf8_are_keys_too():
    name = os.fsdecode(b"a\xff.jpg")
    keys = Keys([name])
    assert name in keys
    assert "a\\udcff.jpg" not in keys


def test_a_key_takes_eight_bytes_and_is_kept_once():
    keys = Keys(str(number % 50_000) for number in range(100_000))
    kept = keys._sorted
    assert kept.dtype.itemsize == 8
    assert 50_000 - 2048 <= len(kept) == len(np.unique(kept)) <= 50_000
    assert (np.diff(kept.astype(np.float64)) >= 0).all()
