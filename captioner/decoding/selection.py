"""Which continuations stay in the beam. Knows log-probabilities and token ids, nothing of where they come from.

Three rules, one built on the other:

- **Plain**: the `beam` most probable continuations of each picture.
- **Words that must appear**: hypotheses compete only with those that have as many of these words as they do, `beam` of
  each kind stay, and every hypothesis is also continued with the words that it lacks: grid beam search (Hokamp and Liu
  2017, arXiv 1704.07138, section 3) for single words.
- **Groups**: the beam is dealt out to groups that choose one after another, and a token is worth less to a group the
  more often it was chosen at this step by the groups before: diverse beam search with Hamming diversity (Vijayakumar et
  al. 2018, arXiv 1610.02424, equations 5 and 6). What a token is worth decides what stays; what a hypothesis scores is
  the model's log-probability alone.
"""

from __future__ import annotations

import numpy as np

from captioner.config.decode import DecodeConfig
from captioner.decoding.constraints import WordRules
from captioner.decoding.hypotheses import Hypotheses

_GROUP = 16


def best_continuations(
    live: Hypotheses, log_probs: np.ndarray, config: DecodeConfig, words: WordRules
) -> tuple[np.ndarray, np.ndarray]:
    """The continuations that stay: the rows they continue, and their tokens.

    Args:
        live: the hypotheses; their `picture` is the picture times `config.groups`, plus the group.
        log_probs: float32 (rows, vocab), minus infinity for what is forbidden.
        config: its `beam`, `groups` and `diversity`.
        words: its words that must appear.

    Returns:
        Both int64 (continuations,), grouped by `picture`, within it best first; with words that must appear, those
        that have more of them first.
    """
    beam = config.beam // config.groups
    lacking = ~words.said(live.tokens)  # (rows, words that must appear)
    if config.groups == 1:
        return _best(live, log_probs, log_probs, beam, words, lacking)
    chosen = np.zeros((int(live.picture.max()) // config.groups + 1, log_probs.shape[1]), np.float32)  # how often
    found = []
    for group in range(config.groups):
        mine = np.flatnonzero(live.picture % config.groups == group)
        if not len(mine):
            continue
        pictures = live.picture[mine] // config.groups
        worth = log_probs[mine] - np.float32(config.diversity) * chosen[pictures]
        rows, tokens = _best(live.take(mine), log_probs[mine], worth, beam, words, lacking[mine])
        np.add.at(chosen, (pictures[rows], tokens), 1)
        found.append((mine[rows], tokens))
    rows, tokens = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.argsort(live.picture[rows], kind="stable")
    return rows[order], tokens[order]


def _best(
    live: Hypotheses, log_probs: np.ndarray, worth: np.ndarray, beam: int, words: WordRules, lacking: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    vocab = log_probs.shape[1]
    stays = worth >= _thresholds(worth, beam)[:, None]
    if words.must:
        stays[:, words.must] |= lacking & np.isfinite(log_probs[:, words.must])
    rows, tokens = np.divmod(np.flatnonzero(stays), vocab)

    kind = live.picture[rows]
    if words.must:
        newly = (tokens[:, None] == words.must) & lacking[rows]
        lacks = lacking[rows].sum(axis=1) - newly.sum(axis=1)
        kind = kind * (len(words.must) + 1) + lacks
    totals = live.log_prob[rows] + worth[rows, tokens]
    order = np.lexsort((-totals, kind))  # stable: ties stay in the order of rows, then of tokens
    kind = kind[order]
    place_in_kind = np.arange(len(order)) - np.searchsorted(kind, kind)
    best = order[place_in_kind < beam]
    return rows[best], tokens[best]


def _thresholds(worth: np.ndarray, beam: int) -> np.ndarray:
    """For each row a value that its `beam` best tokens reach, and few others: (rows, vocab) → (rows,).

    No row can contribute more than those. A threshold keeps all that are equal to the last of them, so that ties are
    broken by rule. It is read off the best of every group of tokens: the `beam` best groups have a token each that
    reaches the least of them, and looking at groups takes a fraction of the time.
    """
    rows, vocab = worth.shape
    groups = vocab // _GROUP
    best = worth if groups < beam else worth[:, : _GROUP * groups].reshape(rows, _GROUP, groups).max(axis=1)
    place = best.shape[1] - min(beam, vocab)
    threshold = np.partition(best, place, axis=1)[:, place]
    return np.maximum(threshold, np.finfo(np.float32).min)  # what is forbidden stays out
