"""The verb `batch`: whole folders, as a job that may be stopped at any time and goes on with the same command.

    captioner batch FOLDER --out captions.jsonl
    captioner batch FOLDER --to sidecar
    captioner batch FOLDER --to metadata      captioner batch FOLDER --undo
    find . -name '*.jpg' -print0 | captioner batch - --null --out captions.csv
    captioner batch FOLDER --engine ray --out captions.parquet      see `batch_cluster`

The account goes to stderr; stdout has captions with `--out -`, and names with `--dry-run`. Torch is never needed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioner.cli.account import failures_in_words, teller
from captioner.cli.batch_cluster import add_engine, refuse_engine_options, run_on_engine
from captioner.cli.ending import in_one_line
from captioner.config.checks import DEVICES, MAX_THREADS, check_device, check_threads
from captioner.errors import ConfigError, printable

if TYPE_CHECKING:
    from captioner.batch.job import Plan, Summary
    from captioner.batch.sinks.base import Sink
    from captioner.batch.sinks.registry import Output
    from captioner.batch.sources import Source

_SEARCH = (
    ("beam", "N", "captions searched side by side; 1 is greedy"),
    ("max-length", "N", "longest caption, in tokens: its words and its end"),
    ("length-penalty", "P", "above 0 favours longer captions"),
)
"""Flags that are handed to the captioner under their own names; value and help of each."""


def main(argv: Sequence[str] | None = None, *, program: str = "captioner batch") -> int:
    """Do a job; returns 0 when all is captioned, 1 when some failed or the output broke, 2 for wrong usage."""
    arguments = _parser(program).parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names that are not UTF-8 shall not stop anything
            stream.reconfigure(errors="backslashreplace")
    return in_one_line(lambda: _run(arguments, program), program, doing="captioning folders")


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Caption all pictures of folders, tables and archives; stopped, the same command goes on.",
        epilog="Exit status: 0 all captioned, 1 some failed, 2 wrong usage.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="folders, pictures, tables (CSV, TSV, JSON lines, Parquet) or tar shards; - for a list of names on stdin",
    )
    _add_output(parser)
    _add_which(parser)
    run = parser.add_argument_group("how it runs")
    run.add_argument("--dry-run", action="store_true", help="print the names of what would be captioned, and no more")
    run.add_argument("--watch", type=float, metavar="SECONDS", help="go on for ever: look again every so often")
    run.add_argument(
        "--retry-errors",
        nargs="?",
        const="temporary",
        default="changed",
        choices=("temporary", "all"),
        help="try again what failed: what may be otherwise now, or all (changed files always are)",
    )
    run.add_argument("--undo", action="store_true", help="undo all that was written beside or into the pictures")
    run.add_argument("--threads", type=int, metavar="N", help="pictures side by side (default: all cores)")
    add_engine(parser)
    model = parser.add_argument_group("the captioner")
    model.add_argument("--model", type=Path, action="append", metavar="DIR", help="bundle; default as for caption")
    for name, value, what in _SEARCH:
        kind = float if value == "P" else int
        model.add_argument(f"--{name}", type=kind, metavar=value, help=f"{what} (default: the captioner's own)")
    model.add_argument(
        "--min-confidence",
        type=float,
        default=0.0,
        metavar="P",
        help="withhold captions that are less sure, 0 to 1 (default: 0)",
    )
    model.add_argument("--device", default="cpu", metavar="NAME", help=f"{' or '.join(DEVICES)} (default: cpu)")
    return parser


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where captions go")
    group.add_argument(
        "--out",
        default="",
        metavar="FILE",
        help="one file, by its end .jsonl, .csv, .sqlite, .html, or a folder .parquet; - for JSON lines on stdout",
    )
    group.add_argument(
        "--to",
        default="",
        metavar="KIND",
        help="sidecar: a text beside each picture, or in the folder --out; metadata: into the pictures; jsonl, csv, "
        "sqlite, html or parquet where the name of --out does not tell",
    )
    group.add_argument(
        "--existing",
        default="skip",
        metavar="WHAT",
        help="where there is a caption: skip (default), overwrite, append or prepend",
    )
    group.add_argument("--fields", metavar="NAMES", help="of metadata (default: description,alt,iptc)")


def _add_which(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which pictures")
    group.add_argument("--include", action="append", default=[], metavar="GLOB", help="names to take, such as '*.png'")
    group.add_argument("--exclude", action="append", default=[], metavar="GLOB", help="files and folders to leave out")
    group.add_argument("--hidden", action="store_true", help="take names that begin with a dot too")
    group.add_argument("--follow-links", action="store_true", help="follow links that lead out of the folder")
    group.add_argument("--no-recursive", action="store_true", help="do not look into folders of folders")
    group.add_argument("--null", action="store_true", help="names on stdin end with a zero byte, as of find -print0")
    group.add_argument("--format", default="auto", metavar="NAME", help="layout of a table or archive, as for doctor")
    group.add_argument("--image-column", default="", metavar="NAME", help="column of a table that names the picture")


def _run(arguments: argparse.Namespace, program: str) -> int:
    if arguments.engine:
        return run_on_engine(arguments, program)
    refuse_engine_options(arguments)
    from captioner.batch.sinks.registry import Output, make_sink

    if arguments.undo:
        if arguments.dry_run:
            raise ConfigError("--undo has no --dry-run; the journal in the folder says what it would do")
        return _undo(arguments.paths)
    source = _source(arguments)
    _check_out(arguments)
    if arguments.dry_run and not (arguments.out or arguments.to):
        return _dry_run(source, None)
    fields = None if arguments.fields is None else tuple(arguments.fields.split(","))
    output = Output(arguments.to, arguments.out, arguments.existing, fields)
    sink = make_sink(output, source.home)
    if arguments.dry_run:
        return _dry_run(source, sink)
    if arguments.watch is not None and (arguments.watch <= 0 or not source.can_be_asked_again):
        raise ConfigError("--watch wants seconds above 0, and folders or files to look at again")
    if arguments.watch is not None and sink.papers is None:
        raise ConfigError("--watch wants an output that is kept: on stdout all captions would come again each time")
    return _caption(source, output, arguments, program)


def _check_out(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for an output that can be none."""
    if "://" in arguments.out:
        raise ConfigError(f"--out {arguments.out}: object stores want --engine ray")
    out = Path(arguments.out)
    if arguments.out and any(Path(name).is_file() and out.exists() and out.samefile(name) for name in arguments.paths):
        raise ConfigError(f"--out {arguments.out} is what the pictures are read from; choose another name")


