"""The verb `alt`: alternative texts for the images of web pages and Markdown files that have none.

    captioner alt PATH... [--write | --check] [--max-length 125] [--root FOLDER] [--model DIR] [--json]

Prints what it would insert as a unified diff; `--write` inserts it. What people wrote is never touched. The diff goes
to stdout, all else to stderr; torch is never needed, and without images to caption no captioner is loaded.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from captioner.cli.ending import in_one_line
from captioner.config.checks import MAX_THREADS, check_count, require
from captioner.errors import CaptionerError, DataError, printable

if TYPE_CHECKING:
    from captioner.alttext.find import Account, Candidate, Page
    from captioner.alttext.pictures import Picture
    from captioner.alttext.propose import Proposed, Rules
    from captioner.runtime.captioner import Captioner
    from captioner.types import Caption

_SHORTEST, _LONGEST = 10, 1000
"""Least and greatest `--max-length`."""


def main(argv: Sequence[str] | None = None, *, program: str = "captioner alt") -> int:
    """Propose texts; returns 0 when nothing went wrong, 1 when a picture or file did, 2 for wrong usage.

    With `--check` also 1 when there is an image to propose a text for.
    """
    arguments = _parser(program).parse_intermixed_args(argv)  # PATH may come behind options
    return in_one_line(lambda: _alt(arguments, program), program, doing="captioning")


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Propose alternative texts for images in HTML and Markdown that have none, as a unified diff.",
        epilog="Exit status: 0 nothing went wrong, 1 a picture or file did (or --check found one), 2 wrong usage.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="folders, or files; .html .htm .xhtml .xht .md .markdown .mdx"
    )
    doing = parser.add_mutually_exclusive_group()
    doing.add_argument("--write", action="store_true", help="write the texts into the files too")
    doing.add_argument("--check", action="store_true", help="list images without a text, caption none; for CI")
    parser.add_argument("--max-length", type=int, default=125, metavar="N", help="characters of a text; default: 125")
    parser.add_argument("--model", metavar="DIR", help="bundle; default: newest in runs/, else the one shipped")
    parser.add_argument("--beam", type=int, metavar="N", help="captions searched side by side; 1 is greedy")
    parser.add_argument("--min-confidence", type=float, default=0.0, metavar="P", help="propose nothing less sure")
    parser.add_argument(
        "--include", action="append", default=[], metavar="GLOB", help="files to read in place of those above"
    )
    parser.add_argument("--exclude", action="append", default=[], metavar="GLOB", help="files and folders to leave out")
    parser.add_argument(
        "--root",
        default="",
        metavar="FOLDER",
        help="what /img/a.png is in; default: the folder named, its static, public",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads (default: all cores)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line for each text, not a diff")
    return parser


def _alt(arguments: argparse.Namespace, program: str) -> int:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names that are not UTF-8 shall not stop anything
            stream.reconfigure(errors="backslashreplace")
    from captioner.alttext.find import Account, Where, pages
    from captioner.alttext.propose import Rules
    from captioner.progress import Progress

    where = Where(tuple(arguments.paths), tuple(arguments.include), tuple(arguments.exclude), arguments.root)
    _check(arguments)
    where.check()
    account = Account(lambda line: print(line, file=sys.stderr))
    found: list[Page] = []
    with Progress("reading pages", 0, " with images") as progress:
        for page in pages(where, account):
            found.append(page)
            progress.advance()
    if arguments.check:
        _list(found, as_json=arguments.json)
    elif found or arguments.model or arguments.beam is not None:
        try:
            model = _load(arguments)
        except CaptionerError as error:
            print(f"{program}: {error.message}", file=sys.stderr)
            return 2
        _propose(found, model, arguments, Rules(arguments.max_length, arguments.min_confidence), account)
    missing = sum(len(page.candidates) for page in found) if arguments.check else 0
    print(_summary(account, missing, arguments), file=sys.stderr)
    return 1 if account.failed or missing else 0


def _check(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for options that are out of range."""
    is_length = _SHORTEST <= arguments.max_length <= _LONGEST
    require(is_length, "max_length", arguments.max_length, f"{_SHORTEST} to {_LONGEST}")
    require(0 <= arguments.min_confidence <= 1, "min_confidence", arguments.min_confidence, "0 to 1")
    if arguments.threads is not None:
        check_count("threads", arguments.threads, MAX_THREADS)


