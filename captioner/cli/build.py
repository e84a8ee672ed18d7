"""The verb `build`: train a captioner. Flags and YAML keys are the fields of the classes in `captioner.config`.

    captioner build --data FOLDER [--config FILE.yaml] [--epochs 10 …]

A flag wins over the YAML file, and the file over the defaults. An unknown key or a wrong type is refused by name.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from captioner.bundle import RUNS
from captioner.cli.ending import HOW_TO_INSTALL
from captioner.config.build import BuildConfig, DataConfig, DecoderConfig, EncoderConfig, ExportConfig, TrainConfig
from captioner.config.decode import DecodeConfig
from captioner.errors import CaptionerError, ConfigError, MissingDependencyError, printable

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from captioner.pipeline.workspace import Workspace

SECTIONS = {
    "data": DataConfig,
    "encoder": EncoderConfig,
    "decoder": DecoderConfig,
    "train": TrainConfig,
    "export": ExportConfig,
    "decode": DecodeConfig,
}
SAYS_WHAT_TO_DO = {"--data", "--config", "--help", "-h", "--print_config"}
"""A call without any of these takes the default recipe, if there is one."""


def main(argv: Sequence[str] | None = None, *, program: str = "captioner build", recipe: Path | None = None) -> int:
    """Build a captioner.

    Args:
        argv: the arguments; None takes those of the process.
        program: how the command is called in messages.
        recipe: YAML file for a call that names neither --data nor --config.

    Returns:
        0 when the captioner is built, 1 when the build failed, 2 for wrong usage.
    """
    # Before torch is loaded: OpenMP threads that spin while they wait take the processor from each other. A short spin
    # before they sleep costs nobody anything, and saves a quarter of a training step on two idle cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    arguments = list(sys.argv[1:] if argv is None else argv)
    if recipe is None and not {_underscored(each).partition("=")[0] for each in arguments} & SAYS_WHAT_TO_DO:
        print(f"{program}: name the data with --data FOLDER, or a recipe with --config FILE", file=sys.stderr)
        return 2
    try:
        config, workspace = parse(arguments, program=program, recipe=recipe)
        from captioner.pipeline.build import build

        build(config, workspace)
    except CaptionerError as error:
        print(f"{program}: {error.message}", file=sys.stderr)
        return 2 if error.code in ("config", "missing_dependency") else 1
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        print(f"{program}: {named}{error.strerror or error}; the same command goes on from here", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{program}: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    from captioner.bundle import remember_bundle

    try:
        remember_bundle(RUNS, workspace.bundle)
    except CaptionerError as error:  # the captioner is finished and where it belongs
        print(f"{program}: {error.message}; name it with --model", file=sys.stderr)
    print(f"caption a picture: python run_captioner.py photo.jpg --model {workspace.bundle}", file=sys.stderr)
    print(workspace.bundle)
    return 0


def parse(
    arguments: Sequence[str], *, program: str = "captioner build", recipe: Path | None = None
) -> tuple[BuildConfig, Workspace]:
    """Arguments and the YAML file that they name → checked options and folders.

    Raises:
        ConfigError: a value is out of range. Unknown keys and wrong types end the process with status 2.
        MissingDependencyError: the extra `train` is not installed.
    """
    missing = [name for name in ("jsonargparse", "yaml", "torch", "lightning") if not importlib.util.find_spec(name)]
    if missing:
        raise MissingDependencyError(
            f"training needs {', '.join(missing)}: " + HOW_TO_INSTALL.format(what="'.[train]'")
        )
    from captioner.pipeline.origin import settled
    from captioner.pipeline.workspace import Workspace

    arguments = [_underscored(argument) for argument in arguments]
    named = {argument.partition("=")[0] for argument in arguments}
    if recipe is not None and not named & SAYS_WHAT_TO_DO:
        print(f"no --data and no --config: taking {recipe.name}", file=sys.stderr)
        arguments = [f"--config={recipe}", *arguments]
    try:
        parser = _parser(program)
        values = parser.parse_args(_config_first(arguments))
    except UnicodeDecodeError:
        raise ConfigError("the file of --config is not UTF-8 text; save it as UTF-8") from None
    sections = {section: _section(kind, values) for section, kind in SECTIONS.items()}
    given = parser.parse_args(_config_first(arguments), defaults=False)
    config = settled(BuildConfig(**sections, origin=values["from"]), set(vars(given)))
    trial = f"-first-{config.data.limit}" if config.data.limit else ""
    name = Path(config.data.data).resolve().name.replace(":", "-") or "data"  # `scenes:de`; Windows has no such names
    out = values.out or RUNS / (name + trial)
    return config, Workspace(Path(out), Path(values.cache))


def _underscored(argument: str) -> str:
    """`--encoder-weights` as `--encoder_weights`: flags have dashes, the fields behind them cannot."""
    name, equals, value = argument.partition("=")
    return name.replace("-", "_").replace("__", "--", 1) + equals + value if name.startswith("--") else argument


def _config_first(arguments: list[str]) -> list[str]:
    """Arguments with `--config FILE` moved to the front: later ones win, and flags shall win wherever they stand."""
    first: list[str] = []
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--config":
            first.append(f"--config={next(remaining, '')}")
        else:
            (first if argument.startswith("--config=") else rest).append(argument)
    return first + rest


def _section(kind: type, values: Namespace) -> Any:
    return kind(**{field.name: values[field.name] for field in fields(kind)})


def _parser(program: str) -> ArgumentParser:
    from jsonargparse import ActionConfigFile, ArgumentParser  # type: ignore[attr-defined]

    class DashedParser(ArgumentParser):
        """Shows flags with dashes; both spellings are understood. An error is one line, without the usage."""

        def error(self, message: str, ex: Exception | None = None) -> NoReturn:
            text = re.sub(r"--[a-z_]+", lambda flag: flag[0].replace("_", "-"), " ".join(message.split()))
            self.exit(2, f"{program}: {printable(text)}; --help lists all options\n")

        def format_help(self, *arguments: Any, **options: Any) -> str:
            return re.sub(
                r"--[a-z_]+", lambda flag: flag[0].replace("_", "-"), super().format_help(*arguments, **options)
            )

    parser = DashedParser(prog=program, description="Train a captioner on pictures with captions.", allow_abbrev=False)
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file with any of the options below")
    parser.add_argument("--out", type=str, default="", help="folder of this build; default: runs/NAME, as the data")
    parser.add_argument("--cache", type=str, default="runs/cache", help="features and encoder graphs, shared by builds")
    parser.add_argument(
        "--from",
        type=str,
        default="",
        metavar="BUNDLE",
        help="finished captioner to go on from, with its encoder, decoder and words: a folder, or `pretrained`",
    )
    for kind in SECTIONS.values():
        parser.add_class_arguments(kind)
    return parser
