"""Bookkeeping of the captions in the making."""

from __future__ import annotations

import numpy as np
import pytest

from captioner.decoding.hypotheses import Hypotheses


def test_growth_keeps_words_and_log_probabilities_together() -> None:
    live = Hypotheses.start(2)
    assert (len(live), live.tokens.shape) == (2, (2, 0))
    live = live.extend(np.array([0, 0, 1]), np.array([7, 8, 9]), np.array([-1, -2, -3], dtype=np.float32))
    live = live.extend(np.array([1, 2]), np.array([5, 6]), np.array([-0.5, -0.25], dtype=np.float32))
    assert live.picture.tolist() == [0, 1]
    assert live.tokens.tolist() == [[8, 5], [9, 6]]
    assert live.token_log_probs.tolist() == [[-2, -0.5], [-3, -0.25]]
    assert live.log_prob.tolist() == [-2.5, -3.25]
    assert live.take(np.array([1])).tokens.tolist() == [[9, 6]]


@pytest.mark.parametrize(("finished", "tokens"), [(True, (7,)), (False, (7, 2))])
def test_a_candidate_counts_the_end_token_in_its_length_but_not_among_its_words(
    finished: bool, tokens: tuple[int, ...]
) -> None:
    live = Hypotheses.start(1)
    for token in (7, 2):
        live = live.extend(np.array([0]), np.array([token]), np.array([-1.5]))
    candidate = live.candidate(0, finished=finished, length_penalty=1.0)
    assert candidate.tokens == tokens
    assert candidate.token_log_probs == (-1.5, -1.5)
    assert (candidate.log_prob, candidate.score, candidate.finished) == (-3.0, -1.5, finished)
    assert all(type(token) is int for token in candidate.tokens)


def test_an_empty_caption_is_a_candidate_too() -> None:
    candidate = Hypotheses.start(1).candidate(0, finished=False, length_penalty=1.0)
    assert (candidate.tokens, candidate.log_prob, candidate.score) == ((), 0.0, 0.0)
