"""The links of Markdown: destinations, titles, labels and definitions (CommonMark 0.31, sections 4.7 and 6.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from captioner.alttext.escape import decode_markdown

_BLANKS = re.compile(r"[ \t]*(?:\n[ \t]*)?")
_BRACKETED = re.compile(r"<((?:[^<>\n\\]|\\.)*)>")
_PLAIN = re.compile(r"(?:[^\\()\x00-\x20\x7f]|\\[!-/:-@\[-`{-~]|\\|([()]))")
_TITLE = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|\((?:[^()\\]|\\.)*\)', re.DOTALL)
_LABEL = re.compile(r"\[((?:[^\[\]\\]|\\.){0,999})\]", re.DOTALL)
_NESTED = 32


@dataclass(frozen=True)
class Destination:
    """Where a link leads."""

    address: str
    """Its escapes and references decoded."""
    end: int
    """Behind all that belongs to it."""


def inline_destination(text: str, position: int) -> Destination | None:
    """The destination in parentheses that begin at `position`, with its title; None when there is none."""
    if not text.startswith("(", position):
        return None
    start = _blanks(text, position + 1)
    found = _destination(text, start)
    address, end = (found.address, found.end) if found else ("", start)
    behind = _blanks(text, end)
    if behind > end and (title := _TITLE.match(text, behind)):
        behind = _blanks(text, title.end())
    return Destination(address, behind + 1) if text.startswith(")", behind) else None


def label_at(text: str, position: int) -> re.Match[str] | None:
    """The label in brackets at `position`; may be empty."""
    return _LABEL.match(text, position)


def normal(label: str) -> str:
    """A label as it is compared with others."""
    return " ".join(label.split()).casefold().upper()


def definitions(text: str, found: dict[str, str]) -> int:
    """Put the definitions that a paragraph begins with into `found`, the first of a label; returns where they end."""
    position = 0
    while definition := _definition(text, position):
        label, address, position = definition
        found.setdefault(label, address)
    return position


def _definition(text: str, position: int) -> tuple[str, str, int] | None:
    label = label_at(text, position)
    # With `^` it is a footnote in most Markdown, and what follows is running text.
    if label is None or not label[1].strip() or label[1].startswith("^") or not text.startswith(":", label.end()):
        return None
    destination = _destination(text, _blanks(text, label.end() + 1))
    if destination is None:
        return None
    end = destination.end
    behind = _blanks(text, end)
    title = _TITLE.match(text, behind) if behind > end else None
    for candidate in (title.end() if title else end, end):  # what only begins like a title belongs to the text
        line_end = re.compile(r"[ \t]*(?:\n[ \t]*|\Z)").match(text, candidate)
        if line_end:
            return normal(label[1]), destination.address, line_end.end()
    return None


def _destination(text: str, position: int) -> Destination | None:
    """A destination alone."""
    if text.startswith("<", position):
        found = _BRACKETED.match(text, position)
        return Destination(decode_markdown(found[1]), found.end()) if found else None
    depth, end = 0, position
    while piece := _PLAIN.match(text, end):
        if piece[1] == "(":
            depth += 1
            if depth > _NESTED:
                return None
        elif piece[1] == ")":
            if depth == 0:
                break
            depth -= 1
        end = piece.end()
    return Destination(decode_markdown(text[position:end]), end) if end > position and depth == 0 else None


def _blanks(text: str, position: int) -> int:
    found = _BLANKS.match(text, position)
    return found.end() if found else position
