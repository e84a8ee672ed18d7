"""One HTML page about one captioner: scores and what frames them, training, health, pictures beside their captions.

A single file that opens from disk: pictures, style and script are inside, nothing is fetched, and the page itself
forbids the browser to fetch or to run anything else. Everything is there without the script, too; it sorts and
filters. Knows nothing of models or data sets; it is handed what it shows.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from captioner.images import decode_image
from captioner.report.charts import Chart, Curve
from captioner.types import Score, Word

SIDE = 240
"""Longest side of a thumbnail, in pixels."""
QUALITY = 80
LADDER = "CIDEr"
"""The metric that is drawn as well as written."""


@dataclass(frozen=True)
class Finding:
    """Something to know about the captions, in words."""

    text: str
    is_warning: bool
    """Whether something is likely to be wrong."""


@dataclass(frozen=True)
class Line:
    """One set of captions in the table of scores."""

    label: str
    scores: Mapping[str, Score]
    """By name of the metric."""
    note: str = ""
    """What it is, in one sentence."""
    is_model: bool = False
    """Whether the captioner wrote them; the others frame its scores."""


@dataclass(frozen=True)
class Shown:
    """One picture of the gallery."""

    name: str
    """How to name it."""
    picture: bytes
    """The encoded picture."""
    caption: str
    """What the captioner says."""
    log_prob: float
    """Natural-log probability of the caption, the end token included."""
    references: Sequence[str]
    """What people wrote."""
    words: Sequence[Word]
    """The words of the caption, and how sure the captioner was of each."""
    cider: float
    """CIDEr of this caption alone."""
    is_true: bool | None = None
    """Whether the caption is true of the picture, where that is known."""

    @property
    def mean_log_prob(self) -> float:
        """Log-probability a token, the end token included: long captions are not less sure for being long."""
        return self.log_prob / (len(self.words) + 1)

    @cached_property
    def thumbnail(self) -> Thumbnail:
        """The picture, small. Raises ImageError when it is not one."""
        image = Image.fromarray(decode_image(self.picture, at_least=SIDE))
        image.thumbnail((SIDE, SIDE))
        as_png, as_jpeg = io.BytesIO(), io.BytesIO()
        image.save(as_png, "PNG", optimize=True)
        image.save(as_jpeg, "JPEG", quality=QUALITY, optimize=True)
        data, kind = min((as_png.getvalue(), "png"), (as_jpeg.getvalue(), "jpeg"), key=lambda each: len(each[0]))
        return Thumbnail(f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}", *image.size)


@dataclass(frozen=True)
class Thumbnail:
    """A small picture inside the page."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Report:
    """All that the page shows."""

    title: str
    split: str
    """The split behind health, gallery and the lines that frame."""
    search: str
    """The search behind health and gallery, for example `beam 3`."""
    picture_count: int
    """How many pictures were scored."""
    headline: Score
    """The score to begin with, of the captions that the gallery shows."""
    lines: Sequence[Line]
    """The table of scores, from top to bottom."""
    further: Sequence[Score]
    """Measures that are no caption metrics: perplexity, retrieval."""
    tutorial: Sequence[Score]
    """The protocol of tutorials, apart from all others."""
    missing: Mapping[str, str]
    """Why a metric is not in the table, by name."""
    training: Mapping[str, Any]
    """The record of training with its `history`."""
    findings: Sequence[Finding]
    left_out: Sequence[str]
    """What was wrong with the data, a line a kind."""
    shown: Sequence[Shown]
    """The gallery, in the order of the data."""
    confidence: Mapping[str, Any] | None = None
    """The calibration (`evaluation/confidence.py`); None for builds of earlier versions."""
    gallery_note: str = ""
    """Which of the pictures these are, when they are not all."""

    @property
    def metrics(self) -> list[str]:
        """The columns of the table."""
        return list(dict.fromkeys(name for line in self.lines for name in line.scores))

    @property
    def signatures(self) -> list[str]:
        """The protocol of every number in the table, each once."""
        return list(dict.fromkeys(score.signature for line in self.lines for score in line.scores.values()))

    @property
    def charts(self) -> Iterator[Chart]:
        """Loss and dev score over the epochs."""
        # Epoch 0, the model that training started from, has no place on an axis that begins with 1.
        history = [row for row in self.training["history"] if row.get("epoch") != 0]
        if not history:
            return  # nothing was learned: `--epochs 0`
        marked = self.training["best_epoch"]
        parts = [("training", "train_loss"), ("dev", "dev_loss")]
        if "train_reward" in history[0]:
            yield Chart("Reward in training", [Curve("training", [row["train_reward"] for row in history])], marked)
            parts = parts[1:]  # that of training is no cross-entropy then
        losses = [
            Curve(name, [row[key] for row in history])
            for name, key in parts
            if all(key in row for row in history)  # builds of earlier versions have no loss on dev
        ]
        yield Chart("Loss" if len(parts) > 1 else "Loss on dev", losses, marked)
        yield Chart("CIDEr on dev", [Curve("dev", [row["dev_cider"] for row in history])], marked)

    @property
    def ladder(self) -> Iterator[tuple[Line, float, float, float, Score]]:
        """Each line with its CIDEr, and in per cent of the width: the interval's ends, and the value."""
        lines = [(line, line.scores[LADDER]) for line in self.lines if LADDER in line.scores]
        top = max((max([score.value, *(score.interval or ())]) for _, score in lines), default=0.0) or 1.0
        for line, score in lines:
            low, high = score.interval or (score.value, score.value)
            yield line, 100 * low / top, 100 * high / top, 100 * score.value / top, score


def page(report: Report) -> str:
    """The page as HTML. All text is escaped.

    Raises:
        ImageError: a picture of the gallery is not one.
    """
    room = files("captioner.report")
    template, style, script = (
        room.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": _percent, "exp": math.exp}
    return environment.from_string(template).render(
        report=report,
        ladder_metric=LADDER,
        style=Markup(style),  # noqa: S704 - ours
        script=Markup(script),  # noqa: S704 - ours
        script_hash=_hash(script),
    )


def _percent(log_prob: float) -> str:
    """A probability as people read it."""
    share = 100 * math.exp(log_prob)
    return "<1" if share < 1 else f"{share:.0f}"


def _hash(text: str) -> str:
    """What a content security policy names an inline style or script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
