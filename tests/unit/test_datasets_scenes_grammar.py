import re
from itertools import islice, product
from random import Random

import pytest

from captioner.datasets.scenes import ScenesDataset
from captioner.datasets.scenes_grammar import choose_captions, is_true, true_captions
from captioner.datasets.scenes_world import COLOURS, SHAPES, Scene, SceneObject, is_above, is_left_of


def item(size, colour, shape, x, y):
    return SceneObject(shape, colour, size, x, y)


ONE = Scene((item("small", "orange", "star", 0.5, 0.5),), background="grey")
SIDE_BY_SIDE = Scene((item("small", "red", "circle", 0.2, 0.5), item("large", "blue", "star", 0.7, 0.5)))
TWO_AND_ONE = Scene(
    (
        item("small", "green", "cross", 0.2, 0.2),
        item("small", "green", "cross", 0.8, 0.2),
        item("large", "black", "heart", 0.5, 0.75),
    )
)
SAME_BUT_SIZE = Scene((item("small", "red", "square", 0.2, 0.2), item("large", "red", "square", 0.7, 0.3)))
THREE = Scene(
    (
        item("small", "red", "circle", 0.2, 0.2),
        item("small", "blue", "star", 0.8, 0.2),
        item("small", "green", "heart", 0.5, 0.8),
    )
)


def test_all_captions_of_one_object():
    phrases = ["a star", "an orange star", "a small star", "a small orange star"]
    assert true_captions(ONE) == {
        *phrases,
        *(f"there is {phrase}" for phrase in phrases),
        *(f"a picture of {phrase}" for phrase in phrases),
        *(f"{phrase} on a grey background" for phrase in phrases),
        *(f"there is {phrase} on a grey background" for phrase in phrases),
    }


TRUE = [
    (SIDE_BY_SIDE, "a red circle to the left of a blue star"),
    (SIDE_BY_SIDE, "a large blue star is to the right of a small red circle"),
    (SIDE_BY_SIDE, "a red circle and a blue star"),
    (SIDE_BY_SIDE, "there is a blue star and a red circle"),
    (SIDE_BY_SIDE, "one red circle and one blue star"),
    (SIDE_BY_SIDE, "a red circle is smaller than a blue star"),
    (SIDE_BY_SIDE, "a blue star is bigger than a red circle"),
    (SIDE_BY_SIDE, "two shapes on a white background"),
    (SIDE_BY_SIDE, "a small circle"),
    (TWO_AND_ONE, "two green crosses above a black heart"),
    (TWO_AND_ONE, "a large black heart is below two small green crosses"),
    (TWO_AND_ONE, "two green crosses are above a black heart"),
    (TWO_AND_ONE, "there are two green crosses and a black heart"),
    (TWO_AND_ONE, "there is a black heart and two green crosses"),
    (TWO_AND_ONE, "two green crosses and one black heart"),
    (TWO_AND_ONE, "three shapes"),
    (TWO_AND_ONE, "two green shapes"),
    (SAME_BUT_SIZE, "two red squares"),
    (SAME_BUT_SIZE, "a small red square to the left of a large red square"),
    (THREE, "a red circle, a blue star and a green heart"),
    (THREE, "a small green heart, a small red circle and a small blue star"),
]

FALSE = [
    (SIDE_BY_SIDE, "a green circle to the left of a blue star"),  # colour
    (SIDE_BY_SIDE, "a blue circle and a red star"),  # colours swapped
    (SIDE_BY_SIDE, "a red square and a blue star"),  # shape
    (SIDE_BY_SIDE, "a large red circle"),  # size
    (SIDE_BY_SIDE, "two red circles"),  # number
    (SIDE_BY_SIDE, "a red circle to the right of a blue star"),  # relation
    (SIDE_BY_SIDE, "a red circle above a blue star"),  # level with it
    (SIDE_BY_SIDE, "a red circle below a blue star"),
    (SIDE_BY_SIDE, "a red circle is bigger than a blue star"),
    (SIDE_BY_SIDE, "a red circle on a pink background"),
    (SIDE_BY_SIDE, "a red circle and a red circle"),  # there is only one
    (SIDE_BY_SIDE, "there are a red circle and a blue star"),  # grammar
    (SIDE_BY_SIDE, "an red circle"),
    (SIDE_BY_SIDE, "a red circle to the left of"),
    (SIDE_BY_SIDE, ""),
    (TWO_AND_ONE, "a green cross"),  # which one?
    (TWO_AND_ONE, "a green cross above a black heart"),
    (TWO_AND_ONE, "three green crosses"),
    (TWO_AND_ONE, "two green crosss"),
    (TWO_AND_ONE, "two green crosses is above a black heart"),
    (TWO_AND_ONE, "two green crosses to the left of a black heart"),  # one is to the right
    (TWO_AND_ONE, "three shapes and a black heart"),  # counts the heart twice
    (SAME_BUT_SIZE, "a red square"),
    (SAME_BUT_SIZE, "two small red squares"),
    (SAME_BUT_SIZE, "two red squares and a small red square"),
    (THREE, "a red circle, a blue star and a green star"),
]


