"""Every caption that is true of a scene, from one grammar; knows neither pixels nor splits.

    sentence    = [frame] listing | [frame] listing "on a … background" | counting | relation | comparison
    frame       = "there is" | "there are" | "a picture of"
    listing     = "a red circle" | "two small stars" | "three shapes" | "a red circle, a blue star and two green stars"
    counting    = "one red circle and two blue stars"
    relation    = "a red circle [is] to the left of | to the right of | above | below two blue stars"
    comparison  = "a red circle is bigger | smaller than a blue star"

Truth is strict. A number is exact, and "a" means one: "a red circle" is false of two red circles, because it does not
say which. A phrase speaks of all the objects that it fits; relations hold between all of them, and only when clear
(`scenes_world`). Where two phrases meet they name the colour, and never share an object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations, product
from random import Random

from captioner.datasets.scenes_world import Scene, SceneObject, is_above, is_left_of

NUMBERS = ("no", "one", "two", "three", "four")
WEIGHTS = {
    "list": 4.0,
    "relation": 4.0,
    "background": 1.5,
    "whole": 3.0,
    "part": 0.2,
    "counting": 0.8,
    "comparison": 0.6,
    "vague": 0.0,
    "reordered": 0.0,
}
"""How often the kinds of sentence are chosen, where a scene allows them. A whole one is a single phrase for all that
there is, a part leaves objects out. A vague one leaves out colour or shape, and a reordered one does not name things
from left to right: both are true, and never chosen, because people mostly say what they see, in the order in which they
see it."""


@dataclass(frozen=True)
class Phrase:
    """A noun phrase, and all the objects of the scene that it fits."""

    size: str
    """`small`, `large`, or empty when it does not say."""
    colour: str
    """Likewise."""
    shape: str
    """Likewise; without it the noun is "shapes"."""
    objects: tuple[SceneObject, ...]
    """As many as the phrase says."""

    @cached_property
    def counted(self) -> str:
        """With a number: "one small red circle", "two shapes"."""
        return f"{NUMBERS[len(self.objects)]} {self._noun}"

    @cached_property
    def text(self) -> str:
        """With an article when it is one: "a small red circle", "two shapes"."""
        if len(self.objects) > 1:
            return self.counted
        return ("an " if self._noun[0] in "aeiou" else "a ") + self._noun

    @cached_property
    def verb(self) -> str:
        """The form of "to be" that goes with it."""
        return "are" if len(self.objects) > 1 else "is"

    @cached_property
    def _noun(self) -> str:
        noun = self.shape or "shape"
        plural = "" if len(self.objects) == 1 else "es" if noun.endswith("s") else "s"
        return " ".join(word for word in (self.size, self.colour, noun + plural) if word)


def true_captions(scene: Scene) -> frozenset[str]:
    """All the captions of the grammar that are true of a scene, as they are written: lower case, commas in lists."""
    return frozenset(sentence for _, sentence in _sentences(scene))


def is_true(caption: str, scene: Scene) -> bool:
    """Whether a caption is true of a scene; case and punctuation do not matter.

    A caption that is not of the grammar is not true of any scene.
    """
    words = _normalised(caption)
    return any(words == _normalised(sentence) for _, sentence in _sentences(scene))


def choose_captions(scene: Scene, count: int, random: Random) -> tuple[str, ...]:
    """Different true captions of a scene, of various kinds, in random order.

    Every scene with an object has ten or more.
    """
    by_kind: dict[str, list[str]] = {}
    for kind, sentence in _sentences(scene):
        by_kind.setdefault(kind, []).append(sentence)
    chosen: dict[str, None] = {}
    while len(chosen) < count:
        kind = random.choices(list(by_kind), [WEIGHTS[kind] for kind in by_kind])[0]
        chosen[random.choice(by_kind[kind])] = None
    return tuple(chosen)


def _normalised(caption: str) -> str:
    return " ".join(re.findall(r"[a-z]+", caption.lower()))


def _sentences(scene: Scene) -> Iterator[tuple[str, str]]:
    """Every true sentence with its kind, in a fixed order."""
    phrases = _phrases(scene)
    coloured = [phrase for phrase in phrases if phrase.colour and phrase.shape]
    singles = [(phrase,) for phrase in phrases]
    pairs = [pair for pair in permutations(coloured, 2) if _are_apart(*pair)]
    triples = [triple for triple in permutations(coloured, 3) if _are_apart(*triple) and _are_even(*triple)]
    background = f"on a {scene.background} background"
    for listing in (*singles, *pairs, *triples):
        usual = "reordered" if not _runs_rightwards(*listing) else "" if listing[0] in coloured else "vague"
        spoken_of = sum(len(phrase.objects) for phrase in listing)
        whole = "whole" if len(listing) == 1 else "list"
        kind = usual or (whole if spoken_of == len(scene.objects) else "part")
        text = _enumerate([phrase.text for phrase in listing])
        there = f"there {listing[0].verb} {text}"
        yield from ((kind, text), (kind, there), (kind, f"a picture of {text}"))
        if len(listing) < 3:
            setting = usual or "background"
            yield from ((setting, f"{text} {background}"), (setting, f"{there} {background}"))
        if len(listing) > 1 and any(len(phrase.objects) == 1 for phrase in listing):
            yield usual or "counting", _enumerate([phrase.counted for phrase in listing])
    for first, second in pairs:
        for relation in _relations(first, second):
            yield "relation", f"{first.text} {relation} {second.text}"
            yield "relation", f"{first.text} {first.verb} {relation} {second.text}"
            yield "relation", f"there {first.verb} {first.text} {relation} {second.text}"
        if comparison := _comparison(first, second):
            yield "comparison", f"{first.text} is {comparison} than {second.text}"


def _phrases(scene: Scene) -> list[Phrase]:
    """Every phrase that fits an object; "shapes" only where there are several, with or without their colour."""
    descriptions: dict[tuple[str, str, str], None] = {}
    for item in scene.objects:
        for size, colour in product(("", item.size), ("", item.colour)):
            descriptions[size, colour, item.shape] = None
            if not size:
                descriptions["", colour, ""] = None
    phrases = []
    for size, colour, shape in descriptions:
        fitting = tuple(
            item
            for item in scene.objects
            if size in ("", item.size) and colour in ("", item.colour) and shape in ("", item.shape)
        )
        if shape or len(fitting) > 1:
            phrases.append(Phrase(size, colour, shape, fitting))
    return phrases


def _are_apart(*phrases: Phrase) -> bool:
    """Whether no object is spoken of twice."""
    objects = [item for phrase in phrases for item in phrase.objects]
    return len(set(objects)) == len(objects)


def _runs_rightwards(*phrases: Phrase) -> bool:
    """Whether what they speak of is named from left to right, by the leftmost object of each."""
    places = [min(item.x for item in phrase.objects) for phrase in phrases]
    return places == sorted(places)


def _are_even(*phrases: Phrase) -> bool:
    """Whether all of them name the size, or none."""
    return len({bool(phrase.size) for phrase in phrases}) == 1


def _enumerate(phrases: list[str]) -> str:
    """One phrase; "one and another"; "one, another and a third"."""
    *before, last = phrases
    return f"{', '.join(before)} and {last}" if before else last


def _relations(first: Phrase, second: Phrase) -> Iterator[str]:
    """How all the objects of the first phrase lie to all those of the second, where that is clear."""
    pairs = list(product(first.objects, second.objects))
    if all(is_left_of(one, other) for one, other in pairs):
        yield "to the left of"
    if all(is_left_of(other, one) for one, other in pairs):
        yield "to the right of"
    if all(is_above(one, other) for one, other in pairs):
        yield "above"
    if all(is_above(other, one) for one, other in pairs):
        yield "below"


def _comparison(first: Phrase, second: Phrase) -> str:
    """How the one object compares with the other; empty when the sizes are alike, named, or there are several."""
    if first.size or second.size or len(first.objects) > 1 or len(second.objects) > 1:
        return ""
    one, other = first.objects[0].size, second.objects[0].size
    if one == other:
        return ""
    return "bigger" if one == "large" else "smaller"
