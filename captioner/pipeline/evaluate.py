"""Stage `evaluate`: caption the held-back splits with the exported graphs, score the captions, and frame the scores.

The graphs that ship are what is measured. Training pictures are never scored; `dev` only when there is no `test`,
because the best epoch was chosen by it. Left for the report and the bundle:

    evaluation/scores.json              a row a split, search and metric
    evaluation/framing.json             of the headline split: lines that frame the scores, health, likelihoods
    evaluation/confidence.json          of the headline split: from log-probability to the chance of a good caption
    evaluation/SPLIT-SEARCH.jsonl       captions with their words' probabilities, references, and scores of each picture
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

from captioner.config.decode import DecodeConfig
from captioner.datasets.base import CaptionDataset, Judge
from captioner.decoding.decode import decode
from captioner.decoding.likelihood import caption_log_probs
from captioner.evaluation.assess import Line, frame
from captioner.evaluation.confidence import ACCEPTABLE_CIDER, calibrate
from captioner.metrics.base import CaptionPairs, Statistics
from captioner.metrics.bootstrap import bootstrap, interval
from captioner.metrics.coco_java import Meteor, Spice
from captioner.metrics.evaluate import score_with_intervals
from captioner.metrics.framing import most_typical
from captioner.metrics.health import examine
from captioner.metrics.likelihood import perplexity, retrieval
from captioner.metrics.table import format_table
from captioner.metrics.tutorial import tutorial_bleu
from captioner.pipeline.exported import AT_ONCE, Exported, batches
from captioner.pipeline.workspace import Workspace, read_lines, write_json, write_text
from captioner.runtime.neighbours import directions
from captioner.text.vocabulary import Vocabulary
from captioner.types import Candidate, Score

SCORES = "scores.json"
FRAMING = "framing.json"
CONFIDENCE = "confidence.json"
GREEDY = "greedy"
NEAREST = "nearest"
HALF_TRUE = 50.0
"""Captions judged by the data set have 100 or 0."""
RETRIEVAL_POOL = 100
"""Pictures among which a caption is looked for, and captions among which a picture's: all pairs have to be scored."""
_TRAINING_AT_ONCE = 1024


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
    """Write predictions a split and search, all scores, and what frames those of the headline split."""
    model = Exported.open(workspace, threads)
    shutil.rmtree(workspace.evaluation, ignore_errors=True)  # captions of other searches than the present ones
    rows: list[dict[str, Any]] = []
    headline = ""
    for split in scored_splits(dataset):
        pictures = list(read_lines(workspace.pictures(split)))
        if not pictures:
            continue
        references = {picture["image_id"]: picture["captions"] for picture in pictures}
        words = CaptionPairs.from_texts(dict.fromkeys(references, ""), references)  # the references are cut once
        columns: dict[str, Sequence[Score]] = {}
        for search, decoding in search_names(config).items():
            found = _caption(model, pictures, decoding, f"{split}, {search}")
            captions = [model.vocabulary.decode(candidate.tokens) for candidate in found]
            predictions = dict(zip(references, captions, strict=True))
            pairs = words.with_predictions(words.cut(captions))
            scores = (*_truth(predictions, dataset.judge), *score_with_intervals(pairs))
            _write_predictions(workspace, model.vocabulary, split, search, pictures, found, scores)
            columns[search] = scores
            rows += [{"split": split, "search": search, **score_row(score)} for score in scores]
        if not headline:
            missing = {metric.name: reason for metric in (Meteor(), Spice()) if (reason := metric.unavailable())}
            slow = score_with_intervals(pairs, [each for each in (Meteor(), Spice()) if each.name not in missing])
            columns[search] = (*scores, *slow)
            rows += [{"split": split, "search": search, **score_row(score)} for score in slow]
            headline = f"{split}, {search}: " + ", ".join(_short(score) for score in scores if _is_headline(score))
            _write_confidence(workspace, split, search, found, scores)
            training = words.cut(
                caption for line in read_lines(workspace.pictures("train")) for caption in line["captions"]
            )
            framing = [*frame(pairs, training), _nearest(model, pictures, pairs, workspace)]
            columns |= {line.label: line.scores for line in framing if line.scores}
            health = examine(pairs, training)
            likelihoods = _likelihoods(model, pictures)
            tutorial = tutorial_bleu(predictions, references)
            _write_framing(workspace, framing, health, likelihoods, tutorial, missing)
            _say(f"{split}\n{format_table(columns)}\n" + "\n".join(f"{line.label}: {line.note}" for line in framing))
            _say("\n".join(f"{name} is missing: {reason}" for name, reason in missing.items()))
            _say("\n".join(f"{score.name} {score.value:.1f}  {score.signature}" for score in likelihoods))
            _say("\n".join(f"{'! ' if each.is_warning else '- '}{each.text}" for each in health.findings()))
        else:
            _say(f"{split}\n{format_table(columns)}")
    write_json(workspace.evaluation / SCORES, rows)
    return headline


