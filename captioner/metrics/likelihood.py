"""Perplexity and retrieval: metrics of how probable a model finds captions that people wrote.

Knows numbers alone, neither words nor models. No caption needs to be generated for them. Perplexities compare only
between models that cut captions into the same tokens of the same vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from captioner.errors import MetricError
from captioner.metrics.base import Statistics
from captioner.metrics.bootstrap import bootstrap, interval
from captioner.types import Score

_RANKS = (1, 5, 10)
_LARGEST_EXPONENT = 700.0
"""Of e, as a float holds it."""
_ROUNDING = 1e-3
"""The log-probability of a token in low precision may come out this far above zero."""


def perplexity(
    log_probs: Sequence[float] | np.ndarray,
    token_counts: Sequence[int] | np.ndarray,
    *,
    captions: Sequence[int] | np.ndarray,
) -> Score:
    """exp(-Σ log p / Σ tokens): how many tokens the model hesitates between, on average. 1 is perfect, lower is better.

    `log_probs`: for each picture the sum of the natural-log probabilities of its captions, end tokens counted.
    `token_counts`: for each picture the tokens of these captions, end tokens counted. `captions`: for each picture how
    many captions the two sum over, which the signature tells.

    Unlike other scores it is not times 100. The value of a picture is the same formula on its captions alone; the value
    of the set weighs every token alike, so it is no mean of these. Words outside the vocabulary count as the token that
    stands for them, which flatters a small vocabulary.

    Raises `MetricError` when there is nothing to score, when the sequences differ in length, when a picture has fewer
    tokens than captions, or when a number is no log-probability.
    """
    if not len(log_probs) == len(token_counts) == len(captions):
        raise MetricError(
            f"{len(log_probs)} log-probabilities, {len(token_counts)} token counts and {len(captions)} caption counts; "
            "give one of each for every picture"
        )
    if len(log_probs) == 0:
        raise MetricError("there are no captions to score; give the log-probabilities of at least one picture")
    for index, (log_prob, tokens, count) in enumerate(zip(log_probs, token_counts, captions, strict=True)):
        if not 1 <= count <= tokens:
            raise MetricError(
                f"picture {index} has {count} captions of {tokens} tokens; give at least one caption, and count the "
                "end token of each"
            )
        if not log_prob <= _ROUNDING * tokens:
            raise MetricError(
                f"picture {index} has {log_prob} as a log-probability, which is 0 or less; give sums of "
                "log-probabilities, not losses"
            )
    fewest, most = min(captions), max(captions)
    references = f"refs:{fewest}" if fewest == most else f"refs:{fewest}-{most}"
    sums = Statistics(
        np.stack([np.asarray(log_probs, np.float64), np.asarray(token_counts, np.float64)], axis=1),
        lambda sums: np.exp(np.minimum(-sums[..., 0] / sums[..., 1], _LARGEST_EXPONENT)),
    )
    return Score(
        name="Perplexity",
        value=_perplexity(math.fsum(log_probs), sum(token_counts)),
        per_image=tuple(
            _perplexity(log_prob, tokens) for log_prob, tokens in zip(log_probs, token_counts, strict=True)
        ),
        signature=f"Perplexity|tok:model|{references}|unit:token|version:1",
        interval=interval(bootstrap([sums])[0]) if np.isfinite(sums.values).all() else None,
    )


def _perplexity(log_prob: float, tokens: int) -> float:
    """Infinite when it is too large for a float, or when a caption is impossible."""
    try:
        return math.exp(-float(log_prob) / int(tokens))
    except OverflowError:
        return math.inf


def retrieval(likelihoods: np.ndarray) -> tuple[Score, ...]:
    """R@1, R@5 and R@10 in both directions: how often what belongs together is among the best k of the pool.

    After Hodosh, Young and Hockenmaier 2013, "Framing image description as a ranking task" (JAIR 47). `likelihoods`:
    float (pictures, captions), the log-likelihood of each caption given each picture; square, and caption i belongs to
    picture i. Text-to-image ranks the pictures for each caption, image-to-text the captions for each picture. Whatever
    is as likely as the right one is ranked before it, so a model that cannot tell finds nothing. A k above the size of
    the pool is left out.

    Values are 0 to 100, and 100 or 0 for a picture: hit or miss. They depend on the pool, whose size the signature
    tells. Image-to-text by plain likelihood is dominated by how common a caption is: a short and usual one is likely
    for every picture and comes before the right one. Text-to-image compares one caption over pictures, where that
    cancels out, and is the direction to look at.

    Raises `MetricError` when the matrix is empty, not square, not of numbers, or has NaN in it.
    """
    matrix = np.asarray(likelihoods)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise MetricError(
            f"likelihoods have shape {matrix.shape}; expected a square (pictures, captions), one caption a picture and "
            "at least one"
        )
    if matrix.dtype.kind not in "fiu" or np.isnan(matrix).any():
        raise MetricError("likelihoods are not all numbers; score every caption against every picture")
    pool = len(matrix)
    right = np.diagonal(matrix)
    ranks = {
        "text-to-image": np.count_nonzero(matrix >= right[None, :], axis=0),  # (captions,)
        "image-to-text": np.count_nonzero(matrix >= right[:, None], axis=1),  # (pictures,)
    }
    return tuple(_recall(direction, rank, k, pool) for direction, rank in ranks.items() for k in _RANKS if k <= pool)


def _recall(direction: str, ranks: np.ndarray, k: int, pool: int) -> Score:
    """`ranks`: int (queries,), 1 for the best."""
    hits = 100.0 * (ranks <= k)
    return Score(
        name=f"R@{k} {direction}",
        value=float(hits.mean()),
        per_image=tuple(hits.tolist()),
        signature=f"R@{k}|{direction}|pool:{pool}|by:log-likelihood|version:1",
        interval=interval(bootstrap([Statistics.mean_of(hits)])[0]),
    )
