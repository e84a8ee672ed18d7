"""What template languages put into pages, where it has to be known to leave it alone. Runs none of them.

Jinja, Liquid, Twig, Django, Hugo, PHP, ERB and JSP: enough of each to tell an address from an expression, and a comment
or a listing from the page itself.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable

from captioner.alttext.records import Image

EXPRESSION = "an expression of a template"
"""Why an image is left alone whose attributes or address are made when the page is."""
_EXPRESSION = re.compile(r"\{\{|\{%|[$#@]\{|<[?%]|^\{")
_OPENINGS = re.compile(
    r"\{%-?\s*(?:comment|highlight)\b|\{\{[<%]\s*highlight\b|\{\{-?\s*/\*|\{#|<%--"
    # What is in an expression or a statement is a string in another language, whose quotes a text could end.
    r"|(?P<whole>\{\{(?:(?!\{\{|\}\}).)*+\}\}|\{%(?:(?!\{%|%\}).)*+%\}|<%(?:(?!<%|%>).)*+%>)",
    re.DOTALL,
)
_ENDS = {
    name: re.compile(pattern)
    for name, pattern in (
        ("comment", r"\{%-?\s*endcomment\b[^%]*%\}"),
        ("highlight", r"\{%-?\s*endhighlight\b[^%]*%\}|\{\{[<%]\s*/\s*highlight\s*[>%]\}\}"),
        ("/*", r"\*/\s*-?\}\}"),
        ("{#", r"#\}"),
        ("<%--", r"--%>"),
    )
}
_FRONT_MATTER = re.compile(r"(---|\+\+\+)[ \t]*(?:\r\n|\n|\r)(?![ \t]*[\r\n])")


def is_expression(address: str) -> bool:
    """Whether an address is only known when the page is made."""
    return _EXPRESSION.search(address) is not None


def front_matter(text: str) -> int:
    """Where the page begins after what stands between two lines of `---` or `+++` at the top; 0 without it."""
    opening = _FRONT_MATTER.match(text)
    if opening is None:
        return 0
    closing = re.compile(rf"^{re.escape(opening[1])}[ \t]*(?:\r\n|\n|\r|\Z)", re.MULTILINE)
    # A file with carriage returns alone has no lines for a regular expression; its front matter holds no images either.
    end = closing.search(text, opening.end())
    return end.end() if end else 0


def outside_of_comments(images: Iterable[Image], text: str) -> tuple[Image, ...]:
    """The images that are in no comment, listing or expression of a template, nor in the front matter."""
    regions = _regions(text)
    starts = [start for start, _ in regions]

    def is_outside(image: Image) -> bool:
        place = bisect_right(starts, image.start) - 1
        return place < 0 or image.start >= regions[place][1]

    return tuple(filter(is_outside, images))


def _regions(text: str) -> list[tuple[int, int]]:
    """Beginning and end of each comment, listing and expression, in order, none in another."""
    matter = front_matter(text)
    regions = [(0, matter)] if matter else []
    absent: set[str] = set()  # ends that come no more: to look for them at every beginning would take for ever
    position = matter
    while opening := _OPENINGS.search(text, position):
        position = opening.end()
        if opening["whole"]:
            regions.append(opening.span())
            continue
        name = next(name for name in _ENDS if name in opening[0])
        end = None if name in absent else _ENDS[name].search(text, position)
        if end is None:
            absent.add(name)
        else:
            regions.append((opening.start(), end.end()))
            position = end.end()
    return regions
