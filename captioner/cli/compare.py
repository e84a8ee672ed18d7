"""The verb `compare`: is one file of captions better than another, or was it luck? No model, no torch.

    captioner compare A.jsonl B.jsonl [--references FOLDER] [--json]

A paired bootstrap over the pictures: both systems are scored on the same resampled sets.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from captioner.cli.ending import in_one_line
from captioner.errors import MetricError, printable

if TYPE_CHECKING:
    from captioner.evaluation.predictions import Prediction
    from captioner.metrics.bootstrap import Difference


def main(argv: Sequence[str] | None = None, *, program: str = "captioner compare") -> int:
    """Compare two files; returns 0 when they were compared, 1 when one is refused, 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Compare two files of captions of the same pictures, and say whether the difference is real.",
        allow_abbrev=False,
    )
    parser.add_argument("first", type=Path, metavar="A", help="JSON lines, or a COCO results JSON")
    parser.add_argument("second", type=Path, metavar="B", help="the same pictures captioned by another system")
    parser.add_argument("--references", metavar="FOLDER", help="as for `captioner evaluate`; default: those in A")
    parser.add_argument("--split", metavar="NAME", help="the part of the data set that is captioned")
    parser.add_argument("--samples", type=int, default=2000, metavar="N", help="bootstrap samples (default: 2000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")
    arguments = parser.parse_args(argv)
    if arguments.samples < 100:
        parser.error("--samples must be at least 100; an interval needs them")
    return in_one_line(lambda: _compare(arguments), program, doing="comparing")


def _compare(arguments: argparse.Namespace) -> int:
    from captioner.evaluation.predictions import read_predictions
    from captioner.evaluation.references import match, read_references, references_beside
    from captioner.metrics.base import CaptionPairs
    from captioner.metrics.bootstrap import compare
    from captioner.metrics.evaluate import METRICS

    first, second = read_predictions(arguments.first), read_predictions(arguments.second)
    references = (
        read_references(arguments.references, arguments.split) if arguments.references else references_beside(first)
    )
    try:
        one, other = match(first, references), match(second, references)
    except MetricError as error:
        raise MetricError(f"{error.message} ({arguments.first.name} against {arguments.second.name})") from None
    if not arguments.references:
        _refuse_contradiction(first, second)
    for file, matched in ((arguments.first, one), (arguments.second, other)):
        if matched.without_words:
            print(
                f"{printable(file.name)}: {len(matched.without_words):,} captions have no words; scored as they are",
                file=sys.stderr,
            )
    ours = CaptionPairs.from_texts(one.predictions, one.references)
    theirs = ours.with_predictions(ours.cut(other.predictions[image_id] for image_id in one.predictions))
    found = compare(
        [metric.statistics(ours) for metric in METRICS.values()],
        [metric.statistics(theirs) for metric in METRICS.values()],
        samples=arguments.samples,
    )
    differences = dict(zip(METRICS, found, strict=True))
    if arguments.json:
        print(json.dumps(_as_json(arguments, len(ours), differences)))
        return 0
    width = max(map(len, METRICS))
    print(f"A: {printable(str(arguments.first))}\nB: {printable(str(arguments.second))}")
    print(f"{len(ours):,} pictures, {arguments.samples:,} paired bootstrap samples\n")
    print(f"{'':<{width}}      A      B   B - A  95 % interval        p")
    for name, each in differences.items():
        low, high = each.interval
        values = f"{each.first:5.1f}  {each.second:5.1f}  {each.second - each.first:+6.1f}"
        print(f"{name:<{width}}  {values}  {f'{low:+.1f} to {high:+.1f}':<16}  {_p(each.p_value)}")
    print(f"\n{in_words('CIDEr', differences['CIDEr'])}")
    return 0


def _refuse_contradiction(first: Sequence[Prediction], second: Sequence[Prediction]) -> None:
    """Raise MetricError when both files have references, and not the same ones."""
    known = {each.image: each.references for each in first}
    for each in second:
        if each.references and known.get(each.image, each.references) != each.references:
            raise MetricError(
                f"the references in {each.place} are others than those in A; name the right ones with --references"
            )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def in_words(name: str, difference: Difference) -> str:
    """What a difference means, in a sentence."""
    gain = difference.second - difference.first
    low, high = difference.interval
    if difference.first == difference.second and low == high == 0:
        return f"A and B have the same {name} on every picture."
    which = "B is better than A" if gain > 0 else "A is better than B"
    between = f"B less A: 95 % interval {low:+.1f} to {high:+.1f}, p {_p(difference.p_value)}"
    numbers = f"by {abs(gain):.1f} {name} ({between})"
    if difference.is_real:
        return f"{which} {numbers}: the difference is real, as far as these pictures can tell."
    return f"{which} {numbers}: no real difference; chance alone makes as much."


def _as_json(arguments: argparse.Namespace, pictures: int, differences: dict[str, Difference]) -> dict[str, object]:
    return {
        "first": str(arguments.first),
        "second": str(arguments.second),
        "pictures": pictures,
        "samples": arguments.samples,
        "verdict": in_words("CIDEr", differences["CIDEr"]),
        "differences": {
            name: {
                "first": each.first,
                "second": each.second,
                "difference": each.second - each.first,
                "interval": list(each.interval),
                "p_value": each.p_value,
                "is_real": each.is_real,
            }
            for name, each in differences.items()
        },
    }
