"""Pictures in, pixels out: the one decoder of untrusted bytes, and the one implementation of `PreprocessSpec`.

Training, command line and server all read pictures here. Whatever the bytes are, the end is a uint8 RGB array
(height, width, 3) or an `ImageError` of one line. What decides is the content, never a name or a suffix. Colour
profiles are not applied: numbers are taken as sRGB. Knows nothing of networks, captions or data sets.

(Longer than 300 lines: decoder and preprocessing are one fact, how a file becomes the numbers that a network sees.)
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import math
import os
import stat
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from PIL import Image, UnidentifiedImageError

from captioner.errors import ConfigError, ImageError, printable
from captioner.types import ImageSource

MAX_FILE_BYTES = 20_000_000
"""Larger files are refused; photographs of phones have 3 to 12 million bytes."""
MAX_PIXELS = 50_000_000
"""Pictures whose header announces more are refused before anything is decoded."""
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
"""What is read, told apart by content."""
DECODING = 2
"""Grows whenever the same bytes begin to give other pixels, so that nothing made of the old ones is taken for new."""

Picture: TypeAlias = str | os.PathLike[str] | bytes | ImageSource | np.ndarray | Image.Image
"""All that `load_image` takes: a path, the bytes of a file, a source, a uint8 array, or a Pillow image."""

_BEGINNINGS: dict[str, tuple[int, tuple[bytes, ...]]] = {
    "Jpeg": (0, (b"\xff\xd8",)),
    "Png": (0, (b"\x89PNG",)),
    "Gif": (0, (b"GIF8",)),
    "WebP": (8, (b"WEBP",)),
    "Bmp": (0, (b"BM",)),
    "Tiff": (0, (b"II", b"MM")),
    "Avif": (4, (b"ftyp",)),
}
"""Which of Pillow's modules a file is for: where, and how, files of the format begin."""
_ORIENTATION, _PHOTOMETRIC, _TILE_WIDTH, _TILE_HEIGHT = 274, 262, 322, 323  # tags of EXIF and TIFF
_MAX_SIDE = 1_000_000  # Pillow keeps a pointer for every row, whatever its width
_BAND_PIXELS = 2**18  # pictures are converted this many pixels at a time, to need little memory beside their own
_AMPLE = 3  # this many times the size that is wanted is enough for resampling to come out the same to the eye


@dataclass(frozen=True)
class FileSource:
    """A picture in a file.

    Args:
        path: where it is; names that are not UTF-8 are fine.
    """

    path: Path

    @property
    def name(self) -> str:
        """The path as text that is safe to print: control characters and stray bytes appear as escapes."""
        return printable(str(self.path))

    @property
    def version(self) -> str:
        """Size and time of the file; `missing` when there is none."""
        try:
            status = self.path.stat()
        except (OSError, ValueError):
            return "missing"
        return f"{status.st_size} {status.st_mtime_ns}"

    def read_bytes(self) -> bytes:
        """The content of the file; at most one byte more than `MAX_FILE_BYTES` is ever read.

        Raises `ImageError`: `missing`, `not_a_file` (folder, pipe, socket, device: never opened), `too_large`, or
        `unreadable`.
        """
        try:
            status = self.path.stat()
            if not stat.S_ISREG(status.st_mode):
                if stat.S_ISDIR(status.st_mode):
                    wanted = "is a folder; name a picture file, or give the folder to captioner batch"
                else:
                    wanted = "is a pipe, socket or device; name a picture file"
                raise ImageError(f"{self.name}: {wanted}", code="not_a_file")
            _check_length(status.st_size, f"{self.name}: ")
            with open(self.path, "rb", opener=_open_without_waiting) as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ImageError(f"{self.name}: no such file; check the path", code="missing") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "the name is not valid"
            raise ImageError(f"{self.name}: cannot be read ({reason}); check the path", code="unreadable") from error
        _check_length(len(data), f"{self.name}: ")
        return data


