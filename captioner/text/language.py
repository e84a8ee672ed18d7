"""A guess at the language of captions, from their script and their commonest small words; knows no grammar.

For telling a person what their data looks like, and for choosing defaults; nothing is refused because of it.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable

from captioner.text.normalize import words

_SCRIPTS = {
    "CJK": "Chinese",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "HANGUL": "Korean",
    "ARABIC": "Arabic",
    "HEBREW": "Hebrew",
    "GREEK": "Greek",
    "THAI": "Thai",
    "DEVANAGARI": "Hindi",
    "BENGALI": "Bengali",
    "TAMIL": "Tamil",
    "TELUGU": "Telugu",
    "GEORGIAN": "Georgian",
    "ARMENIAN": "Armenian",
    "KHMER": "Khmer",
    "LAO": "Lao",
    "MYANMAR": "Burmese",
}
"""How Unicode's names of letters begin, and the language that is mostly written with them."""
_SMALL_WORDS = {
    "English": "a the of is and in on with an are at to his her two man woman standing",
    "German": "ein eine einer einem der die das und mit auf im ist sind von zwei neben steht",
    "French": "un une le la les des du de et est sur dans avec deux qui homme femme",
    "Spanish": "un una el la los las de del y en con es está dos que hombre mujer",
    "Italian": "un una il lo la gli di del e su in con è che due uomo donna",
    "Portuguese": "um uma o os as de do da e em com no na está dois homem mulher",
    "Dutch": "een de het van en in op met is zijn twee die man vrouw staat naast",
    "Swedish": "en ett och på med av är som i två står man kvinna ligger",
    "Polish": "w na z i jest się do dwa mężczyzna kobieta stoi obok przy",
    "Czech": "na v s a je se do dva muž žena stojí vedle u",
    "Turkish": "bir ve ile iki üzerinde adam kadın olan bu yanında duran",
    "Indonesian": "seorang sebuah di dan dengan yang pada dua pria wanita sedang",
    "Vietnamese": "một và trên với của đang người hai đàn ông phụ nữ",
    "Russian": "на в и с у из по за два мужчина женщина стоит человек",
    "Ukrainian": "на в і з у та до два чоловік жінка стоїть людина",
}
_MIXED = 0.2
"""Letters of a second script count when they are more than this share."""
_ENOUGH = 0.04
"""Of all words, this share must be small words of a language."""


def guess_language(captions: Iterable[str]) -> str:
    """The language by its English name; `unknown` when there is nothing to go by."""
    letters: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for caption in captions:
        said = words(caption)
        found.update(said)
        for char in "".join(said):
            if char.isalpha():
                letters[unicodedata.name(char, "").split(" ")[0]] += 1
    total = sum(letters.values())
    if not total:
        return "unknown"
    kana = letters["HIRAGANA"] + letters["KATAKANA"]
    if kana > _MIXED * total / 2:  # Japanese is written with Chinese characters as well
        return "Japanese"
    script, count = letters.most_common(1)[0]
    if script in _SCRIPTS and count > total / 2:
        return _SCRIPTS[script]
    shares = {
        language: sum(found[word] for word in small.split()) / found.total() for language, small in _SMALL_WORDS.items()
    }
    best = max(shares, key=lambda language: shares[language])
    return best if shares[best] >= _ENOUGH else "unknown"
