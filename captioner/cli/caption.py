"""The verb `caption`: pictures in, captions out. Captions go to stdout, all else to stderr; torch is never needed.

captioner caption photo.jpg [more …] [--model DIR] [--beam 3] [--n-best 3] [--min-confidence 0.3] [--json]
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioner.cli.ending import in_one_line
from captioner.config.checks import DEVICES, MAX_THREADS, check_device, check_threads
from captioner.errors import CaptionerError, ConfigError, ImageError, printable
from captioner.runtime.records import caption_fields
from captioner.version import __version__

if TYPE_CHECKING:
    from captioner.runtime.captioner import Captioner
    from captioner.types import Caption


_OPTIONS = (
    "beam",
    "n_best",
    "groups",
    "diversity",
    "max_length",
    "length_penalty",
    "temperature",
    "top_k",
    "top_p",
    "seed_of_draws",
    "must_say",
    "must_not_say",
)
"""Flags that are handed to the captioner under their own names."""


@dataclass(frozen=True)
class _Show:
    """How captions are shown."""

    references: Mapping[str, list[str]]
    min_confidence: float
    as_json: bool


def main(argv: Sequence[str] | None = None, *, program: str = "captioner caption") -> int:
    """Caption the pictures; returns 0 when all were captioned, 1 when some failed, 2 for wrong usage."""
    arguments = _parser(program).parse_args(argv)
    return in_one_line(lambda: _caption_all(arguments, program), program, doing="captioning")


def _caption_all(arguments: argparse.Namespace, program: str) -> int:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names that are not UTF-8 shall not stop anything
            stream.reconfigure(errors="backslashreplace")
    try:
        with _without_collection():
            model = _load(arguments)
        references = _read_references(arguments.references) if arguments.references else {}
        options = {name: getattr(arguments, name) for name in _OPTIONS if getattr(arguments, name) is not None}
        model.check_options(**options)
        _check_confidence(model, arguments.min_confidence)
    except CaptionerError as error:
        print(f"{program}: {error.message}", file=sys.stderr)
        return 2
    failed = 0
    show = _Show(references, arguments.min_confidence, arguments.json)
    for path, result in zip(arguments.pictures, _results(model, arguments, options), strict=True):
        failed += not _print(path, result, show)
    return 1 if failed else 0


@contextmanager
def _without_collection() -> Iterator[None]:
    """Imports and loading make many objects and no garbage: looking for it took 6 ms of 240."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _results(
    model: Captioner, arguments: argparse.Namespace, options: Mapping[str, Any]
) -> Iterator[Caption | CaptionerError]:
    """What becomes of each picture, in order."""
    from captioner.runtime.captioner import BATCH

    pictures = arguments.pictures
    workers = min(_threads(arguments), len(pictures))
    batch = min(BATCH, -(-len(pictures) // workers))  # a few pictures are dealt out to all workers too
    return model.iter_results(pictures, batch=batch, workers=workers, **options)


def _threads(arguments: argparse.Namespace) -> int:
    from captioner.runtime.session import available_threads

    return min(available_threads(), MAX_THREADS) if arguments.threads is None else arguments.threads


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Caption pictures with a finished captioner.",
        allow_abbrev=False,  # what is short for one flag today may be short for two tomorrow
    )
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="JPEG, PNG, GIF, WebP, BMP, TIFF or AVIF files")
    parser.add_argument(
        "--model",
        type=Path,
        action="append",
        metavar="DIR",
        help="bundle; default: newest in runs/, else the one shipped; given several times: they write together",
    )
    parser.add_argument("--beam", type=int, metavar="N", help="captions searched side by side; 1 is greedy")
    parser.add_argument("--n-best", type=int, metavar="N", help="candidates to show for each picture")
    parser.add_argument("--groups", type=int, metavar="N", help="groups of the beam that avoid one another's words")
    parser.add_argument("--diversity", type=float, metavar="D", help="how strongly groups do (default: 0.5)")
    parser.add_argument("--max-length", type=int, metavar="N", help="longest caption, in tokens: its words and its end")
    parser.add_argument("--length-penalty", type=float, metavar="P", help="above 0 favours longer captions, 0 does not")
    parser.add_argument("--temperature", type=float, metavar="T", help="draw at random: 1 as probable; 0 search")
    parser.add_argument("--top-k", type=int, metavar="N", help="draw from the N most probable words")
    parser.add_argument("--top-p", type=float, metavar="P", help="draw from the words that have together this share")
    parser.add_argument("--seed", type=int, metavar="N", dest="seed_of_draws", help="of the drawing (default: 1)")
    parser.add_argument("--must-say", action="append", metavar="WORD", help="a word that has to be in the caption")
    parser.add_argument("--must-not-say", action="append", metavar="WORD", help="a word that must not be in it")
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=0.0,
        metavar="P",
        help="say nothing rather than a caption that is acceptable with a lower probability",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, in the order of the pictures")
    parser.add_argument("--references", type=Path, metavar="FILE", help="true captions to show, as name#k<TAB>caption")
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads (default: all cores)")
    parser.add_argument("--device", default="cpu", metavar="NAME", help=f"{' or '.join(DEVICES)} (default: cpu)")
    parser.add_argument("--version", action="version", version=f"captioner {__version__}")
    return parser


