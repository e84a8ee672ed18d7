"""Curves land where their values say; ticks are round and enclose them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioner.report.charts import Chart, Curve, ticks_over

finite = st.floats(-1e6, 1e6, allow_nan=False)


@given(finite, finite)
def test_ticks_are_few_even_and_enclose_the_values(one: float, other: float) -> None:
    low, high = sorted((one, other))
    ticks = ticks_over(low, high)
    step = ticks[1] - ticks[0]
    assert 2 <= len(ticks) <= 7
    assert ticks[0] <= low + 1e-6 * step
    assert ticks[-1] >= high - 1e-6 * step
    assert [b - a for a, b in pairwise(ticks)] == pytest.approx([step] * (len(ticks) - 1), rel=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (2.27, 4.28, [2, 2.5, 3, 3.5, 4, 4.5]), (3, 3, [2.4, 2.6, 2.8, 3, 3.2, 3.4, 3.6])],
)
def test_known_ticks(low: float, high: float, expected: list[float]) -> None:
    assert ticks_over(low, high) == pytest.approx(expected)


def chart(*values: float, marked: int = 1) -> Chart:
    return Chart("loss", [Curve("training", values)], marked)


def test_a_curve_spans_the_box_from_the_first_epoch_to_the_last() -> None:
    drawn = chart(0, 5, 10)
    middle = (drawn.LEFT + drawn.RIGHT) / 2
    height = (drawn.TOP + drawn.BOTTOM) / 2
    points = [tuple(map(float, point.split(","))) for point in drawn.points(drawn.curves[0]).split()]
    assert points == [(drawn.LEFT, drawn.BOTTOM), (middle, height), (drawn.RIGHT, drawn.TOP)]


def test_curves_of_one_chart_share_the_axis() -> None:
    drawn = Chart("loss", [Curve("training", [4, 2]), Curve("dev", [4, 3])], 1)
    assert drawn.y(3) == pytest.approx((drawn.y(2) + drawn.y(4)) / 2, abs=0.1)
    assert drawn.points(drawn.curves[1]).split()[0] == drawn.points(drawn.curves[0]).split()[0]


def test_ticks_say_where_they_stand() -> None:
    drawn = chart(2.27, 4.28)
    assert [text for _, text in drawn.value_ticks()] == ["2.0", "2.5", "3.0", "3.5", "4.0", "4.5"]
    assert [y for y, _ in drawn.value_ticks()] == [drawn.y(value) for value in (2, 2.5, 3, 3.5, 4, 4.5)]


@pytest.mark.parametrize(
    ("epochs", "ticks"),
    [(1, [1]), (3, [1, 2, 3]), (10, [1, 2, 4, 6, 8, 10]), (100, [1, 20, 40, 60, 80, 100])],
)
def test_epochs_are_counted_in_round_numbers(epochs: int, ticks: list[int]) -> None:
    assert [text for _, text in chart(*range(epochs)).epoch_ticks()] == ticks


def test_a_single_epoch_is_drawn_in_the_middle() -> None:
    drawn = chart(3.0)
    assert drawn.x(1) == (drawn.LEFT + drawn.RIGHT) / 2
    assert drawn.TOP < drawn.y(3.0) < drawn.BOTTOM
