"""Every caption that is true of a scene; knows neither pixels nor splits, and of languages only their names.

What can be said is the same in all languages (`scenes_language`); how it is said, each has in a file of its own.

Truth is strict. A number is exact, and "a" means one: "a red circle" is false of two red circles, because it does not
say which. A phrase speaks of all the objects that it fits; relations hold between all of them, and only when clear
(`scenes_world`). Where two phrases meet they name the colour, and never share an object.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product
from random import Random

from captioner.datasets.scenes_arabic import Arabic
from captioner.datasets.scenes_chinese import Chinese
from captioner.datasets.scenes_english import English
from captioner.datasets.scenes_german import German
from captioner.datasets.scenes_language import Phrase, Place, SceneLanguage
from captioner.datasets.scenes_world import Scene, is_above, is_left_of
from captioner.text.normalize import normalize, words

ENGLISH: SceneLanguage = English()
LANGUAGES: dict[str, SceneLanguage] = {each.code: each for each in (ENGLISH, German(), Arabic(), Chinese())}
"""By ISO 639-1 code."""
_WITHOUT_SIGNS = str.maketrans("", "", ",、，")
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


def true_captions(scene: Scene, language: SceneLanguage = ENGLISH) -> frozenset[str]:
    """All the captions of the grammar that are true of a scene, as they are written: commas in lists, no full stop."""
    return frozenset(sentence for _, sentence in _sentences(scene, language))


def is_true(caption: str, scene: Scene, language: SceneLanguage = ENGLISH) -> bool:
    """Whether a caption is true of a scene; case and punctuation do not matter, nor spaces where there are none.

    A caption that is not of the grammar is not true of any scene.
    """
    between = " " if language.has_spaces else ""
    said = between.join(words(caption))
    return any(said == _plain(sentence) for _, sentence in _sentences(scene, language))


def choose_captions(scene: Scene, count: int, random: Random, language: SceneLanguage = ENGLISH) -> tuple[str, ...]:
    """Different true captions of a scene, of various kinds, in random order.

    Every scene with an object has ten or more. The same numbers choose captions of the same meaning in all languages.
    """
    by_kind: dict[str, list[str]] = {}
    for kind, sentence in _sentences(scene, language):
        by_kind.setdefault(kind, []).append(sentence)
    chosen: dict[str, None] = {}
    while len(chosen) < count:
        kind = random.choices(list(by_kind), [WEIGHTS[kind] for kind in by_kind])[0]
        chosen[random.choice(by_kind[kind])] = None
    return tuple(chosen)


def _plain(sentence: str) -> str:
    """A sentence of the grammar as `words` would leave it."""
    return normalize(sentence.translate(_WITHOUT_SIGNS))


def _sentences(scene: Scene, language: SceneLanguage) -> Iterator[tuple[str, str]]:
    """Every true sentence with its kind, in a fixed order."""
    phrases = _phrases(scene)
    coloured = [phrase for phrase in phrases if phrase.colour and phrase.shape]
    singles = [(phrase,) for phrase in phrases]
    pairs = [pair for pair in permutations(coloured, 2) if _are_apart(*pair)]
    triples = [triple for triple in permutations(coloured, 3) if _are_apart(*triple) and _are_even(*triple)]
    for listing in (*singles, *pairs, *triples):
        usual = "reordered" if not _runs_rightwards(*listing) else "" if listing[0] in coloured else "vague"
        spoken_of = sum(phrase.count for phrase in listing)
        whole = "whole" if len(listing) == 1 else "list"
        kind = usual or (whole if spoken_of == len(scene.objects) else "part")
        yield kind, language.listing(listing)
        yield kind, language.existence(listing)
        yield kind, language.depiction(listing)
        if len(listing) < 3:
            for exists in (False, True):
                yield usual or "background", language.setting(listing, scene.background, exists=exists)
        if len(listing) > 1 and any(phrase.count == 1 for phrase in listing):
            yield usual or "counting", language.counting(listing)
    for first, second in pairs:
        for place in _places(first, second):
            yield from (("relation", sentence) for sentence in language.relations(first, place, second))
        if _can_be_compared(first, second):
            bigger = first.objects[0].size == "large"
            yield "comparison", language.comparison(first, second, bigger=bigger)


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


def _places(first: Phrase, second: Phrase) -> Iterator[Place]:
    """Where all the objects of the first phrase lie, seen from all those of the second, where that is clear."""
    pairs = list(product(first.objects, second.objects))
    if all(is_left_of(one, other) for one, other in pairs):
        yield Place.LEFT
    if all(is_left_of(other, one) for one, other in pairs):
        yield Place.RIGHT
    if all(is_above(one, other) for one, other in pairs):
        yield Place.ABOVE
    if all(is_above(other, one) for one, other in pairs):
        yield Place.BELOW


def _can_be_compared(first: Phrase, second: Phrase) -> bool:
    """Whether each is one object, of another size than the other, and neither size is named."""
    if first.size or second.size or first.count > 1 or second.count > 1:
        return False
    return first.objects[0].size != second.objects[0].size
