"""How options are held to what they may be. A value of another type is refused, not converted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from captioner.errors import ConfigError

MAX_THREADS = 256
"""More would bring a machine to the limit of its processes, and no graph here has work for as many."""


DEVICES = ("cpu", "cuda")
"""What a finished captioner can run on."""
MAX_BATCH = 4096
"""Pictures that are worked on together; more of them would only take memory."""
MAX_NEIGHBOURS = 100
"""The most training pictures that are named beside a picture."""


def require(condition: bool, option: str, value: object, expected: str) -> None:
    """Raise ConfigError unless the condition holds, with the flag of the option and what was expected."""
    if not condition:
        raise ConfigError(f"--{option.replace('_', '-')} is {value!r}; expected {expected}")


def one_of(option: str, value: str, valid: Sequence[str]) -> None:
    """Raise ConfigError when the value is none of the valid ones, and list them."""
    require(value in valid, option, value, "one of " + ", ".join(valid))


def check_types(config: Any) -> None:
    """Hold every field to the type of its default; a whole number may stand for a number, nothing else for another."""
    for field in fields(config):
        value, kind = getattr(config, field.name), type(field.default)
        if kind is float:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            # The comparison is false for NaN and infinity, and exact for whole numbers that no float can hold.
            require(is_number and abs(value) <= sys.float_info.max, field.name, value, "a finite number")
        elif kind is int:
            require(isinstance(value, int) and not isinstance(value, bool), field.name, value, "a whole number")
        else:
            expected = {str: "a text", bool: "true or false"}.get(kind, f"a {kind.__name__}")
            require(isinstance(value, kind), field.name, value, expected)


def check_count(option: str, value: int, most: int) -> None:
    """Raise ConfigError when something is no whole number from 1 to `most`."""
    is_count = isinstance(value, int) and not isinstance(value, bool)
    require(is_count and 1 <= value <= most, option, value, f"1 to {most}")


def check_threads(threads: int) -> None:
    """Raise ConfigError when a captioner cannot be asked to use so many processor threads."""
    check_count("threads", threads, MAX_THREADS)


def check_device(device: str) -> None:
    """Raise ConfigError when there is no device of that name; whether it is here shows when graphs are opened."""
    one_of("device", device, DEVICES)
