"""How a caption becomes words: one rule set, named, in any script. Knows nothing of ids.

The rules `words-v1`:

1. Unicode NFKC, so that composed and decomposed letters, and full-width and ordinary ones, are the same; lower case.
   Invisible format characters (soft hyphen, byte order mark, direction marks) are dropped.
2. A word is a run of letters and numbers with the marks that belong to them. An apostrophe, a hyphen or a zero-width
   joiner between two such runs holds them together: "man's", "t-shirt". Typographic apostrophes and hyphens count as
   the plain ones.
3. All else parts words and is left out: punctuation, symbols, emoji. So no word looks like `<endseq>`.

Scripts without spaces (Chinese, Thai) are not cut into words: a run is one word.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

RULES = "words-v1"
"""The name of the rules above, kept with every vocabulary that was made with them."""

_JOINERS = "\u200c\u200d"  # zero-width non-joiner and joiner: spelling in Persian and in many scripts of India
_SPACE = "\u200b"  # zero-width space: invisible, but it parts words
_PLAIN = str.maketrans({"‘": "'", "’": "'", "‛": "'", "ʼ": "'", "‐": "-"})
_WORD = re.compile(r"w[wm]*(?:cw[wm]*)*")  # over the kinds of the characters, not the characters


def normalize(text: str) -> str:
    """The text in the one form in which words are looked for; normalising again changes nothing."""
    visible = "".join(char for char in text if unicodedata.category(char) != "Cf" or char in _JOINERS + _SPACE)
    lower = unicodedata.normalize("NFKC", visible).lower()
    return unicodedata.normalize("NFKC", lower).translate(_PLAIN)


def words(text: str) -> list[str]:
    """The words of a caption, in order; none when there are only signs."""
    normal = normalize(text)
    kinds = "".join(map(_kind, normal))
    return [normal[found.start() : found.end()] for found in _WORD.finditer(kinds)]


@lru_cache(maxsize=4096)
def _kind(char: str) -> str:
    """What a character is within a word: `w` letter or number, `m` mark, `c` connector, `.` no part of a word."""
    if char in "'-" + _JOINERS:
        return "c"
    return {"L": "w", "N": "w", "M": "m"}.get(unicodedata.category(char)[0], ".")
