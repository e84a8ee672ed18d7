"""The verb `models`: which captioners are there, and how good they are.

captioner models [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from captioner.cli.ending import in_one_line
from captioner.errors import printable


def main(argv: Sequence[str] | None = None, *, program: str = "captioner models") -> int:
    """List the captioners; returns 0, 1 when stdout cannot be written, 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="List the captioners that are here: those in runs/, and the one that ships with the package. "
        "The first one is taken when no --model is given.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    arguments = parser.parse_args(argv)
    return in_one_line(lambda: _list(as_json=arguments.json), program, doing="listing captioners")


def _list(*, as_json: bool) -> int:
    found = list(_captioners())
    for each in found:
        if as_json:
            print(json.dumps(each))
            continue
        lines = (
            f"{each['folder']}{' (ships with the package)' if each['pretrained'] else ''}",
            f"    {each['decoder']} on {each['encoder']}, {each['megabytes']:.1f} MB, saved {each['created']}",
            f"    trained on {each['data']}; {each['score'] or 'no scores'}",
        )
        print("\n".join(map(printable, lines)))
    if not found:
        print("no captioners here: train one with `captioner build --data FOLDER`", file=sys.stderr)
    return 0


def _captioners() -> Iterator[dict[str, Any]]:
    from captioner.bundle import PRETRAINED, RUNS, load_bundle, pretrained_bundle, trained_bundles
    from captioner.errors import BundleError

    shipped = pretrained_bundle()
    for folder in [*trained_bundles(RUNS), *([shipped] if shipped else [])]:
        try:
            manifest = load_bundle(folder).manifest
        except BundleError:
            continue  # damaged since it was listed; `captioner caption --model` says how
        yield {
            "folder": str(folder),
            "pretrained": folder == PRETRAINED,
            "created": manifest.created[:10],
            "decoder": manifest.decoder.get("decoder", "unknown"),
            "encoder": manifest.encoder.get("name", "unknown"),
            "data": manifest.training.get("data", "unknown"),
            "score": _score(manifest.scores),
            "megabytes": round(sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6, 1),
        }


def _score(scores: Sequence[Any]) -> str | None:
    """CIDEr of the last search on the first split, such as `CIDEr 46.8 on dev, beam 3`."""
    of_first = [row for row in scores if row["name"] == "CIDEr" and row["split"] == scores[0]["split"]]
    return (
        f"CIDEr {of_first[-1]['value']:.1f} on {of_first[-1]['split']}, {of_first[-1]['search']}" if of_first else None
    )