def score_row(score: Score) -> dict[str, Any]:
    """A score as plain values, without those of the single pictures: they stand beside the captions."""
    values = asdict(score)
    del values["per_image"]
    return values


def score_of(row: Mapping[str, Any]) -> Score:
    """The mirror image of `score_row`."""
    interval_ = row["interval"]
    return Score(row["name"], row["value"], (), row["signature"], tuple(interval_) if interval_ else None)


def predictions_path(split: str, search: str) -> str:
    """The name of the file with the captions of a split."""
    return f"{split}-{search.replace(' ', '')}.jsonl"


def _caption(
    model: Exported, pictures: Sequence[Mapping[str, Any]], decoding: DecodeConfig, title: str
) -> list[Candidate]:
    found: list[Candidate] = []
    for rows in tqdm(
        list(batches(pictures)), desc=f"  {title}", unit=" batches", leave=False, disable=not sys.stderr.isatty()
    ):
        found += [best[0] for best in decode(model.steps, model.see(rows), decoding, model.vocabulary.special)]
    return found


def _truth(predictions: Mapping[str, str], judge: Judge | None) -> tuple[Score, ...]:
    """The share of captions that are true of their picture, where the data set can tell."""
    if judge is None:
        return ()
    verdicts = tuple(100.0 * judge(image_id, caption) for image_id, caption in predictions.items())
    statistics = Statistics.mean_of(verdicts)
    return (
        Score(
            "True",
            statistics.score,
            verdicts,
            "captions true of the picture, judged by the data set",
            interval(bootstrap([statistics])[0]),
        ),
    )


