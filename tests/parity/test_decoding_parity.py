"""Two ways agree: greedy and a plain loop, beam and brute force, pruned and naive search, batched and one by one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from fakes import FIRST_WORD, SPECIAL, History, Table, TableModel, pictures, random_table

from captioner.config.decode import DecodeConfig
from captioner.decoding.constraints import WordRules
from captioner.decoding.decode import decode
from captioner.types import Candidate

SEEDS = range(12)
SMALL = DecodeConfig(beam=3, n_best=3, max_length=4, min_length=0, length_penalty=0.0, no_repeat_ngram=0)


def with_impossible_words(table: Table, seed: int) -> Table:
    """The same table, in which about a quarter of the tokens after any history have probability zero."""

    def sparse(picture: int, history: History) -> np.ndarray:
        log_probs = table(picture, history).copy()
        log_probs[np.random.default_rng([seed, 77, picture, *history]).random(len(log_probs)) < 0.25] = -np.inf
        return log_probs

    return sparse


def random_config(seed: int) -> DecodeConfig:
    """Options drawn at random, for searches of at most seven tokens."""
    draw = random.Random(seed)
    max_length, beam = draw.randint(1, 7), draw.randint(1, 6)
    return DecodeConfig(
        beam=beam,
        n_best=draw.randint(1, beam),
        max_length=max_length,
        min_length=draw.randint(0, max_length),
        length_penalty=draw.choice([0.0, 0.6, 1.0, 1.7]),
        no_repeat_ngram=draw.randint(0, 3),
    )


def continuations(table: Table, picture: int, history: History, config: DecodeConfig) -> dict[int, float]:
    """What may follow `history`, written from the definition: token to log-probability."""
    n = config.no_repeat_ngram
    runs = [history[i : i + n] for i in range(len(history) - n + 1)] if n else []
    allowed = {}
    for token, log_prob in enumerate(table(picture, history).tolist()):
        never = token in (SPECIAL.pad, SPECIAL.bos, SPECIAL.unk)
        too_early = token == SPECIAL.eos and len(history) < config.min_length
        repeats = n > 0 and token != SPECIAL.eos and (*history, token)[-n:] in runs
        if not (never or too_early or repeats) and log_prob > -np.inf:
            allowed[token] = log_prob
    return allowed


def as_candidate(tokens: History, log_probs: tuple[float, ...], config: DecodeConfig) -> Candidate:
    finished = bool(tokens) and tokens[-1] == SPECIAL.eos
    score = sum(log_probs) / max(1, len(tokens)) ** config.length_penalty
    return Candidate(tokens[:-1] if finished else tokens, log_probs, sum(log_probs), score, finished)


def in_order(candidates: list[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda c: (not c.finished, -c.score, c.tokens))


def brute_force(table: Table, picture: int, config: DecodeConfig) -> list[Candidate]:
    """Every caption that the constraints allow, best first."""

    def captions(tokens: History, log_probs: tuple[float, ...]) -> Iterator[Candidate]:
        allowed = continuations(table, picture, tokens, config) if len(tokens) < config.max_length else {}
        if not allowed:
            yield as_candidate(tokens, log_probs, config)
        for token, log_prob in allowed.items():
            if token == SPECIAL.eos:
                yield as_candidate((*tokens, token), (*log_probs, log_prob), config)
            else:
                yield from captions((*tokens, token), (*log_probs, log_prob))

    return in_order(list(captions((), ())))


def naive_beam(table: Table, picture: int, config: DecodeConfig) -> list[Candidate]:
    """Beam search in lists, which never stops early and gives nothing up."""
    live: list[tuple[float, History, tuple[float, ...]]] = [(0.0, (), ())]
    ended = []
    for _ in range(config.max_length):
        grown = []
        for total, tokens, log_probs in live:
            allowed = continuations(table, picture, tokens, config)
            grown += [(total + value, (*tokens, token), (*log_probs, value)) for token, value in allowed.items()]
            if not allowed:
                ended.append(as_candidate(tokens, log_probs, config))
        best = sorted(grown, key=lambda hypothesis: -hypothesis[0])[: config.beam]
        ended += [as_candidate(tokens, values, config) for _, tokens, values in best if tokens[-1] == SPECIAL.eos]
        live = [hypothesis for hypothesis in best if hypothesis[1][-1] != SPECIAL.eos]
    ended += [as_candidate(tokens, log_probs, config) for _, tokens, log_probs in live]
    return in_order(ended)[: config.n_best]


def as_wide_as_the_tree(config: DecodeConfig, n_best: int) -> DecodeConfig:
    """The options with a beam beyond what a user may ask for, so that nothing ever falls out of it."""
    wide = replace(config)
    object.__setattr__(wide, "beam", 5000)
    object.__setattr__(wide, "n_best", n_best)
    return wide


def assert_same(found: list[Candidate], expected: list[Candidate]) -> None:
    assert [(c.tokens, c.finished) for c in found] == [(c.tokens, c.finished) for c in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.token_log_probs == other.token_log_probs
        assert one.log_prob == pytest.approx(other.log_prob, abs=1e-12)
        assert one.score == pytest.approx(other.score, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("min_length", "no_repeat_ngram"), list(product((0, 2), (0, 1, 2))))
def test_a_wide_beam_is_brute_force(seed: int, min_length: int, no_repeat_ngram: int) -> None:
    table = random_table(seed, words=4 + seed % 2)
    if seed % 3 == 2:
        table = with_impossible_words(table, seed)
    length_penalty = (0.0, 0.7, 1.0, 1.5)[seed % 4]
    config = DecodeConfig(5, 5, 4, min_length, length_penalty, no_repeat_ngram)
    expected = brute_force(table, 0, config)
    for n_best in (1, 7, len(expected)):
        wide = as_wide_as_the_tree(config, n_best)
        (found,) = decode(TableModel(table), pictures(1), wide, SPECIAL)
        assert_same(found, expected[:n_best])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_widest_beam_of_users_is_brute_force_on_a_small_tree(seed: int) -> None:
    table = random_table(seed, words=4)
    config = DecodeConfig(beam=100, n_best=100, max_length=3, min_length=0, length_penalty=1.0, no_repeat_ngram=0)
    (found,) = decode(TableModel(table), pictures(1), config, SPECIAL)
    assert_same(found, brute_force(table, 0, config))
    assert len(found) == 1 + 4 + 4**2 + 4**3


@pytest.mark.parametrize("seed", range(60))
def test_any_beam_is_the_naive_beam_although_it_gives_up_what_cannot_win(seed: int) -> None:
    table = random_table(seed, words=5, eos_bonus=(-2.0, 0.0, 2.0)[seed % 3])
    if seed % 2:
        table = with_impossible_words(table, seed)
    config = random_config(seed)
    found = decode(TableModel(table), pictures(5), config, SPECIAL)
    for picture, candidates in enumerate(found):
        assert_same(candidates, naive_beam(table, picture, config))


def test_giving_up_what_cannot_win_saves_steps() -> None:
    model = TableModel(random_table(1, words=5, eos_bonus=3.0))
    decode(model, pictures(20), replace(SMALL, n_best=1, max_length=30), SPECIAL)
    assert sum(model.rows_of_steps) < 20 * 3 * 30 / 4


@pytest.mark.parametrize("seed", SEEDS)
def test_greedy_is_a_plain_loop(seed: int) -> None:
    table = random_table(seed, words=8, eos_bonus=0.5)
    config = replace(SMALL, beam=1, n_best=1, max_length=12, length_penalty=1.0)
    found = decode(TableModel(table), pictures(6), config, SPECIAL)
    for picture, (candidate,) in enumerate(found):
        said: list[int] = []
        while len(said) < 12:
            log_probs = table(picture, tuple(said)).copy()
            log_probs[[SPECIAL.pad, SPECIAL.bos, SPECIAL.unk]] = -np.inf
            token = int(log_probs.argmax())
            if token == SPECIAL.eos:
                break
            said.append(token)
        assert candidate.tokens == tuple(said)
        assert candidate.finished == (len(said) < 12)


@pytest.mark.parametrize("seed", SEEDS)
def test_batched_is_one_by_one_exactly(seed: int) -> None:
    model = TableModel(random_table(seed, words=30, eos_bonus=1.0))
    config = replace(random_config(seed), beam=6, max_length=9)
    batched = decode(model, pictures(9), config, SPECIAL)
    assert batched == [decode(model, pictures(9)[row : row + 1], config, SPECIAL)[0] for row in range(9)]
    backwards = decode(model, pictures(9)[::-1], config, SPECIAL)
    assert backwards == batched[::-1]


@pytest.mark.parametrize("seed", SEEDS)
def test_candidates_are_distinct_sorted_and_score_what_forced_decoding_says(seed: int) -> None:
    model = TableModel(random_table(seed, words=6, eos_bonus=0.5))
    config = replace(SMALL, beam=8, n_best=8, max_length=6, length_penalty=1.0)
    (candidates,) = decode(model, pictures(1), config, SPECIAL)
    assert len({candidate.tokens for candidate in candidates}) == len(candidates) == 8
    for finished in (True, False):
        scores = [candidate.score for candidate in candidates if candidate.finished == finished]
        assert scores == sorted(scores, reverse=True)

    for candidate in candidates:
        state = model.start(pictures(1))
        before, forced = SPECIAL.bos, []
        for token in candidate.tokens + (SPECIAL.eos,) * candidate.finished:
            log_probs, state = model.step(np.array([before]), state)
            forced.append(float(log_probs[0, token]))
            before = token
        assert candidate.token_log_probs == tuple(forced)
        assert candidate.log_prob == pytest.approx(sum(forced), abs=1e-12)
        assert all(token >= FIRST_WORD for token in candidate.tokens)


# ---- words that must or must not appear, and groups -----------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("must", [(FIRST_WORD,), (FIRST_WORD + 1, FIRST_WORD + 3)])
def test_a_wide_beam_with_words_is_brute_force_over_captions_that_have_them(seed: int, must: tuple[int, ...]) -> None:
    table = random_table(seed, words=5)
    if seed % 2:
        table = with_impossible_words(table, seed)
    config = replace(SMALL, length_penalty=(0.0, 0.7, 1.5)[seed % 3])
    rules = WordRules(must=must, must_not=(FIRST_WORD + 2,))
    allowed = [
        candidate
        for candidate in brute_force(table, 0, config)
        if candidate.finished and set(must) <= set(candidate.tokens) and FIRST_WORD + 2 not in candidate.tokens
    ]
    (found,) = decode(TableModel(table), pictures(1), as_wide_as_the_tree(config, 10_000), SPECIAL, rules)
    assert_same([candidate for candidate in found if candidate.finished], allowed)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("beam", [1, 2, 5])
def test_a_narrow_beam_says_the_words_too_however_improbable(seed: int, beam: int) -> None:
    words = 12
    table = random_table(seed, words=words, eos_bonus=1.0)
    rare = WordRules(must=tuple(FIRST_WORD + number for number in (seed % words, (seed * 7 + 3) % words)))
    config = replace(SMALL, beam=beam, n_best=beam, max_length=9)
    for candidates in decode(TableModel(table), pictures(4), config, SPECIAL, rare):
        for candidate in candidates:
            assert set(rare.must) <= set(candidate.tokens)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_word_that_is_said_anyway_changes_nothing(seed: int) -> None:
    model = TableModel(random_table(seed, words=6, eos_bonus=0.5))
    config = replace(SMALL, n_best=1, max_length=8)
    for row, (best,) in enumerate(decode(model, pictures(5), config, SPECIAL)):
        if best.finished and best.tokens:
            features = pictures(5)[row : row + 1]
            (found,) = decode(model, features, config, SPECIAL, WordRules(must=best.tokens[:1]))
            assert found[0].score >= best.score - 1e-9


def naive_groups(table: Table, picture: int, config: DecodeConfig) -> list[list[Candidate]]:
    """Diverse beam search in lists (Vijayakumar et al. 2018, algorithm 1): the candidates of each group."""
    size = config.beam // config.groups
    live: list[list] = [[(0.0, (), ())] for _ in range(config.groups)]
    ended: list[list[Candidate]] = [[] for _ in range(config.groups)]
    for _ in range(config.max_length):
        chosen: list[int] = []
        for group in range(config.groups):
            grown = []
            for total, tokens, log_probs in live[group]:
                allowed = continuations(table, picture, tokens, config)
                for token, value in allowed.items():
                    worth = total + value - config.diversity * chosen.count(token)
                    grown.append((worth, total + value, (*tokens, token), (*log_probs, value)))
                if not allowed:
                    ended[group].append(as_candidate(tokens, log_probs, config))
            best = [each[1:] for each in sorted(grown, key=lambda each: -each[0])[:size]]
            chosen += [tokens[-1] for _, tokens, _ in best]
            ended[group] += [as_candidate(*each[1:], config) for each in best if each[1][-1] == SPECIAL.eos]
            live[group] = [each for each in best if each[1][-1] != SPECIAL.eos]
    for group in range(config.groups):
        ended[group] += [as_candidate(tokens, log_probs, config) for _, tokens, log_probs in live[group]]
    return [in_order(candidates) for candidates in ended]


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize(("beam", "groups"), [(4, 2), (6, 3), (5, 5)])
def test_groups_are_the_naive_groups(seed: int, beam: int, groups: int) -> None:
    """With as many candidates as captions there are nothing is given up, and the two must agree to the last."""
    table = random_table(seed, words=4, eos_bonus=0.5)
    base = replace(SMALL, beam=beam, n_best=beam, max_length=4)
    config = replace(base, groups=groups, diversity=(0.3, 1.0, 5.0)[seed % 3])
    object.__setattr__(config, "n_best", 5000)
    for picture, found in enumerate(decode(TableModel(table), pictures(3), config, SPECIAL)):
        expected = [candidate for group in naive_groups(table, picture, config) for candidate in group]
        assert_same(found, in_order(list({candidate.tokens: candidate for candidate in expected}.values())))


def test_groups_that_mind_differ_more_and_the_first_is_a_search_of_its_own() -> None:
    model = TableModel(random_table(5, words=8, eos_bonus=0.5))
    config = replace(SMALL, beam=4, n_best=4, max_length=8)
    first_words = {}
    for diversity in (0.0, 3.0):
        grouped = decode(model, pictures(20), replace(config, groups=4, diversity=diversity), SPECIAL)
        first_words[diversity] = sum(len({each.tokens[:1] for each in candidates}) for candidates in grouped)
        greedy = decode(model, pictures(20), replace(config, beam=1, n_best=1), SPECIAL)
        for candidates, (best,) in zip(grouped, greedy, strict=True):
            assert best.tokens in [each.tokens for each in candidates]
    assert first_words[3.0] > 2 * first_words[0.0]
    assert first_words[0.0] == 20  # groups that do not mind say the same, which is shown once
