"""The verb `report`: one HTML page about a finished build, that opens from disk without a network.

captioner report runs/flickr8k
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from captioner.cli.ending import HOW_TO_INSTALL, in_one_line
from captioner.errors import MissingDependencyError

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
    return in_one_line(lambda: _report(arguments.run), program, doing="the report")


def _report(run: Path) -> int:
    missing = [name for name in NEEDED if not importlib.util.find_spec(name)]
    if missing:
        what = HOW_TO_INSTALL.format(what="'.[train]'")
        raise MissingDependencyError(f"reports need {', '.join(missing)}: {what}")
    from captioner.pipeline.report import remake_report

    print(remake_report(run))
    return 0