def _nearest(model: Exported, pictures: Sequence[Mapping[str, Any]], pairs: CaptionPairs, workspace: Workspace) -> Line:
    """The caption of the training picture that is nearest in feature space, by cosine (Devlin et al. 2015)."""
    wanted = np.concatenate([directions(model.see(rows)) for rows in batches(pictures)])  # (pictures, channels)
    training = list(read_lines(workspace.pictures("train")))
    best = np.full(len(wanted), -np.inf)
    place = np.zeros(len(wanted), np.int64)
    bar = tqdm(
        list(batches(training, _TRAINING_AT_ONCE)), desc="  nearest", leave=False, disable=not sys.stderr.isatty()
    )
    for number, rows in enumerate(bar):
        seen = [directions(model.see(part)) for part in np.array_split(rows, max(1, len(rows) // AT_ONCE))]
        likeness = wanted @ np.concatenate(seen).T  # (pictures, training pictures)
        closest = likeness.argmax(axis=1)
        likeness = likeness[np.arange(len(wanted)), closest]
        place = np.where(likeness > best, number * _TRAINING_AT_ONCE + closest, place)
        best = np.maximum(best, likeness)
    captions = []
    for each in place:
        own = pairs.cut(training[each]["captions"])
        captions.append(own[most_typical(own)])
    return Line(
        NEAREST,
        "of the training picture whose feature is nearest (cosine), the caption most like its others",
        score_with_intervals(pairs.with_predictions(captions)),
    )


def _likelihoods(model: Exported, pictures: Sequence[Mapping[str, Any]]) -> tuple[Score, ...]:
    """Perplexity of all references, and retrieval among the first pictures with one reference each."""
    special = model.vocabulary.special
    log_probs, tokens, counts = [], [], []
    for begin in range(0, len(pictures), AT_ONCE):
        part = pictures[begin : begin + AT_ONCE]
        seen = model.see(np.array([picture["row"] for picture in part], np.int64))
        owners = np.repeat(np.arange(len(part)), [len(picture["captions"]) for picture in part])
        captions = [model.vocabulary.encode(caption) for picture in part for caption in picture["captions"]]
        found = caption_log_probs(model.steps, seen, captions, owners, special)
        log_probs += np.bincount(owners, found, len(part)).tolist()
        tokens += np.bincount(owners, [len(caption) + 1 for caption in captions], len(part)).astype(int).tolist()
        counts += [len(picture["captions"]) for picture in part]
    pool = pictures[:RETRIEVAL_POOL]
    seen = np.concatenate([model.see(rows) for rows in batches(pool)])
    captions = [model.vocabulary.encode(picture["captions"][0]) for picture in pool]
    rows = np.repeat(np.arange(len(pool)), len(pool))
    pairs = caption_log_probs(model.steps, seen, captions * len(pool), rows, special)
    return (perplexity(log_probs, tokens, captions=counts), *retrieval(pairs.reshape(len(pool), len(pool))))


def _is_headline(score: Score) -> bool:
    return score.name in ("True", "CIDEr", "BLEU-4")


def _short(score: Score) -> str:
    return f"{score.name} {score.value:.1f}"


def _write_framing(
    workspace: Workspace,
    framing: Sequence[Line],
    health: Any,
    likelihoods: Sequence[Score],
    tutorial: Sequence[Score],
    missing: Mapping[str, str],
) -> None:
    lines = [{"label": line.label, "note": line.note, "scores": list(map(score_row, line.scores))} for line in framing]
    write_json(
        workspace.evaluation / FRAMING,
        {
            "lines": lines,
            "health": {**asdict(health), "findings": [asdict(finding) for finding in health.findings()]},
            "further": list(map(score_row, likelihoods)),
            "tutorial": list(map(score_row, tutorial)),
            "missing": dict(missing),
        },
    )


def _write_confidence(
    workspace: Workspace, split: str, search: str, found: Sequence[Candidate], scores: Sequence[Score]
) -> None:
    # Whether a caption is true is the better question, where the data set can tell.
    by_name = {score.name: score for score in scores}
    measure, acceptable = ("True", HALF_TRUE) if "True" in by_name else ("CIDEr", ACCEPTABLE_CIDER)
    calibration = calibrate(
        [each.log_prob for each in found],
        [len(each.token_log_probs) for each in found],
        by_name[measure].per_image,
        acceptable,
    )
    facts = {"split": split, "search": search, "measure": measure, **calibration.to_json()}
    write_json(workspace.evaluation / CONFIDENCE, facts)


def _write_predictions(
    workspace: Workspace,
    vocabulary: Vocabulary,
    split: str,
    search: str,
    pictures: Sequence[Mapping[str, Any]],
    found: Sequence[Candidate],
    scores: Sequence[Score],
) -> None:
    def line(place: int) -> str:
        candidate = found[place]
        words = zip(candidate.tokens, candidate.token_log_probs, strict=False)  # the end token has a probability too
        return json.dumps(
            {
                "image_id": pictures[place]["image_id"],
                "caption": vocabulary.decode(candidate.tokens),
                "log_prob": round(candidate.log_prob, 6),
                "words": [[vocabulary.decode([token]), round(log_prob, 4)] for token, log_prob in words],
                "references": pictures[place]["captions"],
                "scores": {score.name: round(score.per_image[place], 4) for score in scores},
            },
            ensure_ascii=False,
        )

    write_text(workspace.evaluation / predictions_path(split, search), map(line, range(len(found))))


def _say(text: str) -> None:
    print("\n".join(f"    {line}" for line in text.splitlines()), file=sys.stderr, flush=True)  # noqa: T201
