"""What becomes of an old text when a new one comes. Knows nothing of where they stand."""

from __future__ import annotations

import re

from captioner.errors import ConfigError, MetadataError

MERGES = ("overwrite", "append", "prepend")
"""The new text alone; behind the old one, on a line of its own; or before it."""
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2, Char


def merged(old: str, new: str, merge: str) -> str:
    """The text to write; `old` itself when it already has the new one as a line (or as lines), or is to be kept.

    Args:
        old: what stands there, or nothing.
        new: the caption.
        merge: one of `MERGES`.

    Raises:
        ConfigError: `merge` is unknown, or the caption empty.
        MetadataError: the caption has a character that XML cannot hold, such as a control code.
    """
    if merge not in MERGES:
        raise ConfigError(f"merge is {merge!r}; expected one of {', '.join(MERGES)}")
    if not new.strip():
        raise ConfigError("the caption is empty; there is nothing to write")
    if found := _FORBIDDEN.search(new):
        raise MetadataError(f"the caption has the character {found[0]!r}, which metadata cannot hold; leave it out")
    if merge == "overwrite" or not old.strip():
        return new
    if f"\n{_lines(new)}\n" in f"\n{_lines(old)}\n":
        return old
    return f"{old}\n{new}" if merge == "append" else f"{new}\n{old}"


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
