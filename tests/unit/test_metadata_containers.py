"""captioner.metadata in files of every format: pixels and other metadata to the bit, undone to the bit."""

import io
import re
import struct
import zlib
from pathlib import Path

import pytest
from pictures_with_metadata import CAPTION, OTHER_XMP, encoded, files, picture, pixels, with_xmp
from PIL import Image, TiffImagePlugin

from captioner.errors import CaptionerError, ConfigError, MetadataError
from captioner.images import load_image
from captioner.metadata import tiff
from captioner.metadata.splice import apply, inverse
from captioner.metadata.write import Which, caption_in, sidecar, splices
from captioner.metadata.xmp import Fields, captions_of

ALL = Which(description=True, alt=True, iptc=True)
NAMES = sorted(files())
BAD_IMAGES = Path(__file__).parents[3] / "shared" / "bad_images"


def written(data, caption=CAPTION, which=ALL, merge="overwrite"):
    """The new file, after all that must hold of every change."""
    changes = splices(data, caption, which, merge)
    new = apply(data, changes)
    assert apply(new, inverse(data, changes)) == data
    assert splices(new, caption, which, merge) == ()
    return new


def others(data):
    """All parts of a file but those for XMP and IPTC, found in a way of its own."""
    if data.startswith(b"\xff\xd8"):
        parts, place = [], 2
        while data[place + 1] != 0xDA:
            if data[place + 1] == 0xFF:
                place += 1
                continue
            end = place + 2 + struct.unpack_from(">H", data, place + 2)[0]
            parts.append(data[place:end])
            place = end
        parts = [each for each in parts if each[4:16] not in (b"http://ns.ad", b"Photoshop 3.") and each[4:7] != b"MPF"]
        return [*parts, data[place:]]
    if data.startswith(b"\x89PNG"):
        parts, place = [], 8
        while place + 8 <= len(data) and data[place + 4 : place + 8].isalpha():
            end = place + 12 + struct.unpack_from(">I", data, place)[0]
            assert struct.unpack_from(">I", data, end - 4)[0] == zlib.crc32(data[place + 4 : end - 4])
            parts.append(data[place:end])
            place = end
        return [*(each for each in parts if each[8:25] != b"XML:com.adobe.xmp"), data[place:]]
    if data.startswith(b"RIFF"):
        assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8
        parts, place = [], 12
        while place < len(data):
            size = struct.unpack_from("<I", data, place + 4)[0]
            parts.append(data[place : place + 8 + size + size % 2])
            place += 8 + size + size % 2
        return [each for each in parts if each[:4] not in (b"XMP ", b"VP8X")]
    if data.startswith(b"GIF"):
        return [re.sub(rb"\x21\xff\x0bXMP DataXMP.*?\x01\xff\xfe\xfd.*?\x02\x01\x00\x00", b"", data[6:], flags=re.S)]
    return [data[8:]]


