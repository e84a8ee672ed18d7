"""Several metrics at once over the same captions; knows the metrics by name and nothing of how they work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from captioner.errors import MetricError
from captioner.metrics.base import CaptionPairs, Metric, Statistics
from captioner.metrics.bleu import Bleu
from captioner.metrics.bootstrap import SAMPLES, bootstrap, interval
from captioner.metrics.cider import Cider
from captioner.metrics.framing import leave_one_out, mean_over_rounds
from captioner.metrics.ngrams import References
from captioner.metrics.rouge import RougeL
from captioner.types import Score

METRICS: Mapping[str, Metric] = {
    metric.name: metric for metric in (Bleu(1), Bleu(2), Bleu(3), Bleu(4), RougeL(), Cider(), Cider("CIDEr-D"))
}
"""Those that need numpy alone, by name, in the order of the table."""


def evaluate(
    predictions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    metrics: Sequence[str] | None = None,
) -> tuple[Score, ...]:
    """Score predicted captions against references, both by image id, with each of `metrics` (all when None).

    Every caption is tokenised once for all metrics. Raises `MetricError` when a metric is unknown, when an id is on one
    side only, or when a picture has no reference.
    """
    names = tuple(METRICS) if metrics is None else tuple(metrics)
    for name in names:
        if name not in METRICS:
            raise MetricError(f"there is no metric {name!r}; choose from {', '.join(METRICS)}")
    pairs = CaptionPairs.from_texts(predictions, references)
    return tuple(METRICS[name].score_pairs(pairs) for name in names)


def score_with_intervals(
    pairs: CaptionPairs, metrics: Sequence[Metric] = tuple(METRICS.values()), *, samples: int = SAMPLES
) -> tuple[Score, ...]:
    """The scores of predictions, each with its 95 % interval over pictures."""
    return _scores(metrics, [metric.statistics(pairs) for metric in metrics], pairs, samples)


def score_people(
    references: References, metrics: Sequence[Metric] = tuple(METRICS.values()), *, samples: int = SAMPLES
) -> tuple[Score, ...]:
    """The scores of each reference against the others of its picture, mean over the rounds of `leave_one_out`.

    Empty when a picture has a single reference.
    """
    rounds = leave_one_out(references)
    if not rounds:
        return ()
    return _scores(metrics, [mean_over_rounds(metric, rounds) for metric in metrics], rounds[0], samples)


def _scores(
    metrics: Sequence[Metric], statistics: Sequence[Statistics], pairs: CaptionPairs, samples: int
) -> tuple[Score, ...]:
    if not metrics:
        return ()
    resampled = bootstrap(statistics, samples=samples)
    return tuple(
        Score(metric.name, own.score, own.per_image, metric.signature(pairs), interval(scores))
        for metric, own, scores in zip(metrics, statistics, resampled, strict=True)
    )
