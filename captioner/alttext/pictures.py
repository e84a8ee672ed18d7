"""The picture that an address in a page leads to, as a browser would find it on a site in a folder. Reads no picture.

Nothing outside the folder of the site is ever given, whatever the address and the links on disk are.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

from captioner.alttext.templates import EXPRESSION, is_expression
from captioner.images import BytesSource, FileSource

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_VECTOR_SUFFIXES = (".svg", ".svgz")
_SERVED = ("static", "public")
"""Folders whose content is at `/` once a site is made: of Hugo, Docusaurus, Gatsby, and of Vite, Next.js, Astro."""
REMOTE, SCHEME, OUTSIDE = "on another site", "an address that is no path", "outside the folder of the site (--root)"
VECTOR, INVALID = "SVG, which is not read", "an address that cannot be read"


@dataclass(frozen=True)
class NotFollowed:
    """An address that leads to no picture of the site."""

    reason: str
    """Why."""


@dataclass(frozen=True)
class Site:
    """Where addresses lead; no link is in these paths."""

    home: Path
    """What addresses relative to a page may not leave."""
    root: Path
    """What addresses that begin with `/` are in, or in its `static` or `public`."""


Picture: TypeAlias = FileSource | BytesSource
"""What a captioner takes; equal ones are captioned once."""


def locate(address: str, *, folder: Path, site: Site, base: str = "") -> Picture | NotFollowed:
    """The picture that an address leads to; it may not be there.

    Args:
        address: as the page has it, decoded.
        folder: of the page, without links in it, in the site's home.
        site: that the page is of.
        base: what `<base href>` says.
    """
    if is_expression(address) or is_expression(base):
        return NotFollowed(EXPRESSION)
    address = re.sub(r"[\t\n\r]", "", address).strip()  # as browsers do
    if address[:5].lower() == "data:":
        return _embedded(address[5:])
    # A backslash is a slash to browsers.
    address, base = _path_of(address).replace("\\", "/"), _path_of(base).replace("\\", "/")
    for each in (address, base):
        if found := _SCHEME.match(each):
            return NotFollowed(REMOTE if found[1].lower() in ("http", "https") else SCHEME)
        if each.startswith("//"):
            return NotFollowed(REMOTE)
    if not address:
        return NotFollowed(INVALID)
    if not address.startswith("/"):
        address = base[: base.rfind("/") + 1] + address
    if not address.startswith("/"):
        return _file(_in_address(folder, site.home) + address, site.home, site.home)
    places = [_file(address, top, site.root) for top in (site.root, *(site.root / name for name in _SERVED))]
    return next((each for each in places if isinstance(each, FileSource) and os.path.exists(each.path)), places[0])  # noqa: PTH110 - never raises


def _path_of(address: str) -> str:
    """An address without its query and fragment."""
    return address.split("#", 1)[0].split("?", 1)[0]


def _in_address(folder: Path, home: Path) -> str:
    """A folder as the beginning of an address."""
    return "".join(f"{part}/" for part in folder.relative_to(home).parts).replace("%", "%25")


def _file(path: str, top: Path, limit: Path) -> Picture | NotFollowed:
    """The file at a path from a folder on, inside of another one."""
    try:
        decoded = unquote_to_bytes(path.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return NotFollowed(INVALID)
    if b"\0" in decoded:
        return NotFollowed(INVALID)
    parts: list[bytes] = []
    for part in decoded.split(b"/"):
        if part == b"..":
            if not parts:
                return NotFollowed(OUTSIDE)
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    found = Path(os.path.realpath(top / os.fsdecode(b"/".join(parts))))
    if not found.is_relative_to(limit):
        return NotFollowed(OUTSIDE)
    if decoded.lower().endswith(tuple(map(str.encode, _VECTOR_SUFFIXES))):
        return NotFollowed(VECTOR)
    return FileSource(found)


def _embedded(address: str) -> Picture | NotFollowed:
    """The picture in a `data:` address, without that word."""
    kind, comma, content = address.partition(",")
    words = [word.strip().lower() for word in kind.split(";")]
    if not comma:
        return NotFollowed(INVALID)
    if words[0].startswith("image/svg"):
        return NotFollowed(VECTOR)
    data = unquote_to_bytes(content.encode("utf-8", "replace"))
    if "base64" in words[1:]:
        stripped = re.sub(rb"\s+", b"", data)
        try:
            data = base64.b64decode(stripped + b"=" * (-len(stripped) % 4), validate=True)
        except binascii.Error:
            return NotFollowed(INVALID)
    return BytesSource(f"a picture of {len(data):,} bytes in the page", data)
