"""BLEU against values worked out by hand."""

import math

import pytest

from captioner.errors import MetricError
from captioner.metrics.bleu import Bleu


def _bleu(order: int, predictions: dict[str, str], references: dict[str, list[str]]) -> float:
    return Bleu(order).score(predictions, references).value


def test_a_word_counts_at_most_as_often_as_in_the_reference_that_has_it_most() -> None:
    # The example of the paper: "the" is twice in the first reference, once in the second; seven are predicted.
    references = {"1": ["the cat is on the mat", "there is a cat on the mat"]}
    assert _bleu(1, {"1": "the the the the the the the"}, references) == pytest.approx(100 * 2 / 7)


def test_higher_orders_are_geometric_means() -> None:
    # words: a b c d match (4 of 5), pairs: ab bc cd (3 of 4), threes: abc bcd (2 of 3), fours: abcd (1 of 2)
    predictions, references = {"1": "ant bee cow dog elk"}, {"1": ["ant bee cow dog fox"]}
    shares = [4 / 5, 3 / 4, 2 / 3, 1 / 2]
    for order in (1, 2, 3, 4):
        expected = math.prod(shares[:order]) ** (1 / order)
        assert _bleu(order, predictions, references) == pytest.approx(100 * expected)


def test_short_predictions_pay_for_their_brevity() -> None:
    assert _bleu(1, {"1": "ant bee"}, {"1": ["ant bee cow"]}) == pytest.approx(100 * math.exp(1 - 3 / 2))


def test_the_reference_of_the_closest_length_counts_and_the_shorter_of_two() -> None:
    # Lengths 3 and 5 are equally close to 4: the shorter counts, and there is no penalty.
    assert _bleu(1, {"1": "ant bee cow dog"}, {"1": ["ant bee cow dog elk", "fox gnu hen"]}) == pytest.approx(100)


def test_the_set_sums_before_it_divides() -> None:
    predictions = {"1": "ant bee cow dog", "2": "ant"}
    references = {"1": ["ant bee cow dog"], "2": ["fox"]}
    score = Bleu(1).score(predictions, references)
    assert score.value == pytest.approx(100 * 4 / 5)
    assert score.per_image == pytest.approx((100, 0), abs=1e-6)


def test_the_same_caption_scores_a_hundred() -> None:
    captions = {"1": "a heron stands in shallow water", "2": "two llamas graze on a hill"}
    for order in (1, 2, 3, 4):
        score = Bleu(order).score(captions, {key: [text, "something else"] for key, text in captions.items()})
        assert score.value == pytest.approx(100)
        assert score.per_image == pytest.approx((100, 100))


@pytest.mark.parametrize("order", [0, 5])
def test_orders_beyond_four_are_refused(order: int) -> None:
    with pytest.raises(MetricError, match="1 to 4"):
        Bleu(order)
