"""The page: files of the package, read once and served from memory with a strict policy. Nothing else is served.

The browser is told to run nothing but the page's own script, to show pictures from its own memory, and to talk to this
service alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "page"
START = "page.html"
"""What `/` is; each other file is served as `/page/NAME`."""
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What is served, by suffix, and as what."""
POLICY = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:", "connect-src 'self'",
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
))  # fmt: skip
"""Of every answer: the page may do this much, and whatever else is served nothing at all beyond it."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "geolocation=(), microphone=(), camera=(self)",
    "cache-control": "no-store",
}
"""Headers of every answer."""


@dataclass(frozen=True)
class PageFile:
    """One file of the page."""

    content: bytes
    media_type: str
    tag: str
    """Its ETag: another one whenever the content is another."""


def page_files() -> dict[str, PageFile]:
    """All files of the page, by path."""
    found = {}
    for file in sorted(FOLDER.iterdir()):
        if file.suffix in MEDIA_TYPES:
            content = file.read_bytes()
            path = "/" if file.name == START else f"/page/{file.name}"
            found[path] = PageFile(content, MEDIA_TYPES[file.suffix], f'"{hashlib.sha256(content).hexdigest()[:16]}"')
    return found
