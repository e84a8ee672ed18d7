"""Scenes in English.

sentence    = [frame] listing | [frame] listing "on a … background" | counting | relation | comparison
frame       = "there is" | "there are" | "a picture of"
listing     = "a red circle" | "two small stars" | "three shapes" | "a red circle, a blue star and two green stars"
counting    = "one red circle and two blue stars"
relation    = "a red circle [is] to the left of | to the right of | above | below two blue stars"
comparison  = "a red circle is bigger | smaller than a blue star"
"""

from __future__ import annotations

from collections.abc import Sequence

from captioner.datasets.scenes_language import Phrase, Place, enumerated

_NUMBERS = ("no", "one", "two", "three", "four")
_PLACES = {
    Place.LEFT: "to the left of",
    Place.RIGHT: "to the right of",
    Place.ABOVE: "above",
    Place.BELOW: "below",
}


class English:
    """See `SceneLanguage`; the words of a scene are its own."""

    code = "en"
    has_spaces = True

    def listing(self, phrases: Sequence[Phrase]) -> str:
        """See `SceneLanguage`."""
        return enumerated([_with_article(phrase) for phrase in phrases], ", ", " and ")

    def existence(self, phrases: Sequence[Phrase]) -> str:
        """See `SceneLanguage`."""
        return f"there {_is(phrases[0])} {self.listing(phrases)}"

    def depiction(self, phrases: Sequence[Phrase]) -> str:
        """See `SceneLanguage`."""
        return f"a picture of {self.listing(phrases)}"

    def setting(self, phrases: Sequence[Phrase], background: str, *, exists: bool) -> str:
        """See `SceneLanguage`."""
        return f"{(self.existence if exists else self.listing)(phrases)} on a {background} background"

    def counting(self, phrases: Sequence[Phrase]) -> str:
        """See `SceneLanguage`."""
        return enumerated([_counted(phrase) for phrase in phrases], ", ", " and ")

    def relations(self, first: Phrase, place: Place, second: Phrase) -> tuple[str, str, str]:
        """See `SceneLanguage`."""
        one, where, is_ = _with_article(first), f"{_PLACES[place]} {_with_article(second)}", _is(first)
        return f"{one} {where}", f"{one} {is_} {where}", f"there {is_} {one} {where}"

    def comparison(self, first: Phrase, second: Phrase, *, bigger: bool) -> str:
        """See `SceneLanguage`."""
        return f"{_with_article(first)} is {'bigger' if bigger else 'smaller'} than {_with_article(second)}"


def _with_article(phrase: Phrase) -> str:
    if phrase.count > 1:
        return _counted(phrase)
    noun = _noun(phrase)
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def _counted(phrase: Phrase) -> str:
    return f"{_NUMBERS[phrase.count]} {_noun(phrase)}"


def _noun(phrase: Phrase) -> str:
    noun = phrase.shape or "shape"
    plural = "" if phrase.count == 1 else "es" if noun.endswith("s") else "s"
    return " ".join(word for word in (phrase.size, phrase.colour, noun + plural) if word)


def _is(phrase: Phrase) -> str:
    return "are" if phrase.count > 1 else "is"
