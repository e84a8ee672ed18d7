"""From log-probability to confidence: the probability that a caption is acceptable, calibrated on held-back pictures.

A caption counts as acceptable when its own CIDEr, or another measure of it, is above a stated threshold. The mean log-
probability of its words tells such captions from others to a degree; a logistic curve through the two (J. Platt,
"Probabilistic outputs for support vector machines", 1999, with the smoothed targets of its section 2.2) turns it into a
probability. Whether these can be believed is what the reliability curve shows (Guo et al. 2017, arXiv 1706.04599,
section 2), drawn from pictures that the curve was not fitted to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from captioner.errors import BundleError

ACCEPTABLE_CIDER = 40.0
"""A caption with a CIDEr above this is called acceptable: half of what people reach on average on Flickr8k."""
_FOLDS = 5
_BINS = 10
_STEPS = 50
_LEAST_CURVATURE = 1e-9


@dataclass(frozen=True)
class Confidence:
    """The calibrated curve of one captioner."""

    slope: float
    """Of the logistic curve, a nat of mean log-probability."""
    intercept: float
    """Its value where the mean log-probability is 0, before the logistic function."""
    acceptable: float
    """The CIDEr, or other measure, above which a caption is acceptable."""

    def __call__(self, log_prob: float, tokens: int) -> float:
        """The probability that a caption is acceptable.

        Args:
            log_prob: of the whole caption, natural logarithm.
            tokens: how many words it has, the end token counted.
        """
        return float(_logistic(self.slope * log_prob / max(1, tokens) + self.intercept))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Confidence:
        """Out of what `Calibration.to_json` gave. Raises BundleError when that is not what it should be."""
        try:
            values = [data[name] for name in ("slope", "intercept", "acceptable")]
        except (KeyError, TypeError):
            values = []
        is_valid = [type(value) in (int, float) and math.isfinite(value) for value in values]
        if not is_valid or not all(is_valid):
            raise BundleError("`confidence` in the manifest of this bundle is not valid")
        return cls(*map(float, values))


@dataclass(frozen=True)
class Bin:
    """Captions of like confidence."""

    predicted: float
    """Their mean confidence."""
    observed: float
    """The share of them that is acceptable."""
    pictures: int
    """How many there are."""


@dataclass(frozen=True)
class Calibration:
    """A curve, and how far it can be trusted."""

    confidence: Confidence
    reliability: tuple[Bin, ...]
    """Tenths of the pictures from the least to the most confident, each judged by a curve fitted to other pictures."""
    accepted: float
    """The share of all captions that is acceptable."""

    @property
    def error(self) -> float:
        """The expected calibration error: how far predicted and observed shares are apart, on average."""
        pictures = sum(each.pictures for each in self.reliability)
        return sum(each.pictures * abs(each.predicted - each.observed) for each in self.reliability) / pictures

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        bins = [
            {
                "predicted": round(each.predicted, 4),
                "observed": round(each.observed, 4),
                "pictures": each.pictures,
            }
            for each in self.reliability
        ]
        return {
            "slope": round(self.confidence.slope, 6),
            "intercept": round(self.confidence.intercept, 6),
            "acceptable": self.confidence.acceptable,
            "accepted": round(self.accepted, 4),
            "error": round(self.error, 4),
            "reliability": bins,
        }


def calibrate(
    log_probs: Sequence[float], tokens: Sequence[int], values: Sequence[float], acceptable: float = ACCEPTABLE_CIDER
) -> Calibration:
    """Fit the curve to captions of held-back pictures, at least one.

    Args:
        log_probs: of each caption, natural logarithm.
        tokens: how many words each has, the end token counted.
        values: of each caption: its CIDEr against the references of its picture, or another measure.
        acceptable: the value above which a caption is acceptable.
    """
    means = np.asarray(log_probs, np.float64) / np.maximum(1, np.asarray(tokens))  # (pictures,)
    good = np.asarray(values) > acceptable
    held_out = np.empty(len(means))
    for fold in range(_FOLDS):
        mine = np.arange(len(means)) % _FOLDS == fold
        others = ~mine if (~mine).any() else mine
        slope, intercept = _fit(means[others], good[others])
        held_out[mine] = _logistic(slope * means[mine] + intercept)
    slope, intercept = _fit(means, good)
    bins = [part for part in np.array_split(np.argsort(held_out, kind="stable"), _BINS) if len(part)]
    return Calibration(
        Confidence(slope, intercept, acceptable),
        tuple(Bin(float(held_out[part].mean()), float(good[part].mean()), len(part)) for part in bins),
        float(good.mean()),
    )


def _fit(means: np.ndarray, good: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the logistic regression of `good` on `means`, by Newton's method."""
    many, few = int(good.sum()), int((~good).sum())
    target = np.where(good, (many + 1) / (many + 2), 1 / (few + 2))  # Platt 1999: finite even when all are alike
    centre = float(means.mean())
    inputs = np.stack([means - centre, np.ones(len(means))], axis=1)  # (pictures, 2)
    weights = np.zeros(2)
    for _ in range(_STEPS):
        probability = _logistic(inputs @ weights)
        curvature = (inputs * (probability * (1 - probability))[:, None]).T @ inputs
        step = np.linalg.solve(curvature + _LEAST_CURVATURE * np.eye(2), inputs.T @ (target - probability))
        weights += step
        if np.abs(step).max() < 1e-10:
            break
    return float(weights[0]), float(weights[1] - weights[0] * centre)


def _logistic(value: Any) -> Any:
    return 1 / (1 + np.exp(-np.clip(value, -500, 500)))
