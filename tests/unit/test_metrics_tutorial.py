"""BLEU as the tutorial computes it: the recorded values of NLTK, NLTK itself where it is installed, and limits."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioner.errors import MetricError
from captioner.metrics.tutorial import tutorial_bleu, tutorial_words

_GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "tutorial.json").read_text(encoding="utf-8"))
_WEIGHTS = ((1.0, 0, 0, 0), (0.5, 0.5, 0, 0), (0.3, 0.3, 0.3, 0), (0.25, 0.25, 0.25, 0.25))

_CAPTIONS = st.lists(st.sampled_from(["a", "the", "dog", "cat", "runs", "on", "t-shirt", "2"]), max_size=8).map(
    " ".join
)
_SETS = st.dictionaries(
    st.sampled_from("pqrstu"), st.tuples(_CAPTIONS, st.lists(_CAPTIONS, min_size=1, max_size=4)), min_size=1, max_size=5
)


@pytest.mark.parametrize("recorded", _GOLDEN["words"], ids=lambda recorded: recorded["caption"])
def test_words_are_those_of_the_tutorial(recorded: dict) -> None:
    assert tutorial_words(recorded["caption"]) == recorded["words"]


@pytest.mark.parametrize("system", _GOLDEN["systems"])
def test_scores_are_those_of_nltk(system: str) -> None:
    recorded = _GOLDEN["systems"][system]
    scores = tutorial_bleu(recorded["predictions"], recorded["references"])
    assert [score.name for score in scores] == list(recorded["scores"])
    for score in scores:
        assert score.value == pytest.approx(recorded["scores"][score.name]["value"], rel=1e-9, abs=0)
        assert score.per_image == pytest.approx(recorded["scores"][score.name]["per_image"], rel=1e-9, abs=0)


@settings(deadline=None, max_examples=60)
@given(captions=_SETS)
def test_scores_are_those_of_the_nltk_that_is_installed(captions: dict) -> None:
    reason = "nltk is not installed; the recorded values are compared all the same"
    nltk = pytest.importorskip("nltk.translate.bleu_score", reason=reason)
    predictions = {key: prediction for key, (prediction, _) in captions.items()}
    references = {key: texts for key, (_, texts) in captions.items()}
    scores = tutorial_bleu(predictions, references)
    actual = [[tutorial_words(text) for text in references[key]] for key in predictions]
    predicted = [tutorial_words(text) for text in predictions.values()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nltk warns of each order without a match
        for score, weights in zip(scores, _WEIGHTS, strict=True):
            assert score.value == pytest.approx(
                100 * nltk.corpus_bleu(actual, predicted, weights=weights), rel=1e-9, abs=0
            )
            each = [
                100 * nltk.sentence_bleu(ours, words, weights=weights)
                for ours, words in zip(actual, predicted, strict=True)
            ]
            assert score.per_image == pytest.approx(each, rel=1e-9, abs=0)


def test_signatures_tell_the_protocol() -> None:
    scores = tutorial_bleu({"1": "a dog", "2": "a cat"}, {"1": ["a dog"] * 5, "2": ["a cat"] * 5})
    assert [score.signature for score in scores] == [
        f"Tutorial BLEU-{order}|tok:words-of-two-letters-or-more|markers:kept|refs:5|variant:nltk,weights:{weights}"
        "|version:1"
        for order, weights in enumerate(["1", ".5-.5", ".3-.3-.3", ".25-.25-.25-.25"], start=1)
    ]
    varying = tutorial_bleu({"1": "a dog", "2": "a cat"}, {"1": ["a dog"] * 5, "2": ["a cat"]})
    assert "|refs:1-5|" in varying[0].signature


def test_the_markers_alone_earn_points() -> None:
    unigrams, *_, fourgrams = tutorial_bleu({"1": "two zebras"}, {"1": ["some pilots"]})
    assert unigrams.value == pytest.approx(50)
    assert fourgrams.value == pytest.approx(0, abs=1e-9)
    assert [score.value for score in tutorial_bleu({"1": "a"}, {"1": ["I", "7"]})[:2]] == pytest.approx([100, 100])


def test_weights_that_do_not_sum_to_one_make_a_higher_score() -> None:
    third = tutorial_bleu({"1": "two dogs run"}, {"1": ["two dogs sleep"]})[2]
    # precisions 4/5, 2/4 and 1/3: to the power 0.3 each, not 1/3
    assert third.value == pytest.approx(100 * (4 / 5 * 2 / 4 * 1 / 3) ** 0.3)


def test_the_order_of_the_references_by_id_does_not_matter() -> None:
    references = {"1": ["a dog runs"], "2": ["the cat sleeps"]}
    predictions = {"2": "the cat sleeps", "1": "a cow"}
    for score in tutorial_bleu(predictions, references):
        assert (
            score.per_image
            == tutorial_bleu({"1": "a cow", "2": "the cat sleeps"}, references)[int(score.name[-1]) - 1].per_image[::-1]
        )


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ({}, {}, "no captions to score; give"),
        ({"1": "a dog"}, {}, "no references for 1; every picture needs"),
        ({}, {"1": ["a"], "2": ["a"], "3": ["a"], "4": ["a"]}, "no prediction for 1, 2, 3 and 1 more;"),
        ({"1": "a dog"}, {"1": "a dog"}, "a single string instead of a list of references for 1"),
        ({"1": "a dog"}, {"1": []}, "an empty list of references for 1"),
    ],
)
def test_sides_that_do_not_fit_together_are_refused(predictions: dict, references: dict, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        tutorial_bleu(predictions, references)