def _caption(source: Source, output: Output, arguments: argparse.Namespace, program: str) -> int:
    from captioner.batch.job import run_job
    from captioner.batch.sinks.registry import make_sink
    from captioner.runtime.captioner import load
    from captioner.runtime.session import available_threads

    if not 0 <= arguments.min_confidence <= 1:
        raise ConfigError(f"--min-confidence is {arguments.min_confidence:g}; expected 0 to 1")
    if arguments.threads is not None:
        check_threads(arguments.threads)
    check_device(arguments.device)
    captioner = load(arguments.model, device=arguments.device)
    if arguments.min_confidence and captioner.confidence is None:
        raise ConfigError("--min-confidence: this captioner was not calibrated; build it again, or leave that out")
    plan = _plan(arguments, min(available_threads(), MAX_THREADS) if arguments.threads is None else arguments.threads)
    paths = [name if name == "-" else str(Path(name).resolve()) for name in arguments.paths]
    asked = {"source": paths, "captioner": captioner.fingerprint, **plan.options, "min_confidence": plan.min_confidence}
    sink = make_sink(replace(output, facts=asked), source.home)
    is_first = True
    while True:
        try:
            summary = run_job(source, captioner, sink, plan)
        except KeyboardInterrupt:
            if sink.papers is not None and (is_first or arguments.existing == "skip"):
                print(f"{program}: what is done is kept; the same command goes on", file=sys.stderr)
            raise
        if arguments.watch is None or summary.captioned or summary.failed:
            print(f"{program}: {_account(summary, sink)}", file=sys.stderr)
        if arguments.watch is None:
            return summary.status
        is_first = False
        time.sleep(arguments.watch)


def _plan(arguments: argparse.Namespace, workers: int) -> Plan:
    from captioner.batch.job import Plan

    given = {name.replace("-", "_"): getattr(arguments, name.replace("-", "_")) for name, *_ in _SEARCH}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return Plan(
        workers, arguments.retry_errors, arguments.min_confidence, arguments.watch is not None, options, teller()
    )


