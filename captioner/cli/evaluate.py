"""The verb `evaluate`: captions that any system wrote, scored against what people wrote. No model, no torch.

    captioner evaluate --predictions captions.jsonl --references FOLDER [--split dev] [--json]

The table goes to stdout, what is wrong with the input and progress to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from captioner.cli.ending import in_one_line
from captioner.errors import CaptionerError, ConfigError, printable

_NAMED = 5


def main(argv: Sequence[str] | None = None, *, program: str = "captioner evaluate") -> int:
    """Score a file of captions; returns 0 when it is scored, 1 when it is refused, 2 for wrong usage."""
    arguments = _parser(program).parse_args(argv)
    return in_one_line(lambda: _evaluate(arguments, program), program, doing="scoring")


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Score captions against references: coco-caption protocol, with intervals and framing lines.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--predictions",
        type=Path,
        required=True,
        metavar="FILE",
        help="JSON lines with path or image_id, and caption; or a COCO results JSON",
    )
    parser.add_argument(
        "--references",
        metavar="FOLDER",
        help="folder with pictures and captions, `scenes`, or a COCO captions JSON; default: those beside the captions",
    )
    parser.add_argument("--split", metavar="NAME", help="score this part of the data set; default: every picture")
    parser.add_argument("--metrics", metavar="NAMES", help="only these, such as CIDEr,BLEU-4; default: all there are")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write all as JSON, a value for each picture too")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    return parser


def _evaluate(arguments: argparse.Namespace, program: str) -> int:
    from captioner.evaluation.assess import ALL_METRICS, assess
    from captioner.evaluation.predictions import read_predictions
    from captioner.evaluation.references import match, read_references, references_beside

    metrics = _metrics(arguments.metrics, tuple(ALL_METRICS))
    if arguments.save:
        _require_writable(arguments.save)
    predictions = read_predictions(arguments.predictions)
    if arguments.references is None and arguments.split:
        raise ConfigError("--split is a part of a data set; name that with --references")
    references = (
        read_references(arguments.references, arguments.split)
        if arguments.references is not None
        else references_beside(predictions)
    )
    matched = match(predictions, references)
    if matched.without_words:
        names = ", ".join(map(printable, matched.without_words[:_NAMED]))
        more = f" and {len(matched.without_words) - _NAMED:,} more" if len(matched.without_words) > _NAMED else ""
        print(f"{program}: no words in the caption of {names}{more}; scored as they are", file=sys.stderr)
    slow = [name for name in ("METEOR", "SPICE") if name in metrics and ALL_METRICS[name].unavailable() is None]
    if slow and sys.stderr.isatty():
        print(f"scoring {len(matched.predictions):,} captions; {' and '.join(slow)} in Java …", file=sys.stderr)
    found = assess(matched.predictions, matched.references, training=references.training, metrics=metrics)
    if arguments.save:
        text = json.dumps(found.to_json(list(matched.predictions)), indent=1, ensure_ascii=False)
        _save(arguments.save, text)
    if arguments.json:
        print(json.dumps(found.to_json()))  # ASCII: JSON whatever the encoding of stdout
        return 0
    print(f"{found.pictures:,} pictures, references from {printable(references.name)}")
    print(found.table())
    print("\nhealth of the captions")
    for finding in found.health.findings():
        print(f"  {'! ' if finding.is_warning else '- '}{printable(finding.text)}")
    print("\nfor comparison with tutorials only, never with the scores above")
    print("\n".join(f"  {score.name} {score.value:.1f}  {score.signature}" for score in found.tutorial))
    return 0


def _metrics(asked: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """The names asked for, however they are written; all when None."""
    if asked is None:
        return known
    by_lower = {name.lower(): name for name in known}
    names = [name.strip() for name in asked.split(",") if name.strip()]
    unknown = [name for name in names if name.lower() not in by_lower]
    if unknown or not names:
        raise ConfigError(f"there is no metric {', '.join(unknown) or asked!r}; choose from {', '.join(known)}")
    return tuple(by_lower[name.lower()] for name in names)


def _require_writable(path: Path) -> None:
    """Before anything is computed. Raises CaptionerError when the file could not be written."""
    folder = path.absolute().parent
    if path.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        why = "it is a folder" if path.is_dir() else "no such folder" if not folder.is_dir() else "permission denied"
        raise CaptionerError(f"cannot write {path}: {why}", code="output")


def _save(path: Path, text: str) -> None:
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise CaptionerError(f"cannot write {path}: {error.strerror}", code="output") from None
