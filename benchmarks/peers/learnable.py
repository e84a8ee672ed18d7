"""Made-up captions that can be learned, and the features beside them, in one file that both sides of a race read.

Words follow one another as a Markov chain whose words are as frequent as Zipf's law has it, and pictures of a kind have
favourite words: a captioner that learns gets below the loss of one that knows frequencies alone. Needs numpy and
nothing of captioner, so that it can be read in an environment without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

PAD, BEGIN, END, UNKNOWN, FIRST_WORD = range(5)
"""Token ids as captioner has them; the unknown word does not occur."""
CAPTIONS_EACH = 5
MAX_WORDS = 30
_SUCCESSORS = np.array([0.4, 0.3, 0.2, 0.1])
_KINDS, _FAVOURITES = 8, 6
_FOLLOWS, _FAVOURED = 0.6, 0.2
"""How often a word is a successor of the one before, and how often a favourite of the kind of picture."""


@dataclass(frozen=True)
class Split:
    """Pictures with their captions."""

    features: np.ndarray
    """float16 (pictures, channels)"""
    captions: list[list[list[int]]]
    """Of each picture, `CAPTIONS_EACH` captions as word ids, without begin and end."""


@dataclass(frozen=True)
class Words:
    """The chain that captions are drawn from."""

    frequency: np.ndarray
    """Of every word, float (words,)."""
    successors: np.ndarray
    """Of every word, most probable first: int (words, 4)."""
    favourites: np.ndarray
    """Of every kind of picture: int (kinds, 6)."""

    def caption(self, random: np.random.Generator, kind: int) -> np.ndarray:
        """Word ids, as many as people use for Flickr8k: 10.8 ± 3.8, 2 to 30."""
        length = int(np.clip(np.rint(random.normal(10.8, 3.8)), 2, MAX_WORDS))
        words = random.choice(len(self.frequency), length, p=self.frequency)  # where neither of the below is drawn
        drawn = random.random(length)
        for place in range(length):
            if place and drawn[place] < _FOLLOWS:
                words[place] = random.choice(self.successors[words[place - 1]], p=_SUCCESSORS)
            elif drawn[place] > 1 - _FAVOURED:
                words[place] = random.choice(self.favourites[kind])
        return words + FIRST_WORD


def write(path: Path, *, pictures: int, held_out: int, vocabulary: int, channels: int) -> None:
    """Draw pictures to learn from and held-out ones, and write them to an .npz file for `read`."""
    random = np.random.default_rng(0)
    frequency = 1 / np.arange(2, vocabulary - FIRST_WORD + 2)
    frequency /= frequency.sum()
    words = Words(
        frequency,
        random.choice(len(frequency), (len(frequency), len(_SUCCESSORS)), p=frequency),
        random.choice(len(frequency), (_KINDS, _FAVOURITES)),
    )
    kinds = random.integers(_KINDS, size=pictures + held_out)
    noise = random.random((len(kinds), channels), np.float32)
    features = random.random((_KINDS, channels), np.float32)[kinds] + noise
    tokens = np.full((len(kinds), CAPTIONS_EACH, MAX_WORDS), PAD, np.int64)
    for picture, kind in enumerate(kinds.tolist()):
        for row in tokens[picture]:
            caption = words.caption(random, kind)
            row[: len(caption)] = caption
    np.savez(path, features=features.astype(np.float16), tokens=tokens, pictures=pictures)


def read(path: Path) -> tuple[Split, Split]:
    """What `write` wrote: pictures to learn from, then held-out ones."""
    with np.load(path, allow_pickle=False) as arrays:
        features, tokens, pictures = arrays["features"], arrays["tokens"], int(arrays["pictures"])
    captions = [[row[row != PAD].tolist() for row in picture] for picture in tokens]
    return Split(features[:pictures], captions[:pictures]), Split(features[pictures:], captions[pictures:])
