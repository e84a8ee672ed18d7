"""captioner.images on hostile and odd files from other projects' tests: every verdict is the one of the manifest."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from captioner.errors import ImageError
from captioner.images import PreprocessSpec, load_image

CORPUS = Path(__file__).parents[3] / "shared" / "bad_images"
LEAKS = re.compile(r"0x[0-9a-f]{6,}|object at|Traceback|BytesIO|[\x00-\x1f\x7f]", re.IGNORECASE)


def manifest() -> list[dict[str, str]]:
    path = CORPUS / "MANIFEST.tsv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


ROWS = manifest()
pytestmark = pytest.mark.skipif(not ROWS, reason="../shared/bad_images is not here")


def outcome(path: Path) -> np.ndarray | ImageError:
    try:
        return load_image(path)
    except ImageError as error:
        return error


@pytest.mark.parametrize("row", ROWS, ids=[row["file"] for row in ROWS])
def test_verdict_is_the_one_of_the_manifest(row: dict[str, str]) -> None:
    path = CORPUS / row["file"]
    pixels = outcome(path)
    if isinstance(pixels, ImageError):
        assert row["expected"] != "caption", pixels.message
        assert pixels.message.startswith(f"{path}: ")
        assert not LEAKS.search(pixels.message)
        return
    assert row["expected"] in ("caption", "caption_or_clear_error")
    assert pixels.dtype == np.uint8
    width, height = map(int, row["size"].split("x"))
    assert pixels.shape[:2] in ((height, width), (width, height))
    assert PreprocessSpec(framing="center", crop_share=0.875).apply(pixels).shape == (3, 224, 224)


def read(name: str) -> np.ndarray:
    path = CORPUS / name
    if not path.is_file():
        pytest.skip(f"{name} is not in this corpus")
    return load_image(path)


def test_the_same_picture_stored_in_two_orientations_is_the_same() -> None:
    turned, upside_down = (read(f"valid_odd/libvips__rotation_{number}.jpg") for number in (6, 3))
    assert turned.shape[0] > turned.shape[1]
    assert upside_down.shape[0] > upside_down.shape[1]
    spec = PreprocessSpec(size=64)
    difference = np.abs(spec.resize(turned).astype(int) - spec.resize(upside_down)).mean()
    other_way_up = np.abs(spec.resize(turned).astype(int) - spec.resize(upside_down[::-1, ::-1])).mean()
    assert difference < other_way_up / 3


def test_deep_gray_keeps_its_levels() -> None:
    assert len(np.unique(read("valid_odd/pillow__16bit.cropped.tif"))) > 16
