"""Models that write together: the mean of their probabilities, each with its own features and its own state."""

import numpy as np
import pytest
from fakes import FIRST_WORD, SPECIAL, TableModel, distribution, random_table

from captioner.config.decode import DecodeConfig
from captioner.decoding.decode import decode
from captioner.decoding.ensemble import EnsembleStepModel, join_features

CONFIG = DecodeConfig(beam=3, n_best=3, max_length=6, no_repeat_ngram=0, length_penalty=0.0)


def numbered(count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Features whose first number is the picture's."""
    features = np.zeros((count, *shape), np.float32)
    features.reshape(count, -1)[:, 0] = np.arange(count)
    return features


def of_two(first, second, *, shapes=((1,), (1,)), pictures=4):
    model = EnsembleStepModel([TableModel(first), TableModel(second)], shapes)
    return decode(model, join_features([numbered(pictures, shape) for shape in shapes]), CONFIG, SPECIAL)


@pytest.mark.parametrize("seed", range(5))
def test_two_are_a_model_of_the_mean_probabilities(seed: int) -> None:
    first, second = random_table(seed, 6, eos_bonus=0.5), random_table(seed + 100, 6, eos_bonus=0.5)

    def mean(picture, history):
        return np.log((np.exp(first(picture, history)) + np.exp(second(picture, history))) / 2)

    expected = decode(TableModel(mean), numbered(4, (1,)), CONFIG, SPECIAL)
    for found, wanted in zip(of_two(first, second), expected, strict=True):
        assert [each.tokens for each in found] == [each.tokens for each in wanted]
        np.testing.assert_allclose([each.log_prob for each in found], [each.log_prob for each in wanted], atol=1e-5)


def test_one_with_itself_is_itself() -> None:
    table = random_table(3, 6, eos_bonus=0.5)
    alone = decode(TableModel(table), numbered(4, (1,)), CONFIG, SPECIAL)
    for found, wanted in zip(of_two(table, table), alone, strict=True):
        assert [each.tokens for each in found] == [each.tokens for each in wanted]


def test_each_sees_its_own_features_in_their_shape() -> None:
    shapes = []

    class Looking(TableModel):
        def start(self, features):
            shapes.append(features.shape)
            assert features.flags.c_contiguous
            return super().start(features)

    model = EnsembleStepModel([Looking(random_table(1, 4)), Looking(random_table(2, 4))], [(3,), (5, 2)])
    decode(model, join_features([numbered(4, (3,)), numbered(4, (5, 2))]), CONFIG, SPECIAL)
    assert shapes == [(4, 3), (4, 5, 2)]


def test_what_all_rule_out_stays_ruled_out_and_what_one_allows_does_not() -> None:
    def only_a(picture, history):
        return distribution(3, eos=1.0) if history else distribution(3, w0=1.0)

    def only_b(picture, history):
        return distribution(3, eos=1.0) if history else distribution(3, w1=1.0)

    (found,) = of_two(only_a, only_b, pictures=1)
    assert [each.tokens for each in found] == [(FIRST_WORD,), (FIRST_WORD + 1,)]
    assert [each.log_prob for each in found] == pytest.approx([np.log(0.5)] * 2, abs=1e-6)
