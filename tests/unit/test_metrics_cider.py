"""CIDEr against values worked out by hand, and its document frequencies on their own."""

import math

import pytest

from captioner.metrics.base import CaptionPairs
from captioner.metrics.cider import Cider, DocumentFrequencies, consensus
from captioner.metrics.ngrams import count_ngrams


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
    frequencies = DocumentFrequencies.from_references([[count_ngrams(["ant"])], [count_ngrams(["bee"])]])
    reference = frequencies.vector(count_ngrams(["ant"]))
    once = consensus(frequencies.vector(count_ngrams(["ant"])), [reference])
    assert once == pytest.approx(10 / 4)
    # Three ants: the cosine alone would stay 1; with the clip it is 1/3, and the lengths differ by two pairs.
    thrice = consensus(frequencies.vector(count_ngrams(["ant"] * 3)), [reference])
    assert thrice == pytest.approx(10 / 4 / 3 * math.exp(-(2**2) / 72))


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
    pairs = CaptionPairs.from_texts({"1": "", "2": ""}, {"1": ["ant bee", "ant ant"], "2": ["cow"]})
    frequencies = DocumentFrequencies.from_references(pairs.reference_ngrams)
    assert frequencies.image_count == 2
    assert frequencies.frequencies[("ant",)] == 1
    assert frequencies.frequencies[("ant", "bee")] == 1


def test_frequencies_made_once_give_the_score_of_the_set() -> None:
    predictions = {"1": "ant bee cow", "2": "dog elk", "3": "fox"}
    references = {"1": ["ant bee", "cow"], "2": ["dog gnu"], "3": ["hen fox"]}
    pairs = CaptionPairs.from_texts(predictions, references)
    frequencies = DocumentFrequencies.from_references(pairs.reference_ngrams)
    given, counted = Cider(frequencies).score(predictions, references), Cider().score(predictions, references)
    assert given.per_image == counted.per_image
    assert given.signature != counted.signature
    # One picture alone has a score when the frequencies come from a larger set.
    assert Cider(frequencies).score({"1": "ant bee"}, {"1": ["ant bee"]}).value > 0
