"""captioner.metadata on files that were tampered with: a change that holds what it promises, or a `MetadataError`."""

import random
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st
from pictures_with_metadata import OTHER_XMP, files, with_xmp

from captioner.errors import MetadataError
from captioner.metadata import gif, iptc, jpeg, photoshop, png, tiff, webp, xmp
from captioner.metadata.splice import apply, inverse
from captioner.metadata.write import Which, caption_in, splices

ALL = Which(description=True, alt=True, iptc=True)
BEGINNINGS = [
    b"\xff\xd8",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF\x40\0\0\0WEBPVP8X",
    b"GIF89a",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
]


def seeds():
    """Files with as much in them as there can be, and only so many pixels."""
    for name in sorted(files()):
        data = with_xmp(name, OTHER_XMP)
        yield apply(data, splices(data, "Old", ALL, "append"))


SEEDS = list(seeds())


def holds_or_is_refused(data):
    with suppress(MetadataError):
        changes = splices(data, "New", ALL, "append")
        new = apply(data, changes)
        assert apply(new, inverse(data, changes)) == data
        assert "New" in caption_in(new, ALL)
    with suppress(MetadataError):
        caption_in(data, ALL)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(SEEDS), st.data())
def test_changed_bytes(seed, draw):
    data = bytearray(seed)
    for _ in range(draw.draw(st.integers(1, 4))):
        place = draw.draw(st.integers(0, len(data) - 1))
        data[place : place + draw.draw(st.integers(0, 4))] = draw.draw(st.binary(max_size=4))
        data = data or bytearray(b"x")
    holds_or_is_refused(bytes(data))


def test_changed_bytes_in_headers_by_the_thousand():
    chance = random.Random(0)
    for seed in SEEDS:
        for _ in range(120):
            data = bytearray(seed)
            for _ in range(chance.choice((1, 1, 2, 5))):
                near = chance.choice((30, 200, len(data)))
                data[chance.randrange(min(near, len(data)))] = chance.choice(
                    (0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256))
                )
            holds_or_is_refused(bytes(data))


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(BEGINNINGS), st.binary(max_size=200))
def test_any_bytes_as_a_file(beginning, data):
    holds_or_is_refused(beginning + data)


@settings(deadline=None, max_examples=200)
@given(
    st.binary(max_size=100), st.sampled_from([b"", b"\x1c\2\x78", b"8BIM\4\4\0\0\0\0", b"\xff\xfe<\0", b"<x:xmpmeta"])
)
def test_any_bytes_as_a_block(data, beginning):
    calls = [iptc.caption_of, photoshop.iptc_in, xmp.captions_of, *(kind.read for kind in (jpeg, png, webp, gif, tiff))]
    for call in calls:
        with suppress(MetadataError):
            call(beginning + data)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, len(OTHER_XMP) - 1), st.text(max_size=5), st.integers(0, 9))
def test_changed_packets(place, text, removed):
    place = min(place, OTHER_XMP.index(b"</x:xmpmeta>") + 20)
    packet = OTHER_XMP[:place] + text.encode("utf-8", "surrogatepass") + OTHER_XMP[place + removed :]
    try:
        new = xmp.with_caption(packet, xmp.Fields("New", "Alt"), "overwrite")
    except MetadataError:
        return
    assert xmp.captions_of(new) == xmp.Fields("New", "Alt")
