"""The verb `init`: writes a recipe for your own data, commented, which a build runs as it stands.

    captioner init PATH [--out FILE.yaml] [--from BUNDLE] [--encoder NAME]

Says on stderr what to type next; the name of the file goes to stdout. Needs no torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from captioner.cli.doctor import add_layout_options, examined
from captioner.cli.ending import in_one_line
from captioner.errors import CaptionerError, ConfigError


def main(argv: Sequence[str] | None = None, *, program: str = "captioner init") -> int:
    """Write a recipe; returns 0 when it is written, 1 when a build of the data would stop, 2 for wrong usage."""
    arguments = _parser(program).parse_args(argv)
    return in_one_line(lambda: _init(arguments), program, doing="init")


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Look data over, and write a commented recipe for it, which `build_and_run.py --config` runs.",
        allow_abbrev=False,
    )
    parser.add_argument("data", metavar="PATH", help="folder or file with pictures and captions")
    add_layout_options(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="the recipe; default: NAME.yaml, as the data")
    parser.add_argument("--from", dest="start", default="", metavar="BUNDLE", help="finished captioner to go on from")
    parser.add_argument(
        "--encoder", default="", metavar="NAME", help="encoder of the recipe; default: builtin, or that of --from"
    )
    parser.add_argument("--force", action="store_true", help="write over a file that is there")
    return parser


def _init(arguments: argparse.Namespace) -> int:
    from captioner.datasets.examine import Severity, examine
    from captioner.datasets.layout import Columns
    from captioner.recipe import recipe_for

    if arguments.start and arguments.encoder:
        raise ConfigError("--from brings its own encoder; leave out --encoder, or --from")
    path = Path(arguments.data)
    out = arguments.out or Path(f"{path.resolve().stem}.yaml")
    if out.exists() and not arguments.force:
        raise ConfigError(f"{out} is there already; choose another name with --out, or write over it with --force")
    collection = examined(arguments, quick=True)
    collection.require_pictures()
    found = examine(collection)
    columns = Columns(arguments.image_column, arguments.caption_column)
    text = recipe_for(found, path.as_posix(), columns, start=arguments.start, encoder=arguments.encoder)
    try:
        out.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CaptionerError(f"cannot write {out}: {error.strerror}", code="output") from None
    if found.worst is Severity.ERROR:
        first = found.findings[0]
        print(f"a build would stop: {first.count:,} × {first.text}; {first.remedy}", file=sys.stderr)
    elif found.worst is Severity.WARNING:
        print(f"some of the data has to be mended: captioner doctor {arguments.data}", file=sys.stderr)
    if found.worst is not Severity.ERROR:
        print(f"train: python build_and_run.py --config {out}", file=sys.stderr)
    print(out)
    return 1 if found.worst is Severity.ERROR else 0
