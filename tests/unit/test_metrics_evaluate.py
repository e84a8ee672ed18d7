"""All metrics together: the recorded values of the reference, and what must hold for any captions."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioner.errors import MetricError
from captioner.metrics.evaluate import METRICS, evaluate
from captioner.types import Score

_GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics.json").read_text(encoding="utf-8"))

_WORDS = st.sampled_from(["a", "the", "dog", "cat", "runs", "sits", "on", "grass", "."])
_CAPTIONS = st.lists(_WORDS, max_size=8).map(" ".join)
_SETS = st.dictionaries(
    st.sampled_from("pqrstu"), st.tuples(_CAPTIONS, st.lists(_CAPTIONS, min_size=1, max_size=4)), min_size=1, max_size=5
)


@pytest.mark.parametrize("system", _GOLDEN["systems"])
def test_scores_are_those_of_the_reference(system: str) -> None:
    recorded = _GOLDEN["systems"][system]
    scores = evaluate(recorded["predictions"], recorded["references"])
    assert {score.name for score in scores} == {*recorded["scores"], "CIDEr-D"}
    for score in scores[:-1]:
        assert score.value == pytest.approx(recorded["scores"][score.name]["value"], abs=1e-6)
        assert score.per_image == pytest.approx(recorded["scores"][score.name]["per_image"], abs=1e-6)


@settings(deadline=None, max_examples=60)
@given(captions=_SETS)
def test_neither_the_order_of_pictures_nor_that_of_references_matters(captions: dict) -> None:
    def scores(keys: list[str], step: int) -> tuple[Score, ...]:
        return evaluate(
            {key: captions[key][0] for key in keys}, {key: captions[key][1][::step] for key in sorted(captions)}
        )

    for ours, theirs in zip(scores(list(captions), 1), scores(list(captions)[::-1], -1), strict=True):
        assert ours.value == pytest.approx(theirs.value)
        assert ours.per_image == pytest.approx(theirs.per_image[::-1])


@settings(deadline=None, max_examples=60)
@given(captions=_SETS)
def test_values_stay_in_range_and_means_are_means(captions: dict) -> None:
    predictions = {key: prediction for key, (prediction, _) in captions.items()}
    for score in evaluate(predictions, {key: references for key, (_, references) in captions.items()}):
        top = 1000 if score.name.startswith("CIDEr") else 100
        assert all(-1e-9 <= value <= top + 1e-6 for value in (score.value, *score.per_image))
        assert len(score.per_image) == len(predictions)
        if not score.name.startswith("BLEU"):
            assert score.value == pytest.approx(sum(score.per_image) / len(score.per_image))


def test_empty_predictions_score_zero() -> None:
    for score in evaluate({"1": "", "2": " . "}, {"1": ["a dog", "two dogs"], "2": ["a cat"]}):
        assert score.value == pytest.approx(0, abs=1e-9)
        assert score.per_image == pytest.approx((0, 0), abs=1e-9)


def test_captions_without_any_word_on_either_side_do_not_crash() -> None:
    assert [score.value for score in evaluate({"1": ""}, {"1": ["..."]})] == pytest.approx([0] * len(METRICS), abs=1e-9)


def test_metrics_alone_agree_with_metrics_together() -> None:
    recorded = _GOLDEN["systems"]["nine pictures"]
    together = evaluate(recorded["predictions"], recorded["references"])
    assert (
        tuple(metric.score(recorded["predictions"], recorded["references"]) for metric in METRICS.values()) == together
    )


def test_metrics_come_in_the_order_asked_for() -> None:
    scores = evaluate({"1": "a dog"}, {"1": ["a dog"]}, metrics=["CIDEr", "BLEU-1"])
    assert [score.name for score in scores] == ["CIDEr", "BLEU-1"]
    assert evaluate({"1": "a dog"}, {"1": ["a dog"]}, metrics=[]) == ()


def test_unknown_metrics_are_answered_with_the_known_ones() -> None:
    with pytest.raises(MetricError, match=r"no metric 'SPICE'.*BLEU-1, .*BLEU-4, ROUGE-L, CIDEr, CIDEr-D"):
        evaluate({"1": "a dog"}, {"1": ["a dog"]}, metrics=["SPICE"])
