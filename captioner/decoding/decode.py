"""The decoding engine: beam search over many pictures at once, of which greedy search is the case `beam` = 1.

Knows token ids and log-probabilities; knows neither words nor how a model computes. The search, for each picture:

1. It begins with one empty hypothesis. At each step every live hypothesis is continued with every token that
   `constraints.py` allows, and the `beam` most probable continuations stay (by summed log-probability; equal ones by
   the order of their parents, then by token id).
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

from collections.abc import Iterable

import numpy as np

from captioner.config import DecodeConfig
from captioner.decoding.constraints import constrain
from captioner.decoding.hypotheses import Hypotheses
from captioner.decoding.ranking import Shortlist, length_normalised
from captioner.decoding.sample import sample
from captioner.decoding.step import StepModel, checked_log_probs
from captioner.errors import CaptionerError
from captioner.types import Candidate, SpecialTokens


def decode(
    step_model: StepModel, features: np.ndarray, config: DecodeConfig, special: SpecialTokens
) -> list[list[Candidate]]:
    """The most probable captions of each picture; or, with a temperature above 0, captions drawn at random.

    `features`: (batch, channels) or (batch, regions, channels), handed to the model as it is. Returns one list a
    picture, in the order of the features: at least one and at most `config.n_best` candidates, all different, best
    first. Their log-probabilities are the model's own, whatever the constraints took away beside them.

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
        return sample(step_model, features, config, special)
    shortlists = [Shortlist(config.n_best) for _ in features]

    def collect(hypotheses: Hypotheses, rows: Iterable[int], *, finished: bool) -> None:
        for row in rows:
            candidate = hypotheses.candidate(row, finished=finished, length_penalty=config.length_penalty)
            shortlists[hypotheses.picture[row]].add(candidate)

    live = Hypotheses.start(len(features))
    state = step_model.start(features)
    last = np.full(len(live), special.bos, dtype=np.int64)  # (rows,)
    for _ in range(config.max_length):
        log_probs, state = step_model.step(last, state)
        allowed = constrain(
            checked_log_probs(log_probs, len(live), special), live.tokens, config, special
        )  # (rows, vocab)
        collect(live, np.flatnonzero(np.isneginf(allowed.max(axis=1))), finished=False)

        rows, tokens = _best_continuations(live, allowed, config.beam)
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
    return [shortlist.best for shortlist in shortlists]


def _best_continuations(live: Hypotheses, log_probs: np.ndarray, beam: int) -> tuple[np.ndarray, np.ndarray]:
    """The `beam` most probable continuations of each picture: the rows they continue, and their tokens.

    `log_probs`: float32 (rows, vocab). Both results are int64 (continuations,), grouped by picture, best first.
    """
    vocab = log_probs.shape[1]
    place = vocab - min(beam, vocab)
    # No row can contribute more than its own `beam` best tokens. A threshold, unlike argpartition, keeps all that are
    # equal to the last of them, so that ties are broken below, by rule, and not by the partition.
    threshold = np.partition(log_probs, place, axis=1)[:, place]  # (rows,)
    threshold = np.maximum(threshold, np.finfo(np.float32).min)  # what is forbidden stays out
    rows, tokens = np.divmod(np.flatnonzero(log_probs >= threshold[:, None]), vocab)

    totals = live.log_prob[rows] + log_probs[rows, tokens]
    order = np.lexsort((-totals, live.picture[rows]))  # stable: ties stay in the order of rows, then of tokens
    picture = live.picture[rows[order]]
    place_in_picture = np.arange(len(order)) - np.searchsorted(picture, picture)
    best = order[place_in_picture < beam]
    return rows[best], tokens[best]
