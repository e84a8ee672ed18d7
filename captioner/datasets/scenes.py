"""The embedded data set `scenes`: drawn pictures with captions that are exactly true; needs no download.

`scenes` has English captions; `scenes:de`, `scenes:ar` and `scenes:zh` have the same pictures with German, Arabic and
Chinese ones.

Everything follows from the seed. Each scene is made up from its split and number alone, so any record can be had
without the ones before it, and a picture is drawn only when its bytes are read. `train`, `dev` and `test` share no
scene: the hash of what is in a scene says which of them it belongs to. `novel` has, in every picture, a pair of colour
and shape that the other splits never have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import product
from random import Random

from captioner.datasets.base import require_split
from captioner.datasets.problems import Problem
from captioner.datasets.scenes_drawing import draw_png
from captioner.datasets.scenes_grammar import ENGLISH, LANGUAGES, choose_captions, is_true
from captioner.datasets.scenes_sampling import Pair, sample_scene
from captioner.datasets.scenes_world import COLOURS, SHAPES, Key, Scene
from captioner.errors import DataError
from captioner.types import Record

NAME = "scenes"
CAPTIONS = 5
"""Captions of a picture."""
NOVEL_PAIRS = 4
"""Pairs of colour and shape kept for the split `novel`, each with a colour and a shape of its own."""
SHARES = {"train": 0.6, "dev": 0.2, "test": 0.2}
"""Shares of all possible scenes; how many of them are used is up to the sizes of the splits."""


@dataclass(frozen=True)
class SceneSource:
    """A picture that is drawn each time its bytes are read."""

    name: str
    """The image id."""
    scene: Scene
    """What to draw."""
    size: int
    """Side of the picture in pixels."""

    @property
    def version(self) -> str:
        """What is drawn, and how large."""
        return f"{self.size} {self.scene!r}"

    def read_bytes(self) -> bytes:
        """Draw the scene; the bytes are a PNG file."""
        return draw_png(self.scene, self.size)


@dataclass(frozen=True)
class ScenesDataset:
    """Drawn scenes with five true captions each.

    Args:
        seed: decides everything.
        size: side of the pictures in pixels.
        train: number of pictures to learn from.
        dev: number of pictures to choose by.
        test: number of pictures to measure on.
        novel: number of pictures with a pair of colour and shape that training never has.
        language: of the captions, one of `LANGUAGES` by its code.
    """

    seed: int = 0
    size: int = 64
    train: int = 6000
    dev: int = 300
    test: int = 300
    novel: int = 300
    language: str = ENGLISH.code

    looked_for = f"the name {NAME}, or {NAME}:CODE ({', '.join(LANGUAGES)}), for pictures drawn by the package"

    def __post_init__(self) -> None:
        if self.size < 16:
            raise DataError(f"scenes cannot be drawn with {self.size} pixels a side; take 16 or more")
        if self.language not in LANGUAGES:
            known = ", ".join(f"{NAME}:{code}" for code in LANGUAGES)
            raise DataError(f"scenes have no captions in {self.language!r}; choose one of {known}")
        for split, count in self._counts.items():
            if count < 0:
                raise DataError(f"scenes cannot have {count} pictures in {split}; take 0 or more")

    @staticmethod
    def recognises(data: str) -> bool:
        """Whether `data` is the name of this data set."""
        return data == NAME or data.startswith(f"{NAME}:")

    @classmethod
    def open(cls, data: str) -> ScenesDataset:
        """The data set with its default sizes and seed. Raises `DataError` when there is no such language."""
        _, colon, code = data.partition(":")
        return cls(language=code if colon else ENGLISH.code)

    @property
    def name(self) -> str:
        """How the data set is named to a person."""
        return NAME if self.language == ENGLISH.code else f"{NAME}:{self.language}"

    @property
    def splits(self) -> tuple[str, ...]:
        """`train`, `dev`, `test` and `novel`."""
        return tuple(self._counts)

    @property
    def listed(self) -> int:
        """How many pictures all splits have together."""
        return sum(self._counts.values())

    @property
    def problems(self) -> tuple[Problem, ...]:
        """None: nothing can be wrong with what is drawn on demand."""
        return ()

    @property
    def judge(self) -> Callable[[str, str], bool]:
        """The method `is_true`."""
        return self.is_true

    @property
    def novel_pairs(self) -> tuple[Pair, ...]:
        """The pairs of colour and shape that only `novel` has."""
        random = self._random("pairs")
        return tuple(zip(random.sample(COLOURS, NOVEL_PAIRS), random.sample(SHAPES, NOVEL_PAIRS), strict=True))

    def records(self, split: str) -> Iterator[Record]:
        """The records of a split, in the order of their numbers. Raises `DataError` when there is no such split."""
        require_split(self, split)
        return (self._record(split, number) for number in range(self._counts[split]))

    def scene_of(self, image_id: str) -> Scene:
        """The scene behind an id such as `train-000123`. Raises `DataError` when there is no such id."""
        split, _, number = image_id.rpartition("-")
        if split not in self._counts or not (number.isdecimal() and int(number) < self._counts[split]):
            raise DataError(f"scenes has no picture {image_id!r}; an id is a split and a number, as in train-000123")
        return self._scene(split, int(number))

    def is_true(self, image_id: str, caption: str) -> bool:
        """Whether a caption is true of a picture; case and punctuation do not matter.

        Raises `DataError` when there is no such picture.
        """
        return is_true(caption, self.scene_of(image_id), LANGUAGES[self.language])

    @property
    def _counts(self) -> dict[str, int]:
        return {"train": self.train, "dev": self.dev, "test": self.test, "novel": self.novel}

    def _random(self, purpose: str) -> Random:
        """A generator of its own for each purpose, so that no record depends on another."""
        return Random(f"{self.seed}:{purpose}")  # noqa: S311 - has to be repeatable, not secret

    def _record(self, split: str, number: int) -> Record:
        image_id = f"{split}-{number:06d}"
        scene = self._scene(split, number)
        random = self._random(f"captions of {image_id}")
        captions = choose_captions(scene, CAPTIONS, random, LANGUAGES[self.language])
        return Record(image_id, SceneSource(image_id, scene, self.size), captions, split)

    def _scene(self, split: str, number: int) -> Scene:
        random = self._random(f"scene {number} of {split}")
        pairs, novel = list(product(COLOURS, SHAPES)), self.novel_pairs
        if split == "novel":
            return sample_scene(random, pairs, first=random.choice(novel))
        known = [pair for pair in pairs if pair not in novel]
        scene = sample_scene(random, known)
        while split_of(scene.key) != split:
            scene = sample_scene(random, known)
        return scene


def split_of(key: Key) -> str:
    """Which of `train`, `dev` and `test` a scene belongs to, by the hash of its key alone."""
    position = int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest()) / 2**64
    for split, share in SHARES.items():
        position -= share
        if position < 0:
            return split
    return split
