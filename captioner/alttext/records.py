"""What is found in a page: its images, and what each has for those who do not see it. Knows no file and no picture."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Syntax(Enum):
    """How an image is written, which decides how a text is escaped."""

    HTML = "html"
    """An `<img>` of a page; the text becomes an attribute of its own."""
    MARKDOWN = "markdown"
    """`![](picture.png)`; the text goes between the brackets."""


class Text(Enum):
    """What an image has for those who do not see it."""

    WRITTEN = "written"
    """Words, by a person or a script; never touched."""
    DECORATIVE = "decorative"
    """Somebody has said that it needs none; never touched."""
    MISSING = "missing"
    """Nothing."""


@dataclass(frozen=True)
class Image:
    """One image of a page."""

    start: int
    """Where it begins, in characters from the beginning of the text."""
    text: Text
    """What it has for those who do not see it."""
    syntax: Syntax
    """How it is written."""
    source: str
    """The address of the picture, its character references and escapes decoded; empty when there is none."""
    insertion: int
    """Where a text for it is inserted, in characters from the beginning of the text."""
    unknown: str = ""
    """Why nothing can be said for it though its text is missing; empty when nothing speaks against it."""


@dataclass(frozen=True)
class Scan:
    """What is found in a page."""

    images: tuple[Image, ...]
    """Its images, in order."""
    base: str = ""
    """What `<base href>` says that addresses are relative to; empty when it says nothing."""
