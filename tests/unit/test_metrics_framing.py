"""What frames a score: people against each other, a constant caption, a shuffle."""

import pytest

from captioner.metrics.base import CaptionPairs
from captioner.metrics.cider import Cider
from captioner.metrics.evaluate import METRICS, evaluate, score_people
from captioner.metrics.framing import leave_one_out, most_typical, shuffled

REFERENCES = {
    "1": ["a red ball rolls", "the ball is red", "a ball"],
    "2": ["two black cats sleep", "cats asleep"],
    "3": ["a boy jumps over a wall", "a child jumps", "the boy leaps", "a wall"],
}
PAIRS = CaptionPairs.from_texts({"1": "a ball", "2": "two cats", "3": "a boy jumps"}, REFERENCES)


def test_people_score_what_each_reference_scores_against_the_others() -> None:
    """Four rounds, as the third picture has four references; the others begin anew."""
    rounds = []
    for number in range(4):
        left_out = {key: number % len(captions) for key, captions in REFERENCES.items()}
        alone = {key: captions[left_out[key]] for key, captions in REFERENCES.items()}
        others = {key: [*texts[: left_out[key]], *texts[left_out[key] + 1 :]] for key, texts in REFERENCES.items()}
        rounds.append(evaluate(alone, others))
    people = score_people(PAIRS.references, samples=100)
    assert [score.name for score in people] == list(METRICS)
    for score, *each in zip(people, *rounds, strict=True):
        assert score.value == pytest.approx(sum(one.value for one in each) / 4)
        means = [sum(values) / 4 for values in zip(*(one.per_image for one in each), strict=True)]
        assert score.per_image == pytest.approx(means)
    assert "refs:1-3" in people[0].signature


def test_pictures_with_a_single_reference_are_left_out() -> None:
    more = {**REFERENCES, "4": ["all alone"]}
    pairs = CaptionPairs.from_texts({**dict.fromkeys(REFERENCES, "a ball"), "4": "x"}, more)
    assert [len(each) for each in leave_one_out(pairs.references)] == [3, 3, 3, 3]
    assert [each.value for each in score_people(pairs.references)] == pytest.approx(
        [each.value for each in score_people(PAIRS.references)]
    )


def test_a_single_reference_leaves_nothing_to_compare_with() -> None:
    single = CaptionPairs.from_texts({"1": "a ball"}, {"1": ["a ball"]}).references
    assert leave_one_out(single) == []
    assert score_people(single) == ()


def test_the_most_typical_caption_is_like_the_others() -> None:
    captions = ["a dog runs on grass", "a dog runs", "two cats", "a dog on grass", "seven red lorries in a queue"]
    assert captions[most_typical([tuple(caption.split()) for caption in captions])] == "a dog runs on grass"
    assert most_typical([()]) == 0
    assert most_typical([("a",), ("a",)]) == 0


def test_of_very_many_captions_some_are_considered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("captioner.metrics.framing._CONSIDERED", 5)
    captions = [("a", "dog", str(number)) for number in range(100)]
    assert most_typical(captions) in {0, 24, 49, 74, 99}


def test_a_shuffle_leaves_no_caption_with_its_picture_and_loses_none() -> None:
    captions = {str(number): f"caption {number}" for number in range(20)}
    pairs = CaptionPairs.from_texts(captions, {key: [text] for key, text in captions.items()})
    moved = shuffled(pairs)
    assert sorted(moved.predictions) == sorted(pairs.predictions)
    assert all(ours != theirs for ours, theirs in zip(moved.predictions, pairs.predictions, strict=True))
    assert shuffled(pairs).predictions == moved.predictions
    assert Cider().score_pairs(moved).value < Cider().score_pairs(pairs).value
