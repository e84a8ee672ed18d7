"""The tags of HTML text with the places of their attributes, as the HTML standard cuts it up (section 13.2.5).

Comments, declarations, CDATA sections and what scripts, styles and text areas hold are passed over. Builds no tree, so
knows neither omitted end tags nor misplaced elements. The content of `<noscript>` is taken for markup, as it is shown
where scripts are switched off, and so is that of `<template>`, which scripts show as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_SPACE = "\\t\\n\\f\\r "
_TAG = re.compile(rf"</?([A-Za-z][^{_SPACE}/>]*)")
_WHOLE = re.compile(
    rf"</?([A-Za-z][^{_SPACE}/>]*+)"
    rf"(?:[{_SPACE}/]*+[^{_SPACE}/>][^{_SPACE}/>=]*+"
    rf"(?:[{_SPACE}]*+=[{_SPACE}]*+(?:\"[^\"]*\"|'[^']*'|[^{_SPACE}>\"'][^{_SPACE}>]*+|(?=>))|(?![{_SPACE}]*+=)))*+"
    rf"([{_SPACE}/]*+)>"
)
"""A tag as `read_tag` reads it, in a tenth of the time: most tags are none that anybody asks for."""
_BETWEEN = re.compile(rf"[{_SPACE}/]*")
_ATTRIBUTE = re.compile(rf"[^{_SPACE}/>][^{_SPACE}/>=]*")
_EQUALS = re.compile(rf"[{_SPACE}]*=[{_SPACE}]*")
_UNQUOTED = re.compile(rf"[^{_SPACE}>]*")
_COMMENT_END = re.compile(r"--!?>")
_RAW = frozenset({"script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"})
_RAW_ENDS = {name: re.compile(rf"</{name}(?=[{_SPACE}/>])", re.IGNORECASE) for name in _RAW}
_SCRIPT = re.compile(rf"<!--|-->|<(/?)script(?=[{_SPACE}/>])", re.IGNORECASE)
_BRACE = re.compile(r"[{}]")
_READ = ("img", "base")
_FOREIGN = ("svg", "math")


@dataclass(frozen=True)
class Attribute:
    """An attribute of a tag."""

    name: str
    """In small letters."""
    value: str | None
    """As written, without its quotes; None when there is none."""
    end: int
    """Where it ends, its closing quote included."""
    is_quoted: bool = False
    """Whether its value is in quotes."""


@dataclass(frozen=True)
class Tag:
    """A start tag or an end tag."""

    name: str
    """In small letters."""
    start: int
    """Where its `<` is."""
    end: int
    """Behind its `>`."""
    attributes: tuple[Attribute, ...]
    """All that are written, those that are written twice too."""
    closes: bool
    """Whether it is an end tag."""
    is_empty: bool
    """Whether it ends in `/>`."""

    def first(self) -> dict[str, Attribute]:
        """The attributes that count: of those with the same name the first."""
        return {attribute.name: attribute for attribute in reversed(self.attributes)}


def read_tag(text: str, start: int, *, braces: bool = False) -> Tag | None:
    """The tag whose `<` is at `start`; None when there is none, or the text ends within it.

    Args:
        text: of the page.
        start: where `<` is.
        braces: whether `{…}` is an attribute or a value of its own, as in JSX.
    """
    name = _TAG.match(text, start)
    if name is None:
        return None
    attributes: list[Attribute] = []
    position = name.end()
    while True:
        between = _matched(_BETWEEN, text, position)
        position = between.end()
        if position == len(text):
            return None
        if text[position] == ">":
            closes, is_empty = text[start + 1] == "/", between[0].endswith("/")
            return Tag(name[1].lower(), start, position + 1, tuple(attributes), closes, is_empty)
        attribute = _read_attribute(text, position, braces)
        if attribute is None:
            return None
        attributes.append(attribute)
        position = attribute.end


def _read_attribute(text: str, start: int, braces: bool) -> Attribute | None:
    """The attribute that begins at `start`; None when the text ends within it."""
    if braces and text[start] == "{":
        end = after_braces(text, start)
        return Attribute(text[start:end].lower(), None, end) if end else None
    name = _matched(_ATTRIBUTE, text, start)
    equals = _EQUALS.match(text, name.end())
    if equals is None:
        return Attribute(name[0].lower(), None, name.end())
    position = equals.end()
    quote = text[position : position + 1]
    if quote in ('"', "'"):
        end = text.find(quote, position + 1)
        value = text[position + 1 : end]
        return Attribute(name[0].lower(), value, end + 1, is_quoted=True) if end >= 0 else None
    end = after_braces(text, position) if braces and quote == "{" else _matched(_UNQUOTED, text, position).end()
    return Attribute(name[0].lower(), text[position:end], end) if end else None


def after_braces(text: str, start: int) -> int:
    """Behind the `}` of the `{` at `start`, braces within it counted, strings not understood; 0 when it has none."""
    depth = 0
    for found in _BRACE.finditer(text, start):
        depth += 1 if found[0] == "{" else -1
        if depth == 0:
            return found.end()
    return 0


def _matched(pattern: re.Pattern[str], text: str, position: int) -> re.Match[str]:
    """The match of a pattern that matches anywhere where it is used."""
    found = pattern.match(text, position)
    assert found is not None
    return found


class Tags:
    """The tags of a text, in order; attributes are read of those alone that are images or say what addresses mean.

    Args:
        text: of the page, or of a part of it.
        xml: whether it is XHTML, where `<script/>` is complete and CDATA sections are read anywhere.
    """

    def __init__(self, text: str, *, xml: bool = False) -> None:
        self._text = text
        self._xml = xml
        self._foreign = 0
        """How many `<svg>` and `<math>` are open."""
        self.unclosed: re.Pattern[str] | None = None
        """What would end the comment or script that the text ends in; None when it ends in neither."""

    def __iter__(self) -> Iterator[Tag]:
        text, position = self._text, 0
        while (start := text.find("<", position)) >= 0:
            whole = _WHOLE.match(text, start)
            if whole is not None:
                name = whole[1].lower()
                tag = read_tag(text, start) if name in _READ else None
                tag = tag or Tag(name, start, whole.end(), (), text[start + 1] == "/", whole[2].endswith("/"))
                yield tag
                position = self._after(tag)
            elif _TAG.match(text, start):  # the text ends within a tag
                return
            else:
                position = self._after_other(start)
            if position < 0:
                return

    def _after(self, tag: Tag) -> int:
        """Where to go on after a tag and what is not markup behind it; -1 for nowhere."""
        if tag.name in _FOREIGN and not tag.is_empty:
            self._foreign = max(0, self._foreign + (-1 if tag.closes else 1))
        is_complete = tag.closes or (tag.is_empty and (self._xml or self._foreign > 0))
        if is_complete or tag.name not in (*_RAW, "plaintext"):
            return tag.end
        if tag.name == "plaintext":
            return -1
        end = _script_end(self._text, tag.end) if tag.name == "script" else self._find(_RAW_ENDS[tag.name], tag.end)
        if end < 0:
            self.unclosed = _RAW_ENDS[tag.name]
        return end

    def _after_other(self, start: int) -> int:
        """Where to go on after a `<` that begins no tag; -1 for nowhere."""
        text = self._text
        if text.startswith("<!--", start):
            if short := re.compile(r"<!--(-?>)").match(text, start):
                return short.end()
            return self._through(_COMMENT_END, start + 4)
        if text.startswith("<![CDATA[", start) and (self._xml or self._foreign):
            return self._through(re.compile(r"\]\]>"), start + 9)
        if re.compile(r"<\?(?:php|=|xml)", re.IGNORECASE).match(text, start):
            end = text.find("?>", start)  # PHP has `>` in it; a browser never sees it
            return end + 2 if end >= 0 else -1
        if text.startswith(("<!", "<?", "</"), start):
            end = text.find(">", start)
            return end + 1 if end >= 0 else -1
        return start + 1

    def _through(self, pattern: re.Pattern[str], position: int) -> int:
        found = pattern.search(self._text, position)
        if found is None:
            self.unclosed = pattern
        return found.end() if found else -1

    def _find(self, pattern: re.Pattern[str], position: int) -> int:
        found = pattern.search(self._text, position)
        return found.start() if found else -1


def _script_end(text: str, position: int) -> int:
    """Where the `</script` is that ends a script; -1 for nowhere.

    After `<!--`, as scripts were once hidden from old browsers, `<script` begins one in the script, which `</script`
    ends first.
    """
    hidden = inner = False
    while found := _SCRIPT.search(text, position):
        position = found.end()
        if found[0] == "<!--":
            hidden = True
            position = found.start() + 2  # its dashes may be those of `-->`
        elif found[0] == "-->":
            hidden = inner = False
        elif not found[1]:
            inner = inner or hidden
        elif inner:
            inner = False
        else:
            return found.start()
    return -1
