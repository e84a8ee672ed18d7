"""What a language has to say so that scenes can be described in it; `scenes_grammar` decides what is said and when.

Each language is a file of its own, `scenes_english` and others, with its words and their forms as tables. They all say
the same in the same order, so that the captions of a picture are translations of one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from captioner.datasets.scenes_world import SceneObject


class Place(Enum):
    """Where one thing is, seen from another."""

    LEFT = "left"
    RIGHT = "right"
    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True)
class Phrase:
    """What a noun phrase says, and all the objects of the scene that it fits."""

    size: str
    """`small`, `large`, or empty when it does not say."""
    colour: str
    """Likewise."""
    shape: str
    """Likewise; without it only several things are spoken of."""
    objects: tuple[SceneObject, ...]
    """As many as the phrase says."""

    @property
    def count(self) -> int:
        """How many things it speaks of."""
        return len(self.objects)


class SceneLanguage(Protocol):
    """One language. Every method gives a whole caption: lower case where the language has it, commas in lists."""

    code: str
    """ISO 639-1."""
    has_spaces: bool
    """Whether there are spaces between words."""

    def listing(self, phrases: Sequence[Phrase]) -> str:
        """Things side by side: "a red circle and two blue stars"."""
        ...

    def existence(self, phrases: Sequence[Phrase]) -> str:
        """That they are there: "there is a red circle"."""
        ...

    def depiction(self, phrases: Sequence[Phrase]) -> str:
        """That they are in the picture: "a picture of a red circle"."""
        ...

    def setting(self, phrases: Sequence[Phrase], background: str, *, exists: bool) -> str:
        """The things, or that they are there, on a background: "a red circle on a white background"."""
        ...

    def counting(self, phrases: Sequence[Phrase]) -> str:
        """Things with their number said: "one red circle and two blue stars"."""
        ...

    def relations(self, first: Phrase, place: Place, second: Phrase) -> tuple[str, str, str]:
        """Where the first is, seen from the second, in three wordings."""
        ...

    def comparison(self, first: Phrase, second: Phrase, *, bigger: bool) -> str:
        """That one thing is bigger than another, or smaller."""
        ...


def enumerated(parts: Sequence[str], comma: str, last: str) -> str:
    """Parts as a list: "one and another"; "one, another and a third"."""
    *before, end = parts
    return f"{comma.join(before)}{last}{end}" if before else end