@dataclass(frozen=True)
class BytesSource:
    """A picture in memory.

    Args:
        name: how to name it to a person.
        data: the encoded picture.
    """

    name: str
    data: bytes

    @property
    def version(self) -> str:
        """SHA-256 of the bytes."""
        return hashlib.sha256(self.data).hexdigest()

    def read_bytes(self) -> bytes:
        """The encoded picture."""
        return self.data


def load_image(picture: Picture, *, at_least: int = 0) -> np.ndarray:
    """Pixels of whatever stands for a picture: uint8 RGB (height, width, 3); may share memory with an array given.

    Args:
        picture: a path, the bytes of a file, an `ImageSource`, an array as for `check_array`, or a Pillow image.
        at_least: as for `decode_image`; has no effect on arrays and Pillow images.

    Raises:
        ImageError: with the name of the picture in front, where it has one; see `decode_image` and `check_array`.
    """
    if isinstance(picture, np.ndarray | Image.Image):
        return check_array(picture)
    source = _source(picture)
    data = source.read_bytes()
    try:
        return decode_image(data, at_least=at_least)
    except ImageError as error:
        raise ImageError(f"{source.name}: {error.message}", code=error.code) from error


def decode_image(data: bytes, *, at_least: int = 0, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an encoded picture into uint8 RGB (height, width, 3), turned as its EXIF orientation says.

    Transparency is laid on white; CMYK becomes RGB; the first frame stands for an animation. 16-bit gray is scaled by
    1/257, or by 255/4095 in a TIFF without values above 4095 (12-bit cameras). 32-bit integers and floats have no
    agreed white: their lowest finite value becomes black, the highest white, and NaN black.

    Args:
        data: the content of a file.
        at_least: decoding may stop at a reduced size whose sides both have this many pixels, which is quicker and
            needs less memory: JPEG stops at 1/2, 1/4 or 1/8 of the full size, and whatever is then still larger by
            `_AMPLE` or more is averaged over blocks; 0 decodes the full size.
        max_pixels: pictures with more, or with a side above 1,000,000, are refused; beyond 178,956,970 Pillow's own
            limit stands.

    Raises:
        ImageError: `too_large`, `too_many_pixels`, `unsupported`, or `corrupt` (which includes cut short).
    """
    _check_length(len(data))
    with _pillow_errors_as_image_errors(), _open(data) as image:
        _check_extents(image, max_pixels)
        if at_least > 0:
            image.draft(None, (at_least, at_least))
        image.load()
        if image.format == "PNG":
            _rescale_png_key(image, bits=data[24])  # the depth is the 25th byte of every PNG
        return _rgb_array(image, at_least)


def _open(data: bytes) -> Image.Image:
    """`Image.open` for the one format that the data begin as: to get all of them ready takes longer than to decode."""
    for name, (place, beginnings) in _BEGINNINGS.items():
        if data.startswith(beginnings, place):
            importlib.import_module(f"PIL.{name}ImagePlugin")
            factory, accept = Image.OPEN[name.upper()]
            try:
                if accept is None or accept(data[:16]) is True:
                    return factory(io.BytesIO(data), "")
            except (SyntaxError, IndexError, TypeError, struct.error):  # what Pillow takes for another format too
                break
    raise UnidentifiedImageError


def check_array(array: np.ndarray | Image.Image) -> np.ndarray:
    """A picture that is in memory already, as uint8 RGB (height, width, 3); may share memory with `array`.

    Args:
        array: uint8 (height, width, 3), (height, width) gray or (height, width, 4) with alpha, which is laid on white;
            read-only and with any strides; or a Pillow image, which is treated as `decode_image` treats a file.

    Raises:
        ImageError: `bad_array` for any other array; for Pillow images also as `decode_image`.
    """
    if isinstance(array, Image.Image):
        with _pillow_errors_as_image_errors():
            if 0 in array.size:
                raise ImageError("the Pillow image has no pixels", code="bad_array")
            _check_extents(array, MAX_PIXELS)
            array.load()
            return _rgb_array(array)
    if not isinstance(array, np.ndarray):
        raise ImageError(f"expected an array or a Pillow image, got {type(array).__name__}", code="bad_array")
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not is_picture or array.size == 0:
        raise ImageError(
            f"expected a uint8 array (height, width, 3), (height, width) or (height, width, 4), got {array.dtype} "
            f"{array.shape}; convert it first",
            code="bad_array",
        )
    if array.ndim == 2:
        array = np.repeat(array[:, :, np.newaxis], 3, axis=2)
    elif array.shape[2] == 4:
        array = _on_white(array)
    return np.ascontiguousarray(array)


def _open_without_waiting(path: str, flags: int) -> int:
    """Opens a pipe that took the place of the file since it was looked at without waiting for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _source(picture: object) -> ImageSource:
    if isinstance(picture, str | os.PathLike):
        return FileSource(Path(picture))
    if isinstance(picture, bytes | bytearray | memoryview):
        return BytesSource("picture", bytes(picture))
    if hasattr(picture, "name") and hasattr(picture, "read_bytes"):
        return cast("ImageSource", picture)
    raise ImageError(
        f"expected a path, bytes, an array or a Pillow image, got {type(picture).__name__}", code="bad_array"
    )


def _check_length(length: int, prefix: str = "") -> None:
    if length > MAX_FILE_BYTES:
        raise ImageError(f"{prefix}more than {MAX_FILE_BYTES:,} bytes; save the picture smaller", code="too_large")
    if length == 0:
        raise ImageError(f"{prefix}empty (0 bytes); save or download the picture again", code="corrupt")


def _check_extents(image: Image.Image, max_pixels: int) -> None:
    """Refuses what would decode into too many pixels, in the picture or in one tile of a TIFF."""
    tags = getattr(image, "tag_v2", {})
    tile = tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_HEIGHT, 0)
    if min(image.size) < 1:
        raise ImageError("a side of 0 pixels is announced; save or download the picture again", code="corrupt")
    if max(image.width * image.height, tile) > max_pixels or max(image.size) > _MAX_SIDE:
        raise ImageError(
            f"{image.width} × {image.height} pixels; at most {max_pixels:,} in all and {_MAX_SIDE:,} a side are read; "
            "save the picture smaller",
            code="too_many_pixels",
        )


