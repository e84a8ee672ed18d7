"""The verb `batch` with `--engine ray`: shards of one source on many cores and machines, into a folder of Parquet.

    captioner batch FOLDER --engine ray --out captions.parquet
    captioner batch s3://bucket/shards --engine ray --out s3://bucket/captions --ray-address auto

Libraries are imported only when it is asked for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioner.cli.account import failures_in_words, teller
from captioner.config.checks import MAX_THREADS, check_device, check_threads
from captioner.errors import ConfigError, printable

if TYPE_CHECKING:
    from captioner.batch.cluster.job import Summary
    from captioner.batch.cluster.manifest import Manifest
    from captioner.batch.cluster.places import Place
    from captioner.batch.cluster.shards import Shard
    from captioner.runtime.captioner import Captioner

ENGINES = ("ray",)
_GROUP = 1_000
"""Pictures of folders in a shard, about."""
_NOT_HERE = {
    "to": "writes Parquet alone; leave out --to",
    "watch": "does not watch; run it again, and it does what is new",
    "undo": "has nothing to undo; leave out --engine",
    "null": "reads no names from stdin; name a folder, tar or Parquet",
    "follow_links": "follows no links out of the folder; name the folder that they lead to",
}
"""Options of jobs on this machine alone, and what to do instead."""


def add_engine(parser: argparse.ArgumentParser) -> None:
    """The options of jobs on many machines."""
    group = parser.add_argument_group("many machines")
    group.add_argument(
        "--engine", choices=ENGINES, help="ray: in shards on a cluster, PATH and --out may be s3://… and the like"
    )
    group.add_argument("--ray-address", default="", metavar="HOST:PORT", help="a cluster that runs (default: one here)")
    group.add_argument(
        "--shard-size", type=int, metavar="N", help=f"pictures of folders in a shard, about (default: {_GROUP})"
    )


def refuse_engine_options(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for options that want an engine when there is none."""
    for name in ("ray_address", "shard_size"):
        if getattr(arguments, name):
            raise ConfigError(f"--{name.replace('_', '-')} is for many machines; add --engine ray")


def run_on_engine(arguments: argparse.Namespace, program: str) -> int:
    """Do the job, or say what it would do; returns the exit status as `batch.main` does."""
    from captioner.batch.cluster.places import Place
    from captioner.batch.cluster.ray_engine import require_ray

    _check(arguments)
    if not arguments.dry_run:
        require_ray()
    source, out = Place(_absolute(arguments.paths[0])), Place(_absolute(arguments.out))
    left_out = 0
    tell = teller()

    def leave_out(path: str, reason: str) -> None:
        nonlocal left_out
        left_out += 1
        tell(f"{path}: {reason}; left out")

    captioner, options = _captioner(arguments)
    shards = _shards(source, out, arguments, leave_out)
    manifest = _manifest(source, out, captioner, options, arguments)
    if arguments.dry_run:
        return _dry_run(shards, manifest, arguments)
    summary = _work(shards, out, manifest, captioner, options, arguments, tell)
    summary.left_out = left_out
    print(f"{program}: {_account(summary, arguments.out)}", file=sys.stderr)
    return summary.status


def _check(arguments: argparse.Namespace) -> None:
    for name, instead in _NOT_HERE.items():
        if getattr(arguments, name):
            raise ConfigError(f"--{name.replace('_', '-')}: --engine ray {instead}")
    if arguments.fields is not None or arguments.format != "auto":
        name = "--format" if arguments.format != "auto" else "--fields"
        raise ConfigError(f"{name} is not for --engine ray, which tells tar and Parquet by their names; leave it out")
    if len(arguments.paths) != 1 or arguments.paths[0] == "-":
        raise ConfigError("--engine ray wants one source: a folder, a tar file or a Parquet file, or a URL of one")
    if not arguments.out or arguments.out == "-" or _ends_like_a_file(arguments.out):
        raise ConfigError("--engine ray writes a folder of Parquet files: --out captions.parquet, or a URL of a folder")
    if arguments.existing not in ("skip", "overwrite"):
        raise ConfigError(f"--existing {arguments.existing} is for sidecar and metadata; here: skip or overwrite")
    if arguments.shard_size is not None and not 1 <= arguments.shard_size <= 1_000_000:
        raise ConfigError(f"--shard-size is {arguments.shard_size}; expected 1 to 1,000,000")
    if not 0 <= arguments.min_confidence <= 1:
        raise ConfigError(f"--min-confidence is {arguments.min_confidence:g}; expected 0 to 1")
    if arguments.threads is not None:
        check_threads(arguments.threads)
    check_device(arguments.device)


def _ends_like_a_file(out: str) -> bool:
    return Path(out).suffix.lower() in (".jsonl", ".json", ".csv", ".sqlite", ".db", ".html", ".htm")


