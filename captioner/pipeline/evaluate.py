"""Stage `evaluate`: caption the held-back splits with the exported graphs, and score the captions.

The graphs that ship are what is measured. Training pictures are never scored; `dev` only when there is no `test`,
because the best epoch was chosen by it.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from captioner.bundle import DECODER_START, DECODER_STEP, ENCODER
from captioner.config import DecodeConfig
from captioner.datasets.base import CaptionDataset, Judge
from captioner.decoding.decode import decode
from captioner.metrics.evaluate import evaluate
from captioner.metrics.table import format_table
from captioner.pipeline.features import Features
from captioner.pipeline.workspace import Workspace, read_lines, write_json, write_text
from captioner.runtime.onnx_step import OnnxStepModel
from captioner.runtime.session import OnnxEncoder
from captioner.text.vocabulary import Vocabulary
from captioner.types import Candidate, Score

SCORES = "scores.json"
GREEDY = "greedy"


def scored_splits(dataset: CaptionDataset) -> list[str]:
    """`test`, or `dev` where there is none, then the splits that the data set has of its own."""
    headline = "test" if "test" in dataset.splits else "dev"
    return [headline, *(split for split in dataset.splits if split not in ("train", "dev", "test"))]


def search_names(config: DecodeConfig) -> dict[str, DecodeConfig]:
    """The searches that are scored: greedy, and the configured beam."""
    searches = {GREEDY: replace(config, beam=1, n_best=1)}
    if config.beam > 1:
        searches[f"beam {config.beam}"] = replace(config, n_best=1)
    return searches


def evaluate_splits(dataset: CaptionDataset, config: DecodeConfig, workspace: Workspace, *, threads: int) -> str:
    """Write predictions a split and search, and one table of all scores."""
    vocabulary = Vocabulary.load(workspace.vocabulary)
    features = Features.load(workspace.features)
    steps = OnnxStepModel(workspace.graphs / DECODER_START, workspace.graphs / DECODER_STEP, threads)
    look = OnnxEncoder(workspace.graphs / ENCODER, threads) if features.encoder.trained_with_decoder else None
    shutil.rmtree(workspace.evaluation, ignore_errors=True)  # captions of other searches than the present ones
    rows: list[dict[str, Any]] = []
    columns: dict[str, Sequence[Score]] = {}
    headline = ""
    for split in scored_splits(dataset):
        pictures = list(read_lines(workspace.pictures(split)))
        if not pictures:
            continue
        references = {picture["image_id"]: picture["captions"] for picture in pictures}
        for search, decoding in search_names(config).items():
            found: list[Candidate] = []
            order = np.array([picture["row"] for picture in pictures], np.int64)
            for part in tqdm(
                np.array_split(order, max(1, len(order) // 64)),
                desc=f"  {split}, {search}",
                unit=" batches",
                leave=False,
                disable=not sys.stderr.isatty(),
            ):
                inputs = features.inputs(part)
                seen = look(inputs) if look else inputs
                found += [best[0] for best in decode(steps, seen, decoding, vocabulary.special)]
            captions = [vocabulary.decode(candidate.tokens) for candidate in found]
            predictions = dict(zip(references, captions, strict=True))
            _write_predictions(workspace, split, search, pictures, found, predictions)
            scores = (*_truth(predictions, dataset.judge), *evaluate(predictions, references))
            columns[f"{split}, {search}"] = scores
            rows += [{"split": split, "search": search, **_summary(score)} for score in scores]
            if split == scored_splits(dataset)[0]:
                headline = f"{split}, {search}: " + ", ".join(_short(score) for score in scores if _is_headline(score))
    print(_indented(format_table(columns)), file=sys.stderr)  # noqa: T201
    write_json(workspace.evaluation / SCORES, rows)
    return headline


def _truth(predictions: Mapping[str, str], judge: Judge | None) -> tuple[Score, ...]:
    """The share of captions that are true of their picture, where the data set can tell."""
    if judge is None:
        return ()
    verdicts = tuple(100.0 * judge(image_id, caption) for image_id, caption in predictions.items())
    return (
        Score("True", sum(verdicts) / len(verdicts), verdicts, "captions true of the picture, judged by the data set"),
    )


def _is_headline(score: Score) -> bool:
    return score.name in ("True", "CIDEr", "BLEU-4")


def _short(score: Score) -> str:
    return f"{score.name} {score.value:.1f}"


def _summary(score: Score) -> dict[str, Any]:
    values = asdict(score)
    del values["per_image"]  # it stands with the predictions' own scores, not in the table
    return values


def _write_predictions(
    workspace: Workspace,
    split: str,
    search: str,
    pictures: Sequence[Mapping[str, Any]],
    found: Sequence[Candidate],
    predictions: Mapping[str, str],
) -> None:
    write_text(
        workspace.evaluation / f"{split}-{search.replace(' ', '')}.jsonl",
        (
            json.dumps(
                {
                    "image_id": picture["image_id"],
                    "caption": predictions[picture["image_id"]],
                    "log_prob": round(candidate.log_prob, 6),
                    "references": picture["captions"],
                },
                ensure_ascii=False,
            )
            for picture, candidate in zip(pictures, found, strict=True)
        ),
    )


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