def _source(arguments: argparse.Namespace) -> Source:
    """The source that the paths name. Raises `ConfigError` or `DataError` for what cannot be one."""
    from captioner.batch.sources import FilesSource, FolderSource, LayoutSource, ListSource, SeveralSources
    from captioner.batch.walk import Which
    from captioner.datasets.layout import Columns
    from captioner.datasets.picture_files import SUFFIXES
    from captioner.datasets.registry import AUTO, find_layout

    which = Which(
        include=tuple(arguments.include),
        exclude=tuple(arguments.exclude),
        hidden=arguments.hidden,
        follow_links=arguments.follow_links,
        recursive=not arguments.no_recursive,
    )
    if arguments.paths == ["-"]:
        return ListSource(null=arguments.null)
    sources: list[Source] = []
    columns = Columns(arguments.image_column, None)
    for name in arguments.paths:
        if not name:
            raise ConfigError("a PATH is empty; name a folder, . for the one that you are in")
        path = Path(name)
        is_data = path.is_file() and path.suffix.lower() not in SUFFIXES and _is_of_a_layout(path)
        if arguments.format != AUTO or is_data:
            sources.append(LayoutSource(path, find_layout(path, arguments.format, columns)))
        elif path.is_dir() and len(arguments.paths) == 1:
            sources.append(FolderSource(path, which))
        elif path.exists() or path.is_symlink():
            sources.append(FilesSource((name,), which))
        else:
            raise ConfigError(f"{name}: no such file or folder; check the path")
    return sources[0] if len(sources) == 1 else SeveralSources(tuple(sources))


def _is_of_a_layout(path: Path) -> bool:
    return path.suffix.lower() in (".csv", ".tsv", ".tab", ".psv", ".jsonl", ".ndjson", ".json", ".parquet", ".tar")


def _dry_run(source: Source, sink: Sink | None) -> int:
    """Print what would be captioned; nothing is written, and nothing opened but what says which captions are there."""
    count = there = 0
    has = sink.peek() if sink is not None else None
    for item in source.items(lambda path, reason: print(printable(f"{path}: {reason}; left out"), file=sys.stderr)):
        if has is not None and has(item):
            there += 1
        else:
            count += 1
            print(printable(item.source.name))
    print(f"{count:,} would be captioned, {there:,} have a caption", file=sys.stderr)
    return 0


def _undo(paths: Sequence[str]) -> int:
    """Undo what was written beside or into pictures below folders."""
    from captioner.batch.changes import undo
    from captioner.batch.job import failures_of
    from captioner.batch.lock import locked
    from captioner.batch.sinks.own_files import JOURNAL, PAPERS

    left = 0
    for name in paths:
        journal = Path(name, JOURNAL)
        if not journal.is_file():
            raise ConfigError(
                f"{name}: nothing to undo there; name the folder that was captioned, that of --out, or, where single "
                "files or several folders were named, the one in which the command ran"
            )
        with locked(Path(name, f"{PAPERS}.lock")):
            undone, changed = undo(journal, lambda line: print(printable(line), file=sys.stderr))
            for paper in (failures_of(Path(name, PAPERS)), Path(name, f"{PAPERS}.job.json")):
                paper.unlink(missing_ok=True)
        left += changed
        print(f"{name}: {undone:,} changes undone, {changed:,} left alone", file=sys.stderr)
    return 1 if left else 0


def _account(summary: Summary, sink: Sink) -> str:
    from captioner.batch.job import failures_of

    parts = [f"{summary.captioned:,} captioned → {sink.place}"]
    if summary.there:
        parts.append(f"{summary.there:,} had a caption")
    if summary.failed:
        log = None if sink.papers is None else failures_of(sink.papers)
        parts.append(failures_in_words(summary.failed, log))
    if summary.failed_before:
        parts.append(f"{summary.failed_before:,} failed before; --retry-errors all tries them again")
    if summary.unsure:
        parts.append(f"{summary.unsure:,} not sure enough")
    if summary.left_out:
        parts.append(f"{summary.left_out:,} left out")
    return printable("; ".join(parts))
