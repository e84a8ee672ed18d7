"""Which pictures are nearly the same: the quick search finds what comparing all with all finds."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captioner.datasets.likeness import MOST_BITS, MOST_DIFFERENCE, likeness_of, nearly_the_same
from captioner.datasets.splits import split_by_content
from captioner.datasets.union_find import UnionFind
from captioner.images import decode_image, load_image

PHOTOGRAPHS = Path(__file__).parents[3] / "shared" / "data" / "flickr8k" / "images"


def all_with_all(hashes, small):
    return {
        (one, other)
        for one in range(len(hashes))
        for other in range(one + 1, len(hashes))
        if bin(int(hashes[one]) ^ int(hashes[other])).count("1") <= MOST_BITS
        and np.abs(small[one].astype(int) - small[other]).mean() <= MOST_DIFFERENCE
    }


def connected(count, pairs):
    joined = UnionFind(count)
    for one, other in pairs:
        joined.join(one, other)
    return joined.groups(np.arange(count)).tolist()


def test_the_search_finds_what_comparing_all_with_all_finds_and_each_pair_once():
    random = np.random.default_rng(0)
    hashes = list(random.integers(0, 2**64, 40, np.uint64))
    for place in range(40):  # neighbours at every distance up to ten bits
        flipped = random.choice(64, place % 11, replace=False)
        hashes.append(hashes[place] ^ np.bitwise_or.reduce(np.uint64(1) << flipped.astype(np.uint64), initial=0))
    hashes = np.array(hashes, np.uint64)
    small = np.repeat(random.integers(0, 256, (40, 192), np.uint8)[None], 2, axis=0).reshape(80, 192)
    found = list(nearly_the_same(hashes, lambda places: small[places]))
    assert len(found) == len(set(found))
    assert set(found) == all_with_all(hashes, small)
    assert len(found) >= 20


def test_of_groups_as_many_pairs_are_found_as_connect_them_and_few_pictures_are_looked_at():
    random = np.random.default_rng(1)
    hashes, small = [], []
    for _ in range(6):  # pictures that change little by little, as those of a film do
        bits, look = random.integers(0, 2**64, dtype=np.uint64), random.integers(0, 256, 192, np.uint8)
        for _ in range(300):
            bits = bits ^ (np.uint64(1) << np.uint64(random.integers(0, 64)))
            hashes.append(bits)
            small.append(look)
    order = random.permutation(len(hashes))
    hashes, small = np.array(hashes, np.uint64)[order], np.array(small)[order]
    looked_at = 0

    def counted(places):
        nonlocal looked_at
        looked_at += len(places)
        return small[places]

    found = list(nearly_the_same(hashes, counted))
    every = all_with_all(hashes, small)
    assert set(found) <= every
    groups = connected(len(hashes), every)
    assert connected(len(hashes), found) == groups
    assert len(found) == len(hashes) - len(set(groups))
    assert looked_at < len(every)


def test_other_colours_are_another_picture():
    red = np.zeros((64, 64, 3), np.uint8)
    red[20:44, 20:44, 0] = 200
    likenesses = [likeness_of(red), likeness_of(np.ascontiguousarray(red[..., [1, 2, 0]]))]
    small = np.array([np.frombuffer(each.small, np.uint8) for each in likenesses])
    hashes = np.full(2, 7, np.uint64)  # as if brightness were the same
    assert list(nearly_the_same(hashes, lambda places: small[places])) == []
    assert likeness_of(np.full((50, 50, 3), 90, np.uint8)).bits is None


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="needs ../shared/data/flickr8k")
def test_photographs_in_another_size_and_compression_are_found_and_no_others():
    files = sorted(PHOTOGRAPHS.glob("*.jpg"))[:300]
    likenesses = [likeness_of(load_image(file, at_least=32)) for file in files]
    for file in files[:60]:
        with Image.open(file) as picture:
            content = io.BytesIO()
            picture.convert("RGB").resize((picture.width // 2, picture.height // 2)).save(content, "JPEG", quality=70)
        likenesses.append(likeness_of(decode_image(content.getvalue(), at_least=32)))
    hashes = np.array([int.from_bytes(each.bits, "big") for each in likenesses], np.uint64)
    small = np.array([np.frombuffer(each.small, np.uint8) for each in likenesses])
    found = set(nearly_the_same(hashes, lambda places: small[places]))
    copies = {(place, 300 + place) for place in range(60)}
    assert found <= copies
    assert len(found) >= 54


def test_groups_are_what_pairs_connect():
    groups = connected(7, [(0, 1), (5, 3), (1, 4), (6, 6)])
    assert groups == [0, 0, 2, 3, 0, 3, 6]
    shares = np.array([0.9, 0.05, 0.5, 0.95, 0.7, 0.15, 0.3])
    assert split_by_content(shares, np.array(groups), held_back={"test": 0.1, "dev": 0.1}) == [
        "test", "test", "train", "dev", "test", "dev", "train",
    ]  # fmt: skip
