"""Which words a set of captions is scored by: those of coco-caption, or characters where words have no spaces.

Between languages the protocol has to differ, and within a data set it must not: the references decide for the whole
set, so that scores of different captioners on the same references compare. Knows nothing of scores.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from enum import Enum

from captioner.metrics.tokenizer import tokenize
from captioner.text.scripts import CHARACTER, spaceless_share

_SPACELESS = 0.2
"""Of the letters of the references."""


class Cutting(Enum):
    """How captions are cut; the values stand in signatures."""

    PTB = "ptb"
    """As coco-caption does."""
    CHARACTERS = "ptb+chars"
    """Likewise, but every character of a script without spaces is a word, as is usual for Chinese (Li, Lan, Dong and
    Liu 2016, "Adding Chinese captions to images"), with the marks that are written on it; its punctuation is none."""

    def __call__(self, text: str) -> list[str]:
        """The words of a caption, as in `tokenize`."""
        if self is Cutting.PTB:
            return tokenize(text)
        plain = "".join(" " if _is_punctuation(char) else char for char in unicodedata.normalize("NFKC", text))
        return tokenize(CHARACTER.sub(r" \g<0> ", plain))


def cutting_for(references: Iterable[str]) -> Cutting:
    """The one that suits these references."""
    return Cutting.CHARACTERS if spaceless_share(references) > _SPACELESS else Cutting.PTB


def _is_punctuation(char: str) -> bool:
    """Whether it is a sign of punctuation beyond ASCII, which coco-caption does not know as such."""
    return not char.isascii() and unicodedata.category(char)[0] == "P"
