"""The images of HTML text, and where a text for each is inserted. Knows no files; `html_tokens.py` cuts the text up."""

from __future__ import annotations

import re

from captioner.alttext.escape import decode_attribute
from captioner.alttext.html_tokens import Attribute, Tag, Tags
from captioner.alttext.records import Image, Scan, Syntax, Text
from captioner.alttext.templates import EXPRESSION, outside_of_comments

NO_ADDRESS = "no address"
"""Why an image is left alone that names no picture."""
_TINY = "one pixel in size"
_BOUND = re.compile(r"(?:[\w.-]*:|\[(?:attr\.)?|ng-attr-)alt\]?")
"""Attributes that give an alternative text when the page runs: Vue, Angular, Alpine, Thymeleaf."""
_ANY_BOUND = ("v-bind", "x-bind", "th:attr", "th:attrappend")
_LAZY = ("data-src", "data-lazy-src", "data-original")
"""Where the address is when a script puts it into `src` later."""


def find_images(text: str, *, xml: bool = False) -> Scan:
    """The images of a page.

    Args:
        text: of the page.
        xml: whether it is XHTML.
    """
    images: list[Image] = []
    bases: list[str] = []
    for tag in Tags(text, xml=xml):
        if tag.name == "img" and not tag.closes:
            images.append(image_of(tag))
        elif tag.name == "base" and not tag.closes and (href := tag.first().get("href")):
            bases.append(decode_attribute(href.value or "").strip())
    return Scan(outside_of_comments(images, text), bases[0] if bases else "")


def image_of(tag: Tag) -> Image:
    """The image that an `<img>` stands for; its places are those of the tag."""
    attributes = tag.first()

    def value(name: str) -> str:
        found = attributes.get(name)
        return decode_attribute(found.value or "").strip() if found else ""

    addresses = [name for name in ("src", *_LAZY) if value(name)]
    if len(addresses) > 1 and addresses[0] == "src" and value("src").startswith("data:"):
        del addresses[0]  # a placeholder until a script has loaded the picture
    chosen = addresses[0] if addresses else ""
    source = value(chosen) if chosen else ""
    unknown = ""
    if any(map(_is_expression, attributes.values())):
        unknown = EXPRESSION
    elif not chosen:
        unknown = NO_ADDRESS
    elif value("width") in ("0", "1") and value("height") in ("0", "1"):
        unknown = _TINY
    insertion = attributes[chosen].end if chosen else tag.start
    return Image(tag.start, _text_of(tag), Syntax.HTML, source, insertion, unknown)


def _is_expression(attribute: Attribute) -> bool:
    """Whether a template or a script decides what an attribute is, or where it ends."""
    value = "" if attribute.is_quoted else attribute.value or ""
    # `onClick={() => …}`: HTML lets the tag end at the first `>`, and an `alt` behind it would not be seen.
    is_cut = value.startswith("{") and value.count("{") != value.count("}")
    return is_cut or attribute.name in _ANY_BOUND or re.search(r"[{}<%?]", attribute.name) is not None


def _text_of(tag: Tag) -> Text:
    """What an `<img>` has for those who do not see it."""
    attributes = tag.first()
    values = {name: (attribute.value or "").strip().lower() for name, attribute in attributes.items()}
    if values.get("alt") or any(_BOUND.fullmatch(name) for name in values):
        return Text.WRITTEN
    is_ornament = {"presentation", "none"} & set(values.get("role", "").split()) or values.get("aria-hidden") == "true"
    if "alt" in values or is_ornament:
        return Text.DECORATIVE
    return Text.WRITTEN if {"aria-label", "aria-labelledby"} & set(values) else Text.MISSING
