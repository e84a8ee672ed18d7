"""Views of a picture: which part of it they show, that they follow from its content, and that the store keeps each."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from captioner.config.build import MAX_VIEWS
from captioner.features import FeatureStore, extract
from captioner.images import BytesSource, PreprocessSpec
from captioner.types import Record
from captioner.views import view_key, view_of

KEY = hashlib.sha256(b"a picture").digest()


def coordinates(height: int, width: int) -> np.ndarray:
    """A picture whose pixels say where they are: row, column, 0."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([rows, columns, np.zeros_like(rows)], axis=2)


def test_the_first_view_is_the_picture_and_the_second_its_mirror_image():
    picture = coordinates(3, 5)
    assert view_of(picture, KEY, 0).tolist() == picture.tolist()
    assert view_of(picture, KEY, 1)[..., 1].tolist() == [[4, 3, 2, 1, 0]] * 3
    assert view_of(picture, KEY, 1)[..., 0].tolist() == picture[..., 0].tolist()


@pytest.mark.parametrize("number", range(2, MAX_VIEWS))
def test_further_views_are_parts_of_half_the_area_at_least_every_other_one_mirrored(number):
    height, width = 180, 240
    part = view_of(coordinates(height, width), KEY, number)
    across = -1 if number % 2 else 1
    assert (np.diff(part[..., 0].astype(int), axis=0) == 1).all()
    assert (np.diff(part[..., 1].astype(int), axis=1) == across).all()
    assert 0.45 < part.shape[0] * part.shape[1] / (height * width) <= 1


def test_parts_differ_from_one_another_and_from_picture_to_picture():
    other = hashlib.sha256(b"another picture").digest()
    picture = coordinates(180, 240)
    corners = {(*view_of(picture, key, number)[0, 0], key) for key in (KEY, other) for number in range(2, 12)}
    assert len({corner[:2] for corner in corners}) >= 18


def test_a_view_follows_from_content_and_number():
    picture = coordinates(50, 60)
    for number in range(5):
        assert view_of(picture, KEY, number).tolist() == view_of(picture, KEY, number).tolist()
    keys = [view_key(KEY, number) for number in range(MAX_VIEWS)]
    assert keys[0] == KEY
    assert len(set(keys)) == MAX_VIEWS
    assert {len(key) for key in keys} == {32}


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (2, 3)])
def test_tiny_and_thin_pictures_have_views_too(size):
    for number in range(12):
        assert view_of(coordinates(*size), KEY, number).size > 0


# ---- in the store ---------------------------------------------------------------------------------------------------

SPEC = PreprocessSpec(size=4)


def portrait(number: int) -> bytes:
    """A PNG file whose left half is dark."""
    pixels = np.full((12, 12, 3), 200 + number, np.uint8)
    pixels[:, :6] = number
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def fill(folder, views, count=5):
    """Rows of each record's views: the mean red of the left and of the right half."""
    store = FeatureStore(folder, (2,), "float16", {"encoder": "halves"})
    shown = []

    def represent(squares):
        shown.append(len(squares))
        return np.stack([squares[:, :, :2, 0].mean(axis=(1, 2)), squares[:, :, 2:, 0].mean(axis=(1, 2))], axis=1)

    records = [
        Record(str(number), BytesSource(str(number), portrait(number)), ("a",), "train") for number in range(count)
    ]
    found = list(extract(records, store, represent, SPEC, views=views, batch=2))
    return found, [store.reader()(np.array(each.views)) for each in found], shown


def test_every_view_has_a_row_of_its_own(tmp_path):
    found, rows, shown = fill(tmp_path, 6)
    assert sum(shown) == 30
    assert max(shown) <= 2  # no more at once than without views
    assert len({row for each in found for row in each.views}) == 30
    for number, (each, seen) in enumerate(zip(found, rows, strict=True)):
        assert each.row == each.views[0]
        assert seen[0].tolist() == pytest.approx([number, 200 + number], abs=15)  # the edge is smoothed
        assert seen[1].tolist() == pytest.approx([200 + number, number], abs=15)
        for view in range(2, 6):
            dark_first = seen[view, 0] < seen[view, 1]
            assert dark_first == (view % 2 == 0)


def test_more_views_later_are_computed_and_the_others_found(tmp_path):
    fill(tmp_path, 1)
    _, _, shown = fill(tmp_path, 3)
    assert sum(shown) == 10
    found, _, shown = fill(tmp_path, 2)
    assert not shown
    assert {len(each.views) for each in found} == {2}
