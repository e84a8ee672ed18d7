"""Captions drawn at random from what the model finds probable, in place of a search for the most probable one.

Temperature flattens or sharpens the distribution of the next word; top-k (Fan, Lewis and Dauphin 2018, arXiv
1805.04833) and top-p, the nucleus (Holtzman et al. 2020, arXiv 1904.09751, section 3.1), cut its tail off. A picture's
captions follow from the seed and the picture alone, not from the others beside it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from captioner.config.decode import DecodeConfig
from captioner.decoding.constraints import FORBIDDEN, NO_RULES, WordRules, constrain
from captioner.decoding.hypotheses import Hypotheses
from captioner.decoding.step import StepModel, checked_log_probs
from captioner.errors import ConfigError
from captioner.types import Candidate, SpecialTokens

Noise = Callable[[int], np.ndarray]
"""Size of the vocabulary → Gumbel noise, float (pictures, captions of each, vocab)."""


def sample(
    step_model: StepModel,
    features: np.ndarray,
    config: DecodeConfig,
    special: SpecialTokens,
    words: WordRules = NO_RULES,
) -> list[list[Candidate]]:
    """`config.n_best` captions of each picture, drawn with `config.temperature`, `top_k`, `top_p` and `seed_of_draws`.

    Args:
        step_model: the model.
        features: (batch, channels) or (batch, regions, channels), of at least one picture.
        config: its `temperature` must be above 0.
        special: the tokens that are no words.
        words: its words that must not appear; a draw cannot be made to have any.

    Returns:
        One list a picture, finished captions first, then by score. Equal captions are there once. Log-probabilities
        are the model's own, at temperature 1.

    Raises:
        CaptionerError: the model returns something other than log-probabilities.
        ConfigError: there are words that must appear.
    """
    if words.must:
        raise ConfigError("words that must appear want a search; leave --temperature at 0")
    generators = [np.random.default_rng(config.seed_of_draws) for _ in features]

    def noise(vocab: int) -> np.ndarray:
        return np.stack([gumbel(each, (config.n_best, vocab)) for each in generators])

    found = draw(step_model, features, config, special, noise, words)
    unique = ({each.tokens: each for each in reversed(candidates)}.values() for candidates in found)
    return [sorted(candidates, key=lambda one: (not one.finished, -one.score)) for candidates in unique]


def draw(
    step_model: StepModel,
    features: np.ndarray,
    config: DecodeConfig,
    special: SpecialTokens,
    noise: Noise,
    words: WordRules = NO_RULES,
) -> list[list[Candidate]]:
    """`config.n_best` captions of each picture in the order they were drawn in, equal ones as often as they were drawn.

    Arguments and errors as for `sample`; `noise` is asked once a step for Gumbel noise.
    """
    pictures, count = len(features), config.n_best
    rows = np.repeat(np.arange(pictures), count)
    found: list[Candidate | None] = [None] * (pictures * count)
    live = Hypotheses.start(pictures).take(rows)
    slot = np.arange(len(rows))  # which of all captions a row is
    state = step_model.reorder(step_model.start(features), rows)
    last = np.full(len(live), special.bos, dtype=np.int64)

    def collect(hypotheses: Hypotheses, slots: np.ndarray, rows: np.ndarray, *, finished: bool) -> None:
        for row in rows.tolist():
            found[slots[row]] = hypotheses.candidate(row, finished=finished, length_penalty=config.length_penalty)

    for _ in range(config.max_length):
        log_probs, state = step_model.step(last, state)
        log_probs = checked_log_probs(log_probs, len(live), special)
        allowed = constrain(log_probs, live.tokens, config, special, words)  # (rows, vocab)
        stuck = np.isneginf(allowed.max(axis=1))
        collect(live, slot, np.flatnonzero(stuck), finished=False)
        going = np.flatnonzero(~stuck)
        likely = allowed[going] / np.float32(config.temperature)
        if config.top_k or config.top_p < 1:
            likely = cut_tail(likely, config.top_k, config.top_p)
        # The largest of log-probabilities with Gumbel noise is a draw (Gumbel 1954). There is noise for all captions at
        # every step, so that what one of them draws does not depend on when the others end.
        chances = likely + noise(log_probs.shape[1]).reshape(pictures * count, -1)[slot[going]]
        tokens = chances.argmax(axis=1)
        grown, slots = live.extend(going, tokens, log_probs[going, tokens]), slot[going]
        ended = tokens == special.eos
        collect(grown, slots, np.flatnonzero(ended), finished=True)
        left = np.flatnonzero(~ended)
        live, slot = grown.take(left), slots[left]
        if len(live) == 0:
            break
        last, state = tokens[left], step_model.reorder(state, going[left])
    collect(live, slot, np.arange(len(live)), finished=False)
    drawn = [candidate for candidate in found if candidate is not None]
    return [drawn[first : first + count] for first in range(0, len(drawn), count)]


def gumbel(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Gumbel noise, float32 of this shape; the logarithm of an exponential draw, which is the quick way to it."""
    draws = generator.standard_exponential(shape, dtype=np.float32)
    noise: np.ndarray = -np.log(np.maximum(draws, np.finfo(np.float32).tiny))
    return noise


def cut_tail(log_probs: np.ndarray, top_k: int, top_p: float) -> np.ndarray:
    """What stays of each row, renormalised; the rest is minus infinity.

    Args:
        log_probs: (rows, vocab), not necessarily normalised.
        top_k: how many of the most probable stay; 0 keeps all.
        top_p: the fewest of the most probable that have together at least this share stay, at least one; 1 keeps all.
    """
    kept = log_probs.astype(np.float64)
    order = np.argsort(-kept, axis=1, kind="stable")
    if 0 < top_k < kept.shape[1]:
        np.put_along_axis(kept, order[:, top_k:], FORBIDDEN, axis=1)
    kept -= np.logaddexp.reduce(kept, axis=1, keepdims=True)
    if top_p < 1:
        ordered = np.take_along_axis(np.exp(kept), order, axis=1)
        before = np.cumsum(ordered, axis=1) - ordered  # what the more probable ones have already
        np.put_along_axis(kept, order, np.where(before < top_p, np.take_along_axis(kept, order, 1), FORBIDDEN), axis=1)
        kept -= np.logaddexp.reduce(kept, axis=1, keepdims=True)
    return kept
