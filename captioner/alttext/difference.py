"""Two versions of a page as a unified diff that `patch -p1` and `git apply` take. Lines end where those think they do.

No line is added or taken away by inserting a text, so there is nothing to search for: lines are compared one by one,
which takes no time for pages that `difflib` takes minutes for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_CONTEXT = 3
_LINES = re.compile(rb"[^\n]*\n|[^\n]+")
_QUOTED = re.compile(rb'[\x00-\x1f"\\\x7f]')
_NO_END = b"\n\\ No newline at end of file\n"


def unified_diff(name: bytes, old: bytes, new: bytes) -> bytes:
    """The difference between two versions with the same number of lines; empty when there is none.

    Args:
        name: the path of the page as it is to be applied to, without what `-p1` takes away.
        old: one version.
        new: the other one.
    """
    before, after = _LINES.findall(old), _LINES.findall(new)
    changed = [number for number, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
    if not changed:
        return b""
    pieces = [b"--- ", _named(b"a/" + name), b"\n+++ ", _named(b"b/" + name), b"\n"]
    for first, last in _hunks(changed, len(before)):
        count = last - first
        pieces.append(b"@@ -%d,%d +%d,%d @@\n" % (first + 1, count, first + 1, count))
        pieces += _hunk(before[first:last], after[first:last])
    return b"".join(pieces)


def _hunks(changed: list[int], count: int) -> Iterator[tuple[int, int]]:
    """First line and the one behind the last of each piece that is shown."""
    first = last = -1
    for number in changed:
        if first >= 0 and number - last > 2 * _CONTEXT:
            yield max(0, first - _CONTEXT), last + _CONTEXT
            first = -1
        first = number if first < 0 else first
        last = number + 1
    yield max(0, first - _CONTEXT), min(count, last + _CONTEXT)


def _hunk(before: list[bytes], after: list[bytes]) -> Iterator[bytes]:
    added: list[bytes] = []
    for one, other in zip(before, after, strict=True):
        if one == other:
            yield from added
            added = []
            yield _line(b" ", one)
        else:  # what goes comes before what comes, of all changed lines in a row
            added.append(_line(b"+", other))
            yield _line(b"-", one)
    yield from added


def _line(sign: bytes, line: bytes) -> bytes:
    return sign + (line if line.endswith(b"\n") else line + _NO_END)


def _named(name: bytes) -> bytes:
    """A name as Git writes it: in quotes where it has to be, with a tab behind it where it has blanks."""
    if _QUOTED.search(name):
        return b'"' + _QUOTED.sub(lambda found: b"\\%03o" % found[0][0], name) + b'"'
    return name + b"\t" if b" " in name else name
