"""All caption metrics at once, and a table of them; knows the metrics by name and nothing of how they work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from captioner.errors import MetricError
from captioner.metrics.base import CaptionPairs, Metric
from captioner.metrics.bleu import Bleu
from captioner.metrics.cider import Cider
from captioner.metrics.rouge import RougeL
from captioner.types import Score

METRICS: Mapping[str, Metric] = {
    metric.name: metric for metric in (Bleu(1), Bleu(2), Bleu(3), Bleu(4), RougeL(), Cider(), Cider("CIDEr-D"))
}
"""By name, in the order of the table."""


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


def format_table(columns: Mapping[str, Sequence[Score]]) -> str:
    """One line a metric: its name, its value to one decimal in each column, and its signature.

    `columns`: scores by heading, for example `test, greedy`; a column may lack a metric. Signatures that differ between
    columns stand side by side.
    """
    names = list(dict.fromkeys(score.name for scores in columns.values() for score in scores))
    found = {(heading, score.name): score for heading, scores in columns.items() for score in scores}
    left = max(map(len, names), default=0)
    lines = ["  ".join([" " * left, *columns])]
    for name in names:
        values = [
            f"{found[heading, name].value:{len(heading)}.1f}" if (heading, name) in found else " " * len(heading)
            for heading in columns
        ]
        signatures = dict.fromkeys(found[heading, name].signature for heading in columns if (heading, name) in found)
        lines.append("  ".join([f"{name:<{left}}", *values, " or ".join(signatures)]))
    return "\n".join(lines)
