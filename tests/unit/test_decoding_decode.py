"""Known answers of the decoding engine, its limits, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import FIRST_WORD, SPECIAL, History, TableModel, distribution, pictures, random_table

from captioner.config.decode import DecodeConfig
from captioner.decoding.decode import decode
from captioner.errors import CaptionerError
from captioner.types import Candidate

W0, W1, W2 = FIRST_WORD, FIRST_WORD + 1, FIRST_WORD + 2
PLAIN = DecodeConfig(beam=1, max_length=6, min_length=0, length_penalty=0.0, no_repeat_ngram=0)


def garden_path(picture: int, history: History) -> np.ndarray:
    """The more probable first word, w0, leads to the less probable caption."""
    after = {
        (): distribution(3, w0=0.6, w1=0.4),
        (W0,): distribution(3, w0=0.3, w1=0.3, w2=0.4),
        (W1,): distribution(3, w2=0.9, eos=0.1),
    }
    return after.get(history, distribution(3, eos=1.0))


def always(**probabilities: float) -> TableModel:
    """A model that gives the same answer whatever was said."""
    return TableModel(lambda picture, history: distribution(3, **probabilities))


def only(model: TableModel, config: DecodeConfig) -> list[Candidate]:
    """What is proposed for a single picture."""
    (candidates,) = decode(model, pictures(1), config, SPECIAL)
    return candidates


def test_greedy_takes_the_best_word_at_each_step() -> None:
    (best,) = only(TableModel(garden_path), PLAIN)
    assert (best.tokens, best.finished) == ((W0, W2), True)
    assert best.log_prob == pytest.approx(np.log(0.6 * 0.4), abs=1e-6)
    assert best.token_log_probs == pytest.approx(np.log([0.6, 0.4, 1.0]), abs=1e-6)


def test_a_beam_finds_the_better_caption_behind_the_worse_word() -> None:
    best, second = only(TableModel(garden_path), replace(PLAIN, beam=2, n_best=2))
    assert (best.tokens, second.tokens) == ((W1, W2), (W0, W2))
    assert best.log_prob == pytest.approx(np.log(0.4 * 0.9), abs=1e-6)


def test_length_penalty_prefers_the_longer_caption() -> None:
    def table(picture: int, history: History) -> np.ndarray:
        return distribution(3, w0=0.55, eos=0.45) if len(history) < 4 else distribution(3, eos=1.0)

    config = replace(PLAIN, beam=6)
    assert only(TableModel(table), config)[0].tokens == ()
    (longer,) = only(TableModel(table), replace(config, length_penalty=1.0))
    assert longer.tokens == (W0,) * 4
    assert longer.score == pytest.approx(4 * np.log(0.55) / 5, abs=1e-6)


def test_a_model_that_never_ends_is_cut_off_at_max_length() -> None:
    model = always(w0=0.7, w1=0.3)
    candidates = only(model, replace(PLAIN, beam=3, n_best=3))
    assert [len(candidate.tokens) for candidate in candidates] == [6, 6, 6]
    assert not any(candidate.finished for candidate in candidates)
    assert candidates[0].tokens == (W0,) * 6
    assert len(model.rows_of_steps) == 6


def test_a_finished_caption_comes_before_a_more_probable_one_that_was_cut_off() -> None:
    config = replace(PLAIN, beam=2, n_best=2, max_length=1)
    finished, cut = only(always(w0=0.9, eos=0.1), config)
    assert (finished.finished, finished.tokens) == (True, ())
    assert (cut.finished, cut.tokens) == (False, (W0,))
    assert cut.score > finished.score


def test_a_model_that_ends_at_once_gives_the_empty_caption_unless_that_is_too_short() -> None:
    model = always(eos=0.99, w1=0.01)
    (empty,) = only(model, PLAIN)
    assert (empty.tokens, empty.finished, len(empty.token_log_probs)) == ((), True, 1)
    assert len(model.rows_of_steps) == 1
    (longer,) = only(model, replace(PLAIN, min_length=1))
    assert (longer.tokens, longer.finished) == ((W1,), True)


def test_log_probabilities_are_those_of_the_model_not_of_what_is_allowed() -> None:
    model = always(eos=0.5, unk=0.3, w1=0.2)
    (best,) = only(model, replace(PLAIN, min_length=1))
    assert best.token_log_probs == pytest.approx(np.log([0.2, 0.5]), abs=1e-6)


def test_pad_begin_and_unknown_are_never_said() -> None:
    (best,) = only(always(pad=0.3, bos=0.3, unk=0.3, w2=0.1), PLAIN)
    assert best.tokens == (W2,) * 6


def test_when_nothing_may_be_said_the_caption_ends_there() -> None:
    said_it_all = only(always(w0=0.5, w1=0.5), replace(PLAIN, beam=2, n_best=2, no_repeat_ngram=1))
    assert [(c.tokens, c.finished) for c in said_it_all] == [((W0, W1), False), ((W1, W0), False)]
    (speechless,) = only(always(unk=1.0), PLAIN)
    assert (speechless.tokens, speechless.log_prob, speechless.finished) == ((), 0.0, False)


def test_one_picture_at_a_loss_does_not_stop_the_others() -> None:
    def table(picture: int, history: History) -> np.ndarray:
        return distribution(3, unk=1.0) if picture == 1 else garden_path(picture, history)

    first, second, third = decode(TableModel(table), pictures(3), replace(PLAIN, beam=2), SPECIAL)
    assert first == third
    assert (first[0].tokens, second[0].tokens) == ((W1, W2), ())


@pytest.mark.parametrize("beam", [1, 2, 3])
def test_ties_go_to_the_lower_ids(beam: int) -> None:
    candidates = only(always(w0=1 / 3, w1=1 / 3, w2=1 / 3), replace(PLAIN, beam=beam, n_best=beam, max_length=2))
    assert [candidate.tokens for candidate in candidates] == [(W0, W0), (W0, W1), (W0, W2)][:beam]


def test_a_beam_wider_than_the_vocabulary_is_filled_as_far_as_it_goes() -> None:
    candidates = only(always(w0=0.6, w1=0.4), replace(PLAIN, beam=100, n_best=100, max_length=2))
    assert [candidate.tokens for candidate in candidates] == [(W0, W0), (W0, W1), (W1, W0), (W1, W1)]


def test_the_order_of_the_pictures_is_kept() -> None:
    def table(picture: int, history: History) -> np.ndarray:
        return distribution(9, eos=1.0) if len(history) > picture % 4 else distribution(9, **{f"w{picture}": 1.0})

    captions = decode(TableModel(table), pictures(9), PLAIN, SPECIAL)
    assert [c.tokens for (c,) in captions] == [(FIRST_WORD + picture,) * (picture % 4 + 1) for picture in range(9)]


def test_finished_pictures_leave_the_batch_and_the_search_stops_with_the_last() -> None:
    def table(picture: int, history: History) -> np.ndarray:
        return distribution(1, eos=1.0) if len(history) == picture else distribution(1, w0=1.0)

    model = TableModel(table)
    decode(model, pictures(4), replace(PLAIN, max_length=30), SPECIAL)
    assert model.rows_of_steps == [4, 3, 2, 1]


def test_hypotheses_that_cannot_win_any_more_are_given_up() -> None:
    def table(picture: int, history: History) -> np.ndarray:
        return distribution(3, eos=0.9, w1=0.1) if history else distribution(3, w0=0.9, w2=0.1)

    model = TableModel(table)
    (best,) = only(model, replace(PLAIN, beam=3, max_length=30))
    assert best.tokens == (W0,)
    assert model.rows_of_steps == [1, 2]


def test_no_pictures_no_captions() -> None:
    model = always(eos=1.0)
    assert decode(model, np.empty((0, 512), dtype=np.float32), PLAIN, SPECIAL) == []
    assert model.rows_of_steps == []


def test_features_of_regions_are_handed_over_as_they_are() -> None:
    model = TableModel(garden_path)
    assert len(decode(model, np.zeros((2, 49, 8), dtype=np.float32), PLAIN, SPECIAL)) == 2


def test_a_single_feature_vector_is_no_batch() -> None:
    with pytest.raises(CaptionerError, match=r"shape \(512,\).*expected \(batch") as caught:
        decode(always(eos=1.0), np.zeros(512, dtype=np.float32), PLAIN, SPECIAL)
    assert caught.value.code == "decoding"


class BrokenModel(TableModel):
    """Answers well at first, then with `answer`."""

    def __init__(self, answer: np.ndarray) -> None:
        super().__init__(random_table(0, words=3, eos_bonus=-9))
        self.answer = answer

    def step(self, tokens, state):  # type: ignore[no-untyped-def]
        log_probs, state = super().step(tokens, state)
        return (self.answer if len(self.rows_of_steps) == 2 else log_probs), state


def spoilt(value: float) -> np.ndarray:
    """Good answers for two rows, but for one number, which lies where nothing may be said anyway."""
    log_probs = np.full((2, 7), -2.0, dtype=np.float32)
    log_probs[1, SPECIAL.pad] = value
    return log_probs


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (spoilt(np.nan), "returned nan as a log-probability"),
        (spoilt(np.inf), "returned inf as a log-probability"),
        (spoilt(3.5), r"returned 3\.5 .*log-softmax"),
        (np.zeros((3, 7), dtype=np.float32), r"shape \(3, 7\); expected \(2, vocab\)"),
        (np.zeros((2, 3), dtype=np.float32), r"shape \(2, 3\); .*above 3.*same bundle"),
        (np.zeros(7, dtype=np.float32), r"shape \(7,\)"),
        (np.zeros((2, 1, 7), dtype=np.float32), r"shape \(2, 1, 7\)"),
    ],
)
def test_answers_that_are_no_log_probabilities_are_refused(answer: np.ndarray, message: str) -> None:
    with pytest.raises(CaptionerError, match=message) as caught:
        decode(BrokenModel(answer), pictures(2), PLAIN, SPECIAL)
    assert caught.value.code == "decoding"


def test_rounding_above_zero_is_no_reason_to_refuse() -> None:
    almost = np.where(np.isneginf(distribution(3, eos=1.0)), -np.inf, 1e-6).astype(np.float32)
    assert only(TableModel(lambda picture, history: almost), PLAIN)[0].tokens == ()
