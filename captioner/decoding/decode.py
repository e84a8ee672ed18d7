"""The decoding engine: beam search over many pictures at once, of which greedy search is the case `beam` = 1.

Knows token ids and log-probabilities; knows neither words nor how a model computes. The search, for each picture:

1. It begins with one empty hypothesis. At each step every live hypothesis is continued with every token that
   `constraints.py` allows, and the `beam` most probable continuations stay (by summed log-probability; equal ones by
   the order of their parents, then by token id). Words that must appear and groups change which stay (`selection.py`).
2. Those that took the end token are finished and leave the beam; the next step fills it up again from the others.
3. A hypothesis which has no allowed continuation ends there, unfinished. So do those still live after `max_length`
   tokens: a finished caption has thus at most `max_length` - 1 words beside its end token, an unfinished one at most
   `max_length`.
4. A live hypothesis is given up when it cannot enter the `n_best` any more: when the finished captions there all have a
   better score than it would reach with tokens of probability 1 up to `max_length`. This never changes the result, as
   whatever pushes a hypothesis out of the beam outlives it here too. A picture is done when nothing of it is live.
5. Finished candidates are ranked before unfinished ones (`ranking.py`), and at least one is always returned.

Pictures do not influence one another: a batch gives what each picture gives alone, as far as the model does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import zip_longest

import numpy as np

from captioner.config.decode import DecodeConfig
from captioner.decoding.constraints import NO_RULES, WordRules, constrain
from captioner.decoding.hypotheses import Hypotheses
from captioner.decoding.ranking import Shortlist, length_normalised, rank
from captioner.decoding.sample import sample
from captioner.decoding.selection import best_continuations
from captioner.decoding.step import StepModel, checked_log_probs
from captioner.errors import CaptionerError
from captioner.types import Candidate, SpecialTokens


def decode(
    step_model: StepModel,
    features: np.ndarray,
    config: DecodeConfig,
    special: SpecialTokens,
    words: WordRules = NO_RULES,
) -> list[list[Candidate]]:
    """The most probable captions of each picture; or, with a temperature above 0, captions drawn at random.

    `features`: (batch, channels) or (batch, regions, channels), handed to the model as it is. Returns one list a
    picture, in the order of the features: at least one and at most `config.n_best` candidates, all different, best
    first. Their log-probabilities are the model's own, whatever the constraints took away beside them. `words` says
    which words must or must not appear; a caption lacks words that must only where none could be given them.

    Raises `CaptionerError` with code `decoding` when the features are no batch, or when the model returns something
    other than log-probabilities of the right shape.
    """
    if features.ndim < 2:
        raise CaptionerError(
            f"features have shape {features.shape}; expected (batch, channels) or (batch, regions, channels)",
            code="decoding",
        )
    if len(features) == 0:
        return []
    if config.temperature > 0:
        return sample(step_model, features, config, special, words)
    groups = config.groups
    shortlists, lacking = (
        [Shortlist(-(-config.n_best // groups)) for _ in range(len(features) * groups)] for _ in range(2)
    )  # the second ones are of captions that lack words, and stand in for empty ones

    def collect(hypotheses: Hypotheses, rows: Collection[int] | np.ndarray, *, finished: bool) -> None:
        if not len(rows):
            return
        has_words = np.all(words.said(hypotheses.tokens), axis=1)
        for row in rows:
            candidate = hypotheses.candidate(row, finished=finished, length_penalty=config.length_penalty)
            (shortlists if has_words[row] else lacking)[hypotheses.picture[row]].add(candidate)

    live = Hypotheses.start(len(features) * groups)  # each group searches as if its picture were one of its own
    state = step_model.start(features)
    if groups > 1:
        state = step_model.reorder(state, np.repeat(np.arange(len(features)), groups))
    last = np.full(len(live), special.bos, dtype=np.int64)  # (rows,)
    for _ in range(config.max_length):
        log_probs, state = step_model.step(last, state)
        log_probs = checked_log_probs(log_probs, len(live), special)
        allowed = constrain(log_probs, live.tokens, config, special, words)  # (rows, vocab)
        collect(live, np.flatnonzero(np.isneginf(allowed.max(axis=1))), finished=False)

        rows, tokens = best_continuations(live, allowed, config, words)
        grown = live.extend(rows, tokens, allowed[rows, tokens])
        ended = tokens == special.eos
        collect(grown, np.flatnonzero(ended), finished=True)

        best_possible = length_normalised(grown.log_prob, config.max_length, config.length_penalty)
        floor = np.array([shortlist.floor for shortlist in shortlists])[grown.picture]
        going_on = np.flatnonzero(~ended & (best_possible >= floor))
        live = grown.take(going_on)
        if len(live) == 0:
            break
        last = tokens[going_on]
        state = step_model.reorder(state, rows[going_on])
    collect(live, range(len(live)), finished=False)
    found = [shortlist.best or spare.best for shortlist, spare in zip(shortlists, lacking, strict=True)]
    if groups == 1:
        return found
    return [_of_all_groups(found[first : first + groups], config.n_best) for first in range(0, len(found), groups)]


def _of_all_groups(found: Sequence[Sequence[Candidate]], n_best: int) -> list[Candidate]:
    """The best of each group, then the second best, until there are `n_best` different ones; in their order."""
    in_turn = (candidate for place in zip_longest(*found) for candidate in place if candidate is not None)
    different = {candidate.tokens: candidate for candidate in in_turn}
    return sorted(list(different.values())[:n_best], key=rank)
