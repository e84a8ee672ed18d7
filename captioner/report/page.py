"""One HTML page about one captioner: pictures with captions, scores, training. A single file without scripts.

Knows nothing of models or data sets; it is handed what it shows.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from PIL import Image

from captioner.images import decode_image

SIDE = 224


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
    """How sure it is."""
    references: Sequence[str]
    """What people wrote."""
    is_true: bool | None = None
    """Whether the caption is true of the picture, where that is known."""

    @property
    def data_uri(self) -> str:
        """The picture, at most 224 pixels a side, inside the page."""
        image = Image.fromarray(decode_image(self.picture, at_least=SIDE))
        image.thumbnail((SIDE, SIDE))
        stream = io.BytesIO()
        image.save(stream, "PNG" if max(image.size) < SIDE else "JPEG")
        return f"data:image/{'png' if max(image.size) < SIDE else 'jpeg'};base64," + base64.b64encode(
            stream.getvalue()
        ).decode("ascii")


@dataclass(frozen=True)
class Curve:
    """One quantity over the epochs, as the points of an SVG polyline in a box of 300 × 100."""

    name: str
    values: Sequence[float]

    @property
    def points(self) -> str:
        """The polyline."""
        low, high = min(self.values), max(self.values)
        step = 300 / max(1, len(self.values) - 1)
        height = high - low or 1.0
        return " ".join(f"{i * step:.1f},{100 - 100 * (v - low) / height:.1f}" for i, v in enumerate(self.values))


def page(
    title: str,
    protocol: str,
    shown: Sequence[Shown],
    scores: Sequence[Mapping[str, Any]],
    training: Mapping[str, Any],
    left_out: Sequence[str] = (),
) -> str:
    """The page as HTML. All text is escaped.

    Args:
        title: its heading.
        protocol: split and search behind the gallery's captions, for example `test, beam 3`.
        shown: the gallery.
        scores: rows with split, search, name, value and signature.
        training: the record of training with its `history`.
        left_out: what was wrong with the data, a line a kind.
    """
    template = files("captioner.report").joinpath("page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    history = training["history"]
    curves = [
        Curve("training loss", [row["train_loss"] for row in history]),
        Curve("CIDEr on dev, greedy", [row["dev_cider"] for row in history]),
    ]
    columns = list(dict.fromkeys((row["split"], row["search"]) for row in scores))
    names = list(dict.fromkeys(row["name"] for row in scores))
    values = {(row["name"], row["split"], row["search"]): row["value"] for row in scores}
    signatures = {row["name"]: row["signature"] for row in scores}
    return environment.from_string(template).render(
        title=title,
        protocol=protocol,
        shown=shown,
        columns=columns,
        names=names,
        values=values,
        signatures=signatures,
        training=training,
        left_out=left_out,
        curves=curves,
    )
