"""A recipe for a data set that was looked over: the options of a build, with the reasons beside them, as YAML.

Sizes follow the number of pictures: few pictures are learned by heart, the sooner the larger the network is. Knows
nothing of how a build is run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from captioner.config.build import BUILTIN, SHIPPED, DecoderConfig
from captioner.datasets.examine import Examination
from captioner.datasets.layout import Columns

_SHIPPED_LANGUAGE = "English"


@dataclass(frozen=True)
class _Size:
    """What suits so many training pictures."""

    at_most: float
    decoder: DecoderConfig
    features: str
    epochs: int
    batch_size: int
    patience: int
    views: int


_SIZES = (
    _Size(1_000, DecoderConfig(embed=128, hidden=128, dropout=0.5), "pooled", 40, 8, 10, 1),
    _Size(4_000, DecoderConfig(embed=256, hidden=256, dropout=0.5), "pooled", 20, 16, 6, 2),
    _Size(20_000, DecoderConfig(decoder="attention", embed=256, hidden=384, dropout=0.4), "grid", 12, 16, 4, 1),
    _Size(float("inf"), DecoderConfig(decoder="attention", embed=512, hidden=512, dropout=0.3), "grid", 12, 32, 3, 1),
)
_MIN_COUNTS = ((5_000, 1), (20_000, 2), (100_000, 3))
"""Up to so many training captions, a word must occur so often; beyond, 5 times."""

_Line = tuple[str, Any, str]
"""Key, value, and why."""


def recipe_for(examination: Examination, data: str, columns: Columns, *, start: str = "", encoder: str = "") -> str:
    """The YAML for `build_and_run.py --config`.

    Args:
        examination: of the data set.
        data: where it is, as it shall stand in the file.
        columns: what a person said of them.
        start: captioner to go on from; empty chooses: the one that ships for few pictures with English captions.
        encoder: empty chooses the one that ships with the package.
    """
    pictures = examination.splits.get("train", 0)
    size = next(size for size in _SIZES if pictures <= size.at_most)
    few = pictures <= _SIZES[1].at_most
    if not start and not encoder and few and examination.language == _SHIPPED_LANGUAGE:
        start = SHIPPED
    sections = [_data_section(examination, data, columns)]
    if start:
        what = "the captioner that ships with the package" if start == SHIPPED else "a finished captioner"
        why = f"Where it begins: {what}, with its words and those of these captions. Without the line it learns anew."
        sections.append((why, [("from", start, "")]))
    else:
        sections += _network_sections(size, encoder or BUILTIN, pictures)
    sections.append(_training_section(size))
    found = f"{examination.pictures:,} pictures with {examination.captions:,} captions ({examination.language})"
    header = [
        f"# {found}, read as {examination.layout}.",
        "# Every option: docs/options.md. Flags win over this file: build_and_run.py --config FILE --epochs 3",
    ]
    return "\n".join([*header, *(line for title, lines in sections for line in _section(title, lines)), ""])


def _data_section(examination: Examination, data: str, columns: Columns) -> tuple[str, list[_Line]]:
    captions = round(examination.splits.get("train", 0) * examination.captions_per_picture[1])
    least = next((count for most, count in _MIN_COUNTS if captions <= most), 5)
    longest = max(5, min(50, examination.words_per_caption[2]))
    splits = ", ".join(f"{count:,} {split}" for split, count in examination.splits.items())
    how = "its own splits" if examination.own_splits else "held back by content"
    words = f"{examination.vocabulary.get(least, 0):,} words" if least in examination.vocabulary else ""
    lines: list[_Line] = [
        ("data", data, f"{splits}; {how}"),
        ("format", examination.layout, "recognised by itself"),
        *([("image_column", columns.image, "")] if columns.image else []),
        *([("caption_column", columns.caption, "")] if columns.caption else []),
        ("min_count", least, f"a word must occur so often in the training captions: {words}"),
        ("max_words", longest, "longer captions are cut"),
    ]
    return "Where pictures and captions come from", lines


def _network_sections(size: _Size, encoder: str, pictures: int) -> list[tuple[str, list[_Line]]]:
    decoder = size.decoder
    eyes: list[_Line] = [
        ("encoder", encoder, "ships with the package: no download, quick" if encoder == BUILTIN else ""),
        ("features", size.features, "`pooled`: one vector a picture; `grid`: one a region, for attention"),
        ("views", size.views, "ways to see each training picture; with 2 its mirror image too"),
    ]
    words: list[_Line] = [
        ("decoder", decoder.decoder, "`lstm`, or `attention` and `transformer` with `features: grid`"),
        ("embed", decoder.embed, "numbers in a word vector"),
        ("hidden", decoder.hidden, f"units; chosen for {pictures:,} training pictures: more learn fewer by heart"),
        ("dropout", decoder.dropout, "the fewer pictures, the more"),
    ]
    return [
        ("The network that looks at the picture; it stays as it is", eyes),
        ("The network that writes the words", words),
    ]


def _training_section(size: _Size) -> tuple[str, list[_Line]]:
    lines: list[_Line] = [
        ("epochs", size.epochs, "at most; the best one on dev is kept"),
        ("patience", size.patience, "stop after so many epochs without a better one"),
        ("batch_size", size.batch_size, "pictures"),
        ("seed", 1, "the same seed gives the same captioner"),
    ]
    return "How it learns", lines


def _section(title: str, lines: Sequence[_Line]) -> list[str]:
    pairs = [(f"{key}: {_yaml(value)}", why) for key, value, why in lines]
    width = max(len(pair) for pair, _ in pairs)
    return ["", f"# {title}", *(f"{pair:<{width}}  # {why}" if why else pair for pair, why in pairs)]


_NOT_TEXT = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
"""Words that YAML takes for something else, in any case."""


def _yaml(value: Any) -> str:
    """A value as YAML; text that could be taken for something else is quoted."""
    if isinstance(value, str) and value.isidentifier() and value.lower() not in _NOT_TEXT:
        return value
    return json.dumps(value, ensure_ascii=False)
