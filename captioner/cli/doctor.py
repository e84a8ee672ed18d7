"""The verb `doctor`: says how a data set is read, and what is wrong with it, before a minute is spent on training.

    captioner doctor PATH [--format NAME] [--image-column NAME] [--caption-column NAME] [--json]

The account goes to stdout, progress to stderr. Nothing is changed. Needs no torch.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from captioner.cli.ending import in_one_line
from captioner.config.checks import MAX_THREADS, check_count
from captioner.errors import ConfigError, DataError, printable

if TYPE_CHECKING:
    from captioner.datasets.collection import Collection
    from captioner.datasets.examine import Examination

_SHOWN = 100
"""Characters of a caption that are shown."""
_FILES = 5
"""Names of files that are shown."""
_SIGNS = {"error": "✗", "warning": "!", "note": "-"}


def main(argv: Sequence[str] | None = None, *, program: str = "captioner doctor") -> int:
    """Examine a data set; returns 0 when nothing has to be mended, 1 after warnings, 2 when a build would stop."""
    arguments = _parser(program).parse_args(argv)
    return in_one_line(lambda: _examine(arguments, program), program, doing="the examination")


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Say how pictures and captions are read, and what is wrong with them. Nothing is changed.",
        epilog="Exit status: 0 nothing has to be mended, 1 a build would leave something out, 2 a build would stop.",
        allow_abbrev=False,
    )
    parser.add_argument("data", metavar="PATH", help="folder or file with pictures and captions")
    add_layout_options(parser)
    parser.add_argument(
        "--quick", action="store_true", help="do not open the pictures: finds no corrupt ones and no copies"
    )
    parser.add_argument("--max-words", type=int, default=30, metavar="N", help="longer captions are named; default: 30")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    return parser


def add_layout_options(parser: argparse.ArgumentParser) -> None:
    """The options that say how data is read."""
    parser.add_argument("--format", default="auto", metavar="NAME", help="its layout; default: recognised by itself")
    parser.add_argument("--image-column", default="", metavar="NAME", help="column or field that names the picture")
    parser.add_argument("--caption-column", default="", metavar="NAME", help="column or field with the caption")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="threads; default: all cores")


def examined(arguments: argparse.Namespace, *, quick: bool) -> Collection:
    """The data that arguments name, as `add_layout_options` has them, and its pictures looked at unless `quick`."""
    from captioner.datasets.collection import Collection
    from captioner.datasets.layout import Columns
    from captioner.datasets.registry import find_layout
    from captioner.datasets.scenes import ScenesDataset
    from captioner.runtime.session import available_threads

    if ScenesDataset.recognises(arguments.data):
        raise ConfigError(f"{arguments.data} is drawn by the package, and healthy; name a folder or file of your own")
    if arguments.threads:
        check_count("threads", arguments.threads, MAX_THREADS)
    columns = Columns(arguments.image_column, arguments.caption_column)
    layout = find_layout(Path(arguments.data), arguments.format, columns)
    collection = Collection(layout, arguments.data, threads=arguments.threads or available_threads())
    if not quick:
        collection.look()
    return collection


def _examine(arguments: argparse.Namespace, program: str) -> int:
    from captioner.datasets.examine import Severity, examine

    check_count("max_words", arguments.max_words, 999)
    try:
        collection = examined(arguments, quick=arguments.quick)
    except DataError as error:  # a build would stop there too
        print(f"{program}: {error.message}", file=sys.stderr)
        if arguments.json:
            print(json.dumps({"error": {"code": error.code, "message": error.message}}))
        return 2
    found = examine(collection, max_words=arguments.max_words)
    print(json.dumps(found.to_json()) if arguments.json else _account(found))
    return {None: 0, Severity.NOTE: 0, Severity.WARNING: 1, Severity.ERROR: 2}[found.worst]


def _account(found: Examination) -> str:
    """For a person."""
    least, mean, most = found.captions_per_picture
    shortest, middle, longest = found.words_per_caption
    own = "its own splits" if found.own_splits else "no splits of its own; held back by content"
    sizes = ", ".join(
        f"{count:,} words" + (f" {least} times" if least > 1 else "") for least, count in found.vocabulary.items()
    )
    more = f" and {len(found.files) - _FILES:,} more" if len(found.files) > _FILES else ""
    lines = [
        f"{printable(found.data)}: {found.layout}",
        f"  how it is read  {printable(found.reading)}",
        f"  files           {', '.join(map(printable, found.files[:_FILES]))}{more}",
        f"  splits          {', '.join(f'{count:,} {split}' for split, count in found.splits.items())} ({own})",
        f"  captions        {found.captions:,}; a picture has {least} to {most}, {mean} in the mean",
        f"  words           a caption has {shortest} to {longest}, {middle} in the mean",
        f"  language        {found.language}",
        f"  vocabulary      {sizes} or more",
        "",
        "the first records",
        *(f"  {printable(name)}: {' | '.join(map(_shortened, captions))}" for name, captions in found.samples),
        "",
    ]
    if not found.findings:
        return "\n".join([*lines, "nothing to mend"])
    lines.append("what was found")
    for finding in found.findings:
        lines.append(f"  {_SIGNS[finding.severity]} {finding.count:,} × {printable(finding.text)}")
        if finding.examples:
            names = ", ".join(_shortened(example) for example in finding.examples)
            lines.append(f"      {names}{' …' if finding.count > len(finding.examples) else ''}")
        lines.append(f"      → {finding.remedy}")
    return "\n".join(lines)


def _shortened(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"