@pytest.mark.parametrize(("scene", "caption"), TRUE)
def test_true_captions_are_true(scene, caption):
    assert is_true(caption, scene)


@pytest.mark.parametrize(("scene", "caption"), FALSE)
def test_false_captions_are_false(scene, caption):
    assert not is_true(caption, scene)


def test_case_punctuation_and_spaces_do_not_matter():
    assert is_true("  A red circle, a BLUE star   and a green heart. ", THREE)
    assert is_true("a red circle a blue star and a green heart", THREE)


@pytest.mark.parametrize(
    ("x", "y", "left", "above"),
    [
        (0.8, 0.2, True, False),  # level
        (0.2, 0.8, False, True),  # straight below
        (0.6, 0.6, True, True),  # diagonal: both are clear
        (0.56, 0.85, False, True),  # steep: only the greater way is clear
        (0.48, 0.2, False, False),  # too close to call
    ],
)
def test_relations_are_said_only_when_clear(x, y, left, above):
    first, second = item("small", "red", "circle", 0.2, 0.2), item("small", "blue", "star", x, y)
    assert (is_left_of(first, second), is_above(first, second)) == (left, above)
    assert not is_left_of(second, first)
    assert not is_above(second, first)


def scenes(count):
    dataset = ScenesDataset()
    return [record.source.scene for split in ("train", "novel") for record in islice(dataset.records(split), count)]


@pytest.mark.parametrize("scene", [ONE, SIDE_BY_SIDE, TWO_AND_ONE, SAME_BUT_SIZE, THREE])
def test_chosen_captions_are_different_true_and_repeatable(scene):
    chosen = choose_captions(scene, 5, Random(3))
    assert len(set(chosen)) == 5
    assert set(chosen) <= true_captions(scene)
    assert chosen == choose_captions(scene, 5, Random(3))


NUMBER = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4}


def count(scene, colour, shape):
    return sum((thing.colour, thing.shape) == (colour, shape) for thing in scene.objects)


def test_counts_agree_with_an_independent_count():
    """Every colour, shape and number, in every scene: true exactly when that many are there."""
    for scene in scenes(12):
        captions = true_captions(scene)
        for colour, shape, (word, number) in product(COLOURS, SHAPES, NUMBER.items()):
            if number == 1 and (word == "an") != (colour == "orange"):
                continue
            noun = shape if number == 1 else shape + ("es" if shape == "cross" else "s")
            assert (f"{word} {colour} {noun}" in captions) == (count(scene, colour, shape) == number)


def test_relations_agree_with_an_independent_checker():
    """Between single objects of all colours and shapes present: boxes apart along one way, not too far off across."""
    relations = {"to the left of": (1, 0), "to the right of": (-1, 0), "above": (0, 1), "below": (0, -1)}
    seen = 0
    for scene in scenes(60):
        captions = true_captions(scene)
        alone = [thing for thing in scene.objects if count(scene, thing.colour, thing.shape) == 1]
        for first, second, (words, (right, down)) in product(alone, alone, relations.items()):
            if first is second:
                continue
            dx, dy = second.x - first.x, second.y - first.y
            along, across = (dx * right, dy) if right else (dy * down, dx)
            expected = along - first.radius - second.radius >= 0.03 and abs(across) <= 1.5 * along
            one, other = (f"{'an' if t.colour == 'orange' else 'a'} {t.colour} {t.shape}" for t in (first, second))
            assert (f"{one} {words} {other}" in captions) == expected
            seen += expected
    assert seen > 50


def test_every_caption_is_well_formed():
    sentence = re.compile(r"[a-z]+(,? [a-z]+)+")
    for caption in set().union(*(true_captions(scene) for scene in scenes(40))):
        assert sentence.fullmatch(caption)
        for article, word in re.findall(r"\b(an?) ([a-z]+)", caption):
            assert (article == "an") == (word[0] in "aeiou")
        for verb, number in re.findall(r"there (is|are) ([a-z]+)", caption):
            assert (verb == "is") == (number in ("a", "an", "one"))
