"""What a caption's words hang on: parts of the picture are covered, and each word's fall in probability is measured.

Zeiler and Fergus (2014, "Visualizing and Understanding Convolutional Networks", section 4.2) slide a gray square over
the picture and watch the probability of its class; here it is that of each word of a caption that is given (teacher
forcing). Works with any captioner, where `Captioner.attention` wants a decoder that looks at regions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from captioner.decoding.step import checked_log_probs
from captioner.images import Picture
from captioner.runtime.captioner import Captioner, Look

GRID = 7
"""Patches a side."""
GRAY = 127
"""What a patch is covered with, in every channel."""
BATCH = 16
"""Covered pictures that are seen together."""


def occlusion_maps(model: Captioner, picture: Picture, text: str, *, grid: int = GRID) -> np.ndarray:
    """Where each word of a caption comes from.

    Args:
        model: the captioner.
        picture: as for `Captioner.caption`.
        text: the caption whose words are asked for.
        grid: patches a side, over the square that the encoder sees.

    Returns:
        float32 (words, rows, columns): how far the word's log-probability falls when the patch is covered, 0 where it
        rises; each word's add up to 1, or are all 0 where nothing makes it less probable.

    Raises:
        ImageError: the picture cannot be read.
    """
    words = model.bundle.vocabulary.encode(text)
    views = [covered(square, grid) for square in model.look(picture)]  # for each bundle: (1 + patches, size, size, 3)
    looks: list[Look] = [list(each) for each in zip(*views, strict=True)]
    log_probs = np.concatenate(
        [_word_log_probs(model, looks[first : first + BATCH], words) for first in range(0, len(looks), BATCH)]
    )  # (1 + patches, words)
    fall = np.maximum(log_probs[0] - log_probs[1:], 0.0).T  # (words, patches)
    total = fall.sum(axis=1, keepdims=True)
    shares = np.divide(fall, total, out=np.zeros_like(fall), where=total > 0)
    maps: np.ndarray = shares.reshape(len(words), grid, grid).astype(np.float32)
    return maps


def covered(square: np.ndarray, grid: int) -> np.ndarray:
    """The picture, and the picture with each patch covered, row by row: uint8 (1 + grid², size, size, 3)."""
    size = len(square)
    edges = [round(size * place / grid) for place in range(grid + 1)]
    views = np.repeat(square[np.newaxis], 1 + grid * grid, axis=0)
    for row in range(grid):
        for column in range(grid):
            view = views[1 + row * grid + column]
            view[edges[row] : edges[row + 1], edges[column] : edges[column + 1]] = GRAY
    return views


def _word_log_probs(model: Captioner, looks: Sequence[Look], words: Sequence[int]) -> np.ndarray:
    """The natural-log probability of each word after those before it: float64 (pictures, words)."""
    features = model.see(looks)
    rows, special = len(features), model.bundle.vocabulary.special
    found = np.zeros((rows, len(words)))
    state, token = model.steps.start(features), special.bos
    for place, word in enumerate(words):
        answer, state = model.steps.step(np.full(rows, token, dtype=np.int64), state)
        found[:, place] = checked_log_probs(answer, rows, special)[:, word]
        token = word
    return found