def context(data):
    """What Pillow says of a file, but for the captions."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        info = {key: value for key, value in image.info.items() if key not in ("xmp", "XML:com.adobe.xmp", "photoshop")}
        for moved in ("mp", "mpoffset", "version", "extension"):
            info.pop(moved, None)
        exif = image.getexif()  # Pillow warns when it looks at IPTC in a TIFF
        exif = {key: exif[key] for key in exif if key not in (700, 33723)}
        return image.format, image.size, image.mode, info, exif


@pytest.mark.parametrize("name", NAMES)
def test_a_caption_is_put_into_a_file_without_one(name):
    old = files()[name]
    assert caption_in(old, Which()) == ""
    new = written(old)
    assert caption_in(new, Which()) == CAPTION
    assert pixels(new) == pixels(old)
    assert context(new) == context(old)
    assert (load_image(new) == load_image(old)).all()
    if name.endswith(".tif"):
        assert new[8:].startswith(old[8:])
    else:
        assert others(new) == others(old)


@pytest.mark.parametrize("name", NAMES)
def test_a_caption_is_changed_in_a_file_that_has_other_metadata(name):
    old = with_xmp(name, OTHER_XMP)
    assert caption_in(old, Which()) == "Old & gray"
    for merge, text in (("overwrite", "New"), ("append", "Old & gray\nNew"), ("prepend", "New\nOld & gray")):
        new = written(old, "New", ALL, merge)
        assert caption_in(new, Which()) == text
        assert pixels(new) == pixels(old)
        assert context(new) == context(old)
        assert b"Alt und grau" in new
        assert b'xmp:Label="a&#xA;b"' in new
        for longer in ("New " * 700, "New"):
            changed = written(new, longer, Which(), "overwrite")
            assert caption_in(changed, Which()) == longer
            assert pixels(changed) == pixels(old)
            if not name.endswith(".tif"):
                assert others(changed) == others(old)
        assert len(written(new, "Newer")) <= len(new) + 5 or name.endswith(".tif")


@pytest.mark.parametrize("which", [Which(), Which(description=False, alt=True), Which(description=False, iptc=True)])
@pytest.mark.parametrize("name", ["plain.jpg", "plain.png", "plain.tif"])
def test_only_what_was_chosen_is_written(name, which):
    if which.iptc and name.endswith(".png"):
        with pytest.raises(MetadataError, match="cannot hold this caption as IPTC") as error:
            splices(files()[name], CAPTION, which, "overwrite")
        assert error.value.code == "metadata_unsupported"
        return
    new = written(files()[name], CAPTION, which)
    assert (b"dc:description" in new, b"AltTextAccessibility" in new, b"\x1c\2\x78" in new) == (
        which.description,
        which.alt,
        which.iptc,
    )
    assert caption_in(new, which) == CAPTION
    found = [caption_in(new, each) for each in (Which(), Which(description=False, alt=True))]
    assert found == (["", CAPTION] if which.alt else [CAPTION, ""])  # description and IPTC are one place


def test_iptc_is_passed_over_where_it_would_harm_others():
    keyword = b"\x1c\2\x19\0\4\xfcber"
    irb = b"8BIM\4\4\0\0\0\0\0\x09" + keyword + b"\0"
    data = files()["plain.jpg"]
    data = data[:20] + b"\xff\xed" + struct.pack(">H", len(irb) + 16) + b"Photoshop 3.0\0" + irb + data[20:]
    new = written(data, "狗")
    assert irb in new
    assert caption_in(new, Which()) == "狗"
    with pytest.raises(MetadataError, match="cannot hold this caption as IPTC"):
        splices(data, "狗", Which(description=False, iptc=True), "overwrite")


def test_a_caption_that_goes_nowhere_is_refused():
    with pytest.raises(ConfigError):
        Which(description=False)


def test_new_segments_follow_exif_and_come_before_the_colour_profile():
    new = written(files()["other.jpg"])
    order = [new.index(each) for each in (b"Exif\0", b"http://ns.adobe.com/xap", b"Photoshop 3.0", b"ICC_PROFILE")]
    assert order == sorted(order)


def test_photoshop_resources_over_several_segments():
    large = b"8BIM\3\xe7\0\0" + struct.pack(">I", 100_000) + bytes(100_000)
    iptc = b"8BIM\4\4\0\0\0\0\0\x08\x1c\2\x78\0\3Old\0"[:-1]
    resources = large[:50_000], large[50_000:] + iptc + b"\0" * (len(iptc) % 2)
    data = files()["plain.jpg"]
    for part in reversed(resources):
        data = data[:20] + b"\xff\xed" + struct.pack(">H", len(part) + 16) + b"Photoshop 3.0\0" + part + data[20:]
    assert caption_in(data, Which()) == "Old"
    new = written(data, "New", Which(description=False, iptc=True), "append")
    assert caption_in(new, Which()) == "Old\nNew"
    assert bytes(60_000) in new
    assert pixels(new) == pixels(data)


def test_a_jpeg_holds_64_kb_and_extended_captions_stay_alone():
    data = files()["plain.jpg"]
    assert caption_in(written(data, "x" * 60_000, Which()), Which()) == "x" * 60_000
    extension = b"http://ns.adobe.com/xmp/extension/\0" + bytes(40) + b'xmlns:dc="http://purl.org/dc/elements/1.1/"'
    for unfit in (
        (data, "x" * 66_000),
        (data[:20] + b"\xff\xe1\x01\0" + (extension + b"<dc:description>").ljust(254) + data[20:], "x"),
    ):
        with pytest.raises(MetadataError) as error:
            splices(*unfit, Which(), "overwrite")
        assert error.value.code == "metadata_unsupported"
    other = data[:20] + b"\xff\xe1\x01\0" + extension.ljust(254) + data[20:]
    assert extension in written(other)


@pytest.mark.parametrize("with_packet", [False, True])
def test_the_index_of_several_pictures_in_a_jpeg_stays_right(with_packet):
    old = with_xmp("several.jpg", OTHER_XMP) if with_packet else files()["several.jpg"]
    new = written(old, "long " * 700)
    assert len(pixels(new)) == 2
    assert pixels(new) == pixels(old)
    places = []
    for data in (old, new):
        with Image.open(io.BytesIO(data)) as image:
            first, second = image.mpinfo[0xB002]
            header = data.index(b"MPF\0") + 4
            assert first["Size"] == header + second["DataOffset"]  # the second follows the first
            assert data[header + second["DataOffset"] :].startswith(b"\xff\xd8")
            places.append(first["Size"])
    assert places[1] - places[0] == len(new) - len(old) > 0


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".webp")])
def test_webp_announces_what_is_in_it(name):
    old = files()[name]
    new = written(old)
    assert new[12:16] == b"VP8X"
    had = old[20] if old[12:16] == b"VP8X" else 0x10 if name == "transparent.webp" else 0
    assert new[20] == had | 0x04
    with Image.open(io.BytesIO(new)) as image:
        assert struct.unpack("<II", new[24:27] + b"\0" + new[27:30] + b"\0") == (image.width - 1, image.height - 1)
        assert captions_of(image.info["xmp"]) == Fields(CAPTION, CAPTION)


def test_a_webp_that_lacks_its_last_zero():
    old = files()["other.webp"]
    short = old[:4] + struct.pack("<I", len(old) + 3) + old[8:] + b"ABCD\3\0\0\0xyz"
    new = written(short)
    assert caption_in(new, Which()) == CAPTION
    assert others(new) == [*others(old), b"ABCD\3\0\0\0xyz\0"]


def test_gif_87a_becomes_89a_and_repetition_stays_first():
    assert files()["plain.gif"].startswith(b"GIF87a")
    assert written(files()["plain.gif"]).startswith(b"GIF89a")
    new = written(files()["moving.gif"])
    assert new.index(b"NETSCAPE2.0") < new.index(b"XMP DataXMP") < new.index(b"\x21\xf9")


def test_tiff_leaves_everything_where_it_is_and_changes_in_place_what_has_the_same_length():
    once = written(files()["pages.tif"], "A dog")
    assert len(pixels(once)) == 2
    twice = written(once, "A cat")
    assert len(twice) == len(once)
    assert sum(one != other for one, other in zip(once, twice, strict=True)) == 9
    directory = struct.unpack_from("<I", twice, 4)[0]
    count = struct.unpack_from("<H", twice, directory)[0]
    tags = [struct.unpack_from("<H", twice, directory + 2 + 12 * place)[0] for place in range(count)]
    assert tags == sorted(tags)
    assert {700, 33723} <= set(tags)


def test_iptc_in_a_tiff_may_be_bytes_and_its_digest_follows():
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[33723], tags.tagtype[33723] = b"\x1c\2\x78\0\3Old", 7
    tags[34377], tags.tagtype[34377] = b"8BIM\4\x25\0\0\0\0\0\x10" + bytes(16), 1
    old = encoded(picture(), "TIFF", tiffinfo=tags)
    assert caption_in(old, Which()) == "Old"
    new = written(old, "New", Which(description=False, iptc=True), "append")
    assert caption_in(new, Which()) == "Old\nNew"
    assert bytes(16) + b"\0" not in new[new.index(b"8BIM") :][:30]
    assert tiff.read(new).iptc.endswith(b"\x1c\2\x78\0\7Old\nNew")


@pytest.mark.parametrize(
    ("name", "place", "mark"),
    [
        ("plain.jpg", 20, b"\xff\xeb\0\x12JP\0\1\0\0\0\1jumbc2pa"),
        ("plain.png", 33, b"\0\0\0\0caBX\0\0\0\0"),
        ("other.webp", -1, b"C2PA\0\0\0\0"),
        ("moving.gif", -1, b"\x21\xff\x0bC2PA_GIF\1\0\0\0"),
    ],
)
def test_signed_files_are_read_but_not_changed(name, place, mark):
    data = files()[name]
    place %= len(data) + (name.endswith(".webp"))
    data = data[:place] + mark + data[place:]
    if name.endswith(".webp"):
        data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    assert caption_in(data, Which()) == ""
    with pytest.raises(MetadataError, match="signed") as error:
        splices(data, CAPTION, Which(), "overwrite")
    assert error.value.code == "metadata_unsupported"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        encoded(picture(), "BMP"),
        b"\0\0\0\x1cftypavif" + bytes(40),
        encoded(picture(), "TIFF", big_tiff=True),
        b"II*\0\x10\0\0\0CR\2\0" + files()["plain.tif"][8:],
    ],
)
def test_what_cannot_hold_a_caption_wants_a_sidecar(data):
    raw = data[8:10] == b"CR"
    data = data[:16] + struct.pack("<HHHIII", 1, 256, 3, 1, 7, 0) if raw else data
    assert caption_in(data, Which()) == ""
    with pytest.raises(MetadataError, match="sidecar") as error:
        splices(data, CAPTION, Which(), "overwrite")
    assert error.value.code == "metadata_unsupported"


def test_sidecar_files():
    both = Which(description=True, alt=True)
    new = sidecar(None, CAPTION, both, "overwrite")
    assert captions_of(new) == Fields(CAPTION, CAPTION)
    assert sidecar(new, CAPTION, both, "append") == new
    old = sidecar(OTHER_XMP, "New", Which(), "append")
    assert captions_of(old) == Fields("Old & gray\nNew")
    assert b"<!-- kept -->" in old
    with pytest.raises(MetadataError, match="no IPTC"):
        sidecar(None, "New", Which(description=False, iptc=True), "append")


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_cut_short_are_refused(name):
    data = written(files()[name])
    end = {"jpg": 400, "tif": 9}.get(name[-3:], len(data) - 80 if name.startswith("other") else len(data))
    for length in [*range(12, end, 13), end - 1]:
        if name.endswith((".png", ".webp", ".gif")):
            with pytest.raises(MetadataError) as error:
                splices(data[:length], "New", ALL, "overwrite")
            assert error.value.code == "metadata"
        else:
            with pytest.raises(CaptionerError):
                splices(data[:length], "New", ALL, "overwrite")


@pytest.mark.skipif(not BAD_IMAGES.is_dir(), reason="../shared/bad_images is not here")
def test_hostile_files_are_refused_or_changed_as_all_others():
    for path in BAD_IMAGES.rglob("*.*"):
        data = path.read_bytes()
        try:
            new = written(data)
        except MetadataError:
            continue
        assert caption_in(new, Which()) == CAPTION
