"""Known answers of perplexity and retrieval, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from captioner.errors import MetricError
from captioner.metrics.likelihood import perplexity, retrieval

DIRECTIONS = ("text-to-image", "image-to-text")


def test_a_model_that_hesitates_between_four_tokens_has_perplexity_four() -> None:
    score = perplexity([-7 * math.log(4), -3 * math.log(4)], [7, 3], captions=[2, 1])
    assert score.name == "Perplexity"
    assert score.interval == pytest.approx((4, 4))
    assert score.value == pytest.approx(4)
    assert score.per_image == pytest.approx((4, 4))
    assert score.signature == "Perplexity|tok:model|refs:1-2|unit:token|version:1"


def test_every_token_weighs_the_same_whatever_its_picture() -> None:
    score = perplexity(np.array([-9 * math.log(2), -math.log(1024)]), np.array([9, 1]), captions=np.array([5, 1]))
    assert score.per_image == pytest.approx((2, 1024))
    assert score.value == pytest.approx(2 ** (19 / 10))
    assert "|refs:5|" in perplexity([-1.0], [6], captions=[5]).signature


def test_a_sure_model_has_perplexity_one_and_an_impossible_caption_makes_it_infinite() -> None:
    assert perplexity([0.0, 0.0], [4, 5], captions=[1, 1]).value == 1
    score = perplexity([-math.inf, -4000.0, 0.0], [4, 1, 5], captions=[1, 1, 1])
    assert (score.value, score.per_image, score.interval) == (math.inf, (math.inf, math.inf, 1), None)


@pytest.mark.parametrize(
    ("log_probs", "token_counts", "captions", "message"),
    [
        ([], [], [], "no captions to score; give"),
        ([-1.0], [1, 1], [1], "1 log-probabilities, 2 token counts and 1 caption counts; give"),
        ([-1.0, -1.0], [1, 0], [1, 1], "picture 1 has 1 captions of 0 tokens; give"),
        ([-1.0], [4], [5], "picture 0 has 5 captions of 4 tokens"),
        ([-1.0], [4], [0], "picture 0 has 0 captions"),
        ([math.nan], [4], [1], "picture 0 has nan as a log-probability"),
        ([12.5], [4], [1], r"picture 0 has 12\.5 .*not losses"),
    ],
)
def test_sums_that_are_none_are_refused(log_probs: list, token_counts: list, captions: list, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        perplexity(log_probs, token_counts, captions=captions)


def by_name(likelihoods: np.ndarray) -> dict[str, float]:
    return {score.name: score.value for score in retrieval(likelihoods)}


def test_the_two_directions_rank_columns_and_rows() -> None:
    likelihoods = np.array(
        [
            [-5.0, -9.0, -1.0],  # picture 0: its caption is second
            [-7.0, -2.0, -8.0],  # picture 1: its caption is first
            [-4.0, -6.0, -3.0],  # picture 2: its caption is first
        ]
    )
    text_to_image, image_to_text = retrieval(likelihoods)
    # caption 0 finds picture 2 first, caption 1 its own, caption 2 picture 0 first
    assert text_to_image.per_image == (0, 100, 0)
    assert text_to_image.value == pytest.approx(100 / 3)
    assert text_to_image.signature == "R@1|text-to-image|pool:3|by:log-likelihood|version:1"
    assert image_to_text.per_image == (0, 100, 100)
    assert image_to_text.value == pytest.approx(200 / 3)
    assert image_to_text.signature == "R@1|image-to-text|pool:3|by:log-likelihood|version:1"


def test_a_common_caption_spoils_one_direction_only() -> None:
    own = np.full((6, 6), -20.0)
    np.fill_diagonal(own, -18.0)
    values = by_name(own + np.array([0, 0, 0, 0, 0, 15.0]))  # caption 5 is likely for every picture
    assert values["R@1 text-to-image"] == 100
    assert values["R@1 image-to-text"] == pytest.approx(100 / 6)
    assert values["R@5 image-to-text"] == 100


def test_ties_count_against_the_model() -> None:
    assert set(by_name(np.full((12, 12), -3.0)).values()) == {0}
    values = by_name(np.full((10, 10), -np.inf))
    assert (values["R@5 text-to-image"], values["R@10 text-to-image"]) == (0, 100)
    pair_tied = np.where(np.eye(5, dtype=bool) | np.eye(5, k=1, dtype=bool), -1.0, -2.0)
    assert by_name(pair_tied) == {
        "R@1 text-to-image": 20,  # of caption 0 alone no other picture is as likely
        "R@5 text-to-image": 100,
        "R@1 image-to-text": 20,
        "R@5 image-to-text": 100,
    }


def test_a_rotated_matrix_is_found_by_rank() -> None:
    """Each query ranks its own at one place, the same for all."""
    steps = (np.arange(12)[None, :] - np.arange(12)[:, None]) % 12
    for places_ahead in range(12):
        values = by_name(-((steps + places_ahead) % 12).astype(float))
        for k in (1, 5, 10):
            assert [values[f"R@{k} {direction}"] for direction in DIRECTIONS] == [100 * (places_ahead < k)] * 2


def test_the_order_of_the_pairs_does_not_matter() -> None:
    random = np.random.default_rng(1)
    likelihoods = random.normal(size=(30, 30)) + 1.5 * np.eye(30)
    order = random.permutation(30)
    for ours, theirs in zip(retrieval(likelihoods), retrieval(likelihoods[order][:, order]), strict=True):
        assert ours.value == theirs.value
        assert 0 < ours.value < 100
        assert np.array(ours.per_image)[order].tolist() == list(theirs.per_image)
        assert set(ours.per_image) == {0, 100}
    swapped = by_name(likelihoods.T)
    assert swapped["R@5 text-to-image"] == by_name(likelihoods)["R@5 image-to-text"]


@pytest.mark.parametrize(("pool", "ranks"), [(1, [1]), (4, [1]), (5, [1, 5]), (9, [1, 5]), (10, [1, 5, 10])])
def test_ranks_beyond_the_pool_are_left_out(pool: int, ranks: list[int]) -> None:
    names = [score.name for score in retrieval(np.eye(pool))]
    assert names == [f"R@{k} {direction}" for direction in DIRECTIONS for k in ranks]


@pytest.mark.parametrize(
    ("likelihoods", "message"),
    [
        (np.zeros((3, 4)), r"shape \(3, 4\); expected a square"),
        (np.zeros((0, 0)), r"shape \(0, 0\); .*at least one"),
        (np.zeros(4), r"shape \(4,\)"),
        (np.array([[0.0, np.nan], [0.0, 0.0]]), "not all numbers; score every caption"),
        (np.array([["a"]]), "not all numbers"),
    ],
)
def test_matrices_that_cannot_be_ranked_are_refused(likelihoods: np.ndarray, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        retrieval(likelihoods)