def _load(arguments: argparse.Namespace) -> Captioner:
    if arguments.threads is not None:
        check_threads(arguments.threads)
    check_device(arguments.device)
    from captioner.cli.default import default_in_words
    from captioner.runtime.captioner import default_bundle, load

    # One picture has all threads for itself; of many, each thread has some for itself, which is quicker.
    threads = _threads(arguments) if len(arguments.pictures) == 1 else 1
    if arguments.model:
        return load(arguments.model, threads=threads, device=arguments.device)
    folder = default_bundle()
    model = load(folder, threads=threads, device=arguments.device)
    print(default_in_words(folder, model.bundle.manifest), file=sys.stderr)
    return model


def _check_confidence(model: Captioner, least: float) -> None:
    """Raise ConfigError when `--min-confidence` cannot be held."""
    if not 0 <= least <= 1:
        raise ConfigError(f"--min-confidence is {least:g}; expected 0 to 1")
    if least > 0 and model.confidence is None:
        raise ConfigError(
            "--min-confidence: this captioner was not calibrated; several that write together never are, one of an "
            "earlier version is when it is built again"
        )


def _print(path: str, caption: Caption | CaptionerError, show: _Show) -> bool:
    """Print what became of a picture; False when it could not be read, or the captioner failed with it."""
    if isinstance(caption, CaptionerError):
        # What is wrong with a picture names it already; what is wrong with the captioner does not.
        message = caption.message if isinstance(caption, ImageError) else f"{printable(path)}: {caption.message}"
        if show.as_json:
            print(json.dumps({"path": path, "error": {"code": caption.code, "message": message}}), flush=True)
        print(message, file=sys.stderr)
        return False
    unsure = caption.confidence is not None and caption.confidence < show.min_confidence
    reason = f"confidence {caption.confidence:.3f} is below {show.min_confidence:g}" if unsure else ""
    if show.as_json:
        fields = {"path": path, **caption_fields(caption, reason)}
        print(json.dumps(fields), flush=True)  # ASCII: JSON whatever the encoding of stdout
    elif reason:
        print(printable(f"{path}: no caption: {reason}"), flush=True)
    else:
        print("\n".join(_as_text(path, caption, show.references.get(Path(path).name, []))), flush=True)
    return True


def _as_text(path: str, caption: Caption, references: Sequence[str]) -> list[str]:
    sure = "" if caption.confidence is None else f", confidence {caption.confidence:.2f}"
    lines = [f"{path}: {caption.text}  (log-probability {caption.log_prob:.2f}{sure})"]
    lines += [f"    or: {each.text}  ({each.log_prob:.2f})" for each in caption.candidates[1:]]
    lines += [f"    true: {reference}" for reference in references]
    return [printable(line) for line in lines]


def _read_references(path: Path) -> dict[str, list[str]]:
    """True captions by file name, from lines `name#k<TAB>caption`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the references in {path}: {error}") from None
    found: dict[str, list[str]] = {}
    for line in lines:
        name, _, caption = line.partition("\t")
        if caption:
            found.setdefault(name.rpartition("#")[0] or name, []).append(caption)
    return found
