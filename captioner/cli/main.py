"""The command `captioner`: finds the verb and imports that verb alone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from captioner.cli.ending import in_one_line, leave
from captioner.version import __version__

VERBS = {
    "caption": ("captioner.cli.caption", "caption pictures with a finished captioner"),
    "batch": ("captioner.cli.batch", "caption whole folders, as a job that goes on where it was stopped"),
    "alt": ("captioner.cli.alt", "propose alternative texts for images in HTML and Markdown that have none"),
    "serve": ("captioner.cli.serve", "serve a captioner: REST and a page, on this machine"),
    "models": ("captioner.cli.models", "list the captioners that are here, and how good they are"),
    "evaluate": ("captioner.cli.evaluate", "score captions of any system against references, with intervals"),
    "compare": ("captioner.cli.compare", "compare two files of captions, and say whether the difference is real"),
    "report": ("captioner.cli.report", "write the HTML report of a finished build once more"),
    "doctor": ("captioner.cli.doctor", "say how pictures and captions are read, and what is wrong with them"),
    "init": ("captioner.cli.init", "write a recipe for your own pictures and captions, which a build runs"),
    "build": ("captioner.cli.build", "train a captioner: data, features, training, evaluation, bundle, report"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `captioner VERB …`; returns the exit status: 0 all done, 1 some inputs failed, 2 wrong usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    first = arguments[0] if arguments else "--help"
    if first in ("-h", "--help", "--version"):
        return in_one_line(lambda: _tell(first), "captioner", doing="help")
    if first not in VERBS:
        print(f"captioner: there is no verb {first!r}; the verbs are {', '.join(VERBS)}", file=sys.stderr)
        return 2
    status: int = importlib.import_module(VERBS[first][0]).main(arguments[1:], program=f"captioner {first}")
    return status


def _tell(what: str) -> int:
    print(f"captioner {__version__}" if what == "--version" else _help())
    return 0


def console() -> NoReturn:
    """The command itself: `main`, and the end of the process."""
    status = main()
    if sys.argv[1:2] == ["caption"]:
        leave(status)
    sys.exit(status)


def _help() -> str:
    verbs = "\n".join(f"  {verb:<10} {what}" for verb, (_, what) in VERBS.items())
    return (
        f"usage: captioner VERB …\n\n{verbs}\n\n`captioner VERB --help` tells more; `captioner --version` the version."
    )
