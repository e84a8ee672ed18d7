"""The verb `serve`: the captioner as a service with REST and a page, on this machine alone unless asked otherwise.

captioner serve [--model DIR] [--host 127.0.0.1] [--port 8000] [--token-file FILE] [--corrections FILE.tar]
"""

from __future__ import annotations

import argparse
import importlib.util
import ipaddress
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioner.cli.ending import in_one_line
from captioner.config.checks import MAX_THREADS, check_count, require
from captioner.errors import ConfigError, MissingDependencyError, printable
from captioner.serve.limits import Limits
from captioner.version import __version__

if TYPE_CHECKING:
    from captioner.bundle import Bundle
    from captioner.serve.access import Access

_DECODE = ("beam", "n_best", "max_length", "length_penalty")
"""Options for all requests that do not say otherwise."""
_LIBRARIES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def main(argv: Sequence[str] | None = None, *, program: str = "captioner serve") -> int:
    """Serve until a signal comes; returns 0 after it, 2 for wrong usage, 1 when the captioner cannot be loaded."""
    arguments = _parser(program).parse_args(argv)
    return in_one_line(lambda: _serve(arguments), program, doing="serving")


def _serve(arguments: argparse.Namespace) -> int:
    given = {field.name: getattr(arguments, field.name) for field in fields(Limits)}
    limits = Limits(**{name: value for name, value in given.items() if value is not None})
    if arguments.workers is not None:
        check_count("workers", arguments.workers, MAX_THREADS)
    require(0 <= arguments.port <= 65535, "port", arguments.port, "0 (any free one) to 65535")
    _require_libraries()
    from captioner.bundle import load_bundle
    from captioner.cli.default import default_in_words
    from captioner.runtime.session import available_threads
    from captioner.serve.app import build_app
    from captioner.serve.corrections import Corrections
    from captioner.serve.log import Log
    from captioner.serve.server import bind, run
    from captioner.serve.service import Service

    access = _access(arguments)
    bundles = [load_bundle(folder) for folder in _folders(arguments.model or [])]
    options = _options(arguments, bundles[0])
    bound = bind(arguments.host, arguments.port)
    corrections = None
    try:
        corrections = Corrections(arguments.corrections, limits) if arguments.corrections else None
        _warn(arguments, access)
        if not arguments.model:
            told = default_in_words(bundles[0].folder, bundles[0].manifest)
            print(f"captioner serve: {told}", file=sys.stderr)
        service = Service(
            [bundle.folder for bundle in bundles],
            workers=arguments.workers or min(available_threads(), MAX_THREADS),
            limits=limits,
            access=access,
            log=Log(quiet=arguments.quiet),
            options=options,
        )
        run(build_app(service, bundles, corrections=corrections, with_page=arguments.page), service, bound)
    finally:
        bound.close()
        if corrections is not None:
            corrections.close()
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program, description="Serve a finished captioner: REST and a page.", allow_abbrev=False
    )
    parser.add_argument(
        "--model",
        action="append",
        metavar="DIR",
        help="bundle; default: newest in runs/, else the one shipped; given several times: they write together",
    )
    parser.add_argument("--host", default="127.0.0.1", metavar="NAME", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="port; 0: any free one (default: 8000)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes with a captioner each (default: all cores)")
    parser.add_argument("--beam", type=int, metavar="N", help="captions searched side by side, unless a request says")
    parser.add_argument("--n-best", type=int, metavar="N", help="candidates, unless a request says")
    parser.add_argument("--max-length", type=int, metavar="N", help="longest caption, unless a request says")
    parser.add_argument("--length-penalty", type=float, metavar="P", help="above 0 favours longer captions")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="file with the token that requests must carry")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name to answer under; repeatable",
    )
    parser.add_argument("--corrections", type=Path, metavar="FILE.tar", help="keep better captions, to learn from")
    parser.add_argument("--no-page", dest="page", action="store_false", help="REST alone")
    parser.add_argument("--quiet", action="store_true", help="no line for each request")
    parser.add_argument("--version", action="version", version=f"captioner {__version__}")
    group = parser.add_argument_group("limits", "explained in docs/security.md")
    for field in fields(Limits):
        kind = float if isinstance(field.default, float) else int
        flag = "--" + field.name.replace("_", "-")
        group.add_argument(
            flag,
            type=kind,
            metavar="N",
            help=f"default: {field.default:,g}" if kind is float else f"default: {field.default:,}",
        )
    return parser


def _require_libraries() -> None:
    missing = [name for name in _LIBRARIES if not _is_here(name)]
    if missing:
        raise MissingDependencyError(
            f"serving needs {', '.join(missing)}; install the extra: pip install 'captioner[serve]'"
        )


def _is_here(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except ModuleNotFoundError:
        return False


def _folders(names: Sequence[str]) -> list[Path]:
    """The bundles that are meant: those named, or the one that `captioner caption` would take."""
    from captioner.bundle import bundle_of
    from captioner.runtime.captioner import default_bundle

    return [bundle_of(Path(name)) for name in names] or [default_bundle()]


def _options(arguments: argparse.Namespace, bundle: Bundle) -> dict[str, Any]:
    """Options of decoding that were given, checked against those of the captioner."""
    options = {name: getattr(arguments, name) for name in _DECODE if getattr(arguments, name) is not None}
    if "n_best" in options and "beam" not in options:
        options["beam"] = max(bundle.manifest.decode.beam, options["n_best"])
    bundle.manifest.decode.changed({"n_best": 1, **options})
    return options


def _access(arguments: argparse.Namespace) -> Access:
    from captioner.serve.access import MAX_TOKEN, MIN_TOKEN, Access, allowed_hosts

    token = None
    if arguments.token_file:
        try:
            with arguments.token_file.open("rb") as file:
                token = file.read(MAX_TOKEN + 1).strip()
        except OSError as error:
            raise ConfigError(f"--token-file {arguments.token_file}: {error.strerror}") from None
        if not MIN_TOKEN <= len(token) <= MAX_TOKEN or not token.isascii() or not token.decode().isprintable():
            raise ConfigError(
                f"--token-file {arguments.token_file}: expected {MIN_TOKEN} to {MAX_TOKEN} plain characters in a line"
            )
    try:
        return Access(allowed_hosts(arguments.host, arguments.allow_host), token)
    except ValueError as error:
        raise ConfigError(f"--allow-host {error}: expected a name or an address, without port") from None


def _warn(arguments: argparse.Namespace, access: Access) -> None:
    """Say so when anybody on the network may use the service."""
    try:
        is_local = arguments.host == "localhost" or ipaddress.ip_address(arguments.host).is_loopback
    except ValueError:
        is_local = False
    if not is_local and access.token is None:
        print(
            printable(f"captioner serve: anybody who reaches {arguments.host} may use this service; see --token-file"),
            file=sys.stderr,
        )
