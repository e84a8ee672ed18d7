"""Confidence: a curve that is found again where it was put, and a reliability that tells good curves from bad ones."""

import numpy as np
import pytest

from captioner.errors import BundleError
from captioner.evaluation.confidence import ACCEPTABLE_CIDER, Confidence, calibrate


def made_up(count: int, slope: float, intercept: float, seed: int = 0):
    """Captions of ten tokens whose chance to be good follows a logistic curve."""
    random = np.random.default_rng(seed)
    means = random.normal(-1.2, 0.4, count)
    good = random.random(count) < 1 / (1 + np.exp(-(slope * means + intercept)))
    return means * 10, np.full(count, 10), np.where(good, 2 * ACCEPTABLE_CIDER, 0.0), good


def test_the_curve_that_made_the_data_is_found_again():
    log_probs, tokens, cider, good = made_up(20_000, slope=3.0, intercept=4.0)
    found = calibrate(log_probs, tokens, cider)
    assert found.confidence.slope == pytest.approx(3.0, abs=0.15)
    assert found.confidence.intercept == pytest.approx(4.0, abs=0.2)
    assert found.accepted == pytest.approx(good.mean())
    assert found.error < 0.02
    for each in found.reliability:
        assert each.predicted == pytest.approx(each.observed, abs=0.05)
        assert each.pictures == 2000


def test_confidence_is_the_logistic_of_the_mean_log_probability():
    confidence = Confidence(slope=2.0, intercept=1.0, acceptable=40.0)
    assert confidence(-10.0, 10) == pytest.approx(1 / (1 + np.exp(1.0)))
    assert confidence(-10.0, 20) == pytest.approx(0.5)
    assert confidence(0.0, 0) == pytest.approx(1 / (1 + np.exp(-1.0)))


def test_the_mean_of_all_confidences_is_the_share_of_good_captions():
    """So it is for any logistic regression; smoothed targets move it by less than one picture."""
    log_probs, tokens, cider, good = made_up(500, slope=1.0, intercept=1.0, seed=3)
    confidence = calibrate(log_probs, tokens, cider).confidence
    mean = np.mean([confidence(*each) for each in zip(log_probs, tokens, strict=True)])
    assert mean == pytest.approx(good.mean(), abs=2 / 500)


def test_log_probabilities_that_tell_nothing_give_every_caption_the_same_confidence():
    log_probs, tokens, _, _ = made_up(4000, slope=0.0, intercept=0.0)
    cider = np.random.default_rng(9).random(4000) * 2 * ACCEPTABLE_CIDER
    confidence = calibrate(log_probs, tokens, cider).confidence
    assert abs(confidence(-5.0, 10) - confidence(-20.0, 10)) < 0.15


def test_reliability_is_of_pictures_that_the_curve_was_not_fitted_to():
    """Four captions, each good exactly when its neighbours are not: a curve fitted to itself would look better."""
    found = calibrate([-1, -2, -3, -4, -5], [1] * 5, [100, 0, 100, 0, 100])
    assert sum(each.pictures for each in found.reliability) == 5
    assert found.error > 0.2


@pytest.mark.parametrize("cider", [0.0, 1000.0])
def test_captions_all_good_or_all_bad_give_a_finite_curve(cider):
    found = calibrate([-5.0, -10.0, -20.0], [10] * 3, [cider] * 3)
    assert np.isfinite([found.confidence.slope, found.confidence.intercept]).all()
    assert (found.confidence(-10.0, 10) > 0.5) == (cider > 0)


def test_one_picture_is_enough_for_a_curve():
    assert 0 < calibrate([-5.0], [10], [100.0]).confidence(-5.0, 10) < 1


def test_it_comes_back_out_of_json():
    calibration = calibrate(*made_up(300, slope=2.0, intercept=3.0)[:3])
    values = calibration.to_json()
    back = Confidence.from_json(values)
    assert back(-12.0, 10) == pytest.approx(calibration.confidence(-12.0, 10), abs=1e-4)
    assert len(values["reliability"]) == 10


@pytest.mark.parametrize(
    "values", [{}, {"slope": 1.0, "intercept": "x", "acceptable": 4}, {"slope": True, "intercept": 1, "acceptable": 4}]
)
def test_a_manifest_with_another_confidence_is_refused(values):
    with pytest.raises(BundleError, match="`confidence` in the manifest"):
        Confidence.from_json(values)
