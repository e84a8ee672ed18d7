"""Several views of one training picture: itself, its mirror image, random parts of it; knows nothing of networks.

Seeing a little of something else each time keeps a network from learning its few pictures by heart. A view follows from
the picture's content and the number of the view, so that a view once computed can be kept.
"""

from __future__ import annotations

import hashlib

import numpy as np

WHOLE, MIRRORED = 0, 1
"""The numbers of the views that are no random parts."""
_LEAST_SHARE = 0.5
"""A random part has this share of the picture's area at least: what captions speak of should still be in it."""
_NARROWEST, _WIDEST = 3 / 4, 4 / 3
"""Its proportions against those of the picture, as of the random crops of Szegedy et al. 2015, arXiv 1409.4842."""


def view_key(key: bytes, number: int) -> bytes:
    """32 bytes that tell a view from all others; `key` is the SHA-256 of the picture, and of the view that is whole."""
    return key if number == WHOLE else hashlib.sha256(key + b"view 1" + bytes([number])).digest()


def is_part(number: int) -> bool:
    """Whether a view is a part of the picture, which wants more pixels of it."""
    return number > MIRRORED


def view_of(picture: np.ndarray, key: bytes, number: int) -> np.ndarray:
    """One view of a picture.

    Args:
        picture: uint8 (height, width, 3).
        key: as for `view_key`; with the number it is the seed.
        number: 0 is the picture itself, 1 its mirror image; from 2 on random parts, every other one mirrored.
    """
    if number == WHOLE:
        return picture
    if number == MIRRORED:
        return picture[:, ::-1]
    random = np.random.default_rng(np.frombuffer(view_key(key, number), np.uint32))
    height, width = picture.shape[:2]
    share = random.uniform(_LEAST_SHARE, 1.0)
    stretch = np.exp(random.uniform(np.log(_NARROWEST), np.log(_WIDEST)))
    tall = min(height, max(1, round(height * (share / stretch) ** 0.5)))
    wide = min(width, max(1, round(width * (share * stretch) ** 0.5)))
    top, left = random.integers(height - tall + 1), random.integers(width - wide + 1)
    part = picture[top : top + tall, left : left + wide]
    return part[:, ::-1] if number % 2 else part
