"""captioner.images: right pixels from every kind of file, and one clear error from everything that is not a picture."""

from __future__ import annotations

import io
import json
import os
import random
import re
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageFile

from captioner import images
from captioner.errors import ConfigError, ImageError
from captioner.images import (
    FORMATS,
    MAX_FILE_BYTES,
    MAX_PIXELS,
    BytesSource,
    FileSource,
    PreprocessSpec,
    check_array,
    decode_image,
    load_image,
)

REPOSITORY = Path(__file__).parents[2]
LEAKS = re.compile(r"0x[0-9a-f]{6,}|object at|Traceback|BytesIO|site-packages|[\x00-\x1f\x7f]", re.IGNORECASE)


def failure(read: Callable[[], object], code: str | None = None) -> ImageError:
    """The `ImageError` that `read` ends in; every test of an error also tests that its text leaks nothing."""
    with pytest.raises(ImageError) as caught:
        read()
    assert not LEAKS.search(caught.value.message), caught.value.message
    if code is not None:
        assert caught.value.code == code, caught.value.message
    return caught.value


def outcome(read: Callable[[], np.ndarray]) -> np.ndarray | ImageError:
    """The picture or the error that `read` ends in; anything else fails the test."""
    try:
        return read()
    except ImageError as error:
        return error


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture without sharp edges, which lossy formats keep nearly as it is."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def sample(kind: str, height: int = 24, width: int = 32) -> bytes:
    options = {"WEBP": {"lossless": True}, "AVIF": {"quality": 60, "speed": 10}}.get(kind, {})
    image = Image.fromarray(smooth(height, width))
    return encoded(image.quantize(32) if kind == "GIF" else image, kind, **options)


SAMPLES = {kind: sample(kind) for kind in FORMATS}