class _PillowWarningsIgnored:
    """Ignores the warnings of Pillow while any thread is inside.

    `warnings.catch_warnings` changes a list that all threads share; two that overlap can leave it changed for good.
    Here the first thread in sets the filter, and the last one out puts back what was there.
    """

    _lock = threading.Lock()
    _threads_inside = 0
    _filters = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if type(self)._threads_inside == 0:
                self._filters.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=r"PIL\.")
            type(self)._threads_inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            type(self)._threads_inside -= 1
            if type(self)._threads_inside == 0:
                self._filters.close()


@contextlib.contextmanager
def _pillow_errors_as_image_errors() -> Iterator[None]:
    """Whatever Pillow raises becomes an `ImageError`; its own texts, which may hold addresses, are left out."""
    try:
        with _PillowWarningsIgnored():
            yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError("far too many pixels; save the picture smaller", code="too_many_pixels") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"not a picture, damaged at its beginning, or of another format than {', '.join(FORMATS)}",
            code="unsupported",
        ) from error
    except MemoryError as error:
        raise ImageError(
            "decoding needs more memory than there is; save the picture smaller", code="too_large"
        ) from error
    except Exception as error:  # damaged files make Pillow raise almost anything: OSError, SyntaxError, KeyError, …
        raise ImageError("damaged or cut short; save or download the picture again", code="corrupt") from error


_AS_STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: upright.swapaxes(0, 1)[::-1],
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: upright.swapaxes(0, 1)[:, ::-1],
}
"""For each EXIF orientation: the view of the upright picture whose rows and columns are those of the file."""


