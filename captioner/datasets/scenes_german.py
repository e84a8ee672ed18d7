"""Scenes in German: three genders, and endings by case and number.

    sentence    = listing | "es gibt" listing | "ein Bild von" listing | … "auf einem weißen Hintergrund"
                | counting | relation | comparison
    listing     = "ein roter Kreis" | "zwei kleine Sterne" | "drei Formen" | "ein roter Kreis, ein … und ein …"
    counting    = "genau ein roter Kreis und genau zwei blaue Sterne"
    relation    = "ein roter Kreis [ist] links von | rechts von | über | unter zwei blauen Sternen"
    comparison  = "ein roter Kreis ist größer | kleiner als ein blauer Stern"

"Es gibt" asks for the accusative, the prepositions ask for the dative. Counting says "exactly", because "ein" is both
the article and the number.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from captioner.datasets.scenes_language import Phrase, Place, enumerated


class _Case(Enum):
    NOMINATIVE = 0
    ACCUSATIVE = 1
    DATIVE = 2


_NUMBERS = ("", "ein", "zwei", "drei", "vier")
_NOUNS = {
    "circle": ("m", "Kreis", "Kreise"),
    "square": ("n", "Quadrat", "Quadrate"),
    "triangle": ("n", "Dreieck", "Dreiecke"),
    "star": ("m", "Stern", "Sterne"),
    "": ("f", "Form", "Formen"),
}
"""Gender, singular and plural; the plural has `n` behind it in the dative."""
_ADJECTIVES = {
    "small": "klein",
    "large": "groß",
    "red": "rot",
    "yellow": "gelb",
    "green": "grün",
    "blue": "blau",
    "purple": "violett",
    "black": "schwarz",
}
_ARTICLES = {"m": ("ein", "einen", "einem"), "n": ("ein", "ein", "einem"), "f": ("eine", "eine", "einer")}
"""By case."""
_ENDINGS = {"m": ("er", "en", "en"), "n": ("es", "es", "en"), "f": ("e", "e", "en"), "plural": ("e", "e", "en")}
"""Of adjectives after "ein", and after a number, by case."""
_BACKGROUNDS = {"white": "weißen", "grey": "grauen", "pink": "rosa", "brown": "braunen"}
_PLACES = {Place.LEFT: "links von", Place.RIGHT: "rechts von", Place.ABOVE: "über", Place.BELOW: "unter"}


class German:
    """See `SceneLanguage`."""

    code = "de"
    has_spaces = True

    def listing(self, phrases: Sequence[Phrase]) -> str:
        """See `SceneLanguage`."""
        return _listing(phrases, _Case.NOMINATIVE)

    def existence(self, phrases: Sequence[Phrase]) -> str:
        """See `SceneLanguage`."""
        return f"es gibt {_listing(phrases, _Case.ACCUSATIVE)}"

    def depiction(self, phrases: Sequence[Phrase]) -> str:
        """See `SceneLanguage`."""
        return f"ein Bild von {_listing(phrases, _Case.DATIVE)}"

    def setting(self, phrases: Sequence[Phrase], background: str, *, exists: bool) -> str:
        """See `SceneLanguage`."""
        return (
            f"{(self.existence if exists else self.listing)(phrases)} auf einem {_BACKGROUNDS[background]} Hintergrund"
        )

    def counting(self, phrases: Sequence[Phrase]) -> str:
        """See `SceneLanguage`."""
        return enumerated([f"genau {_said(phrase, _Case.NOMINATIVE)}" for phrase in phrases], ", ", " und ")

    def relations(self, first: Phrase, place: Place, second: Phrase) -> tuple[str, str, str]:
        """See `SceneLanguage`."""
        one, where = _said(first, _Case.NOMINATIVE), f"{_PLACES[place]} {_said(second, _Case.DATIVE)}"
        is_ = "sind" if first.count > 1 else "ist"
        return f"{one} {where}", f"{one} {is_} {where}", f"es gibt {_said(first, _Case.ACCUSATIVE)} {where}"

    def comparison(self, first: Phrase, second: Phrase, *, bigger: bool) -> str:
        """See `SceneLanguage`."""
        one, other = _said(first, _Case.NOMINATIVE), _said(second, _Case.NOMINATIVE)
        return f"{one} ist {'größer' if bigger else 'kleiner'} als {other}"


def _listing(phrases: Sequence[Phrase], case: _Case) -> str:
    return enumerated([_said(phrase, case) for phrase in phrases], ", ", " und ")


def _said(phrase: Phrase, case: _Case) -> str:
    gender, one, several = _NOUNS[phrase.shape]
    if phrase.count == 1:
        first, noun, ending = _ARTICLES[gender][case.value], one, _ENDINGS[gender][case.value]
    else:
        first, ending = _NUMBERS[phrase.count], _ENDINGS["plural"][case.value]
        noun = several if case is not _Case.DATIVE or several.endswith("n") else f"{several}n"
    adjectives = [_ADJECTIVES[word] + ending for word in (phrase.size, phrase.colour) if word]
    return " ".join([first, *adjectives, noun])
