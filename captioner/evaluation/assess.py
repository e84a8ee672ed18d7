"""Predictions and references → everything there is to say of them: scores with intervals, framing lines, health.

Knows no files and no model. METEOR and SPICE come from outside, where they are installed; a metric that cannot be had
is named with the reason, never replaced by another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from captioner.errors import printable
from captioner.metrics.base import CaptionPairs, Metric
from captioner.metrics.coco_java import Meteor, Spice
from captioner.metrics.evaluate import METRICS, score_people, score_with_intervals
from captioner.metrics.framing import most_typical
from captioner.metrics.health import Health, examine
from captioner.metrics.table import format_table
from captioner.metrics.tutorial import tutorial_bleu
from captioner.types import Score

ALL_METRICS: Mapping[str, Metric] = {metric.name: metric for metric in (*METRICS.values(), Meteor(), Spice())}
"""Every metric by name, in the order of the table."""
PEOPLE = "people"
CONSTANT = "constant"
NOT_ASKED_FOR = "not asked for"


@dataclass(frozen=True)
class Line:
    """One set of captions in the table: a model, or what frames it."""

    label: str
    """Its heading."""
    note: str
    """What it is, in one sentence; or why it is missing."""
    scores: tuple[Score, ...]
    """Its scores; empty when it is missing."""


@dataclass(frozen=True)
class Assessment:
    """What can be said of the captions of one system."""

    pictures: int
    """How many pictures were scored."""
    scores: tuple[Score, ...]
    """The scores of the system, each with its interval."""
    missing: Mapping[str, str]
    """Why a metric is not among them, by name."""
    framing: tuple[Line, ...]
    """What people, and captions that say nothing, score on the same pictures."""
    health: Health
    """What scores do not show."""
    tutorial: tuple[Score, ...]
    """The protocol of tutorials; never to stand beside the others."""

    def table(self) -> str:
        """Scores, framing lines and protocol as a table for people, then what is missing and why."""
        columns = {"captions": self.scores, **{line.label: line.scores for line in self.framing if line.scores}}
        lines = format_table(columns).splitlines()
        lines += [f"{line.label}: {line.note}" for line in self.framing]
        lines += [f"{name} is missing: {reason}" for name, reason in self.missing.items() if reason != NOT_ASKED_FOR]
        return "\n".join(map(printable, lines))

    def to_json(self, image_ids: Sequence[str] | None = None) -> dict[str, Any]:
        """As plain JSON values; with the value of each picture when `image_ids` are given."""
        return {
            "pictures": self.pictures,
            "scores": {
                **{score.name: score_to_json(score, image_ids) for score in self.scores},
                **{
                    name: {"value": None, "interval": None, "signature": None, "reason": reason}
                    for name, reason in self.missing.items()
                },
            },
            "framing": {
                line.label: {"note": line.note, "scores": {each.name: score_to_json(each) for each in line.scores}}
                for line in self.framing
            },
            "health": {
                **asdict(self.health),
                "findings": [asdict(finding) for finding in self.health.findings()],
            },
            "tutorial": {score.name: score_to_json(score) for score in self.tutorial},
        }


def score_to_json(score: Score, image_ids: Sequence[str] | None = None) -> dict[str, Any]:
    """Value, interval and signature; with the value of each picture by id when `image_ids` are given."""
    values: dict[str, Any] = {
        "value": score.value,
        "interval": list(score.interval) if score.interval else None,
        "signature": score.signature,
    }
    if image_ids is not None:
        values["per_image"] = dict(zip(image_ids, score.per_image, strict=True))
    return values


def assess(
    predictions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    training: Sequence[str] = (),
    metrics: Sequence[str] = tuple(ALL_METRICS),
) -> Assessment:
    """Score captions, and all that frames the scores.

    Args:
        predictions: one caption an image id.
        references: at least one caption an image id.
        training: all training captions, where they are known.
        metrics: names of `ALL_METRICS`; the others are called missing.

    Raises:
        MetricError: the two sides do not fit together.
    """
    pairs = CaptionPairs.from_texts(predictions, references)
    missing = {
        name: reason
        for name, metric in ALL_METRICS.items()
        if (reason := metric.unavailable() if name in metrics else NOT_ASKED_FOR)
    }
    computed = [metric for name, metric in ALL_METRICS.items() if name not in missing]
    quick = [metric for metric in computed if metric.name in METRICS]
    words = pairs.cut(training)
    return Assessment(
        pictures=len(pairs),
        scores=score_with_intervals(pairs, computed),
        missing=missing,
        framing=frame(pairs, words, quick),
        health=examine(pairs, words),
        tutorial=tutorial_bleu(predictions, references),
    )


def frame(
    pairs: CaptionPairs, training: Sequence[tuple[str, ...]] = (), metrics: Sequence[Metric] = tuple(METRICS.values())
) -> tuple[Line, ...]:
    """What people and a constant caption score on the same pictures.

    Args:
        pairs: the captions that are framed, and their references.
        training: the words of the training captions; without them, the constant one is chosen among the references.
        metrics: what to score by.
    """
    people = score_people(pairs.references, metrics)
    counts = {len(captions) for captions in pairs.references.words}
    several = sorted(counts - {1})
    note = f"each of {' to '.join(map(str, dict.fromkeys(several[:1] + several[-1:])))} references against the others, "
    note += "which are one fewer than the captions have; the mean"
    if 1 in counts:
        note += "; without the pictures that have a single reference"
    candidates = training or pairs.references.captions
    constant = candidates[most_typical(candidates)]
    origin = "training caption" if training else "of these references"
    return (
        Line(
            PEOPLE,
            note if people else "missing, because every picture has a single reference",
            people,
        ),
        Line(
            CONSTANT,
            f'the most typical {origin} for every picture: "{" ".join(constant)}"',
            score_with_intervals(pairs.with_predictions([constant] * len(pairs)), metrics),
        ),
    )
