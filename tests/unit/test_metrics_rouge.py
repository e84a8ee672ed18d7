"""ROUGE-L against values worked out by hand, and its subsequences against the usual table."""

import random
from collections.abc import Sequence

import pytest

from captioner.metrics.rouge import RougeL, longest_common_subsequence


def _table(first: Sequence[str], second: Sequence[str]) -> int:
    row = [0] * (len(second) + 1)
    for word in first:
        above = row
        row = [0]
        for column, other in enumerate(second):
            row.append(above[column] + 1 if word == other else max(above[column + 1], row[-1]))
    return row[-1]


def test_subsequences_agree_with_the_table() -> None:
    choice = random.Random(3)
    for _ in range(500):
        first, second = (choice.choices("abcdef", k=choice.randrange(0, 90)) for _ in range(2))
        assert longest_common_subsequence(first, second) == _table(first, second)


def test_known_value() -> None:
    # Common: ant cow dog, three words; precision 3/4, recall 3/5.
    score = RougeL().score({"1": "ant cow dog yak"}, {"1": ["ant bee cow dog elk"]})
    precision, recall, beta = 3 / 4, 3 / 5, 1.2
    assert score.value == pytest.approx(100 * (1 + beta**2) * precision * recall / (recall + beta**2 * precision))


def test_precision_and_recall_may_come_from_two_references() -> None:
    # The first reference gives precision 1, the second recall 1.
    score = RougeL().score({"1": "ant bee"}, {"1": ["ant bee cow dog", "ant"]})
    assert score.value == pytest.approx(100)


def test_the_set_is_the_mean_of_its_pictures() -> None:
    score = RougeL().score({"1": "ant bee", "2": "cow"}, {"1": ["ant bee"], "2": ["dog"]})
    assert score.per_image == pytest.approx((100, 0))
    assert score.value == pytest.approx(50)


def test_empty_captions_share_nothing() -> None:
    assert RougeL().score({"1": "", "2": "ant", "3": "."}, {"1": ["ant"], "2": ["."], "3": ["!"]}).value == 0
