"""Curves over the epochs as SVG: where lines, ticks and labels go; knows nothing of what is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar


@dataclass(frozen=True)
class Curve:
    """One quantity, a value an epoch from the first on."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True)
class Chart:
    """Curves of one unit over the epochs, the first epoch at 1."""

    title: str
    curves: Sequence[Curve]
    marked: int
    """The epoch to point out."""

    WIDTH: ClassVar[int] = 360
    HEIGHT: ClassVar[int] = 210
    LEFT: ClassVar[int] = 44
    RIGHT: ClassVar[int] = 348
    TOP: ClassVar[int] = 14
    BOTTOM: ClassVar[int] = 174
    """Where the box that the curves are drawn in lies; ticks and labels stand around it."""

    @property
    def epochs(self) -> int:
        """How many there are."""
        return max(len(curve.values) for curve in self.curves)

    @property
    def _values(self) -> list[float]:
        return [value for curve in self.curves for value in curve.values]

    @property
    def _span(self) -> tuple[float, float]:
        """The lowest and the highest value of the box: the ticks that enclose all values."""
        ticks = ticks_over(min(self._values), max(self._values))
        return ticks[0], ticks[-1]

    def x(self, epoch: float) -> float:
        """Where an epoch is, from the left."""
        across = 0.5 if self.epochs == 1 else (epoch - 1) / (self.epochs - 1)
        return round(self.LEFT + across * (self.RIGHT - self.LEFT), 1)

    def y(self, value: float) -> float:
        """Where a value is, from the top."""
        low, high = self._span
        return round(self.BOTTOM - (value - low) / (high - low) * (self.BOTTOM - self.TOP), 1)

    def points(self, curve: Curve) -> str:
        """A curve as the points of a polyline."""
        return " ".join(f"{self.x(epoch)},{self.y(value)}" for epoch, value in enumerate(curve.values, 1))

    def value_ticks(self) -> Iterator[tuple[float, str]]:
        """Position and text of the ticks of the vertical axis."""
        ticks = ticks_over(min(self._values), max(self._values))
        decimals = max(0, -math.floor(math.log10(min(b - a for a, b in pairwise(ticks))) + 1e-9))
        for tick in ticks:
            yield self.y(tick), f"{tick:.{decimals}f}"

    def epoch_ticks(self) -> Iterator[tuple[float, int]]:
        """Position and text of the ticks of the horizontal axis: the first epoch, and round numbers."""
        step = next(step for step in _round_steps(0) if self.epochs / step <= 8)
        for epoch in dict.fromkeys([1, *range(int(step), self.epochs + 1, int(step))]):
            yield self.x(epoch), epoch

    def description(self) -> str:
        """What the picture shows, for those who do not see it."""
        parts = [f"{each.name} from {each.values[0]:.2f} to {each.values[-1]:.2f}" for each in self.curves]
        return f"{self.title} over {self.epochs} epochs: {'; '.join(parts)}"


def ticks_over(low: float, high: float) -> list[float]:
    """Three to seven round numbers that enclose `low` and `high`."""
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    steps = _round_steps(math.floor(math.log10(high - low)) - 1)
    step = next(step for step in steps if math.ceil(high / step) - math.floor(low / step) <= 6)
    return [number * step for number in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _round_steps(exponent: int) -> Iterator[float]:
    """1, 2, 5, 10, 20 … times ten to the exponent."""
    while True:
        yield from (digit * 10.0**exponent for digit in (1, 2, 5))
        exponent += 1
