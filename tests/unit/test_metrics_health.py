"""Health: known numbers for known captions, and a warning for each way to be broken, in words."""

import pytest

from captioner.metrics.base import CaptionPairs
from captioner.metrics.health import examine

COLOURS = ["red", "green", "blue", "white", "black", "brown", "grey", "pink", "orange", "purple", "yellow", "gold"]
ANIMALS = ["dog", "cat", "cow", "horse", "bird", "fish", "fox", "goat", "hen", "owl", "pig", "yak"]
REFERENCES = {
    str(k): [f"a {colour} {animal} stands", f"the {animal} is {colour}"]
    for k, (colour, animal) in enumerate(zip(COLOURS, ANIMALS, strict=True))
}
GOOD = {key: captions[0] for key, captions in REFERENCES.items()}


def look(predictions: dict[str, str], training: list[str] | None = None):
    words = [tuple(caption.split()) for caption in training] if training else None
    return examine(CaptionPairs.from_texts(predictions, REFERENCES), words)


def warnings(predictions: dict[str, str], training: list[str] | None = None) -> str:
    return " ".join(each.text for each in look(predictions, training).findings() if each.is_warning)


def test_good_captions_give_no_warning() -> None:
    assert warnings(GOOD, ["a red dog stands", "a dog"]) == ""


def test_known_numbers() -> None:
    health = look({**GOOD, "0": "a dog a dog", "1": "a dog a dog"}, ["a dog a dog", "a zebra stands"])
    assert (health.pictures, health.distinct, health.empty) == (12, 11, 0)
    assert (health.most_common, health.most_common_share) == ("a dog a dog", pytest.approx(2 / 12))
    assert health.copied_share == pytest.approx(2 / 12)
    assert health.vocabulary_share == pytest.approx(3 / 4)  # a, dog, stands; no zebra
    assert health.vocabulary_used == 23  # a, dog, stands, and colour and animal of ten pictures
    assert health.distinct_1 == pytest.approx(23 / 48)
    assert health.repeating_share == pytest.approx(2 / 12)
    assert health.lengths == {4: 12}
    assert health.shuffled_cider < health.cider


def test_the_same_caption_everywhere_asks_about_preprocessing() -> None:
    broken = {key: GOOD["0"] if int(key) < 7 else caption for key, caption in GOOD.items()}
    assert 'The same caption for 58% of pictures: "a red dog stands". Is preprocessing the same' in warnings(broken)


def test_captions_that_do_not_depend_on_the_picture_are_told() -> None:
    moved = dict(zip(GOOD, [*list(GOOD.values())[1:], GOOD["0"]], strict=True))
    assert "the captions hardly depend on the pictures" in warnings(moved)


def test_stuttering_copying_length_and_silence_are_told() -> None:
    assert "twice" in warnings({key: f"{text} and {text}" for key, text in GOOD.items()})
    assert "word for word: it recalls" in warnings(GOOD, list(GOOD.values()))
    assert "does decoding end where it should?" in warnings({key: f"{text} {'so ' * 12}" for key, text in GOOD.items()})
    assert "1 captions have no words" in warnings({**GOOD, "3": ""})


def test_a_single_picture_is_no_ground_for_warnings() -> None:
    health = examine(CaptionPairs.from_texts({"0": "a dog"}, {"0": ["a dog"]}))
    assert health.shuffled_cider is None
    assert not any(each.is_warning for each in health.findings())


@pytest.mark.parametrize("caption", ["", "zzz qqq", "a red dog stands"])
def test_captions_that_do_not_depend_on_the_pictures_are_warned_of_whatever_they_score(caption: str) -> None:
    assert "hardly depend on the pictures" in warnings(dict.fromkeys(REFERENCES, caption))


def test_a_few_pictures_are_not_judged() -> None:
    few = {key: REFERENCES[key] for key in list(REFERENCES)[:9]}
    health = examine(CaptionPairs.from_texts(dict.fromkeys(few, "a red dog stands"), few), None)
    assert not any("depend" in each.text for each in health.findings())
