"""The training pictures that look most like a picture, with what people wrote for them: "because of these".

A bundle may keep one vector a training picture in `neighbours.npy`, and the captions in `neighbours.jsonl`, a line each
in the same order. Alike is what has the same direction in the encoder's features (cosine), as in image retrieval with
pooled activations (Babenko and Lempitsky 2015, "Aggregating Deep Convolutional Features for Image Retrieval").
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from captioner.bundle import NEIGHBOURS, NEIGHBOURS_CAPTIONS, Bundle
from captioner.errors import BundleError

_AT_ONCE = 4096
"""Vectors that are compared together; in float32 they take more room than on the disk."""


@dataclass(frozen=True)
class Neighbour:
    """A training picture that looks alike."""

    similarity: float
    """Cosine between its features and the picture's, -1 to 1."""
    captions: tuple[str, ...]
    """What people wrote for it."""


def directions(features: np.ndarray) -> np.ndarray:
    """What pictures are compared by.

    Args:
        features: float (pictures, width), or (pictures, regions, width), of which the mean over regions is taken.

    Returns:
        float32 (pictures, width), each of length 1, or 0 where a feature is all zero.
    """
    values = features.astype(np.float32)
    if values.ndim == 3:
        values = values.mean(axis=1)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    unit: np.ndarray = np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0)
    return unit


class Neighbours:
    """The training pictures that a bundle keeps. Vectors stay on the disk, and are read through a memory map."""

    def __init__(self, vectors: np.ndarray, captions: Sequence[Sequence[str]]) -> None:
        """`vectors`: float16 (pictures, width), as `directions` gives them; `captions`: of each picture."""
        self._vectors, self._captions = vectors, captions

    def __len__(self) -> int:
        return len(self._vectors)

    @classmethod
    def load(cls, bundle: Bundle, width: int) -> Neighbours | None:
        """Those of a bundle, or None when it keeps none.

        Args:
            bundle: verified.
            width: numbers in a vector, as the bundle's encoder gives them.

        Raises:
            BundleError: the files are not what they should be.
        """
        if not bundle.keeps_neighbours:
            return None
        vectors, captions = _vectors(bundle.path(NEIGHBOURS)), _captions(bundle.path(NEIGHBOURS_CAPTIONS))
        if vectors.dtype != np.float16 or vectors.ndim != 2 or vectors.shape != (len(captions), width):
            raise BundleError(
                f"{bundle.path(NEIGHBOURS)} has {vectors.dtype} of shape {vectors.shape}; expected float16 of shape "
                f"({len(captions)}, {width}): build the bundle again"
            )
        return cls(vectors, captions)

    def nearest(self, features: np.ndarray, count: int) -> tuple[Neighbour, ...]:
        """The `count` pictures that look most alike, the nearest first.

        Args:
            features: of one picture, float32 (1, …) as its encoder gives them.
            count: at least 1; of fewer pictures all are given.
        """
        (wanted,) = directions(features)
        parts = [self._vectors[first : first + _AT_ONCE] for first in range(0, len(self), _AT_ONCE)]
        similarity = np.concatenate([part.astype(np.float32) @ wanted for part in parts])
        best = np.argsort(-similarity, kind="stable")[:count]
        return tuple(Neighbour(float(similarity[row]), tuple(self._captions[row])) for row in best)


def _vectors(path: Path) -> np.ndarray:
    try:
        found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BundleError(f"{path} cannot be read as an array: {error}") from None
    return found


def _captions(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8") as file:
            found = [json.loads(line) for line in file]
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from None
    if not all(isinstance(each, list) and all(isinstance(text, str) for text in each) for each in found):
        raise BundleError(f"{path} does not have a list of captions in each line; build the bundle again")
    return found
