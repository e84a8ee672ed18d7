"""Teacher forcing agrees with the model asked word by word and with decoding, in whatever order and batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import FIRST_WORD, SPECIAL, TableModel, distribution, pictures, random_table

from captioner.config.decode import DecodeConfig
from captioner.decoding.decode import decode
from captioner.decoding.likelihood import caption_log_probs
from captioner.errors import CaptionerError

W0, W1 = FIRST_WORD, FIRST_WORD + 1
WORDS, PICTURES = 5, 7
TABLE = random_table(3, words=WORDS)
PLAIN = DecodeConfig(beam=1, max_length=12, min_length=0, length_penalty=0.0, no_repeat_ngram=0)


def made_up(count: int) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """Captions of 0 to 6 words, unknown ones among them, and the picture of each."""
    random = np.random.default_rng(8)
    captions = [tuple(random.integers(SPECIAL.unk, FIRST_WORD + WORDS, size=random.integers(7))) for _ in range(count)]
    return captions, random.integers(PICTURES, size=count)


def word_by_word(picture: int, caption: tuple[int, ...]) -> float:
    """The same sum, taken from the table of the fake model itself."""
    said = (*caption, SPECIAL.eos)
    return sum(float(TABLE(picture, said[:time])[token]) for time, token in enumerate(said))


def test_it_is_the_sum_of_the_log_probabilities_word_by_word_in_the_order_given() -> None:
    captions, rows = made_up(60)
    log_probs = caption_log_probs(TableModel(TABLE), pictures(PICTURES), captions, rows, SPECIAL)
    assert (log_probs.dtype, log_probs.shape) == (np.float64, (60,))
    assert log_probs == pytest.approx([word_by_word(*pair) for pair in zip(rows, captions, strict=True)], abs=1e-9)
    backwards = caption_log_probs(TableModel(TABLE), pictures(PICTURES), captions[::-1], rows[::-1], SPECIAL)
    assert backwards.tolist() == log_probs[::-1].tolist()


@pytest.mark.parametrize("batch", [1, 2, 5, 59, 60])
def test_batches_do_not_matter(batch: int) -> None:
    captions, rows = made_up(60)
    model = TableModel(TABLE)
    log_probs = caption_log_probs(model, pictures(PICTURES), captions, rows, SPECIAL, batch=batch)
    assert max(model.rows_of_steps) <= batch
    assert log_probs.tolist() == caption_log_probs(model, pictures(PICTURES), captions, rows, SPECIAL).tolist()


@pytest.mark.parametrize("beam", [1, 4])
def test_it_is_what_decoding_says_of_its_own_captions(beam: int) -> None:
    model = TableModel(random_table(11, words=WORDS, eos_bonus=1.0))
    found = decode(model, pictures(PICTURES), replace(PLAIN, beam=beam, n_best=beam), SPECIAL)
    own = [(row, each) for row, candidates in enumerate(found) for each in candidates if each.finished]
    assert len(own) >= 4 * beam
    log_probs = caption_log_probs(
        model, pictures(PICTURES), [each.tokens for _, each in own], [row for row, _ in own], SPECIAL
    )
    assert log_probs.tolist() == [each.log_prob for _, each in own]


def test_an_empty_caption_is_as_probable_as_ending_at_once() -> None:
    model = TableModel(lambda picture, history: distribution(2, eos=0.25, w0=0.75))
    log_probs = caption_log_probs(model, pictures(1), [(), (W0,)], [0, 0], SPECIAL)
    assert log_probs == pytest.approx(np.log([0.25, 0.75 * 0.25]), abs=1e-6)
    assert caption_log_probs(model, pictures(1), [()], [0], SPECIAL) == pytest.approx(np.log([0.25]), abs=1e-6)


def test_unknown_words_are_scored_as_such_and_impossible_captions_are_impossible() -> None:
    model = TableModel(lambda picture, history: distribution(2, unk=0.5, eos=0.5))
    log_probs = caption_log_probs(model, pictures(1), [(SPECIAL.unk,), (W1,)], [0, 0], SPECIAL)
    assert log_probs == pytest.approx([np.log(0.25), -np.inf], abs=1e-6)


class CountingModel(TableModel):
    """Remembers which pictures were started."""

    def __init__(self) -> None:
        super().__init__(TABLE)
        self.started: list[list[int]] = []

    def start(self, features):  # type: ignore[no-untyped-def]
        self.started.append([int(feature.flat[0]) for feature in features])
        return super().start(features)


def test_each_picture_is_started_once_and_only_if_it_is_asked_for() -> None:
    model = CountingModel()
    caption_log_probs(model, pictures(PICTURES), [(W0,), (), (W1,), (W0,), ()], [4, 1, 4, 6, 1], SPECIAL, batch=2)
    assert model.started == [[1, 4], [6]]


def test_captions_leave_the_batch_where_they_end() -> None:
    model = CountingModel()
    caption_log_probs(model, pictures(1), [(), (W0,) * 3, (W0,), (W1,) * 3], [0] * 4, SPECIAL)
    assert model.rows_of_steps == [4, 3, 2, 2]
    model = CountingModel()
    caption_log_probs(model, pictures(1), [(), (W0,) * 3, (), (W1,) * 3], [0] * 4, SPECIAL, batch=2)
    assert model.rows_of_steps == [2, 2, 2, 2, 2]  # the long ones together, then the empty ones


def test_no_captions_no_numbers() -> None:
    model = CountingModel()
    assert caption_log_probs(model, pictures(2), [], [], SPECIAL).shape == (0,)
    assert (model.started, model.rows_of_steps) == ([], [])


def test_features_of_regions_are_handed_over_as_they_are() -> None:
    model = TableModel(lambda picture, history: distribution(2, eos=1.0))
    assert caption_log_probs(model, np.zeros((2, 49, 8), dtype=np.float32), [()], [1], SPECIAL).tolist() == [0.0]


@pytest.mark.parametrize(
    ("captions", "rows", "message"),
    [
        ([(W0,)], [0, 1], r"rows have shape \(2,\); expected \(1,\)"),
        ([(W0,)], [[0]], r"rows have shape \(1, 1\)"),
        ([(W0,)], [0.0], "rows are of type float64; give"),
        ([(W0,), ()], [0, 2], "rows go from 0 to 2; .*below 2"),
        ([(W0,), ()], [-1, 0], "rows go from -1 to 0"),
        ([(), (W0, SPECIAL.eos)], [0, 0], "caption 1 has a begin, end, padding or negative token; give"),
        ([(SPECIAL.bos, W0)], [0], "caption 0 has a begin"),
        ([(W0, SPECIAL.pad)], [0], "caption 0 has a begin"),
        ([(W0, -1)], [0], "caption 0 has a begin"),
        ([(W0, 4.5)], [0], "caption 0 is no sequence of token ids"),
        (["dog"], [0], "caption 0 is no sequence of token ids"),
        ([(W0, FIRST_WORD + WORDS)], [0], "has token 9, but the model knows 9 tokens; encode"),
    ],
)
def test_arguments_that_do_not_fit_together_are_refused(captions: list, rows: list, message: str) -> None:
    with pytest.raises(CaptionerError, match=message) as caught:
        caption_log_probs(TableModel(TABLE), pictures(2), captions, rows, SPECIAL)
    assert caught.value.code == "decoding"


def test_a_single_feature_vector_and_an_empty_batch_are_refused() -> None:
    with pytest.raises(CaptionerError, match=r"shape \(512,\); expected \(pictures") as caught:
        caption_log_probs(TableModel(TABLE), np.zeros(512, dtype=np.float32), [()], [0], SPECIAL)
    assert caught.value.code == "decoding"
    with pytest.raises(CaptionerError, match=r"batch of 0 captions.*give 1 or more"):
        caption_log_probs(TableModel(TABLE), pictures(1), [()], [0], SPECIAL, batch=0)


def test_answers_that_are_no_log_probabilities_are_refused() -> None:
    model = TableModel(lambda picture, history: np.full(9, 0.5, dtype=np.float32))
    with pytest.raises(CaptionerError, match=r"returned 0\.5 as a log-probability") as caught:
        caption_log_probs(model, pictures(1), [()], [0], SPECIAL)
    assert caught.value.code == "decoding"
