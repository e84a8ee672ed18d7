"""Scenes in Arabic: Modern Standard Arabic without vowel marks.

    sentence    = listing | "هناك" listing | "صورة ل" listing | … "على خلفية بيضاء" | counting | relation | comparison
    listing     = "دائرة حمراء" | "نجمتان صغيرتان" | "ثلاثة أشكال" | "دائرة حمراء ونجمة زرقاء ومثلث أخضر"
    counting    = "دائرة حمراء واحدة ونجمتان زرقاوان اثنتان"
    relation    = ["هناك" | "توجد"] "دائرة حمراء" "على يسار" | "على يمين" | "فوق" | "تحت" "نجمتين زرقاوين"
    comparison  = "دائرة حمراء أكبر | أصغر من نجمة زرقاء"

Adjectives follow the noun, the colour before the size, and agree in gender and number: two things are in the dual,
whose ending tells the case, and several things are, in grammar, one of feminine gender. Three and four have the gender
that their noun has not. "And" and "of" are written together with the word after them. The verb "to be" is not said; in
its place stands a wording with "exists".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from captioner.datasets.scenes_language import Phrase, Place


@dataclass(frozen=True)
class _Noun:
    """A noun with its gender; the dual is that of `stem`."""

    one: str
    stem: str
    several: str
    is_feminine: bool


@dataclass(frozen=True)
class _Adjective:
    """An adjective: masculine, feminine, and what the dual endings go behind."""

    masculine: str
    feminine: str
    masculine_stem: str
    feminine_stem: str


def _regular(masculine: str) -> _Adjective:
    return _Adjective(masculine, f"{masculine}ة", masculine, f"{masculine}ت")


_NOUNS = {
    "circle": _Noun("دائرة", "دائرت", "دوائر", is_feminine=True),
    "square": _Noun("مربع", "مربع", "مربعات", is_feminine=False),
    "triangle": _Noun("مثلث", "مثلث", "مثلثات", is_feminine=False),
    "star": _Noun("نجمة", "نجمت", "نجمات", is_feminine=True),
    "": _Noun("شكل", "شكل", "أشكال", is_feminine=False),
}
_ADJECTIVES = {
    "small": _regular("صغير"),
    "large": _regular("كبير"),
    "red": _Adjective("أحمر", "حمراء", "أحمر", "حمراو"),
    "yellow": _Adjective("أصفر", "صفراء", "أصفر", "صفراو"),
    "green": _Adjective("أخضر", "خضراء", "أخضر", "خضراو"),
    "blue": _Adjective("أزرق", "زرقاء", "أزرق", "زرقاو"),
    "black": _Adjective("أسود", "سوداء", "أسود", "سوداو"),
    "purple": _regular("بنفسجي"),
}
_NOMINATIVE, _OBLIQUE = "ان", "ين"
"""The cases by their endings in the dual."""
_NUMBERS = {3: ("ثلاثة", "ثلاث"), 4: ("أربعة", "أربع")}
"""With a masculine noun, with a feminine one."""
_ONE = ("واحد", "واحدة")
_TWO = ("اثنان", "اثنتان")
_BACKGROUNDS = {"white": "بيضاء", "grey": "رمادية", "pink": "وردية", "brown": "بنية"}
_PLACES = {Place.LEFT: "على يسار", Place.RIGHT: "على يمين", Place.ABOVE: "فوق", Place.BELOW: "تحت"}


class Arabic:
    """See `SceneLanguage`."""

    code = "ar"
    has_spaces = True

    def listing(self, phrases: Sequence[Phrase]) -> str:
        """See `SceneLanguage`."""
        return _joined([_said(phrase, _NOMINATIVE) for phrase in phrases])

    def existence(self, phrases: Sequence[Phrase]) -> str:
        """See `SceneLanguage`."""
        return f"هناك {self.listing(phrases)}"

    def depiction(self, phrases: Sequence[Phrase]) -> str:
        """See `SceneLanguage`."""
        return f"صورة ل{_joined([_said(phrase, _OBLIQUE) for phrase in phrases])}"

    def setting(self, phrases: Sequence[Phrase], background: str, *, exists: bool) -> str:
        """See `SceneLanguage`."""
        return f"{(self.existence if exists else self.listing)(phrases)} على خلفية {_BACKGROUNDS[background]}"

    def counting(self, phrases: Sequence[Phrase]) -> str:
        """See `SceneLanguage`."""
        return _joined([_counted(phrase) for phrase in phrases])

    def relations(self, first: Phrase, place: Place, second: Phrase) -> tuple[str, str, str]:
        """See `SceneLanguage`."""
        text = f"{_said(first, _NOMINATIVE)} {_PLACES[place]} {_said(second, _OBLIQUE)}"
        exists = "توجد" if _NOUNS[first.shape].is_feminine else "يوجد"
        return text, f"{exists} {text}", f"هناك {text}"

    def comparison(self, first: Phrase, second: Phrase, *, bigger: bool) -> str:
        """See `SceneLanguage`."""
        than = "أكبر من" if bigger else "أصغر من"
        return f"{_said(first, _NOMINATIVE)} {than} {_said(second, _OBLIQUE)}"


def _joined(parts: Sequence[str]) -> str:
    return " و".join(parts)


def _said(phrase: Phrase, case: str) -> str:
    noun = _NOUNS[phrase.shape]
    adjectives = [_ADJECTIVES[word] for word in (phrase.colour, phrase.size) if word]
    if phrase.count == 1:
        return " ".join([noun.one, *(each.feminine if noun.is_feminine else each.masculine for each in adjectives)])
    if phrase.count == 2:
        stems = [noun.stem, *(each.feminine_stem if noun.is_feminine else each.masculine_stem for each in adjectives)]
        return " ".join(stem + case for stem in stems)
    number = _NUMBERS[phrase.count][noun.is_feminine]
    return " ".join([number, noun.several, *(each.feminine for each in adjectives)])


def _counted(phrase: Phrase) -> str:
    """The same with a number behind it where the noun alone says how many."""
    is_feminine = _NOUNS[phrase.shape].is_feminine
    number = {1: _ONE[is_feminine], 2: _TWO[is_feminine]}.get(phrase.count, "")
    return f"{_said(phrase, _NOMINATIVE)} {number}".rstrip()
