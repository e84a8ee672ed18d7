"""Stage `report`: scores and what frames them, training, and held-back pictures beside their captions, as one page.

Pictures that exist nowhere as files (drawn ones) are also left as examples, with their true captions beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from captioner.config.build import DataConfig
from captioner.datasets.base import CaptionDataset
from captioner.errors import DataError
from captioner.images import FileSource
from captioner.pipeline.evaluate import CONFIDENCE, FRAMING, SCORES, predictions_path, score_of
from captioner.pipeline.features import Features
from captioner.pipeline.prepare import READ_BY, open_data
from captioner.pipeline.train import RECORD
from captioner.pipeline.workspace import Workspace, read_json, read_lines, write_text
from captioner.report.page import Finding, Line, Report, Shown, page
from captioner.types import Record, Word

PICTURES = 200
"""At most this many in the gallery: a quarter the worst, a quarter the best, the rest drawn at random."""
EXAMPLES = 8
PAGE = "index.html"


def remake_report(out: Path) -> Path:
    """Write the report of a finished build once more, from what the build left.

    Raises:
        DataError: the folder is not that of a finished build, or its data set is not where it was.
    """
    workspace = Workspace(out, out)
    left = workspace.evaluation
    needed = (left / SCORES, left / FRAMING, workspace.training / RECORD, workspace.prepared, workspace.features)
    missing = [path for path in needed if not path.is_file()]
    if missing:
        raise DataError(
            f"{out} is not the folder of a finished build ({missing[0].relative_to(out)} is missing); build it, or "
            "name another, such as runs/scenes"
        )
    try:
        prepared = read_json(workspace.prepared)
        make_report(open_data(DataConfig(**{name: prepared[name] for name in READ_BY})), workspace)
    except (ValueError, KeyError, IndexError, TypeError, FileNotFoundError) as error:
        raise DataError(
            f"what the build left in {out} is incomplete or damaged ({type(error).__name__}: {error}); run the build "
            "once more"
        ) from None
    return workspace.report / PAGE


def make_report(dataset: CaptionDataset, workspace: Workspace) -> str:
    """Write `report/index.html`, and `examples/` for data without picture files."""
    rows = read_json(workspace.evaluation / SCORES)
    split = rows[0]["split"]
    searches = list(dict.fromkeys(row["search"] for row in rows if row["split"] == split))
    framing = read_json(workspace.evaluation / FRAMING)
    predictions = list(read_lines(workspace.evaluation / predictions_path(split, searches[-1])))
    confidence = workspace.evaluation / CONFIDENCE
    models = _models(rows, split)
    chosen = {predictions[place]["image_id"]: predictions[place] for place in gallery(predictions)}
    text = page(
        Report(
            title=f"captioner: {dataset.name} ({workspace.out.name})",
            split=split,
            search=searches[-1],
            picture_count=len(predictions),
            headline=models[-1].scores["CIDEr"],
            lines=[*models, *_framing(framing), *_models(rows, split, others=True)],
            further=list(map(score_of, framing["further"])),
            tutorial=list(map(score_of, framing["tutorial"])),
            missing=framing.get("missing", {}),  # builds of earlier versions did not ask for them
            training=read_json(workspace.training / RECORD),
            findings=[Finding(**finding) for finding in framing["health"]["findings"]],
            left_out=Features.load(workspace.features).left_out,
            shown=[
                _shown(record, chosen[record.image_id])
                for record in dataset.records(split)
                if record.image_id in chosen
            ],
            confidence=read_json(confidence) if confidence.is_file() else None,
            gallery_note=(
                f"{len(chosen):,} of {len(predictions):,}: the {PICTURES // 4} worst and the {PICTURES // 4} best by "
                "CIDEr, the others drawn at random."
                if len(chosen) < len(predictions)
                else ""
            ),
        )
    )
    write_text(workspace.report / PAGE, [text])
    _write_examples(list(islice(dataset.records(split), EXAMPLES)), workspace)
    return str(workspace.report / PAGE)


def gallery(predictions: Sequence[Mapping[str, Any]], most: int = PICTURES) -> list[int]:
    """The places of the pictures to show: all, or the worst, the best, and others at random, the same every time."""
    if len(predictions) <= most:
        return list(range(len(predictions)))
    by_score = np.argsort([line["scores"]["CIDEr"] for line in predictions], kind="stable")
    extreme = most // 4
    others = np.random.default_rng(1).choice(by_score[extreme:-extreme], most - 2 * extreme, replace=False)
    return sorted(np.concatenate([by_score[:extreme], by_score[-extreme:], others]).tolist())


def _models(rows: Sequence[Mapping[str, Any]], headline: str, *, others: bool = False) -> list[Line]:
    """The lines of the captioner: on the headline split, or on the other ones."""
    kept = [row for row in rows if (row["split"] != headline) == others]
    labels = dict.fromkeys((row["split"], row["search"]) for row in kept)
    return [
        Line(
            f"model, {search}" if split == headline else f"model on {split}, {search}",
            {row["name"]: score_of(row) for row in kept if (row["split"], row["search"]) == (split, search)},
            is_model=True,
        )
        for split, search in labels
    ]


def _framing(framing: Mapping[str, Any]) -> list[Line]:
    return [
        Line(line["label"], {row["name"]: score_of(row) for row in line["scores"]}, line["note"])
        for line in framing["lines"]
    ]


def _shown(record: Record, prediction: Mapping[str, Any]) -> Shown:
    truth = prediction["scores"].get("True")
    return Shown(
        name=PurePath(record.source.name).name,  # the page may be sent to others: no folders
        picture=record.source.read_bytes(),
        caption=prediction["caption"],
        log_prob=prediction["log_prob"],
        references=record.captions,
        words=[Word(text, log_prob) for text, log_prob in prediction["words"]],
        cider=prediction["scores"]["CIDEr"],
        is_true=None if truth is None else bool(truth),
    )


def _write_examples(records: list[Record], workspace: Workspace) -> None:
    """Pictures as files, and their captions in the layout of Flickr8k's token file."""
    lines: list[str] = []
    for record in records:
        if isinstance(record.source, FileSource):
            return
        # Pictures of archives have the archive's name and a slash in front of theirs; no two names become one.
        name = record.image_id.replace("%", "%25").replace("/", "%2F") + ".png"
        workspace.examples.mkdir(parents=True, exist_ok=True)
        (workspace.examples / name).write_bytes(record.source.read_bytes())
        lines += [f"{name}#{number}\t{caption}" for number, caption in enumerate(record.captions)]
    write_text(workspace.examples / "captions.txt", lines)