def png(width: int, height: int, depth: int, colour: int, rows: bytes, key: bytes = b"") -> bytes:
    """A PNG by hand: `rows` with their filter bytes, `key` the content of tRNS."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    transparency = chunk(b"tRNS", key) if key else b""
    return b"\x89PNG\r\n\x1a\n" + header + transparency + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(width: int, height: int, tags: dict[int, int], pixels: bytes = b"") -> bytes:
    """A little-endian TIFF by hand with one strip of `pixels`."""
    entries = {256: width, 257: height, 259: 1, 262: 1, 277: 1, 278: height, 279: len(pixels)} | tags
    entries[273] = 8 + 2 + 12 * (len(entries) + 1) + 4
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, entries[tag]) for tag in sorted(entries))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + fields + struct.pack("<I", 0) + pixels


# The seven formats, by content


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_pixels_that_were_saved(kind: str) -> None:
    pixels = decode_image(SAMPLES[kind])
    assert pixels.dtype == np.uint8
    assert pixels.shape == (24, 32, 3)
    error = np.abs(pixels.astype(int) - smooth(24, 32)).mean()
    assert error == 0 if kind in ("PNG", "BMP", "TIFF", "WEBP") else error < (16 if kind == "GIF" else 8)


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "really-a-png.jpg"
    path.write_bytes(SAMPLES["PNG"])
    assert np.array_equal(load_image(path), smooth(24, 32))


@pytest.mark.parametrize("kind", ["PPM", "ICO", "TGA", "EPS", "PDF", "PCX"])
def test_formats_off_the_list_are_refused(kind: str) -> None:
    failure(lambda: decode_image(encoded(Image.new("RGB", (16, 16)), kind)), "unsupported")


@pytest.mark.parametrize("data", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"hello", b"\0" * 1000])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    failure(lambda: decode_image(data), "unsupported")


# Right pixels: orientation, transparency, colours, depth, frames

STORED = {
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: np.fliplr(np.rot90(upright, -1)),
    6: lambda upright: np.rot90(upright, 1),  # "turn me clockwise": stored turned the other way
    7: lambda upright: np.flipud(np.rot90(upright, -1)),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_give_the_same_picture(kind: str, orientation: int) -> None:
    upright = smooth(40, 56)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    finest = {"quality": 100, "subsampling": 0}
    options = {"WEBP": {"lossless": True}, "JPEG": finest, "MPO": finest}.get(kind, {})
    pixels = decode_image(encoded(stored, kind, exif=exif, **options))
    assert pixels.shape == upright.shape
    assert pixels.flags.c_contiguous
    assert np.abs(pixels.astype(int) - upright).max() <= (0 if kind in ("PNG", "TIFF", "WEBP") else 16)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_turns_too(orientation: int) -> None:
    upright = smooth(40, 56)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    pixels = decode_image(encoded(stored, "AVIF", exif=exif, quality=90, speed=10))
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).mean() < 4


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decode_image(encoded(Image.fromarray(smooth(5, 9)), "PNG", exif=exif)), smooth(5, 9))


def test_damaged_exif_does_not_lose_the_picture() -> None:
    data = encoded(Image.fromarray(smooth(5, 9)), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff junk")
    assert np.array_equal(decode_image(data), smooth(5, 9))


def test_alpha_is_laid_on_white() -> None:
    rgba = np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [255, 0, 0, 128], [10, 20, 30, 1]]], np.uint8)
    on_white = [[[255, 255, 255], [0, 0, 0], [255, 127, 127], [254, 254, 254]]]
    for kind, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})):
        assert decode_image(encoded(Image.fromarray(rgba), kind, **options)).tolist() == on_white
    assert check_array(rgba).tolist() == on_white


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_gray_with_alpha_is_laid_on_white(mode: str) -> None:
    image = Image.merge("LA", [Image.new("L", (1, 1), 100), Image.new("L", (1, 1), 51)]).convert(mode)
    assert decode_image(encoded(image, "PNG")).tolist() == [[[224, 224, 224]]]  # 100 · 0.2 + 255 · 0.8
    assert check_array(image).tolist() == [[[224, 224, 224]]]


def palette_image() -> Image.Image:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    return image


def test_palettes_with_transparency_are_laid_on_white() -> None:
    one_colour = [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]
    assert decode_image(encoded(palette_image(), "PNG", transparency=1)).tolist() == one_colour
    assert decode_image(encoded(palette_image(), "GIF", transparency=1)).tolist() == one_colour
    alphas = encoded(palette_image(), "PNG", transparency=bytes([255, 0, 51]))
    assert decode_image(alphas).tolist() == [[[255, 0, 0], [255, 255, 255], [204, 204, 255]]]
    assert check_array(palette_image().convert("PA")).tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]


@pytest.mark.parametrize(
    ("depth", "colour", "row", "key", "shown"),
    [
        (1, 0, b"\x80", struct.pack(">H", 1), [255, 0]),
        (2, 0, b"\x60", struct.pack(">H", 1), [255, 170]),
        (4, 0, b"\x59", struct.pack(">H", 5), [255, 153]),
        (8, 0, b"\x59\x60", struct.pack(">H", 0x59), [255, 0x60]),
        (16, 0, struct.pack(">2H", 60000, 257), struct.pack(">H", 60000), [255, 1]),
        (8, 2, b"\1\1\1\7\7\7", struct.pack(">3H", 1, 1, 1), [255, 7]),
        (16, 2, struct.pack(">6H", 300, 300, 300, 5000, 5000, 5000), struct.pack(">3H", 300, 300, 300), [255, 19]),
    ],
)
def test_the_transparent_colour_of_a_png_is_white(
    depth: int, colour: int, row: bytes, key: bytes, shown: list[int]
) -> None:
    data = png(2, 1, depth, colour, b"\0" + row, key)
    assert decode_image(data).tolist() == [[[value] * 3 for value in shown]]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted(kind: str) -> None:
    inks = {(0, 0, 0, 0): (255, 255, 255), (0, 0, 0, 255): (0, 0, 0), (255, 0, 0, 0): (0, 255, 255)}
    for ink, colour in inks.items():
        pixels = decode_image(encoded(Image.new("CMYK", (16, 16), ink), kind))
        assert np.abs(pixels.astype(int) - colour).max() <= 4


def test_ycbcr_and_one_bit_pictures() -> None:
    assert check_array(Image.new("RGB", (4, 4), (200, 30, 60)).convert("YCbCr"))[0, 0] == pytest.approx(
        [200, 30, 60], abs=3
    )
    assert decode_image(encoded(Image.new("1", (9, 2), 1), "TIFF")).tolist() == [[[255] * 3] * 9] * 2


def test_lab_is_refused_because_its_colours_would_be_wrong() -> None:
    failure(lambda: decode_image(encoded(Image.new("LAB", (4, 4)), "TIFF")), "unsupported")


def test_16_bit_gray_is_scaled_not_clipped() -> None:
    values = np.arange(256, dtype=np.uint16) * 257
    image = Image.fromarray(values.reshape(4, 64))
    for data in (encoded(image, "PNG"), encoded(image, "TIFF"), tiff(64, 4, {258: 16}, values.tobytes())):
        assert np.array_equal(decode_image(data)[:, :, 0].ravel(), np.arange(256))
    big_endian = check_array(Image.frombytes("I;16B", (64, 4), values.astype(">u2").tobytes()))
    assert np.array_equal(big_endian[:, :, 1].ravel(), np.arange(256))


def test_dark_16_bit_png_stays_dark_but_12_bit_tiff_is_scaled_by_its_own_white() -> None:
    values = np.array([[0, 819, 4095]], np.uint16)
    assert decode_image(encoded(Image.fromarray(values), "PNG"))[0, :, 0].tolist() == [0, 3, 16]
    assert decode_image(tiff(3, 1, {258: 16}, values.tobytes()))[0, :, 0].tolist() == [0, 51, 255]


def test_16_bit_tiff_in_which_white_is_zero() -> None:
    values = np.array([[0, 65535, 257]], np.uint16)
    assert decode_image(tiff(3, 1, {258: 16, 262: 0}, values.tobytes()))[0, :, 0].tolist() == [255, 0, 254]


def test_integers_and_floats_are_scaled_by_their_own_range() -> None:
    integers = np.array([[-1000, 0, 1000]], np.int32)
    floats = np.array([[0.25, np.nan, 0.5, np.inf, -np.inf, 0.75]], np.float32)
    assert decode_image(encoded(Image.fromarray(integers), "TIFF"))[0, :, 0].tolist() == [0, 128, 255]
    assert decode_image(encoded(Image.fromarray(floats), "TIFF"))[0, :, 0].tolist() == [0, 0, 128, 255, 0, 255]
    flat = np.full((2, 2), 7.0, np.float32)
    assert decode_image(encoded(Image.fromarray(flat), "TIFF")).max() == 0
    assert decode_image(encoded(Image.fromarray(flat * np.float32(np.nan)), "TIFF")).max() == 0


def test_deep_gray_of_several_bands_has_one_range() -> None:
    ramp = np.linspace(-5, 5, 700 * 900, dtype=np.float32).reshape(700, 900)
    pixels = check_array(Image.fromarray(ramp))[:, :, 0]
    assert (pixels[0, 0], pixels[-1, -1]) == (0, 255)
    assert (np.diff(pixels.ravel().astype(int)) >= 0).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "CMYK"])
def test_bands_join_without_a_seam(mode: str) -> None:
    image = Image.fromarray(smooth(1200, 700)).convert(mode)
    assert np.array_equal(check_array(image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_first_frame_stands_for_an_animation(kind: str) -> None:
    red, blue = (Image.new("RGB", (16, 12), colour) for colour in ("red", "blue"))
    pixels = decode_image(encoded(red, kind, save_all=True, append_images=[blue]))
    assert pixels.shape == (12, 16, 3)
    assert np.abs(pixels.astype(int) - (255, 0, 0)).max() <= 8


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 65535), (65535, 1), (65537, 1), (940, 2)])
@pytest.mark.parametrize("framing", ["whole", "center"])
def test_extreme_shapes_are_pictures_too(shape: tuple[int, int], framing: str) -> None:
    pixels = decode_image(encoded(Image.new("RGB", shape[::-1], (9, 90, 200)), "PNG"), at_least=224)
    assert pixels.shape == (*shape, 3)
    square = PreprocessSpec(framing=framing, crop_share=0.875).resize(pixels)
    assert square.shape == (224, 224, 3)
    assert (square == (9, 90, 200)).all()


# Reduced decoding


@pytest.mark.parametrize("at_least", [0, 1, 100, 224, 500, 5000])
def test_reduced_decoding_delivers_enough_pixels(at_least: int) -> None:
    data = encoded(Image.fromarray(smooth(600, 800)), "JPEG", quality=95)
    height, width, _ = decode_image(data, at_least=at_least).shape
    assert min(height, width) >= min(at_least, 600)
    assert (height, width) == {1: (3, 4), 100: (150, 200), 224: (300, 400)}.get(at_least, (600, 800))


@pytest.mark.parametrize("framing", ["whole", "center"])
@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "RGBA"), ("TIFF", "L"), ("PNG", "I;16")]
)
def test_reduced_decoding_is_close_to_full_decoding(kind: str, mode: str, framing: str) -> None:
    picture = Image.fromarray(smooth(2101, 1603))
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    picture = picture if mode == "I;16" else picture.convert(mode)
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn
    data = encoded(picture, kind, exif=exif, **({"quality": 90} if kind == "JPEG" else {}))
    spec = PreprocessSpec(framing=framing, crop_share=0.875)
    full, reduced = (decode_image(data, at_least=side) for side in (0, spec.decode_side))
    assert reduced.size < full.size / 3
    assert np.abs(spec.resize(full).astype(int) - spec.resize(reduced)).mean() < 1


# Damage


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_short_never_gives_another_picture(kind: str) -> None:
    whole = SAMPLES[kind]
    pixels = decode_image(whole)
    lengths = sorted({0, 1, 2, 3, 4, 8, 12, 16, 20, 24, *range(25, len(whole), 17), len(whole) - 1})
    refused = 0
    for length in lengths:
        result = outcome(lambda data=whole[:length]: decode_image(data))
        if isinstance(result, ImageError):
            refused += 1
        else:
            assert np.array_equal(result, pixels)  # only an end marker was lost
    assert refused >= 0.9 * len(lengths)


@pytest.mark.parametrize("kind", FORMATS)
def test_mutations_end_in_a_picture_or_an_image_error(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(kind)
    for _ in range(150):
        data = bytearray(SAMPLES[kind])
        for _ in range(chance.choice((1, 2, 8))):
            place = chance.randrange(min(len(data), chance.choice((64, len(data)))))
            data[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        result = outcome(lambda mutation=bytes(data): decode_image(mutation, max_pixels=1_000_000))
        if isinstance(result, ImageError):
            assert not LEAKS.search(result.message)
        else:
            assert result.dtype == np.uint8
            assert result.ndim == 3
            assert result.shape[2] == 3
    assert "Warning" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (OSError("unrecognized data at 0x7f00deadbeef"), "corrupt"),
        (SyntaxError("broken"), "corrupt"),
        (ValueError("<object at 0x7f00deadbeef>"), "corrupt"),
        (NotImplementedError(), "corrupt"),
        (OverflowError(), "corrupt"),
        (RuntimeError(), "corrupt"),
        (RecursionError(), "corrupt"),
        (struct.error("unpack"), "corrupt"),
        (KeyError("tag"), "corrupt"),
        (IndexError(), "corrupt"),
        (UnicodeDecodeError("ascii", b"\xff", 0, 1, "no"), "corrupt"),
        (ZeroDivisionError(), "corrupt"),
        (MemoryError(), "too_large"),
        (Image.DecompressionBombError("big"), "too_many_pixels"),
    ],
)
def test_whatever_pillow_raises_becomes_an_image_error(
    raised: Exception, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: ImageFile.ImageFile) -> None:
        raise raised

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    error = failure(lambda: decode_image(SAMPLES["BMP"]), code)
    assert error.__cause__ is raised


def test_keyboard_interrupt_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: ImageFile.ImageFile) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ImageFile.ImageFile, "load", interrupt)
    with pytest.raises(KeyboardInterrupt):
        decode_image(SAMPLES["BMP"])


# Bombs: a small file that announces a huge picture


def with_size(kind: str, width: int, height: int) -> bytes:
    """The sample of a format, its header changed to announce another size."""
    data = bytearray(SAMPLES[kind])

    def put(place: int, layout: str, *values: int) -> None:
        struct.pack_into(layout, data, place, *values)

    if kind == "JPEG":
        put(data.index(b"\xff\xc0") + 5, ">HH", height, width)
    elif kind == "PNG":
        return png(width, height, 8, 2, b"\0" * 100)
    elif kind == "GIF":
        put(6, "<HH", width, height)
        put(data.index(b"\x2c") + 5, "<HH", width, height)
    elif kind == "BMP":
        put(18, "<ii", width, height)
    elif kind == "TIFF":
        return tiff(width, height, {258: 8}, b"\0" * 100)
    elif kind == "AVIF":
        put(data.index(b"ispe") + 8, ">II", width, height)
    elif kind == "WEBP":  # an extended header: the canvas may be larger than its only frame
        canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
        body = b"WEBPVP8X" + struct.pack("<II", 10, 0) + canvas + bytes(data[12:])
        return b"RIFF" + struct.pack("<I", len(body)) + body
    return bytes(data)


@pytest.mark.parametrize("size", [(16000, 16000), (60000, 60000), (16383, 3053)])
@pytest.mark.parametrize("kind", FORMATS)
def test_bombs_are_refused_from_their_header(kind: str, size: tuple[int, int]) -> None:
    if kind == "WEBP":
        size = (min(size[0], 16383), min(size[1], 16383))  # the format ends there
    error = failure(lambda: decode_image(with_size(kind, *size)))
    # libwebp and libavif may find the lie first, by comparing the header with the frame
    assert error.code == "too_many_pixels" or (kind in ("WEBP", "AVIF") and error.code in ("corrupt", "unsupported"))


def test_a_frame_larger_than_its_gif_is_refused() -> None:
    data = bytearray(SAMPLES["GIF"])
    struct.pack_into("<HH", data, data.index(b"\x2c") + 5, 30000, 30000)
    failure(lambda: decode_image(bytes(data)), "too_many_pixels")


def test_a_huge_tile_in_a_small_tiff_is_refused() -> None:
    tile = {322: 40000, 323: 40000, 324: 8, 325: 100, 258: 8, 259: 8}
    failure(lambda: decode_image(tiff(16, 16, tile, b"\0" * 100)), "too_many_pixels")


def test_the_pixel_limit_can_be_set_and_is_exact() -> None:
    assert decode_image(SAMPLES["PNG"], max_pixels=24 * 32).shape == (24, 32, 3)
    failure(lambda: decode_image(SAMPLES["PNG"], max_pixels=24 * 32 - 1), "too_many_pixels")
    assert MAX_PIXELS == 50_000_000


def test_a_line_of_millions_of_pixels_is_refused() -> None:
    failure(lambda: decode_image(with_size("PNG", 1, 1_000_001)), "too_many_pixels")


@pytest.mark.skipif(sys.platform == "win32", reason="resource is not on Windows")
def test_bombs_cost_little_memory(tmp_path: Path) -> None:
    for kind in FORMATS:
        for number, size in enumerate([(60000, 60000), (16383, 16383), (7100, 7100)]):
            width, height = (min(side, 16383) for side in size) if kind == "WEBP" else size
            (tmp_path / f"{kind}{number}").write_bytes(with_size(kind, width, height))
    script = """
