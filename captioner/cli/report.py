"""The verb `report`: one HTML page about a finished build, that opens from disk without a network.

captioner report runs/flickr8k
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from captioner.cli.caption import HOW_TO_INSTALL
from captioner.errors import CaptionerError

NEEDED = ("jinja2", "filelock", "tqdm")


def main(argv: Sequence[str] | None = None, *, program: str = "captioner report") -> int:
    """Write the page and print where it is; returns 0, 1 when it cannot be written, 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Write the report of a finished build once more: scores, curves, health, held-back pictures.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the build, such as runs/scenes")
    arguments = parser.parse_args(argv)
    missing = [name for name in NEEDED if not importlib.util.find_spec(name)]
    if missing:
        needs = f"{program}: reports need {', '.join(missing)}: "
        print(needs + HOW_TO_INSTALL.format(what="'.[train]'"), file=sys.stderr)
        return 2
    from captioner.pipeline.report import remake_report

    try:
        print(remake_report(arguments.run))
    except CaptionerError as error:
        print(f"{program}: {error.message}", file=sys.stderr)
        return 2 if error.code == "config" else 1
    except KeyboardInterrupt:
        print(f"{program}: stopped", file=sys.stderr)
        return 130
    return 0
