"""Going on from a finished captioner (`--from`): its encoder, its decoder and its words become those of the build.

The encoder stays as it is. The decoder has the same shape and begins with the same weights; new words of the captions
come behind the old ones, which keep their ids. What an option says otherwise is refused. Needs no torch.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from captioner.bundle import ENCODER, PRETRAINED, Bundle, bundle_of, load_bundle
from captioner.config.build import AUTO, BUILTIN, SHIPPED, BuildConfig, DecoderConfig, EncoderConfig, TrainConfig
from captioner.errors import CaptionerError, ConfigError
from captioner.pipeline.encoders import captioner_named
from captioner.text.normalize import RULES

LEARNING_RATE = 5e-4
"""Unless another is asked for: a quarter of that of fresh weights, as what was learned is to stay."""
_FREE = ("dropout",)
"""Options of the decoder that are about training, not about its shape."""


def origin_of(name: str) -> Bundle | None:
    """The captioner to go on from; None without a name. Raises `ConfigError` when it is none."""
    if not name:
        return None
    folder = PRETRAINED if name == SHIPPED else bundle_of(Path(name))
    try:
        return load_bundle(folder)
    except CaptionerError as error:
        raise ConfigError(f"--from {name} is no finished build or bundle: {error.message}") from None


def settled(config: BuildConfig, given: Collection[str]) -> BuildConfig:
    """The options with those that follow from the captioner which `config.origin` names; as they are without one.

    Args:
        config: all options.
        given: the names of those that a person gave, on the command line or in a file.

    Raises:
        ConfigError: there is no such captioner, or a given option wants another network than it has.
    """
    bundle = origin_of(config.origin)
    if bundle is None:
        return config
    if config.train.start_from:
        raise ConfigError(
            "--from and --start-from: choose one; --from brings words, encoder and decoder along, --start-from only "
            "weights, into a build with the same options and words"
        )
    if config.train.teachers:
        raise ConfigError("--from and --teachers: choose one; with --keep the captioner of --from teaches itself")
    wanted = dict(_wanted(bundle))
    for name, value in wanted.items():
        asked = getattr(config.encoder if name in _names(EncoderConfig) else config.decoder, name)
        if name in given and not _agree(name, asked, value, bundle):
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{flag} {asked}: the captioner of --from has {value}, and keeps it; leave {flag} away")
    theirs_are = "words" if bundle.vocabulary.rules == RULES else "subwords"
    if config.data.tokenizer not in (AUTO, theirs_are):
        raise ConfigError(
            f"--tokenizer {config.data.tokenizer}: the captioner of --from has {theirs_are}, and keeps them; leave "
            "--tokenizer away"
        )
    encoder = replace(config.encoder, **{name: wanted[name] for name in _names(EncoderConfig) if name in wanted})
    decoder = replace(config.decoder, **{name: wanted[name] for name in _names(DecoderConfig) if name in wanted})
    theirs = {each.name: getattr(bundle.manifest.decode, each.name) for each in fields(config.decode)}
    decode = replace(config.decode, **{name: value for name, value in theirs.items() if name not in given})
    train = config.train if "learning_rate" in given else replace(config.train, learning_rate=LEARNING_RATE)
    kind = f"{decoder.decoder}, {decoder.hidden} units, {len(bundle.vocabulary):,} words"
    print(f"going on from {config.origin}: {kind}", file=sys.stderr)  # noqa: T201
    return replace(config, encoder=encoder, decoder=decoder, train=train, decode=decode)


def _wanted(bundle: Bundle) -> Iterator[tuple[str, Any]]:
    """The options that make the network of a captioner, by name."""
    manifest = bundle.manifest
    yield "encoder", BUILTIN if bundle.folder == PRETRAINED else str(bundle.folder)
    yield "encoder_weights", ""
    yield "features", manifest.encoder["features"]
    yield "framing", manifest.preprocess.framing
    yield "picture_size", 0
    yield "mirrored", bool(manifest.encoder.get("mirrored", False))
    yield "finetune", False
    yield from ((each, manifest.decoder[each]) for each in _names(DecoderConfig) if each not in _FREE)


def _agree(name: str, asked: Any, value: Any, bundle: Bundle) -> bool:
    """Whether an option that was given means what the captioner has."""
    if name == "encoder":
        folder = captioner_named(asked)
        return folder is not None and (folder / ENCODER).read_bytes() == bundle.path(ENCODER).read_bytes()
    if name == "picture_size":
        return asked in (0, bundle.manifest.preprocess.size)
    return bool(asked == value)


def _names(kind: type[EncoderConfig] | type[DecoderConfig] | type[TrainConfig]) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))
