"""The images of Markdown, and where a text for each is inserted: `![](…)`, `![][…]`, and `<img>` as in HTML.

Running text is read as CommonMark 0.31 does (section 6), so that nothing in code, comments and escapes is taken for an
image; `markdown_blocks.py` says what is running text. Knows no files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from captioner.alttext.html import NO_ADDRESS, image_of
from captioner.alttext.html_tokens import Tags, after_braces, read_tag
from captioner.alttext.markdown_blocks import Block, blocks_of
from captioner.alttext.markdown_lines import ATTRIBUTES, Extract
from captioner.alttext.markdown_links import Destination, definitions, inline_destination, label_at, normal
from captioner.alttext.records import Image, Scan, Syntax, Text
from captioner.alttext.templates import outside_of_comments

_SPECIAL = re.compile(r"[\\`<!\[\]{]")
_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_AUTOLINK = re.compile(r"<[A-Za-z][A-Za-z0-9+.-]{1,31}:[^\s<>]*>|<[\w.!#$%&'*+/=?^`{|}~-]+@[A-Za-z0-9.-]+>")
_TAG = re.compile(rf"<[A-Za-z][A-Za-z0-9-]*{ATTRIBUTES}\s*/?>|</[A-Za-z][A-Za-z0-9-]*\s*>")
_OTHER_HTML = (("<!--", "-->"), ("<?", "?>"), ("<![CDATA[", "]]>"), ("<!", ">"))
_ATTRIBUTE_LIST = re.compile(r"\{[^{}\n]*\}")


def find_images(text: str, *, mdx: bool = False) -> Scan:
    """The images of a page.

    Args:
        text: of the page.
        mdx: whether it is MDX, where HTML is JSX and braces hold expressions.
    """
    blocks = blocks_of(text, mdx=mdx)
    addresses: dict[str, str] = {}
    begins = [0 if block.is_html else definitions(block.extract.text, addresses) for block in blocks]
    images: list[Image] = []
    hidden_until = 0  # by a comment or script that goes on in the blocks that follow
    for block, begin in zip(blocks, begins, strict=True):
        extract = block.extract
        if block.is_html:
            tags = Tags(extract.text)
            found = [image_of(tag) for tag in tags if tag.name == "img" and not tag.closes]
        else:
            found = list(_Inline(extract.text, begin, addresses, mdx).images())
        images += [placed for image in found if (placed := _placed(image, extract)).start >= hidden_until]
        if block.is_html and tags.unclosed and extract.origin(0) >= hidden_until:
            hidden_until = _end_of(tags.unclosed, text, block)
    return Scan(outside_of_comments(images, text))


def _end_of(unclosed: re.Pattern[str], text: str, block: Block) -> int:
    """Where what a block of HTML leaves open ends; a text that never closes it is hidden to its end."""
    found = unclosed.search(text, block.extract.origin(len(block.extract.text)))
    return found.end() if found else len(text)


def _placed(image: Image, extract: Extract) -> Image:
    """An image of an extract as one of the page."""
    # What is inserted behind the last character of a line belongs to that line.
    insertion = extract.origin(image.insertion - 1) + 1 if image.insertion else extract.origin(0)
    return replace(image, start=extract.origin(image.start), insertion=insertion)


class _Opener:
    """`[` or `![`, for which a `]` may come."""

    def __init__(self, start: int, is_image: bool, count: int) -> None:
        self.start = start
        self.is_image = is_image
        self.is_active = True
        self.inside = start + 1 + is_image
        self.count = count
        """Of images that were found before it."""


class _Inline:
    """Running text, read once from left to right."""

    def __init__(self, text: str, begin: int, addresses: Mapping[str, str], mdx: bool) -> None:
        self._text = text
        self._begin = begin
        self._addresses = addresses
        self._mdx = mdx
        self._openers: list[_Opener] = []
        self._found: list[Image] = []
        self._absent: set[str] = set()
        """What was looked for and comes no more: to look at every beginning would take for ever."""
        self._ticks: dict[int, list[int]] = {}
        for run in re.finditer(r"`+", text):
            self._ticks.setdefault(len(run[0]), []).append(run.start())
        for places in self._ticks.values():
            places.reverse()

    def images(self) -> Iterator[Image]:
        """The images in it; those in the text of another image are part of that text."""
        text, position = self._text, self._begin
        while special := _SPECIAL.search(text, position):
            position = self._after(special[0], special.start())
        yield from self._found

    def _after(self, character: str, position: int) -> int:
        """Where to go on after a special character."""
        text = self._text
        if character == "\\":
            return position + 1 + (text[position + 1 : position + 2] in _PUNCTUATION)
        if character == "`":
            return self._after_ticks(position)
        if character == "<":
            return self._after_angle(position)
        if character == "{":
            return self._after_brace(position)
        if character == "]":
            return self._after_bracket(position)
        is_image = character == "!"
        if not is_image or text.startswith("[", position + 1):
            self._openers.append(_Opener(position, is_image, len(self._found)))
            return position + 1 + is_image
        return position + 1

    def _after_ticks(self, position: int) -> int:
        run = re.compile(r"`+").match(self._text, position)
        assert run is not None
        places = self._ticks.get(len(run[0]), [])  # of a longer run only the rest counts when its first is escaped
        while places and places[-1] <= position:
            places.pop()
        return (places[-1] if places else position) + len(run[0])

    def _after_brace(self, position: int) -> int:
        end = after_braces(self._text, position) if self._mdx and "}" not in self._absent else 0
        if self._mdx and not end:  # a page that MDX refuses; what comes behind it is read as Markdown
            self._absent.add("}")
        return end or position + 1

    def _after_angle(self, position: int) -> int:
        text = self._text
        if link := _AUTOLINK.match(text, position):
            return link.end()
        is_tag = _TAG.match(text, position) or (self._mdx and text[position + 1 : position + 2].isalpha())
        if is_tag and "tag" not in self._absent:
            tag = read_tag(text, position, braces=self._mdx)
            if tag and tag.name == "img" and not tag.closes:
                self._found.append(image_of(tag))
            if tag:
                return tag.end
            self._absent.add("tag")  # the text ends within this one
        for beginning, end in _OTHER_HTML:
            if text.startswith(beginning, position):
                if beginning == "<!" and not text[position + 2 : position + 3].isalpha():
                    continue
                if short := re.compile(r"<!--(-?>)").match(text, position):
                    return short.end()
                found = -1 if end in self._absent else text.find(end, position + len(beginning))
                if found < 0:
                    self._absent.add(end)
                    continue
                return found + len(end)
        return position + 1

    def _after_bracket(self, position: int) -> int:
        opener = self._openers.pop() if self._openers else None
        if opener is None or not opener.is_active:
            return position + 1
        label = self._text[opener.inside : position]
        destination = inline_destination(self._text, position + 1) or self._reference(label, position + 1)
        if destination is None:
            return position + 1
        if opener.is_image:
            del self._found[opener.count :]
            self._found.append(self._image(opener, label, destination))
        else:
            for other in self._openers:  # a link holds no link
                other.is_active = other.is_active and other.is_image
        return destination.end

    def _reference(self, label: str, position: int) -> Destination | None:
        """Where a label, or the one behind it, was defined to lead."""
        following = label_at(self._text, position)
        end = following.end() if following else position
        address = self._addresses.get(normal((following[1] if following else "") or label))
        return None if address is None else Destination(address, end)

    def _image(self, opener: _Opener, label: str, destination: Destination) -> Image:
        text = Text.WRITTEN if label.strip() else Text.DECORATIVE if label else Text.MISSING
        attributes = _ATTRIBUTE_LIST.match(self._text, destination.end)
        if attributes and "alt=" in attributes[0]:
            text = Text.WRITTEN
        elif attributes and text is Text.MISSING and re.search(r"aria-hidden|role=", attributes[0]):
            text = Text.DECORATIVE
        unknown = "" if destination.address else NO_ADDRESS
        return Image(opener.start, text, Syntax.MARKDOWN, destination.address, opener.inside, unknown)