import resource, sys
from pathlib import Path
from captioner.errors import ImageError
from captioner.images import load_image
unit = 1 if sys.platform == "darwin" else 1024
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
refused = 0
for path in Path(sys.argv[1]).iterdir():
    try:
        load_image(path)
    except ImageError:
        refused += 1
print(refused, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before)
"""
    command = [sys.executable, "-W", "error", "-c", script, str(tmp_path)]
    child = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True)
    refused, growth = map(int, child.stdout.split())
    assert refused == 3 * len(FORMATS)
    assert growth <= 256 * 2**20


# Sources


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "bild ä 図.png"
    path.write_bytes(SAMPLES["PNG"])
    source = FileSource(path)
    assert source.read_bytes() == SAMPLES["PNG"]
    assert source.name == str(path)
    for picture in (path, str(path), source, SAMPLES["PNG"], BytesSource("it", SAMPLES["PNG"]), smooth(24, 32)):
        assert np.array_equal(load_image(picture), smooth(24, 32))


def test_the_version_of_a_source_changes_with_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    assert FileSource(path).version == "missing"
    path.write_bytes(b"one")
    first = FileSource(path).version
    assert FileSource(path).version == first
    path.write_bytes(b"three")
    assert FileSource(path).version != first
    assert BytesSource("a", b"one").version == BytesSource("b", b"one").version != BytesSource("a", b"two").version


def test_errors_name_the_picture_once(tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_text("text")
    for read in (lambda: load_image(path), lambda: load_image(str(tmp_path / "none.png"))):
        assert failure(read).message.count(str(tmp_path)) == 1
    assert failure(lambda: load_image(BytesSource("cat 7", b"text"))).message.startswith("cat 7: ")


@pytest.mark.parametrize("name", ["missing.jpg", "missing/folder/a.jpg", "file/inside.jpg"])
def test_missing_files(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"x")
    failure(FileSource(tmp_path / name).read_bytes, "missing")


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    error = failure(FileSource(tmp_path / "nul\0byte.png").read_bytes, "unreadable")
    assert "nul\\x00byte.png" in error.message
    failure(FileSource(tmp_path / ("a" * 5000)).read_bytes)


def test_control_characters_and_stray_bytes_in_names_are_escaped(tmp_path: Path) -> None:
    name = FileSource(Path("a\x1b[31m\nb\udcff.png")).name
    assert name == "a\\x1b[31m\\nb\\udcff.png"
    name.encode("utf-8")
    failure(FileSource(tmp_path / "a\x1b[31m\nb.png").read_bytes, "missing")
    failure(lambda: load_image(BytesSource("a\x1b[31m\nb", b"text")), "unsupported")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse names that are not UTF-8")
def test_files_with_names_that_are_not_utf_8_are_read(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))
    path.write_bytes(SAMPLES["PNG"])
    assert load_image(path).shape == (24, 32, 3)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    failure(FileSource(tmp_path).read_bytes, "not_a_file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.timeout(10)
def test_a_pipe_is_refused_without_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    failure(FileSource(tmp_path / "pipe.png").read_bytes, "not_a_file")
    monkeypatch.setattr(images.stat, "S_ISREG", lambda mode: True)  # as if it took the place of a file just now
    monkeypatch.setattr(images, "_check_length", lambda *_: None)
    assert not FileSource(tmp_path / "pipe.png").read_bytes()


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
@pytest.mark.timeout(10)
def test_a_device_is_refused() -> None:
    failure(FileSource(Path("/dev/zero")).read_bytes, "not_a_file")


def test_empty_and_too_large_files(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.touch()
    failure(FileSource(path).read_bytes, "corrupt")
    with path.open("wb") as file:
        file.truncate(21_000_000)
    failure(FileSource(path).read_bytes, "too_large")
    failure(lambda: decode_image(b""), "corrupt")
    failure(lambda: decode_image(bytes(MAX_FILE_BYTES + 1)), "too_large")


def test_no_more_than_one_byte_above_the_limit_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(SAMPLES["PNG"])
    monkeypatch.setattr(images, "MAX_FILE_BYTES", len(SAMPLES["PNG"]))
    assert FileSource(path).read_bytes() == SAMPLES["PNG"]
    lengths: list[int] = []
    monkeypatch.setattr(images, "_check_length", lambda length, *_: lengths.append(length))
    with path.open("ab") as file:
        file.write(b"more than allowed")
    FileSource(path).read_bytes()
    assert lengths == [len(SAMPLES["PNG"]) + 17, len(SAMPLES["PNG"]) + 1]  # as announced, as read


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root and Windows read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(SAMPLES["PNG"])
    path.chmod(0)
    failure(FileSource(path).read_bytes, "unreadable")


def test_permission_denied_by_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(SAMPLES["PNG"])

    def deny(*_: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(images.os, "open", deny)
    assert "Permission denied" in failure(FileSource(path).read_bytes, "unreadable").message


@pytest.mark.parametrize("thing", [None, 7, ["a.jpg"], object()])
def test_things_that_are_no_picture(thing: object) -> None:
    failure(lambda: load_image(thing), "bad_array")  # type: ignore[arg-type]


# Arrays and Pillow images


def test_arrays_with_any_strides_are_fine() -> None:
    array = smooth(6, 8)
    frozen = array.copy()
    frozen.flags.writeable = False
    assert np.array_equal(check_array(frozen), array)
    assert np.array_equal(check_array(array[::-1, ::-1]), array[::-1, ::-1])
    assert np.array_equal(check_array(array[:, :, ::-1]), array[:, :, ::-1])
    assert check_array(array[::2, ::-2]).flags.c_contiguous
    assert check_array(array[:, :, 0]).tolist() == np.stack([array[:, :, 0]] * 3, axis=-1).tolist()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 8, 9), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 0), np.uint8),
        np.zeros((8, 9, 1), np.uint8),
        np.zeros((8, 9, 2), np.uint8),
        np.zeros((1, 8, 9, 3), np.uint8),
        np.zeros(9, np.uint8),
        np.uint8(3),
        np.zeros((8, 9, 3)),
        np.full((8, 9, 3), np.nan, np.float32),
        np.zeros((8, 9, 3), np.int64),
        np.zeros((8, 9, 3), bool),
        np.array([["a"]]),
        np.array([[object()]]),
        [[0]],
    ],
    ids=str,
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    failure(lambda: check_array(array), "bad_array")


@given(
    hnp.arrays(
        dtype=st.one_of(st.just(np.dtype(np.uint8)), hnp.scalar_dtypes()),
        shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    )
)
def test_any_array_is_a_picture_or_an_error(array: np.ndarray) -> None:
    is_picture = (
        array.dtype == np.uint8
        and array.size > 0
        and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4)))
    )
    if is_picture:
        pixels = check_array(array)
        assert pixels.shape == (*array.shape[:2], 3)
        assert pixels.dtype == np.uint8
    else:
        failure(lambda: check_array(array), "bad_array")


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "I;16"]
)
def test_pillow_images_of_every_mode_are_read(mode: str) -> None:
    image = Image.new(mode, (5, 4))
    before = image.tobytes()
    assert check_array(image).shape == (4, 5, 3)
    assert image.tobytes() == before


def test_a_pillow_image_is_what_its_file_is() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(smooth(5, 9)), "PNG", exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(load_image(image), decode_image(data))


def test_pillow_images_that_cannot_be_read() -> None:
    failure(lambda: check_array(Image.new("RGB", (0, 5))), "bad_array")
    failure(lambda: check_array(Image.open(io.BytesIO(SAMPLES["BMP"][:200]))), "corrupt")
    failure(lambda: check_array(Image.open(io.BytesIO(with_size("PNG", 8000, 8000)))), "too_many_pixels")


# Nothing global is touched


def test_globals_of_pillow_and_python_are_untouched() -> None:
    def settings() -> tuple[object, ...]:
        return ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS, list(warnings.filters), warnings.showwarning

    before = settings()
    for data in (*SAMPLES.values(), b"text", with_size("PNG", 60000, 60000), with_size("PNG", 11000, 11000)):
        outcome(lambda data=data: decode_image(data))
        assert settings() == before


def test_warnings_of_pillow_stay_inside(recwarn: pytest.WarningsRecorder) -> None:
    warnings.simplefilter("always")
    failure(lambda: decode_image(with_size("PNG", 11000, 11000)), "too_many_pixels")  # above Pillow's limit of warning
    decode_image(encoded(palette_image(), "PNG", transparency=bytes([255, 0, 51])))
    assert not recwarn.list
    with pytest.warns(UserWarning, match="still heard"):
        warnings.warn("still heard", stacklevel=1)


def test_threads_leave_the_warning_filters_as_they_were() -> None:
    before = list(warnings.filters)
    bomb = with_size("PNG", 11000, 11000)
    codes: list[str] = []

    def work() -> None:
        for _ in range(20):
            decode_image(SAMPLES["PNG"])
            codes.append(outcome(lambda: decode_image(bomb)).code)  # a warning that gets through makes it `corrupt`

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == ["too_many_pixels"] * 160
    assert list(warnings.filters) == before


def test_only_the_plug_ins_of_pillow_that_are_needed_are_loaded() -> None:
    script = (
        "import sys; from captioner.images import load_image\n"
        "try: load_image(b'%!PS-Adobe-3.0 EPSF-3.0')\n"
        "except Exception: pass\n"
        "assert not {'PIL.EpsImagePlugin', 'PIL.PdfImagePlugin', 'PIL.WmfImagePlugin', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=REPOSITORY, check=True, timeout=60)


# PreprocessSpec

KERAS = PreprocessSpec(channel_order="bgr", scale=1.0, mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0))


def test_apply_known_answers() -> None:
    colour = np.full((30, 50, 3), (255, 0, 51), np.uint8)
    pixels = PreprocessSpec(size=8).apply(colour)
    assert pixels.shape == (3, 8, 8)
    assert pixels.dtype == np.float32
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    assert pixels[:, 3, 3] == pytest.approx(expected, rel=1e-6)
    assert replace(KERAS, size=8).apply(colour)[:, 0, 0] == pytest.approx(
        [51 - 103.939, -116.779, 255 - 123.68], rel=1e-6
    )


@pytest.mark.parametrize("spec", [PreprocessSpec(size=48), replace(KERAS, size=48)], ids=["torchvision", "keras"])
def test_normalize_is_the_formula(spec: PreprocessSpec) -> None:
    square = smooth(48, 48)
    channels = square if spec.channel_order == "rgb" else square[:, :, ::-1]
    expected = ((channels.astype(np.float64) * spec.scale - spec.mean) / spec.std).transpose(2, 0, 1)
    assert np.allclose(spec.normalize(square), expected, rtol=1e-6, atol=1e-6 * max(1, *spec.mean))


@pytest.mark.parametrize("spec", [PreprocessSpec(), KERAS], ids=["torchvision", "keras"])
def test_normalize_gives_the_same_bits_alone_and_in_a_batch(spec: PreprocessSpec) -> None:
    squares = np.random.default_rng(1).integers(0, 256, (7, 224, 224, 3), dtype=np.uint8)
    batch = spec.normalize(squares)
    assert batch.flags.c_contiguous
    assert batch.shape == (7, 3, 224, 224)
    for square, pixels in zip(squares, batch, strict=True):
        assert spec.normalize(square).tobytes() == pixels.tobytes()
        assert spec.normalize(square[:, ::-1][:, ::-1]).tobytes() == pixels.tobytes()
    assert spec.normalize(squares.reshape(7, 1, 224, 224, 3)).tobytes() == batch.tobytes()
    assert spec.normalize(squares[:0]).shape == (0, 3, 224, 224)


@pytest.mark.parametrize("resample", ["bilinear", "bicubic", "lanczos"])
def test_whole_is_the_resize_of_pillow(resample: str) -> None:
    picture = smooth(300, 500)
    expected = Image.fromarray(picture).resize((64, 64), Image.Resampling[resample.upper()])
    assert np.array_equal(PreprocessSpec(size=64, resample=resample).resize(picture), np.asarray(expected))


@pytest.mark.parametrize(("height", "width"), [(256, 512), (1024, 512), (512, 512)])
def test_center_is_resize_then_cut(height: int, width: int) -> None:
    picture = smooth(height, width)
    scale = 256 / min(height, width)
    image = Image.fromarray(picture).resize((round(width * scale), round(height * scale)), Image.Resampling.BILINEAR)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    expected = np.asarray(image.crop((left, top, left + 224, top + 224)))
    square = PreprocessSpec(framing="center", crop_share=0.875).resize(picture)
    assert np.abs(square.astype(int) - expected).max() <= 1


def test_center_keeps_the_middle_and_whole_keeps_the_edges() -> None:
    picture = np.zeros((10, 30, 3), np.uint8)
    picture[:, 10:20] = 255
    assert PreprocessSpec(size=4, framing="center", crop_share=0.5).resize(picture).min() == 255
    assert PreprocessSpec(size=3).resize(picture)[0, 0, 0] < 128


def test_a_square_of_the_right_size_is_not_changed() -> None:
    picture = smooth(32, 32)
    square = PreprocessSpec(size=32).resize(picture)
    assert np.array_equal(square, picture)
    square[:] = 0  # and is a copy
    assert picture.any()


def test_decode_side() -> None:
    assert PreprocessSpec().decode_side == 224
    assert PreprocessSpec(crop_share=0.875).decode_side == 224
    assert PreprocessSpec(framing="center").decode_side == 224
    assert PreprocessSpec(framing="center", crop_share=0.875).decode_side == 256
    assert PreprocessSpec(size=299, framing="center", crop_share=0.875).decode_side == 342


def test_json_round_trip() -> None:
    for spec in (
        PreprocessSpec(),
        KERAS,
        PreprocessSpec(size=96, framing="center", crop_share=1 / 3, resample="lanczos"),
    ):
        assert PreprocessSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size", 0),
        ("size", 4097),
        ("size", 224.0),
        ("size", True),
        ("size", "224"),
        ("framing", "squash"),
        ("framing", ["whole"]),
        ("crop_share", 0),
        ("crop_share", 1.5),
        ("crop_share", None),
        ("resample", "nearest"),
        ("channel_order", "RGB"),
        ("scale", 0),
        ("scale", float("nan")),
        ("scale", float("inf")),
        ("scale", 10**400),
        ("mean", [0.5, 0.5]),
        ("mean", 0.5),
        ("mean", [0.5, 0.5, "0.5"]),
        ("mean", [0.5, 0.5, float("nan")]),
        ("std", [1.0, 1.0, 0.0]),
        ("std", [1.0, 1.0, -1.0]),
        ("std", [1.0, 1.0, False]),
    ],
)
def test_wrong_values_are_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"preprocessing: {key} is "):
        PreprocessSpec.from_json(PreprocessSpec().to_json() | {key: value})


@pytest.mark.parametrize("data", [None, [], "x", {}, {"size": 224}, PreprocessSpec().to_json() | {"extra\n": 1}])
def test_missing_and_unknown_keys_are_refused(data: object) -> None:
    with pytest.raises(ConfigError) as caught:
        PreprocessSpec.from_json(data)
    assert "\n" not in caught.value.message
