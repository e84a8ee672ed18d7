"""Training pictures that look alike: the nearest by the angle between features, and files that cannot be trusted."""

import numpy as np
import pytest

pytest.importorskip("onnx")
pytestmark = pytest.mark.torch

from graphs import COLOURS, SIZE, save_captioner, save_neighbours  # noqa: E402

import captioner  # noqa: E402
from captioner.bundle import NEIGHBOURS, NEIGHBOURS_CAPTIONS  # noqa: E402
from captioner.errors import BundleError, ConfigError, ImageError  # noqa: E402
from captioner.runtime.neighbours import Neighbours, directions  # noqa: E402


def plain(*colour: int) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), colour, np.uint8)


@pytest.mark.parametrize("colour", COLOURS)
def test_the_nearest_training_picture_is_the_one_of_the_same_colour(tmp_path, colour):
    model = captioner.load(save_captioner(tmp_path, more=save_neighbours(tmp_path)))
    pixels = plain(*(max(20, value - 40) for value in COLOURS[colour]))
    first, second = model.neighbours(pixels, 2)
    assert first.captions == (f"a {colour} wall", f"all {colour}")
    mine, theirs = (model.see([model.look(each)])[0] for each in (pixels, plain(*COLOURS[colour])))
    cosine = mine @ theirs / np.linalg.norm(mine) / np.linalg.norm(theirs)
    assert first.similarity == pytest.approx(cosine, abs=2e-3)  # kept in 16 bits
    assert second.similarity < first.similarity
    assert [each.captions[0] for each in model.neighbours(pixels)][:2] == [first.captions[0], second.captions[0]]


def test_many_pictures_are_ranked_as_all_angles_computed_at_once_rank_them():
    random = np.random.default_rng(0)
    features = random.normal(size=(9001, 16)).astype(np.float32)  # more than are compared together
    captions = [[str(row)] for row in range(len(features))]
    wanted = random.normal(size=(1, 16)).astype(np.float32)
    found = Neighbours(directions(features).astype(np.float16), captions).nearest(wanted, 20)
    exact = features.astype(np.float64) @ wanted[0] / np.linalg.norm(features, axis=1) / np.linalg.norm(wanted)
    assert exact[[int(each.captions[0]) for each in found]] == pytest.approx(np.sort(exact)[:-21:-1], abs=2e-3)


def test_regions_are_averaged_and_a_picture_of_nothing_is_like_nothing():
    grid = np.array([[[2.0, 0.0], [0.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert directions(grid) == pytest.approx(np.array([[0.5**0.5, 0.5**0.5], [0, 0]]))


def test_a_captioner_without_training_pictures_says_how_to_have_some(tmp_path):
    model = captioner.load(save_captioner(tmp_path))
    with pytest.raises(ConfigError, match="--neighbours"):
        model.neighbours(plain(1, 2, 3))
    with pytest.raises(ConfigError, match="count is 0"):
        model.neighbours(plain(1, 2, 3), 0)


def test_a_picture_that_cannot_be_read_is_an_error_of_the_picture(tmp_path):
    model = captioner.load(save_captioner(tmp_path, more=save_neighbours(tmp_path)))
    with pytest.raises(ImageError):
        model.neighbours(b"no picture")


def wrong_vectors(path):
    return {
        "text": lambda: path.write_text("not an array"),
        "nothing": lambda: path.write_bytes(b""),
        "cut": lambda: path.write_bytes(path.read_bytes()[:-2]),
        "pickled": lambda: np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True),
        "float64": lambda: np.save(path, np.zeros((3, 3))),
        "too few": lambda: np.save(path, np.zeros((2, 3), np.float16)),
        "too wide": lambda: np.save(path, np.zeros((3, 4), np.float16)),
        "flat": lambda: np.save(path, np.zeros(9, np.float16)),
    }


@pytest.mark.parametrize("fault", wrong_vectors(None))
def test_vectors_that_are_none_are_refused_in_one_line(tmp_path, fault):
    files = save_neighbours(tmp_path)
    wrong_vectors(files[NEIGHBOURS])[fault]()
    refused(tmp_path, files, NEIGHBOURS)


@pytest.mark.parametrize("text", ["{", "{}\n{}\n{}\n", "[1]\n[2]\n[3]\n", "[" * 100_000, "\xff"])
def test_captions_that_are_none_are_refused_in_one_line(tmp_path, text):
    files = save_neighbours(tmp_path)
    files[NEIGHBOURS_CAPTIONS].write_bytes(text.encode("latin-1"))
    refused(tmp_path, files, NEIGHBOURS_CAPTIONS)


def refused(folder, files, name):
    model = captioner.load(save_captioner(folder, more=files))
    with pytest.raises(BundleError, match=name) as caught:
        model.neighbours(plain(1, 2, 3))
    assert caught.value.message.isprintable()