def _absolute(name: str) -> str:
    """Workers may have another folder that they are in."""
    return name if "://" in name or "::" in name else str(Path(name).resolve())


def _captioner(arguments: argparse.Namespace) -> tuple[Captioner, dict[str, Any]]:
    from captioner.runtime.captioner import load

    captioner = load(arguments.model)  # on the CPU: only workers need the device
    options = {
        name: getattr(arguments, name)
        for name in ("beam", "max_length", "length_penalty")
        if getattr(arguments, name) is not None
    }
    captioner.check_options(**options)
    if arguments.min_confidence and captioner.confidence is None:
        raise ConfigError("--min-confidence: this captioner was not calibrated; build it again, or leave that out")
    return captioner, options


def _shards(
    source: Place, out: Place, arguments: argparse.Namespace, skipped: Callable[[str, str], None]
) -> list[Shard]:
    from captioner.batch.cluster.places import in_words
    from captioner.batch.cluster.reading import check_parquet
    from captioner.batch.cluster.shards import PARQUET, find_shards
    from captioner.batch.walk import Which
    from captioner.errors import CaptionerError

    which = Which(
        include=tuple(arguments.include),
        exclude=tuple(arguments.exclude),
        hidden=arguments.hidden,
        recursive=not arguments.no_recursive,
    )
    inside = out.url.removeprefix(f"{source.url}/") if out.url.startswith(f"{source.url}/") else ""
    try:
        shards = find_shards(source, which, arguments.shard_size or _GROUP, skipped, leave_out=inside)
        if shards and shards[0].kind == PARQUET:
            check_parquet(shards[0], arguments.image_column)
    except CaptionerError:
        raise
    except Exception as error:  # stores have exceptions of their own
        raise in_words(error, source.url) from None
    return shards


def _manifest(
    source: Place, out: Place, captioner: Captioner, options: dict[str, Any], arguments: argparse.Namespace
) -> Manifest:
    from captioner.batch.cluster.manifest import Manifest

    return Manifest(
        out,
        {
            "source": source.url,
            "captioner": captioner.fingerprint,
            "options": {**options, "min_confidence": arguments.min_confidence},
            "image_column": arguments.image_column,
            "shard_size": arguments.shard_size or _GROUP,
        },
    )


def _dry_run(shards: Sequence[Shard], manifest: Manifest, arguments: argparse.Namespace) -> int:
    """Print the shards that would be done; nothing is written, and Ray is not needed."""
    from captioner.batch.cluster.job import left_to_do

    manifest.read(fresh=arguments.existing == "overwrite")
    todo = left_to_do(shards, manifest, arguments.retry_errors)
    for shard in todo:
        print(printable(f"{shard.name} ({len(shard.names):,} pictures)" if shard.names else shard.name))
    print(f"{len(todo):,} shards would be captioned, {len(shards) - len(todo):,} are done", file=sys.stderr)
    return 0


def _work(
    shards: Sequence[Shard],
    out: Place,
    manifest: Manifest,
    captioner: Captioner,
    options: dict[str, Any],
    arguments: argparse.Namespace,
    tell: Callable[[str], None],
) -> Summary:
    from captioner.batch.cluster.job import run_shards
    from captioner.batch.cluster.places import in_words
    from captioner.batch.cluster.ray_engine import Cluster, caption_shards, connected
    from captioner.batch.cluster.worker import Task, pack
    from captioner.errors import CaptionerError
    from captioner.runtime.session import available_threads

    task = Task(out.url, options, arguments.min_confidence, arguments.image_column, arguments.device)
    cores = min(available_threads(), MAX_THREADS)
    cluster = Cluster(arguments.ray_address, arguments.threads, cores, arguments.device)

    def engine(todo: Sequence[Shard]) -> Iterator[dict[str, Any]]:
        with connected(cluster) as actors:
            yield from caption_shards(todo, pack(captioner), task, actors)

    fresh = arguments.existing == "overwrite"
    try:
        return run_shards(shards, out, manifest, engine, fresh=fresh, retry=arguments.retry_errors, tell=tell)
    except (CaptionerError, KeyboardInterrupt):
        raise
    except OSError as error:
        raise in_words(error, out.url) from None


def _account(summary: Summary, out: str) -> str:
    parts = [f"{summary.captioned:,} captioned in {summary.shards:,} shards → {out}"]
    if summary.there:
        parts.append(f"{summary.there:,} shards were done")
    if summary.failed:
        parts.append(failures_in_words(summary.failed, f"{out.rstrip('/')}.failures.jsonl"))
    if summary.failed_before:
        parts.append(f"{summary.failed_before:,} failed before; --retry-errors all tries their shards again")
    if summary.unsure:
        parts.append(f"{summary.unsure:,} not sure enough")
    if summary.not_done:
        parts.append(f"{summary.not_done:,} shards not done")
    if summary.left_out:
        parts.append(f"{summary.left_out:,} left out")
    return printable("; ".join(parts))
