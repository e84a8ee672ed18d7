"""Makes up scenes at random: how many objects, which, how large, where. Knows neither words, pixels nor splits."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeAlias

from captioner.datasets.scenes_world import (
    BACKGROUNDS,
    RADII,
    TEXTURES,
    Scene,
    SceneObject,
    are_clearly_placed,
)

Pair: TypeAlias = tuple[str, str]
"""Colour and shape."""

GROUPS = {(1,): 50, (1, 1): 32, (2,): 12, (3,): 6}
"""How often a scene has these groups of objects, alike in colour and shape: (2,) is two alike, (1, 1) are different."""
ALIKE = 0.7
"""How often all objects of a group are of one size."""
MOST_LARGE = 2
"""A picture has room for this many large objects and some small ones."""
EDGE = 0.03
"""Space between an object and the edge of the picture."""
TRIES = 30
"""Attempts to find a place for one object before all are placed anew."""


def sample_scene(random: Random, pairs: Sequence[Pair], first: Pair | None = None) -> Scene:
    """A scene with one to three objects whose colours and shapes come from `pairs`.

    `first`, when given, is the pair of the first group, so that the scene is sure to have it.
    """
    groups = random.choices(list(GROUPS), list(GROUPS.values()))[0]
    chosen = random.sample(pairs, len(groups))
    if first is not None:
        chosen = [first, *(pair for pair in chosen if pair != first)][: len(groups)]
    kinds = [(pair, size) for pair, count in zip(chosen, groups, strict=True) for size in _sizes(random, count)]
    objects: tuple[SceneObject, ...] | None = None
    while objects is None:
        objects = _place(random, _with_room(kinds))
    return Scene(
        objects=objects,
        background=random.choice(BACKGROUNDS),
        texture=random.choice(TEXTURES),
        texture_seed=random.getrandbits(32),
    )


def _sizes(random: Random, count: int) -> list[str]:
    names = list(RADII)
    if random.random() < ALIKE:
        return [random.choice(names)] * count
    return [random.choice(names) for _ in range(count)]


def _with_room(kinds: list[tuple[Pair, str]]) -> list[tuple[Pair, str]]:
    """The same objects, all small when there are too many large ones."""
    large = sum(size == "large" for _, size in kinds)
    if large > MOST_LARGE:
        return [(pair, "small") for pair, _ in kinds]
    return kinds


def _place(random: Random, kinds: list[tuple[Pair, str]]) -> tuple[SceneObject, ...] | None:
    """Give each object a place that is clear of the others; None when there was none for one of them."""
    objects: list[SceneObject] = []
    for (colour, shape), size in kinds:
        scale, angle = random.uniform(0.95, 1.05), random.uniform(-6, 6)
        margin = RADII[size] * scale + EDGE
        for _ in range(TRIES):
            x, y = random.uniform(margin, 1 - margin), random.uniform(margin, 1 - margin)
            candidate = SceneObject(shape, colour, size, x, y, scale, angle)
            if all(are_clearly_placed(candidate, other) for other in objects):
                objects.append(candidate)
                break
        else:
            return None
    return tuple(objects)
