"""What a drawn scene is: objects with a shape, a colour, a size and a place, and when one is left of or above another.

Knows neither the words of captions nor pixels. Lengths are shares of the side of the square picture; x grows to the
right, y downwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

SHAPES = ("circle", "square", "triangle", "star")
COLOURS = ("red", "yellow", "green", "blue", "purple", "black")
RADII = {"small": 0.135, "large": 0.215}
"""Half the side of the box around an object, by the name of its size: never in between."""
BACKGROUNDS = ("white", "grey", "pink", "brown")
"""None of them is the colour of an object."""
TEXTURES = ("plain", "gradient", "glow", "clouds")
"""Variation within the colour of the background."""

CLEAR_GAP = 0.03
"""Left, right, above and below are said only of objects with at least this much space between them…"""
STEEPEST = 1.5
"""… and with at most this much offset across for one along: a star far above and a little to the left is only above."""
CELLS = 3
"""A coarse position is a cell of a grid of this many columns and rows."""

Key: TypeAlias = tuple[tuple[str, str, str, int, int], ...]


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene."""

    shape: str
    """One of `SHAPES`."""
    colour: str
    """One of `COLOURS`."""
    size: str
    """One of `RADII`."""
    x: float
    """Centre, from the left."""
    y: float
    """Centre, from the top."""
    scale: float = 1.0
    """Times the radius of its size; close to 1."""
    angle: float = 0.0
    """Turned clockwise by this many degrees; a few, so that a square stays a square."""

    @property
    def radius(self) -> float:
        """Half the side of the box around it."""
        return RADII[self.size] * self.scale

    @property
    def pair(self) -> tuple[str, str]:
        """Colour and shape."""
        return self.colour, self.shape


@dataclass(frozen=True)
class Scene:
    """All that determines a picture, apart from its size in pixels."""

    objects: tuple[SceneObject, ...]
    """Do not overlap."""
    background: str = "white"
    """One of `BACKGROUNDS`."""
    texture: str = "plain"
    """One of `TEXTURES`."""
    texture_seed: int = 0
    """Of what is random in the texture."""

    @property
    def key(self) -> Key:
        """The scene without its chances: shape, colour, size and cell of the objects, in no particular order."""
        return tuple(
            sorted((o.shape, o.colour, o.size, int(o.x * CELLS), int(o.y * CELLS)) for o in self.objects),
        )


def is_left_of(first: SceneObject, second: SceneObject) -> bool:
    """Whether the first is clearly to the left of the second."""
    return _clearly_before(second.x - first.x, second.y - first.y, first.radius + second.radius)


def is_above(first: SceneObject, second: SceneObject) -> bool:
    """Whether the first is clearly above the second."""
    return _clearly_before(second.y - first.y, second.x - first.x, first.radius + second.radius)


def are_clearly_placed(first: SceneObject, second: SceneObject) -> bool:
    """Whether one is clearly left of, right of, above or below the other; such objects do not overlap."""
    return any(relation(*pair) for relation in (is_left_of, is_above) for pair in ((first, second), (second, first)))


def _clearly_before(along: float, across: float, radii: float) -> bool:
    return along >= radii + CLEAR_GAP and abs(across) <= STEEPEST * along
