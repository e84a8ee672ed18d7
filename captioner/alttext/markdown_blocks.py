"""The blocks of Markdown: which lines are running text, and which are HTML; code and front matter are left out.

Follows the rules of CommonMark 0.31 for blocks (sections 3 to 5), with the tables of GitHub. Knows nothing of what is
in a line. In MDX nothing is code for being indented, tags are read within running text, and `import` and `export` are
left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from captioner.alttext.markdown_lines import Extract, Fence, Line, cut_tables, lines_of
from captioner.alttext.templates import front_matter

_MODULE = re.compile(r"(?:import|export)\b")


@dataclass(frozen=True)
class Block:
    """A piece of a page that is read as a whole."""

    is_html: bool
    """Whether it is HTML; otherwise running text, or a cell of a table."""
    extract: Extract
    """Its lines, without what marks them as parts of quotations and lists."""


@dataclass
class _Container:
    """A quotation or an item of a list."""

    indent: int = -1
    """Columns that lines of an item are indented by; -1 for a quotation."""
    is_empty: bool = False
    """Whether an item has nothing but its marker yet."""

    def holds(self, line: Line) -> bool:
        """Whether the line goes on in it; what marks it so is read."""
        if self.indent >= 0:
            if line.is_blank:
                return not self.is_empty
            self.is_empty = False
            if line.indent < self.indent:
                return False
            line.skip_blanks(self.indent)
            return True
        if line.indent > 3 or not line.rest.startswith(">"):
            return False
        _enter_quotation(line)
        return True


@dataclass
class _Leaf:
    """The block that lines are being added to."""

    kind: str
    """`paragraph`, `html`, `fence`, `code` or `module`; lines of the first two are kept."""
    lines: list[tuple[int, int]]
    """Beginning and end of each."""
    end: re.Pattern[str] | str = ""
    """What ends HTML; a blank line when empty."""
    fence: Fence | None = None
    """The opening fence."""


def blocks_of(text: str, *, mdx: bool = False) -> list[Block]:
    """The blocks of a page that are no code, in order."""
    reader = _Reader(text, mdx)
    for line in lines_of(text, front_matter(text)):
        reader.read(line)
    reader.close()
    return reader.blocks


def _enter_quotation(line: Line) -> None:
    line.skip_mark(1)
    if line.indent:
        line.skip_blanks(1)


class _Reader:
    """Takes lines one by one."""

    def __init__(self, text: str, mdx: bool) -> None:
        self.blocks: list[Block] = []
        self._text = text
        self._mdx = mdx
        self._containers: list[_Container] = []
        self._leaf: _Leaf | None = None

    def read(self, line: Line) -> None:
        """Add a line to the blocks that it goes on in, and begin those that it begins."""
        matched = 0
        while matched < len(self._containers) and self._containers[matched].holds(line):
            matched += 1
        if matched == len(self._containers) and self._leaf and self._goes_on(self._leaf, line):
            return
        while True:  # as many quotations and items as begin here
            container = self._begun(line, matched)
            if container is None:
                break
            self._cut(matched)
            self._containers.append(container)
            matched += 1
        if self._begins_leaf(line, matched):
            return
        if line.is_blank:
            if self._leaf and self._leaf.kind != "code":
                self._close_leaf()
            self._cut_to(matched)
        elif self._leaf and self._leaf.kind == "paragraph":  # also of containers that the line is not marked for
            self._leaf.lines.append((line.first, line.end))
        else:
            self._cut(matched)
            self._leaf = _Leaf("paragraph", [(line.first, line.end)])

    def close(self) -> None:
        """The text has ended."""
        self._cut(0)

    def _goes_on(self, leaf: _Leaf, line: Line) -> bool:
        """Whether the line belongs to a block that takes every line until its end; it is added."""
        if leaf.kind == "fence":
            if leaf.fence and line.indent <= 3 and leaf.fence.is_closed_by(line.rest):
                self._leaf = None
            return True
        if leaf.kind == "html":
            if isinstance(leaf.end, str):
                if line.is_blank:
                    return False
                leaf.lines.append((line.position, line.end))
            else:
                leaf.lines.append((line.position, line.end))
                if leaf.end.search(self._text, line.position, line.end):
                    self._close_leaf()
            return True
        return leaf.kind == "module" and not line.is_blank

    def _begun(self, line: Line, matched: int) -> _Container | None:
        """The quotation or item that begins here, its mark read."""
        if line.is_blank or (line.indent > 3 and not self._mdx):
            return None
        if line.rest.startswith(">"):
            _enter_quotation(line)
            return _Container()
        marker = line.marker()
        interrupts = self._is_in_paragraph(matched)
        if marker is None or line.is_break() or (interrupts and line.is_underline()):
            return None
        length, before = len(marker[0]), line.indent
        is_empty = not line.rest[length:].strip(" \t")
        if interrupts and (is_empty or int(marker[1] or 1) != 1):
            return None
        line.skip_mark(length)
        blanks = 1 if is_empty or line.indent > 4 else line.indent
        line.skip_blanks(blanks)
        return _Container(before + length + blanks, is_empty)

    def _begins_leaf(self, line: Line, matched: int) -> bool:
        """Whether a block of its own begins here, or a paragraph is ended by a line below it."""
        if line.is_blank:
            return False
        in_paragraph = self._leaf is not None and self._leaf.kind == "paragraph"
        if line.indent > 3 and not self._mdx:
            if in_paragraph:
                return False
            if self._leaf is None or self._leaf.kind != "code" or matched < len(self._containers):
                self._cut(matched)
                self._leaf = _Leaf("code", [])
            return True
        leaf: _Leaf | None = None
        if line.is_heading():
            self._cut(matched)
            self._emit(is_html=False, lines=[(line.first, line.end)])
        elif fence := line.fence():
            leaf = _Leaf("fence", [], fence=fence)
        elif not self._mdx and (end := line.html(in_paragraph=in_paragraph)) is not None:
            self._begin_html(line, matched, end)
            return True
        elif line.is_break() or (self._is_in_paragraph(matched) and line.is_underline()):
            pass
        elif self._mdx and not in_paragraph and not self._containers and _MODULE.match(line.rest):
            leaf = _Leaf("module", [])
        else:
            return False
        self._cut(matched)
        self._leaf = leaf
        return True

    def _begin_html(self, line: Line, matched: int, end: re.Pattern[str] | str) -> None:
        self._cut(matched)
        self._leaf = _Leaf("html", [(line.position, line.end)], end=end)
        if not isinstance(end, str) and end.search(self._text, line.first, line.end):
            self._close_leaf()

    def _is_in_paragraph(self, matched: int) -> bool:
        """Whether the line is marked for the paragraph that is open, if one is."""
        return self._leaf is not None and self._leaf.kind == "paragraph" and matched == len(self._containers)

    def _cut(self, matched: int) -> None:
        """End the open block, and the containers that the line is not in."""
        self._close_leaf()
        del self._containers[matched:]

    def _cut_to(self, matched: int) -> None:
        if matched < len(self._containers):
            self._cut(matched)

    def _close_leaf(self) -> None:
        leaf, self._leaf = self._leaf, None
        if leaf and leaf.kind == "html":
            self._emit(is_html=True, lines=leaf.lines)
        elif leaf and leaf.kind == "paragraph":
            for lines in cut_tables(self._text, leaf.lines):
                self._emit(is_html=False, lines=lines)

    def _emit(self, *, is_html: bool, lines: list[tuple[int, int]]) -> None:
        self.blocks.append(Block(is_html, Extract(self._text, lines)))
