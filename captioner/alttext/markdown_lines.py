"""The lines of Markdown: columns, and which kind of block a line begins. Knows neither containers nor links.

Patterns and rules are those of CommonMark 0.31, sections 4 and 5.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

_LINE = re.compile(r"([^\r\n]*)(?:\r\n|\n|\r|\Z)")
_FENCE = re.compile(r"(`{3,})[^`]*\Z|(~{3,})")
_HEADING = re.compile(r"#{1,6}(?:[ \t]|\Z)")
_UNDERLINE = re.compile(r"(?:=+|-+)[ \t]*\Z")
_BREAK = re.compile(r"(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})\Z")
_MARKER = re.compile(r"(?:[-+*]|(\d{1,9})[.)])(?=[ \t]|\Z)")
_DELIMITERS = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*\Z")
ATTRIBUTES = r"""(?:\s+[A-Za-z_:][\w.:-]*(?:\s*=\s*(?:[^\s"'=<>`]+|'[^']*'|"[^"]*"))?)*"""
"""The attributes of a tag, as far as Markdown takes it for one."""
_BLOCKS = (
    "address|article|aside|base|basefont|blockquote|body|caption|center|col|colgroup|dd|details|dialog|dir|div|dl|dt|"
    "fieldset|figcaption|figure|footer|form|frame|frameset|h[1-6]|head|header|hr|html|iframe|legend|li|link|main|menu|"
    "menuitem|nav|noframes|ol|optgroup|option|p|param|search|section|summary|table|tbody|td|tfoot|th|thead|title|tr|"
    "track|ul"
)
_HTML = tuple(
    (re.compile(beginning, re.IGNORECASE), end and re.compile(end, re.IGNORECASE))
    for beginning, end in (
        (r"<(?:script|pre|style|textarea)(?:\s|>|\Z)", r"</(?:script|pre|style|textarea)>"),
        (r"<!--", r"-->"),
        (r"<\?", r"\?>"),
        (r"<!\[CDATA\[", r"\]\]>"),
        (r"<![A-Za-z]", r">"),
        (rf"</?(?:{_BLOCKS})(?:\s|/?>|\Z)", ""),
        (rf"(?:<[A-Za-z][A-Za-z0-9-]*{ATTRIBUTES}\s*/?>|</[A-Za-z][A-Za-z0-9-]*\s*>)\s*\Z", ""),
    )
)
"""How blocks of HTML begin, and end; those without an end do at a blank line."""


@dataclass(frozen=True)
class Fence:
    """The opening fence of a code block."""

    mark: str
    """Its characters."""

    def is_closed_by(self, rest: str) -> bool:
        """Whether a line that has so much left closes it."""
        closing = rest.rstrip(" \t")
        return len(closing) >= len(self.mark) and not closing.strip(self.mark[0])


class Line:
    """A line as it is read from left to right; tabs count up to the next column that is a multiple of four."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self._text = text
        self._column = 0
        self.position = start
        """What is read up to here."""
        self.end = end
        """Of the line, its line break not included."""

    @property
    def indent(self) -> int:
        """Columns of blanks from here on."""
        return self._measure()[0]

    @property
    def first(self) -> int:
        """Where the first character is that is not blank."""
        return self._measure()[1]

    @property
    def is_blank(self) -> bool:
        """Whether only blanks are left."""
        return self.first == self.end

    @property
    def rest(self) -> str:
        """From the first character that is not blank."""
        return self._text[self.first : self.end]

    def _measure(self) -> tuple[int, int]:
        column, position = self._column, self.position
        while position < self.end and self._text[position] in " \t":
            column = column + 1 if self._text[position] == " " else column // 4 * 4 + 4
            position += 1
        return column - self._column, position

    def skip_blanks(self, columns: int) -> None:
        """Read so many columns of blanks; a tab may be read in part."""
        target = self._column + columns
        while self._column < target and self.position < self.end:
            stop = self._column + 1 if self._text[self.position] == " " else self._column // 4 * 4 + 4
            self._column = min(stop, target)
            self.position += stop <= target

    def skip_mark(self, length: int) -> None:
        """Read the blanks and so many characters behind them."""
        columns, first = self._measure()
        self._column += columns + length
        self.position = first + length

    def fence(self) -> Fence | None:
        """The fence that it is."""
        found = _FENCE.match(self.rest)
        return Fence(found[1] or found[2]) if found else None

    def marker(self) -> re.Match[str] | None:
        """The marker of a list item that it begins with; the group is its number."""
        return _MARKER.match(self.rest)

    def html(self, *, in_paragraph: bool) -> re.Pattern[str] | str | None:
        """What ends the block of HTML that it begins, empty for a blank line; None when it begins none."""
        if not self.rest.startswith("<"):
            return None
        for beginning, end in _HTML[:-1] if in_paragraph else _HTML:
            if beginning.match(self.rest):
                return end
        return None

    def is_heading(self) -> bool:
        """Whether it is a heading with `#`."""
        return _HEADING.match(self.rest) is not None

    def is_underline(self) -> bool:
        """Whether it makes the paragraph above it a heading."""
        return _UNDERLINE.match(self.rest) is not None

    def is_break(self) -> bool:
        """Whether it is a thematic break."""
        return _BREAK.match(self.rest) is not None


def lines_of(text: str, start: int) -> list[Line]:
    """The lines from `start` on."""
    found: list[Line] = []
    while start < len(text):
        line = _LINE.match(text, start)
        assert line is not None
        found.append(Line(text, line.start(), line.end(1)))
        start = line.end()
    return found


class Extract:
    """Parts of a text, each of which becomes a line of a text of its own.

    Args:
        text: that they are parts of.
        parts: beginning and end of each.
    """

    def __init__(self, text: str, parts: Sequence[tuple[int, int]]) -> None:
        self._parts = parts
        self.text = "\n".join(text[start:end] for start, end in parts)
        """The lines."""
        self._begins = [0]
        for start, end in parts:
            self._begins.append(self._begins[-1] + end - start + 1)

    def origin(self, position: int) -> int:
        """Where in the text that it is from a character is."""
        line = min(bisect_right(self._begins, position), len(self._parts)) - 1
        return self._parts[line][0] + position - self._begins[line]


def cut_tables(text: str, parts: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """The lines of a paragraph, or what is in it when it holds a table: the lines above, and the cells one by one."""
    for place, (start, end) in enumerate(parts[1:]):
        is_row = "|" in text[start:end] and "|" in text[slice(*parts[place])]
        if is_row and _DELIMITERS.match(text[start:end]):
            above = [list(parts[:place])] if place else []
            cells = [cell for row in (parts[place], *parts[place + 2 :]) for cell in _cells(text, *row)]
            return above + [[cell] for cell in cells]
    return [list(parts)]


def _cells(text: str, start: int, end: int) -> list[tuple[int, int]]:
    bars = [found.start() for found in re.compile(r"(?<!\\)\|").finditer(text, start, end)]
    return list(zip([start, *(bar + 1 for bar in bars)], [*bars, end], strict=True))
