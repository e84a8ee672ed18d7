"""What is forbidden, against a definition written out naively."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FIRST_WORD, SPECIAL

from captioner.config.decode import DecodeConfig
from captioner.decoding.constraints import constrain, repeated_ngram_ends

VOCAB = 9


def forbidden(history: list[int], config: DecodeConfig) -> set[int]:
    """The tokens that `constrain` rules out after `history`."""
    log_probs = np.full((1, VOCAB), -1.0, dtype=np.float32)
    allowed = constrain(log_probs, np.array([history], dtype=np.int64).reshape(1, -1), config, SPECIAL)
    assert (log_probs == -1.0).all()
    assert set(np.unique(allowed)) <= {-1.0, -np.inf}
    return set(np.flatnonzero(np.isneginf(allowed[0])).tolist())


def test_pad_begin_and_unknown_are_never_generated() -> None:
    assert forbidden([], DecodeConfig(min_length=0, no_repeat_ngram=0)) == {SPECIAL.pad, SPECIAL.bos, SPECIAL.unk}


@pytest.mark.parametrize("words", range(5))
def test_the_end_token_waits_for_min_length_words(words: int) -> None:
    history = list(range(FIRST_WORD, FIRST_WORD + words))
    assert (SPECIAL.eos in forbidden(history, DecodeConfig(min_length=3))) == (words < 3)


@pytest.mark.parametrize(
    ("history", "n", "expected"),
    [
        ([], 1, set()),
        ([4, 5], 1, {4, 5}),
        ([4, 5, 4], 2, {5}),
        ([4, 4], 2, {4}),
        ([4, 5, 4, 6, 4], 2, {5, 6}),
        ([4, 5, 6, 4], 3, set()),
        ([4, 5, 6, 4, 5], 3, {6}),
        ([4, 5], 3, set()),
        ([4, 5, 4, 5], 0, set()),
    ],
)
def test_known_repeats(history: list[int], n: int, expected: set[int]) -> None:
    config = DecodeConfig(min_length=0, no_repeat_ngram=n)
    assert forbidden(history, config) - {SPECIAL.pad, SPECIAL.bos, SPECIAL.unk} == expected


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_repeats_in_many_rows_equal_the_definition(n: int) -> None:
    history = np.random.default_rng(n).integers(FIRST_WORD, FIRST_WORD + 3, size=(40, 9))
    rows, tokens = repeated_ngram_ends(history, n)
    found = set(zip(rows.tolist(), tokens.tolist(), strict=True))

    expected = set()
    for row, said in enumerate(history.tolist()):
        seen = {tuple(said[i : i + n]) for i in range(len(said) - n + 1)}
        expected |= {(row, token) for token in range(VOCAB) if (*said[len(said) - n + 1 :], token) in seen}
    assert found == expected
    assert found
