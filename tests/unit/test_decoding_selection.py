"""Which continuations stay, held to a plain sort of all of them: with many words, ties, and what is forbidden."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioner.config.decode import DecodeConfig
from captioner.decoding.constraints import NO_RULES
from captioner.decoding.hypotheses import Hypotheses
from captioner.decoding.selection import best_continuations


def live(pictures, random):
    """Hypotheses of one word each, those of a picture together."""
    picture = np.sort(np.array(pictures))
    log_prob = -random.exponential(size=len(picture)).round(1)  # some are equal
    return Hypotheses(picture, np.full((len(picture), 1), 4), log_prob[:, None], log_prob)


def by_a_plain_sort(hypotheses, log_probs, beam):
    """All continuations of each picture by falling probability, equal ones by parent and token; the first ones."""
    found = []
    for picture in np.unique(hypotheses.picture):
        rows = np.flatnonzero(hypotheses.picture == picture)
        ranked = sorted(
            (-float(hypotheses.log_prob[row] + log_probs[row, token]), int(row), int(token))
            for row in rows
            for token in np.flatnonzero(np.isfinite(log_probs[row]))
        )
        found += [(row, token) for _, row, token in ranked[:beam]]
    return found


@given(
    seed=st.integers(0, 10_000),
    vocab=st.sampled_from([5, 16, 31, 200, 333]),
    beam=st.integers(1, 12),
    pictures=st.lists(st.integers(0, 2), min_size=1, max_size=8),
)
def test_the_best_continuations_are_those_of_a_plain_sort(seed, vocab, beam, pictures):
    random = np.random.default_rng(seed)
    log_probs = -random.exponential(3, (len(pictures), vocab)).round(1).astype(np.float32)  # many are equal
    log_probs[random.random(log_probs.shape) < 0.3] = -np.inf
    hypotheses = live(pictures, random)
    rows, tokens = best_continuations(hypotheses, log_probs, DecodeConfig(beam=beam), NO_RULES)
    assert list(zip(rows.tolist(), tokens.tolist(), strict=True)) == by_a_plain_sort(hypotheses, log_probs, beam)


@pytest.mark.parametrize("vocab", [8, 400])
def test_a_row_with_nothing_left_contributes_nothing(vocab):
    log_probs = np.full((2, vocab), -np.inf, np.float32)
    log_probs[1, 3] = -1.0
    rows, tokens = best_continuations(live([0, 0], np.random.default_rng(0)), log_probs, DecodeConfig(beam=4), NO_RULES)
    assert (rows.tolist(), tokens.tolist()) == ([1], [3])