def _load(arguments: argparse.Namespace) -> Captioner:
    """The captioner. Raises CaptionerError when there is none, or it cannot do what is asked."""
    from captioner.bundle import PRETRAINED
    from captioner.errors import ConfigError
    from captioner.runtime.captioner import default_bundle, load

    folder = arguments.model or default_bundle()
    model = load(folder, threads=1)  # each picture has a thread for itself
    which = "the captioner that ships with the package" if folder == PRETRAINED else folder
    print(printable(f"using {which}"), file=sys.stderr)
    if arguments.beam is not None:
        model.check_options(beam=arguments.beam)
    if arguments.min_confidence > 0 and model.confidence is None:
        raise ConfigError("--min-confidence: this captioner was not calibrated; it is when it is built again")
    return model


def _propose(
    found: Sequence[Page], model: Captioner, arguments: argparse.Namespace, rules: Rules, account: Account
) -> None:
    """Print the texts, or write them, page by page."""
    from captioner.alttext.propose import propose
    from captioner.progress import Progress
    from captioner.runtime.session import available_threads

    workers = arguments.threads or min(available_threads(), MAX_THREADS)
    options = {} if arguments.beam is None else {"beam": arguments.beam}
    count = len({candidate.picture for page in found for candidate in page.candidates})
    with Progress("captioning", count, " pictures") as progress:

        def captions(pictures: Iterable[Picture]) -> Iterator[Caption | CaptionerError]:
            for result in model.iter_results(pictures, batch=1, workers=max(1, min(workers, count)), **options):
                progress.advance()
                yield result

        for proposed in propose(found, captions, rules, account):
            try:
                if arguments.write:
                    proposed.write()
            except DataError as error:
                account.fail(f"{proposed.page.path}: {error.message}")
                continue
            account.proposed += len(proposed.proposals)
            _print(proposed, as_json=arguments.json)


def _print(proposed: Proposed, *, as_json: bool) -> None:
    if as_json:
        for each in proposed.proposals:
            confidence = None if each.confidence is None else round(each.confidence, 4)
            fields = _fields(proposed.page, each.candidate) | {"alt": each.alt, "confidence": confidence}
            print(json.dumps(fields), flush=True)
    elif sys.stdout.isatty() or not hasattr(sys.stdout, "buffer"):  # shown, and nothing in a page is obeyed
        lines = proposed.shown().split("\n")
        print("\n".join(printable(line.removesuffix("\r")) for line in lines), end="", flush=True)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(proposed.diff())
        sys.stdout.buffer.flush()


def _list(found: Sequence[Page], *, as_json: bool) -> None:
    """The images without a text."""
    for page in found:
        for each in page.candidates:
            if as_json:
                print(json.dumps(_fields(page, each)))
            else:
                print(printable(f"{page.path}:{each.line}:{each.column}: no alternative text for {_short(each)}"))


def _fields(page: Page, candidate: Candidate) -> dict[str, object]:
    return {
        "file": str(page.path),
        "line": candidate.line,
        "column": candidate.column,
        "src": candidate.image.source,
    }


def _short(candidate: Candidate) -> str:
    source = candidate.image.source
    return source if len(source) <= 100 else f"{source[:99]}…"


def _summary(account: Account, missing: int, arguments: argparse.Namespace) -> str:
    """What came of it, for people."""
    from captioner.alttext.records import Text

    images, skipped = sum(account.texts.values()), sum(account.skipped.values())
    done = "written" if arguments.write else "proposed"
    came = f"{missing:,} without" if arguments.check else f"{account.proposed:,} {done}"
    had = f"{account.texts[Text.WRITTEN]:,} with a text, {account.texts[Text.DECORATIVE]:,} decorative"
    lines = [
        f"{images:,} images in {account.pages:,} files: {had}, {came}, {skipped:,} skipped, {account.failed:,} failed"
    ]
    lines += [f"  skipped: {count:,} {reason}" for reason, count in account.skipped.most_common()]
    return "\n".join(lines)