def _rgb_array(image: Image.Image, at_least: int = 0) -> np.ndarray:
    """The loaded picture as upright uint8 RGB (height, width, 3); leaves `image` as it is. See `decode_image`."""
    if image.mode == "LAB":
        raise ImageError("stores its colours as LAB; convert it to RGB first", code="unsupported")
    orientation = _orientation(image)
    block = max(1, min(image.size) // (_AMPLE * at_least)) if at_least > 0 else 1
    width, height = (math.ceil(side / block) for side in image.size)
    upright = np.empty((width, height, 3) if orientation >= 5 else (height, width, 3), np.uint8)
    stored = _AS_STORED[orientation](upright) if orientation in _AS_STORED else upright
    is_deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
    black, white = _gray_range(image) if is_deep else (0.0, 255.0)
    for top, band in _bands(image, block):
        if is_deep:
            pixels = np.repeat(_gray_to_8_bits(band, black, white)[:, :, np.newaxis], 3, axis=2)
        elif image.has_transparency_data:
            pixels = _on_white(np.asarray(band.convert("RGBA")))
        else:
            pixels = np.asarray(band if band.mode == "RGB" else band.convert("RGB"))
        if block > 1:
            pixels = np.asarray(Image.fromarray(pixels).reduce(block))
        stored[top // block : top // block + len(pixels)] = pixels
    return upright


def _orientation(image: Image.Image) -> int:
    """1 to 8; 1 when there is none, or the metadata are damaged, which is no reason to refuse the picture."""
    with contextlib.suppress(Exception):
        orientation = image.getexif().get(_ORIENTATION, 1)
        if orientation in _AS_STORED:
            return int(orientation)
    return 1


def _bands(image: Image.Image, block: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """Yields the picture from top to bottom in full-width pieces that begin at whole blocks: (first row, piece)."""
    rows = max(1, _BAND_PIXELS // image.width // block) * block
    if rows >= image.height:
        yield 0, image  # without the copy that `crop` makes
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _on_white(rgba: np.ndarray) -> np.ndarray:
    """Lays uint8 (height, width, 4) on white: colour × alpha + 255 × (1 − alpha), rounded; (height, width, 3)."""
    alpha = rgba[:, :, 3:].astype(np.uint16)
    return ((rgba[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _gray_range(image: Image.Image) -> tuple[float, float]:
    """Which values of a deep gray picture are black and white."""
    lowest, highest = math.inf, -math.inf
    for _, band in _bands(image):
        values = np.asarray(band)
        finite = values[np.isfinite(values)]
        if finite.size:
            lowest, highest = min(lowest, float(finite.min())), max(highest, float(finite.max()))
    if not image.mode.startswith("I;16"):
        return lowest, highest
    full = 4095.0 if image.format == "TIFF" and highest <= 4095 else 65535.0  # cameras write 12 bits into 16
    is_negative = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0  # WhiteIsZero, which Pillow leaves to us
    return (full, 0.0) if is_negative else (0.0, full)


def _gray_to_8_bits(band: Image.Image, black: float, white: float) -> np.ndarray:
    """Maps black … white to 0 … 255, linearly; uint8 (height, width)."""
    values = np.asarray(band).astype(np.float64)
    if black == white or not math.isfinite(white - black):
        return np.zeros(values.shape, np.uint8)
    scaled = np.nan_to_num((values - black) * (255 / (white - black)), nan=0.0)
    transparent = band.info.get("transparency")
    if isinstance(transparent, int):
        scaled[values == transparent] = 255
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def _rescale_png_key(image: Image.Image, *, bits: int) -> None:
    """Brings the transparent colour (tRNS) to 8 bits: Pillow brings the pixels there, but leaves this as it was."""
    key = image.info.get("transparency")
    if image.mode == "L" and isinstance(key, int) and bits < 8:
        image.info["transparency"] = key * 255 // (2**bits - 1)
    elif image.mode == "RGB" and isinstance(key, tuple) and bits == 16:
        image.info["transparency"] = tuple(value >> 8 for value in key)


_RESAMPLE = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_NAMES = {"framing": ("whole", "center"), "resample": tuple(_RESAMPLE), "channel_order": ("rgb", "bgr")}


@dataclass(frozen=True)
class PreprocessSpec:
    """How a picture becomes the numbers that an encoder wants; belongs to its weights, and goes where they go.

    Args:
        size: side of the square that the encoder wants, in pixels.
        framing: `whole` squeezes the whole frame into the square; `center` makes the shorter side `size / crop_share`
            and cuts the square out of the middle.
        crop_share: the part of the shorter side that `center` keeps, for example 0.875 = 224/256.
        resample: `bilinear`, `bicubic` or `lanczos`, as in Pillow (antialiased).
        channel_order: `rgb` or `bgr`.
        scale: multiplies the values 0 … 255.
        mean: subtracted after scaling, in channel order.
        std: divided by, in channel order.

    Raises `ConfigError` when a value is of the wrong type or out of range.
    """

    size: int = 224
    framing: str = "whole"
    crop_share: float = 1.0
    resample: str = "bilinear"
    channel_order: str = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        self._require("size", type(self.size) is int and 1 <= self.size <= 4096, "a whole number, 1 to 4096")
        for name, valid in _NAMES.items():
            value = getattr(self, name)
            self._require(name, isinstance(value, str) and value in valid, "one of " + ", ".join(valid))
        self._require("crop_share", _is_number(self.crop_share, 0.01, 1), "a share, 0.01 to 1")
        self._require("scale", _is_number(self.scale, 1e-6, 1e6), "a number, 0.000001 to 1000000")
        for name, low in (("mean", -1e6), ("std", 1e-6)):
            value = getattr(self, name)
            is_triple = isinstance(value, tuple) and len(value) == 3 and all(_is_number(v, low, 1e6) for v in value)
            self._require(name, is_triple, f"three numbers, {low:g} to 1000000")

    def _require(self, name: str, condition: bool, expected: str) -> None:
        if not condition:
            raise ConfigError(f"preprocessing: {name} is {getattr(self, name)!r}; expected {expected}")

    @property
    def decode_side(self) -> int:
        """Both sides need this many pixels for `resize` not to enlarge; give it to `decode_image` as `at_least`."""
        return math.ceil(self.size / self.crop_share) if self.framing == "center" else self.size

    def resize(self, rgb: np.ndarray) -> np.ndarray:
        """Bring uint8 RGB (height, width, 3) into the square: uint8 RGB (size, size, 3).

        Needs little memory at any aspect ratio: sides above 16 times their target are averaged down first.
        """
        height, width = rgb.shape[:2]
        box = (0.0, 0.0, float(width), float(height))
        if self.framing == "center":  # cutting and resizing in one step, so that what is cut off is never enlarged
            side = min(height, width) * self.crop_share
            left, top = (width - side) / 2, (height - side) / 2
            box = (left, top, left + side, top + side)
        square = Image.fromarray(rgb).resize(
            (self.size, self.size), _RESAMPLE[self.resample], box=box, reducing_gap=16.0
        )
        return np.array(square)

    def normalize(self, squares: np.ndarray) -> np.ndarray:
        """Turn uint8 RGB (…, size, size, 3) into contiguous float32 (…, 3, size, size).

        (value × scale − mean) / std, as one multiplication and one addition; the same bits alone and in a batch.
        """
        pixels = np.empty((*squares.shape[:-3], 3, *squares.shape[-3:-1]), np.float32)
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            values = squares[..., channel if self.channel_order == "rgb" else 2 - channel]
            plane = pixels[..., channel, :, :]
            np.multiply(values, np.float32(self.scale / std), out=plane)
            np.subtract(plane, np.float32(mean / std), out=plane)
        return pixels

    def apply(self, rgb: np.ndarray) -> np.ndarray:
        """From uint8 RGB (height, width, 3) to float32 (3, size, size)."""
        return self.normalize(self.resize(rgb))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; `from_json` is its mirror image."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: object) -> PreprocessSpec:
        """From what `to_json` gave. Raises `ConfigError` when a key is missing or unknown, or a value is wrong."""
        names = [field.name for field in fields(cls)]
        if not isinstance(data, dict) or set(data) != set(names):
            found = ", ".join(map(repr, data)) if isinstance(data, dict) else type(data).__name__
            raise ConfigError(f"preprocessing: expected exactly the keys {', '.join(names)}; found {found}")
        values: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in data.items()}
        return cls(**values)


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
