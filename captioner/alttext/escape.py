"""Characters in pages: references and escapes decoded, captions shortened and escaped for their place."""

from __future__ import annotations

import re
from html import unescape
from html.entities import html5

from captioner.alttext.records import Syntax

_REFERENCE = re.compile(r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|([A-Za-z][A-Za-z0-9]*;?))")
_BACKSLASHED = re.compile(r"\\([!-/:-@\[-`{-~])|(&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]*);)")
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_IN_HTML = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
    # Harmless in HTML itself; but pages are templates too, and Markdown looks for code and table cells around tags.
    | {character: f"&#{ord(character)};" for character in "{}`|"}
)
_IN_MARKDOWN = str.maketrans(
    {character: f"\\{character}" for character in "\\`*_{}[]!"}
    # Not every Markdown takes a backslash before these, but all know references.
    | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
    | {character: f"&#{ord(character)};" for character in "|$~^"}
)


def decode_attribute(value: str) -> str:
    """An attribute's value with its character references decoded as HTML does it there, not as in running text.

    A name without semicolon is a reference only when neither `=` nor a letter nor a digit follows.
    """

    def decoded(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return unescape(found[0])
        followed = value[found.end() : found.end() + 1] == "="
        return found[0] if followed and not name.endswith(";") else html5.get(name, found[0])

    return _REFERENCE.sub(decoded, value)


def decode_markdown(text: str) -> str:
    """A destination of Markdown with its backslash escapes and character references decoded."""
    return _BACKSLASHED.sub(lambda found: found[1] or unescape(found[2]), text)


def one_line(text: str) -> str:
    """A text without line breaks and whatever else no attribute should hold."""
    return " ".join(_UNFIT.sub(" ", text).split())


def shortened(text: str, most: int) -> str:
    """The text itself, or as many of its words as fit into `most` characters together with `…`."""
    if len(text) <= most:
        return text
    beginning = text[: most - 1]
    if text[most - 1] != " " and " " in beginning:  # not in the middle of a word
        beginning = beginning[: beginning.rindex(" ")]
    return beginning.rstrip(" ,;:") + "…"


def as_insertion(text: str, syntax: Syntax) -> str:
    """What is written into a page so that the text is an image's alternative text; one line."""
    return f' alt="{text.translate(_IN_HTML)}"' if syntax is Syntax.HTML else text.translate(_IN_MARKDOWN)
