"""Captions drawn at random: as often as the model says, from the words that may be drawn, alike for the same seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from fakes import FIRST_WORD, SPECIAL, History, TableModel, distribution, pictures, random_table
from hypothesis import given
from hypothesis import strategies as st

from captioner.config.decode import DecodeConfig
from captioner.decoding.decode import decode
from captioner.decoding.sample import cut_tail
from captioner.errors import ConfigError

W0, W1, W2 = FIRST_WORD, FIRST_WORD + 1, FIRST_WORD + 2
DRAW = DecodeConfig(beam=1, max_length=8, no_repeat_ngram=0, length_penalty=0.0, temperature=1.0)
FREE = TableModel(random_table(3, 20))


def one_word(picture: int, history: History) -> np.ndarray:
    return distribution(3, w0=0.6, w1=0.3, w2=0.1) if not history else distribution(3, eos=1.0)


def frequencies(config: DecodeConfig, draws: int = 3000) -> dict[int, float]:
    """How often each first word is drawn, over as many seeds."""
    model = TableModel(one_word)
    found = Counter(
        decode(model, pictures(1), replace(config, seed_of_draws=seed), SPECIAL)[0][0].tokens[0]
        for seed in range(draws)
    )
    return {token: count / draws for token, count in found.items()}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {W0: 0.6, W1: 0.3, W2: 0.1}),
        ({"temperature": 0.5}, {W0: 36 / 46, W1: 9 / 46, W2: 1 / 46}),  # squares
        ({"top_k": 2}, {W0: 2 / 3, W1: 1 / 3}),
        ({"top_p": 0.85}, {W0: 2 / 3, W1: 1 / 3}),
        ({"top_p": 0.5}, {W0: 1.0}),
    ],
    ids=str,
)
def test_words_are_drawn_as_often_as_they_should(options, expected) -> None:
    found = frequencies(replace(DRAW, **options))
    assert found.keys() == expected.keys()
    for token, share in expected.items():
        assert found[token] == pytest.approx(share, abs=4 * (0.25 / 3000) ** 0.5)  # four standard deviations at most


def test_the_same_seed_draws_the_same_captions_and_another_one_others() -> None:
    config = replace(DRAW, n_best=5)
    first, again = (decode(FREE, pictures(3), config, SPECIAL) for _ in range(2))
    other = decode(FREE, pictures(3), replace(config, seed_of_draws=2), SPECIAL)
    assert first == again
    assert first != other


def test_a_picture_draws_alone_what_it_draws_in_a_batch() -> None:
    config = replace(DRAW, n_best=4)
    together = decode(FREE, pictures(6), config, SPECIAL)
    for number in range(6):
        assert decode(FREE, pictures(6)[number : number + 1], config, SPECIAL) == [together[number]]


def test_a_temperature_near_zero_is_greedy_search() -> None:
    cold = decode(FREE, pictures(8), replace(DRAW, temperature=1e-3), SPECIAL)
    greedy = decode(FREE, pictures(8), replace(DRAW, temperature=0.0), SPECIAL)
    assert [each[0].tokens for each in cold] == [each[0].tokens for each in greedy]


def test_log_probabilities_are_those_of_the_model_at_temperature_one() -> None:
    for number, candidates in enumerate(decode(FREE, pictures(4), replace(DRAW, n_best=3, temperature=2.0), SPECIAL)):
        for each in candidates:
            told = (*each.tokens, SPECIAL.eos) if each.finished else each.tokens
            by_hand = [FREE.table(number, told[:place])[token] for place, token in enumerate(told)]
            assert each.token_log_probs == pytest.approx(by_hand, abs=1e-6)


def test_what_is_forbidden_is_never_drawn() -> None:
    config = replace(DRAW, n_best=50, temperature=50.0, min_length=3, no_repeat_ngram=1, max_length=10)
    for candidates in decode(FREE, pictures(3), config, SPECIAL):
        assert len({each.tokens for each in candidates}) == len(candidates)
        for each in candidates:
            assert len(each.tokens) >= 3
            assert len(set(each.tokens)) == len(each.tokens)
            assert not {SPECIAL.pad, SPECIAL.bos, SPECIAL.unk} & set(each.tokens)


def test_a_model_at_a_loss_ends_the_caption_there() -> None:
    model = TableModel(lambda picture, history: distribution(3, unk=1.0))
    ((only,),) = decode(model, pictures(1), DRAW, SPECIAL)
    assert (only.tokens, only.finished) == ((), False)


def test_no_pictures_no_captions() -> None:
    assert decode(FREE, pictures(0), DRAW, SPECIAL) == []


@given(st.integers(0, 9), st.floats(0.05, 1.0), st.integers(0, 1000))
def test_the_tail_is_cut_where_it_should(top_k: int, top_p: float, seed: int) -> None:
    given_ = np.log(np.random.default_rng(seed).dirichlet(np.ones(7), size=3))
    kept = np.exp(cut_tail(given_, top_k, top_p))
    assert kept.sum(axis=1) == pytest.approx(1)
    for before, after in zip(np.exp(given_), kept, strict=True):
        ranked = np.sort(before)[::-1]
        candidates = ranked[: top_k or None] / ranked[: top_k or None].sum()
        fewest = int(np.searchsorted(np.cumsum(candidates), top_p - 1e-12)) + 1
        assert np.count_nonzero(after) == min(fewest, len(candidates))
        stay = after > 0
        assert before[stay].min() >= before[~stay].max(initial=0)
        assert after[stay] / after[stay].sum() == pytest.approx(before[stay] / before[stay].sum())


@pytest.mark.parametrize("options", [{"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_options_out_of_range_are_refused(options) -> None:
    with pytest.raises(ConfigError, match=f"--{next(iter(options)).replace('_', '-')}"):
        replace(DRAW, **options)
