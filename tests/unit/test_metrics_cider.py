"""CIDEr against values worked out by hand, against its formulas word for word, and as a reward."""

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioner.metrics.cider import Cider, CiderD


def test_the_same_caption_scores_a_thousand() -> None:
    captions = {"1": "ant bee cow dog", "2": "elk fox gnu hen"}
    score = Cider().score(captions, {key: [text] for key, text in captions.items()})
    assert score.per_image == pytest.approx((1000, 1000))


def test_known_value_with_a_difference_in_length() -> None:
    # Single words only differ: four of the reference's five, all equally rare (in one picture of two).
    score = Cider().score(
        {"1": "ant bee cow dog", "2": "x-ray"}, {"1": ["ant bee cow dog elk"], "2": ["fox gnu hen ibis jay"]}
    )
    cosines = [math.sqrt(words / (words + 1)) for words in (4, 3, 2, 1)]
    assert score.per_image[0] == pytest.approx(1000 * sum(cosines) / 4 * math.exp(-1 / 72))


def test_repeating_a_word_is_clipped() -> None:
    score = CiderD([[["ant"]], [["bee"]]])
    assert score([["ant"]], [0]) == pytest.approx(10 / 4)
    # Three ants: the cosine alone would stay 1; with the clip it is 1/3, and the lengths differ by two pairs.
    assert score([["ant"] * 3], [0]) == pytest.approx(10 / 4 / 3 * math.exp(-(2**2) / 72))


def test_words_in_every_picture_weigh_nothing() -> None:
    score = Cider().score({"1": "a", "2": "a"}, {"1": ["a dog"], "2": ["a cat"]})
    assert score.value == 0


def test_one_picture_scores_zero_without_crashing() -> None:
    assert Cider().score({"1": "a dog"}, {"1": ["a dog"]}).value == 0


def test_the_set_is_the_mean_of_its_pictures() -> None:
    score = Cider().score(
        {"1": "ant bee cow", "2": "dog elk", "3": "fox"}, {"1": ["ant bee"], "2": ["dog gnu", "elk"], "3": ["hen"]}
    )
    assert len(set(score.per_image)) == 3
    assert score.value == pytest.approx(sum(score.per_image) / 3)


def test_frequencies_count_pictures_not_captions() -> None:
    # "ant" is in one picture of two, three times over; "cow" once: both are equally rare, and so weigh the same.
    score = CiderD([[["ant", "bee"], ["ant", "ant"]], [["cow", "bee"]]])
    ant, cow, bee = score([["ant"], ["cow"], ["bee"]], [0, 1, 0])
    assert ant > 0
    assert cow > 0
    assert bee == 0


def test_any_number_of_captions_a_picture_in_any_order() -> None:
    references = [[["ant", "bee"], ["cow"]], [["dog", "gnu"]], [["hen", "fox"], ["fox"], ["hen"]]]
    captions = [["fox"], ["dog", "gnu", "new"], ["hen", "fox"], [], ["ant", "bee"], ["dog", "new", "new"]]
    images = [2, 1, 2, 0, 0, 1]
    score = CiderD(references)
    together = score(captions, images)
    alone = [score([caption], [image])[0] for caption, image in zip(captions, images, strict=True)]
    assert together == pytest.approx(alone)
    assert together[3] == 0
    assert together[4] > together[3]
    assert len(score([], [])) == 0


def slow_cider(caption: list[str], references: list[list[list[str]]], image: int) -> float:
    """The formulas of the module's text, word for word, with dictionaries."""

    def grams(words: list[str], n: int) -> Counter[tuple[str, ...]]:
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    total = 0.0
    for reference in references[image]:
        for n in (1, 2, 3, 4):
            seen = Counter(g for captions in references for g in {g for each in captions for g in grams(each, n)})
            rarity = {g: math.log(len(references)) - math.log(max(1, seen[g])) for g in {*seen, *grams(caption, n)}}
            ours = {g: count * rarity[g] for g, count in grams(caption, n).items()}
            theirs = {g: count * rarity[g] for g, count in grams(reference, n).items()}
            norms = math.hypot(*ours.values()) * math.hypot(*theirs.values())
            if norms:
                product = sum(min(w, theirs.get(g, 0)) * theirs.get(g, 0) for g, w in ours.items())
                lengths = max(0, len(caption) - 1) - max(0, len(reference) - 1)
                total += product / norms / 4 * math.exp(-(lengths**2) / 72)
    return 10 * total / len(references[image])


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_arrays_agree_with_the_formulas(data: st.DataObject) -> None:
    words = st.lists(st.sampled_from("abcdef"), max_size=7)
    references = data.draw(st.lists(st.lists(words, min_size=1, max_size=3), min_size=1, max_size=4))
    caption = data.draw(st.lists(st.sampled_from("abcdefxy"), max_size=7))
    image = data.draw(st.integers(0, len(references) - 1))
    assert CiderD(references)([caption], [image])[0] == pytest.approx(slow_cider(caption, references, image))


def test_both_names_are_one_number() -> None:
    captions = {"1": "ant bee cow", "2": "dog elk"}, {"1": ["ant bee"], "2": ["dog gnu", "elk"]}
    ours, theirs = Cider().score(*captions), Cider("CIDEr-D").score(*captions)
    assert (ours.name, theirs.name) == ("CIDEr", "CIDEr-D")
    assert ours.per_image == theirs.per_image
    assert ours.signature.partition("|")[2] == theirs.signature.partition("|")[2]
