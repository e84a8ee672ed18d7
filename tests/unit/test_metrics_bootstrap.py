"""Intervals against what statistics says they are, and differences that are or are not there."""

import numpy as np
import pytest

from captioner.errors import MetricError
from captioner.metrics.base import CaptionPairs, Statistics
from captioner.metrics.bleu import Bleu
from captioner.metrics.bootstrap import bootstrap, compare, interval
from captioner.metrics.evaluate import METRICS, score_with_intervals

NOISE = np.random.default_rng(7).normal(50, 10, 400)


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation() -> None:
    low, high = interval(bootstrap([Statistics.mean_of(NOISE)], samples=4000)[0])
    error = NOISE.std() / np.sqrt(len(NOISE))
    assert low == pytest.approx(NOISE.mean() - 1.96 * error, abs=0.15)
    assert high == pytest.approx(NOISE.mean() + 1.96 * error, abs=0.15)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    chance = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        low, high = interval(bootstrap([Statistics.mean_of(chance.normal(0, 1, 60))], samples=300)[0])
        hits += low < 0 < high
    assert 0.88 < hits / 200 < 0.99


def test_resampled_bleu_is_bleu_of_the_resampled_set() -> None:
    predictions = {str(k): text for k, text in enumerate(["a dog runs", "two cats", "a red car on grass", "a man"])}
    references = {"0": ["a dog walks"], "1": ["two cats sit"], "2": ["the red car on the grass"], "3": ["a tall man"]}
    statistics = Bleu(2).statistics(CaptionPairs.from_texts(predictions, references))
    once_and_twice = np.array([2.0, 0.0, 1.0, 1.0])
    repeated = {name: predictions[name[0]] for name in ("0", "0 again", "2", "3")}
    expected = Bleu(2).score(repeated, {name: references[name[0]] for name in repeated}).value
    assert statistics.combine(once_and_twice @ statistics.values) == pytest.approx(expected)


def test_the_same_seed_gives_the_same_interval_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = [Statistics.mean_of(NOISE)]
    whole = bootstrap(statistics, samples=50)
    assert (bootstrap(statistics, samples=50) == whole).all()
    assert (bootstrap(statistics, samples=50, seed=2) != whole).any()
    monkeypatch.setattr("captioner.metrics.bootstrap._COUNTS_AT_ONCE", 800)
    assert bootstrap(statistics, samples=50) == pytest.approx(whole)


def test_a_small_gain_on_every_picture_is_real_and_noise_is_not() -> None:
    first, better = Statistics.mean_of(NOISE), Statistics.mean_of(NOISE + 0.5)
    shuffled = Statistics.mean_of(np.random.default_rng(1).permutation(NOISE))
    found = compare([first], [better])[0]
    assert found.is_real
    assert found.interval == pytest.approx((0.5, 0.5))
    assert found.p_value == pytest.approx(1 / 1001)
    found = compare([first], [shuffled])[0]
    assert not found.is_real
    assert found.p_value > 0.5
    assert found.interval[0] < 0 < found.interval[1]


def test_a_system_does_not_differ_from_itself() -> None:
    found = compare([Statistics.mean_of(NOISE)], [Statistics.mean_of(NOISE)])[0]
    assert (found.interval, found.p_value, found.is_real) == ((0.0, 0.0), 1.0, False)


def test_different_pictures_are_refused() -> None:
    with pytest.raises(MetricError, match="same pictures"):
        compare([Statistics.mean_of([1.0, 2.0])], [Statistics.mean_of([1.0])])


def test_every_score_has_an_interval_around_it() -> None:
    captions = {str(k): "a red dog runs far away"[: 6 + 2 * k] for k in range(9)}
    references = {k: ["a red dog runs", f"dog number {k}"] for k in captions}
    scores = score_with_intervals(CaptionPairs.from_texts(captions, references), samples=200)
    assert [score.name for score in scores] == list(METRICS)
    for score in scores:
        assert score.interval is not None
        assert score.interval[0] <= score.value <= score.interval[1]


@pytest.mark.parametrize("pictures", [2, 3, 5, 10, 30])
def test_without_a_difference_hardly_ever_one_looks_real(pictures: int) -> None:
    """Two systems drawn from the same distribution, many times: at most one in twenty looks different."""
    chance = np.random.default_rng(pictures)
    trials = 300
    real = 0
    for _ in range(trials):
        one, other = (Statistics.mean_of(chance.normal(size=pictures)) for _ in range(2))
        real += compare([one], [other], samples=199)[0].is_real
    assert real / trials <= 0.05 + 2.5 * (0.05 * 0.95 / trials) ** 0.5


def test_the_p_value_of_few_pictures_is_that_of_all_exchanges() -> None:
    """Three pictures, all better: of the eight exchanges two are as extreme."""
    one, other = Statistics.mean_of([1.0, 2.0, 3.0]), Statistics.mean_of([2.0, 3.0, 4.0])
    found = compare([one], [other], samples=4000)[0]
    assert found.p_value == pytest.approx(2 / 8, abs=0.03)
    assert not found.is_real


def test_rounding_is_no_difference() -> None:
    one, other = Statistics.mean_of([50.0] * 40), Statistics.mean_of([50.0 + 4e-10] * 40)
    found = compare([one], [other])[0]
    assert not found.is_real
    assert found.p_value == 1
