"""captioner.metadata.iptc and photoshop: one caption among datasets and resources that stay."""

import hashlib
import struct

import pytest

from captioner.errors import MetadataError
from captioner.metadata.iptc import caption_of, with_caption
from captioner.metadata.photoshop import iptc_in, with_iptc


def dataset(record, number, value, *, extended=False):
    length = struct.pack(">HI", 0x8004, len(value)) if extended else struct.pack(">H", len(value))
    return bytes((0x1C, record, number)) + length + value


VERSION, KEYWORD = dataset(2, 0, b"\0\4"), dataset(2, 25, b"dog")
UTF_8 = dataset(1, 0, b"\0\4") + dataset(1, 90, b"\x1b%G")
PREVIEW = dataset(8, 10, b"\xff\xfe\x1c" * 15_000, extended=True)


def resource(identifier, value, name=b""):
    name = bytes((len(name),)) + name + b"\0" * ((len(name) + 1) % 2)
    return (
        b"8BIM"
        + struct.pack(">H", identifier)
        + name
        + struct.pack(">I", len(value))
        + value
        + b"\0" * (len(value) % 2)
    )


def test_a_new_block_is_marked_as_utf_8():
    assert with_caption(None, "Hündin \N{DOG FACE}", "overwrite") == UTF_8 + VERSION + dataset(
        2, 120, "Hündin \N{DOG FACE}".encode()
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [(VERSION + KEYWORD, PREVIEW), (VERSION, KEYWORD + PREVIEW), (VERSION + KEYWORD + KEYWORD, dataset(3, 10, b"x"))],
)
def test_the_caption_changes_in_its_place(before, after):
    old = UTF_8 + before + dataset(2, 120, b"old") + after
    for merge, text in (("overwrite", "né"), ("append", "old\nné"), ("prepend", "né\nold")):
        new = with_caption(old, "né", merge)
        assert new == UTF_8 + before + dataset(2, 120, text.encode()) + after
        assert caption_of(new) == text
        assert with_caption(new, "né", merge) is new


def test_a_new_caption_ends_the_second_record_and_zeros_behind_it_go():
    block = VERSION + KEYWORD + PREVIEW + b"\0\0\0"
    assert with_caption(block, "new", "append") == UTF_8 + VERSION + KEYWORD + dataset(2, 120, b"new") + PREVIEW
    assert caption_of(block) == ""


def test_several_captions_are_read_as_lines_and_become_one():
    block = UTF_8 + dataset(2, 120, b"a") + KEYWORD + dataset(2, 120, b"b")
    assert with_caption(block, "c", "append") == UTF_8 + dataset(2, 120, b"a\nb\nc") + KEYWORD


def test_without_a_mark_other_texts_decide_the_character_set():
    latin = VERSION + dataset(2, 25, "über".encode("latin-1"))
    assert with_caption(latin, "né", "overwrite") == latin + dataset(2, 120, b"n\xe9")
    assert with_caption(latin, "狗", "overwrite") is None
    old = VERSION + dataset(2, 120, "“über”".encode("cp1252"))  # the caption alone: all of it is written anew
    assert with_caption(old, "狗", "append") == UTF_8 + VERSION + dataset(2, 120, "“über”\n狗".encode())
    unmarked = VERSION + dataset(2, 120, "über".encode())
    assert caption_of(unmarked) == "über"


def test_in_an_unusual_character_set_only_ascii_is_written():
    block = dataset(1, 90, b"\x1b.A") + VERSION
    assert with_caption(block, "dog", "overwrite") == block + dataset(2, 120, b"dog")
    assert with_caption(block, "né", "overwrite") is None


def test_2000_bytes_end_at_a_whole_character_and_never_cut_what_was_there():
    assert caption_of(with_caption(None, "é" * 999 + "\N{DOG FACE}" * 3, "overwrite")) == "é" * 999
    assert caption_of(with_caption(None, "x" * 3000, "overwrite")) == "x" * 2000
    old = UTF_8 + VERSION + dataset(2, 120, b"o" * 1990)
    new = with_caption(old, "n" * 100, "append")
    assert caption_of(new) == "o" * 1990 + "\n" + "n" * 9
    assert with_caption(new, "n" * 100, "append") is new
    assert with_caption(old, "n" * 100, "prepend") is None
    assert with_caption(UTF_8 + dataset(2, 120, b"o" * 2100), "n", "append") is None


@pytest.mark.parametrize(
    "block",
    [b"x", KEYWORD[:-1], KEYWORD[:4], KEYWORD + b"\0\1", b"\x1c\2\x78\x80\x09" + b"\0" * 20, PREVIEW[:-1]],
)
def test_broken_blocks_are_refused(block):
    for call in (caption_of, lambda old: with_caption(old, "new", "overwrite")):
        with pytest.raises(MetadataError):
            call(block)


def test_resources_of_photoshop_stay_and_the_digest_follows():
    first, named = resource(0x03ED, b"resolution"), resource(0x0408, b"odd", b"a name")
    digest = resource(0x0425, hashlib.md5(b"old").digest())
    new_digest = resource(0x0425, hashlib.md5(b"longer").digest())
    old = first + resource(0x0404, b"old") + named + digest
    assert iptc_in(old) == b"old"
    assert with_iptc(old, b"longer") == first + resource(0x0404, b"longer") + named + new_digest
    assert with_iptc(first + named + b"\0\0\0\0", b"odd") == first + named + resource(0x0404, b"odd") + b"\0\0\0\0"
    assert with_iptc(first + named[:-1], b"even") == first + named + resource(0x0404, b"even")
    assert with_iptc(b"", b"new") == resource(0x0404, b"new")
    assert iptc_in(first + named) is None


@pytest.mark.parametrize(
    "resources", [b"8BIM", b"8BIM\4\4\0\0\0\0\0\x09abc", b"abcdefghijklmn", resource(1, b"a") + b"x"]
)
def test_broken_resources_are_refused(resources):
    for call in (iptc_in, lambda old: with_iptc(old, b"new")):
        with pytest.raises(MetadataError):
            call(resources)
