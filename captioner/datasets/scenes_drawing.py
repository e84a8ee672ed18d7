"""Draws a scene: background, soft shadows, shapes with a rim; knows neither words nor splits."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from math import cos, pi, radians, sin

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from captioner.datasets.scenes_world import Scene, SceneObject

COLOUR_VALUES = {
    "red": (222, 38, 44),
    "yellow": (253, 220, 44),
    "green": (42, 160, 66),
    "blue": (38, 92, 214),
    "purple": (134, 52, 170),
    "black": (34, 34, 38),
}
BACKGROUND_VALUES = {
    "white": (248, 248, 246),
    "grey": (178, 181, 186),
    "pink": (250, 205, 217),
    "brown": (166, 127, 96),
}
SUPERSAMPLING = 4
"""Shapes are drawn this many times larger and reduced, so that their edges are smooth."""
RIM = 0.016
"""Width of the darker rim of a shape."""
RIM_SHADE = 0.62
"""The rim has the colour of the shape times this."""
SHADOW_OFFSET = 0.022
SHADOW_BLUR = 0.018
SHADOW_DEPTH = 0.38
"""How black the middle of a shadow is."""
TEXTURE_DEPTH = {"plain": 0.0, "gradient": 14.0, "glow": 14.0, "clouds": 12.0}
"""How far a background departs from its colour, of 255."""

Outline = tuple[tuple[float, float], ...]


def draw_scene(scene: Scene, size: int) -> Image.Image:
    """Draw a scene as an RGB picture of `size` × `size` pixels; the same scene gives the same pixels."""
    picture = Image.fromarray(_background(scene, size))
    side = size * SUPERSAMPLING
    shadow = Image.new("L", (side, side))
    pencil = ImageDraw.Draw(shadow)
    for item in scene.objects:
        pencil.polygon(_corners(item, side, SHADOW_OFFSET), fill=round(255 * SHADOW_DEPTH))
    blurred = shadow.reduce(SUPERSAMPLING).filter(ImageFilter.GaussianBlur(SHADOW_BLUR * size))
    picture.paste((0, 0, 0), mask=blurred)

    canvas = picture.resize((side, side), Image.Resampling.NEAREST)
    pencil = ImageDraw.Draw(canvas)
    for item in scene.objects:
        colour = COLOUR_VALUES[item.colour]
        rim = (round(colour[0] * RIM_SHADE), round(colour[1] * RIM_SHADE), round(colour[2] * RIM_SHADE))
        corners = _corners(item, side)
        pencil.polygon(corners, fill=colour)
        pencil.line([*corners, *corners[:2]], fill=rim, width=round(RIM * side), joint="curve")
    return canvas.reduce(SUPERSAMPLING)


def draw_png(scene: Scene, size: int) -> bytes:
    """Draw a scene and encode it as PNG."""
    buffer = io.BytesIO()
    draw_scene(scene, size).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _background(scene: Scene, size: int) -> NDArray[np.uint8]:
    colour = np.array(BACKGROUND_VALUES[scene.background], dtype=np.float32)
    shade = TEXTURES[scene.texture](np.random.default_rng(scene.texture_seed), size)  # (height, width), -1 to 1
    values = colour + TEXTURE_DEPTH[scene.texture] * shade[..., np.newaxis]
    return np.clip(values, 0, 255).astype(np.uint8)  # (height, width, 3)


def _plain(random: np.random.Generator, size: int) -> NDArray[np.float32]:
    return np.zeros((size, size), dtype=np.float32)


def _gradient(random: np.random.Generator, size: int) -> NDArray[np.float32]:
    """From dark to light along a random direction."""
    angle = random.uniform(0, 2 * pi)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    shade = cos(angle) * ramp + sin(angle) * ramp[:, np.newaxis]
    return np.asarray(shade / np.abs(shade).max(), dtype=np.float32)


def _glow(random: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Lightest at a random place, darker with the distance from it."""
    x, y = random.uniform(0.3, 0.7, 2).astype(np.float32)
    ramp = np.linspace(0, 1, size, dtype=np.float32)
    distance = np.hypot(ramp - x, (ramp - y)[:, np.newaxis])
    return np.asarray(1 - 2 * distance, dtype=np.float32)


def _clouds(random: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Soft noise: a coarse grid of random values, enlarged."""
    grid = Image.fromarray(random.uniform(-1, 1, (5, 5)).astype(np.float32))
    return np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32)


TEXTURES: dict[str, Callable[[np.random.Generator, int], NDArray[np.float32]]] = {
    "plain": _plain,
    "gradient": _gradient,
    "glow": _glow,
    "clouds": _clouds,
}


def _corners(item: SceneObject, side: int, offset: float = 0.0) -> list[tuple[float, float]]:
    """The corners of an object in pixels of a canvas, moved right and down by `offset`."""
    turn_x, turn_y = cos(radians(item.angle)), sin(radians(item.angle))
    return [
        (
            side * (item.x + offset + item.radius * (x * turn_x - y * turn_y)),
            side * (item.y + offset + item.radius * (x * turn_y + y * turn_x)),
        )
        for x, y in _outline(item.shape)
    ]


@cache
def _outline(shape: str) -> Outline:
    """The corners of a shape around (0, 0), at most about 1 away from it along either axis."""
    return OUTLINES[shape]()


def _circle() -> Outline:
    return _around([0.94] * 48)


def _square() -> Outline:
    return ((-0.84, -0.84), (0.84, -0.84), (0.84, 0.84), (-0.84, 0.84))


def _triangle() -> Outline:
    return ((0, -0.98), (0.98, 0.8), (-0.98, 0.8))


def _star() -> Outline:
    return _around([1.04, 0.46] * 5)


def _around(radii: list[float]) -> Outline:
    """Corners at these distances from the centre, evenly around it, the first at the top."""
    return tuple(
        (radius * sin(2 * pi * step / len(radii)), -radius * cos(2 * pi * step / len(radii)))
        for step, radius in enumerate(radii)
    )


OUTLINES: dict[str, Callable[[], Outline]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
}
