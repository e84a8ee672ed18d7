"""Length normalisation against figures worked out by hand, and the order of candidates."""

from __future__ import annotations

import numpy as np
import pytest

from captioner.decoding.ranking import Shortlist, length_normalised, rank
from captioner.types import Candidate


def candidate(score: float, *, tokens: tuple[int, ...] = (4,), finished: bool = True) -> Candidate:
    return Candidate(tokens=tokens, token_log_probs=(), log_prob=score, score=score, finished=finished)


@pytest.mark.parametrize(
    ("log_prob", "length", "penalty", "expected"),
    [(-6.0, 4, 0.0, -6.0), (-6.0, 4, 1.0, -1.5), (-6.0, 4, 0.5, -3.0), (-6.0, 4, 2.0, -0.375), (-2.0, 0, 1.0, -2.0)],
)
def test_length_normalisation(log_prob: float, length: int, penalty: float, expected: float) -> None:
    assert length_normalised(log_prob, length, penalty) == expected
    assert length_normalised(np.array([log_prob]), length, penalty).tolist() == [expected]


def test_finished_come_first_then_score_then_lower_tokens() -> None:
    ordered = [
        candidate(-1.0, tokens=(9,)),
        candidate(-5.0, tokens=(4, 7)),
        candidate(-5.0, tokens=(5,)),
        candidate(-0.1, tokens=(4,), finished=False),
        candidate(-0.2, tokens=(4,), finished=False),
    ]
    shuffled = [ordered[place] for place in (4, 1, 3, 0, 2)]
    assert sorted(shuffled, key=rank) == ordered


def test_shortlist_keeps_the_best_whatever_the_order_of_arrival() -> None:
    arrivals = [candidate(score, tokens=(place,)) for place, score in enumerate([-3.0, -1.0, -4.0, -2.0])]
    for shift in range(4):
        shortlist = Shortlist(2)
        for arrival in arrivals[shift:] + arrivals[:shift]:
            shortlist.add(arrival)
        assert [kept.score for kept in shortlist.best] == [-1.0, -2.0]


def test_floor_rises_only_when_finished_candidates_fill_the_list() -> None:
    shortlist = Shortlist(2)
    floors = [shortlist.floor]
    for arrival in (
        candidate(-3.0),
        candidate(-0.5, finished=False),
        candidate(-2.0),
        candidate(-1.0),
        candidate(-9.0),
    ):
        shortlist.add(arrival)
        floors.append(shortlist.floor)
    assert floors == [-np.inf, -np.inf, -np.inf, -3.0, -2.0, -2.0]
