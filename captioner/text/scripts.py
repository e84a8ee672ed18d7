"""Scripts that are written without spaces between words; knows nothing of vocabularies or scores."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from captioner.text.normalize import words

# Blocks of Unicode: Thai and Lao, Tibetan, Myanmar, Khmer; then kana, and the Han characters with their extensions.
_BY_SYLLABLES = "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ecd\u0edc-\u0edf\u0f40-\u0fbc\u1000-\u109f\u1780-\u17d3"
_BY_CHARACTERS = "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_MARKS = (
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd\u0f71-\u0fbc\u102b-\u103e\u17b4-\u17d3"
    "\u3099\u309a"
)

CHARACTER = re.compile(f"[{_BY_SYLLABLES}{_BY_CHARACTERS}][{_MARKS}]*")
"""One character of such a script, with the marks that are written on it."""
_PARTS = re.compile(f"{CHARACTER.pattern}|[^{_BY_SYLLABLES}{_BY_CHARACTERS}]+")
NO_SPACES_AT_ALL = re.compile(f"[{_BY_CHARACTERS}]")
"""A character of a script that has no spaces between phrases either: Chinese, Japanese."""


def spaceless_share(texts: Iterable[str]) -> float:
    """The share of all letters that are of such scripts, 0 to 1; 0 when there are no letters.

    In plain ASCII text, which is most of what scores are computed of, all but spaces counts as letters: that is quick.
    """
    spaceless = letters = 0
    for text in texts:
        if text.isascii():
            letters += len(text) - text.count(" ")
        else:
            kinds = list(map(_kind, text))
            letters += sum(kind > 0 for kind in kinds)
            spaceless += sum(kind > 1 for kind in kinds)
    return spaceless / letters if letters else 0.0


def words_or_characters(text: str) -> list[str]:
    """The words of a caption, in scripts without spaces its characters; of these no piece of a word has fewer."""
    return [part for word in words(text) for part in (_PARTS.findall(word) if CHARACTER.search(word) else [word])]


@lru_cache(maxsize=8192)
def _kind(char: str) -> int:
    """0 no letter, 1 a letter, 2 a letter of a script without spaces."""
    return 2 if CHARACTER.match(char) else int(char.isalpha())
