"""Stage `report`: held-back pictures beside their captions, the scores and the course of training, as one page.

Pictures that exist nowhere as files (drawn ones) are also left as examples, with their true captions beside them.
"""

from __future__ import annotations

from itertools import islice

from captioner.config import DecodeConfig
from captioner.datasets.base import CaptionDataset
from captioner.images import FileSource
from captioner.pipeline.evaluate import SCORES, scored_splits, search_names
from captioner.pipeline.features import Features
from captioner.pipeline.train import RECORD
from captioner.pipeline.workspace import Workspace, read_json, read_lines, write_text
from captioner.types import Record

PICTURES = 24
EXAMPLES = 8


def make_report(dataset: CaptionDataset, decode: DecodeConfig, workspace: Workspace) -> str:
    """Write `report/index.html`, and `examples/` for data without picture files."""
    from captioner.report.page import Shown, page

    split = scored_splits(dataset)[0]
    search = list(search_names(decode))[-1]
    predictions = {
        line["image_id"]: line for line in read_lines(workspace.evaluation / f"{split}-{search.replace(' ', '')}.jsonl")
    }
    records = [record for record in islice(dataset.records(split), PICTURES * 2) if record.image_id in predictions]
    judge = dataset.judge
    shown = [
        Shown(
            name=record.source.name,
            picture=record.source.read_bytes(),
            caption=predictions[record.image_id]["caption"],
            log_prob=predictions[record.image_id]["log_prob"],
            references=record.captions,
            is_true=judge(record.image_id, predictions[record.image_id]["caption"]) if judge else None,
        )
        for record in records[:PICTURES]
    ]
    scores = read_json(workspace.evaluation / SCORES)
    training = read_json(workspace.training / RECORD)
    left_out = Features.load(workspace.features).left_out
    title = f"captioner: {dataset.name} ({workspace.out.name})"
    text = page(title, f"{split}, {search}", shown, scores, training, left_out)
    write_text(workspace.report / "index.html", [text])
    _write_examples(records[:EXAMPLES], workspace)
    return str(workspace.report / "index.html")


def _write_examples(records: list[Record], workspace: Workspace) -> None:
    """Pictures as files, and their captions in the layout of Flickr8k's token file."""
    lines: list[str] = []
    for record in records:
        if isinstance(record.source, FileSource):
            return
        name = f"{record.image_id}.png"
        workspace.examples.mkdir(parents=True, exist_ok=True)
        (workspace.examples / name).write_bytes(record.source.read_bytes())
        lines += [f"{name}#{number}\t{caption}" for number, caption in enumerate(record.captions)]
    write_text(workspace.examples / "captions.txt", lines)
