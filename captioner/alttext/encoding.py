"""Which encoding a page is in: its byte order mark, what it declares, and what its bytes allow, as browsers find out.

An encoding is taken only if every byte of the page comes back from it. Knows neither tags nor links.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from enum import Enum

from captioner.errors import DataError

_DECLARED_WITHIN = 4096
"""Bytes in which a page declares its encoding; the standard allows 1024, browsers look further."""
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_META = re.compile(rb"""<meta\b[^>]*?\bcharset\s*=\s*["']?\s*([\w.:+-]+)""", re.IGNORECASE)
_XML = re.compile(rb"""<\?xml\b[^>]*?\bencoding\s*=\s*["']([\w.:+-]+)["']""")
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_MEANT = {  # what browsers read in place of what is declared
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "gb2312": "gbk",
    "euc_kr": "cp949",
    "utf-16": "utf-8",  # whoever can read the declaration does not read UTF-16
    "utf-16-le": "utf-8",
    "utf-16-be": "utf-8",
}
_KNOWN = frozenset(
    (
        *(f"iso8859-{number}" for number in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)),
        *(f"cp{number}" for number in (866, 874, 932, 949, *range(1250, 1259))),
        *("utf-8", "koi8-r", "koi8-u", "mac-roman", "mac-cyrillic"),
        *("gbk", "gb18030", "big5", "euc_jp", "iso2022_jp"),
    )
)


class Markup(Enum):
    """What a page is written in."""

    HTML = "html"
    """HTML."""
    XHTML = "xhtml"
    """HTML as XML."""
    MARKDOWN = "markdown"
    """Markdown."""
    MDX = "mdx"
    """Markdown with JSX."""


@dataclass(frozen=True)
class Encoding:
    """How the bytes of a page and its characters belong together; every byte comes back."""

    codec: str
    """Python's name of it."""
    mark: bytes = b""
    """The byte order mark that the page begins with."""
    is_certain: bool = True
    """Whether readers agree on it; otherwise only ASCII is written, and references for all else."""

    def decode(self, data: bytes) -> str:
        """The characters of bytes without the mark; what is no character becomes a surrogate."""
        return data.decode(self.codec, self._errors)

    def encode(self, text: str) -> bytes:
        """The bytes of what was decoded."""
        return text.encode(self.codec, self._errors)

    def encode_new(self, text: str) -> bytes:
        """The bytes of a text that is new; characters that there is no code for become references."""
        codec = self.codec if self.is_certain else "ascii"
        return text.encode(codec, "xmlcharrefreplace")

    @property
    def _errors(self) -> str:
        return "surrogatepass" if self.codec.startswith("utf-16") else "surrogateescape"


def encoding_of(data: bytes, markup: Markup) -> Encoding:
    """The encoding of a page. Raises DataError when it could not be written back as it was."""
    for mark, codec in _MARKS:
        if data.startswith(mark):
            return Encoding(codec, mark)
    declared = "" if markup in (Markup.MARKDOWN, Markup.MDX) else _declared(data)
    if declared:
        encoding = Encoding(declared)
        if _comes_back(encoding, data):
            return encoding
        if declared == "iso2022_jp":  # its bytes mean nothing without the escapes before them
            raise DataError("is not the ISO-2022-JP that it declares; save it as UTF-8")
        return Encoding("latin-1", is_certain=False)  # good enough to find tags in
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return Encoding("cp1252" if markup is Markup.HTML else "utf-8", is_certain=False)
    # HTML that declares nothing is read as the reader's system likes; with nothing but ASCII nobody ever noticed.
    return Encoding("utf-8", is_certain=markup is not Markup.HTML or not data.isascii())


def _declared(data: bytes) -> str:
    """Python's name of the encoding that a page declares; empty when it declares none that browsers know."""
    beginning = _COMMENT.sub(b"", data[:_DECLARED_WITHIN])
    found = _XML.match(beginning) or _META.search(beginning)
    if found is None:
        return ""
    try:
        name = codecs.lookup(found[1].decode("ascii")).name
    except (LookupError, UnicodeDecodeError):
        return ""
    name = _MEANT.get(name, name)
    return name if name in _KNOWN else ""


def _comes_back(encoding: Encoding, data: bytes) -> bool:
    try:
        return encoding.encode(encoding.decode(data)) == data
    except UnicodeError:
        return False
