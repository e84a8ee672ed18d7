"""What does not fit together is refused, with the ids in the message; signatures say the protocol."""

import pytest

from captioner.errors import MetricError
from captioner.metrics.base import CaptionPairs


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ({}, {}, "no captions to score"),
        ({"a.jpg": "x"}, {}, "no references for a.jpg;"),
        ({}, {"a.jpg": ["x"]}, "no prediction for a.jpg;"),
        ({"a.jpg": "x"}, {"a.jpg": []}, "an empty list of references for a.jpg;"),
        ({"a.jpg": "x"}, {"a.jpg": "x"}, "a single string instead of a list of references for a.jpg;"),
        ({str(k): "x" for k in range(9)}, {}, "no references for 0, 1, 2 and 6 more;"),
    ],
)
def test_what_does_not_fit_is_refused(predictions: dict, references: dict, message: str) -> None:
    with pytest.raises(MetricError) as caught:
        CaptionPairs.from_texts(predictions, references)
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_pairs_follow_the_order_of_the_predictions() -> None:
    pairs = CaptionPairs.from_texts({"b": "Bee!", "a": "Ant."}, {"a": ["an ant"], "b": ["a bee", "bees"]})
    assert pairs.predictions == (("bee",), ("ant",))
    assert pairs.references.words == ((("a", "bee"), ("bees",)), (("an", "ant"),))


@pytest.mark.parametrize(("second", "expected"), [(["x", "y"], "refs:2"), (["x"], "refs:1-2")])
def test_signatures_count_references(second: list[str], expected: str) -> None:
    pairs = CaptionPairs.from_texts({"a": "x", "b": "x"}, {"a": ["x", "y"], "b": second})
    assert pairs.signature("CIDEr", "d") == f"CIDEr|tok:ptb|{expected}|variant:d|version:1"
