"""The elements of an XMP packet that a caption is in, each with its place in the bytes.

A packet is changed where it changes, never written anew: quotes, white space, comments and whatever else its editor
liked stay as they are. Knows XML and the outline of RDF, not what properties mean.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from xml.parsers import expat

from captioner.metadata.container import broken

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
LANGUAGE = "http://www.w3.org/XML/1998/namespace lang"
DESCRIPTION, ITEM = f"{RDF} Description", f"{RDF} li"
ALTERNATIVES, LISTS = f"{RDF} Alt", (f"{RDF} Bag", f"{RDF} Seq")
_ROOTS = ("adobe:ns:meta/ xmpmeta", "adobe:ns:meta/ xapmeta")
_INSIDE = (ITEM, ALTERNATIVES, *LISTS)
_MAX_ELEMENTS = 10_000  # of those that are kept: a caption in so many languages is none
_TAG = re.compile(rb"""<([^\s/>]+)(?:[^"'>]|"[^"]*"|'[^']*')*+>""")
_ATTRIBUTE = re.compile(rb"""\s+([^\s=]+)\s*=\s*(?:"[^"]*"|'[^']*')""")


@dataclass
class Element:
    """One element; names are the namespace, a space and the local name."""

    name: str
    """Its name."""
    start: int
    """Where its start tag begins."""
    inside: int
    """Where its start tag ends, and its content begins."""
    written: bytes
    """Its name as the packet has it, with the prefix."""
    attributes: dict[str, str]
    """Name → value."""
    prefixed: dict[str, str]
    """Name of an attribute → the name as the packet has it."""
    is_empty: bool
    """Whether it is one tag that ends in `/>`."""
    close: int = 0
    """Where its content ends, and its end tag begins."""
    end: int = 0
    """Where its end tag ends."""
    children: list[Element] = field(default_factory=list)
    """Elements in it, as far as they are kept."""
    pieces: list[str] = field(default_factory=list)
    """Text directly in it."""

    @property
    def text(self) -> str:
        """Text directly in it."""
        return "".join(self.pieces)

    @property
    def prefix(self) -> bytes:
        """The prefix of its name with the colon; nothing where its namespace is the default one."""
        prefix, colon, _ = self.written.rpartition(b":")
        return prefix + colon

    def named(self, *names: str) -> list[Element]:
        """The children of these names."""
        return [child for child in self.children if child.name in names]

    def attribute(self, xml: bytes, name: str) -> tuple[int, int]:
        """From where to where in the packet an attribute stands, with the white space before it."""
        written = self.prefixed[name].encode()
        all_of_them = _ATTRIBUTE.finditer(xml, self.start + 1 + len(self.written), self.inside)
        return next(found.span() for found in all_of_them if found[1] == written)


def root_of(xml: bytes, properties: Collection[str]) -> Element:
    """The root of a packet, an `x:xmpmeta` or `rdf:RDF`, with what is in it on the way to the properties.

    Args:
        xml: the packet in UTF-8.
        properties: names of the properties to keep, with all in them; others have no `Element`.

    Raises:
        MetadataError: it is not well-formed, has a DOCTYPE (entities are how XML attacks), or is no XMP.
    """
    parser = expat.ParserCreate("utf-8", " ")
    parser.namespace_prefixes = True
    parser.buffer_text = True
    builder = _Builder(xml, parser, frozenset(properties))
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.finish
    parser.CharacterDataHandler = builder.characters
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(xml, True)
    except expat.ExpatError as error:
        raise broken(f"the XMP packet is not well-formed ({error})") from error
    root = builder.root
    if root is None or root.name not in (*_ROOTS, f"{RDF} RDF"):
        raise broken("the XMP packet has no x:xmpmeta and no rdf:RDF")
    return root


class _Builder:
    """Builds the tree while the parser runs."""

    def __init__(self, xml: bytes, parser: expat.XMLParserType, properties: frozenset[str]) -> None:
        self.root: Element | None = None
        self._xml, self._parser, self._properties = xml, parser, properties
        self._open: list[Element | None] = []
        self._kept = 0

    def start(self, full_name: str, attributes: dict[str, str]) -> None:
        name = _without_prefix(full_name)
        if not self._wants(name):
            self._open.append(None)
            return
        self._kept += 1
        start = self._parser.CurrentByteIndex
        tag = _TAG.match(self._xml, start)
        if tag is None or self._kept > _MAX_ELEMENTS:
            raise broken("the XMP packet has too much in a caption, or tags that cannot be found")
        element = Element(
            name=name,
            start=start,
            inside=tag.end(),
            written=tag[1],
            attributes={_without_prefix(key): value for key, value in attributes.items()},
            prefixed={_without_prefix(key): _with_prefix(key) for key in attributes},
            is_empty=tag[0].endswith(b"/>"),
        )
        if self._open and (parent := self._open[-1]) is not None:
            parent.children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def finish(self, _: str) -> None:
        element = self._open.pop()
        if element is None:
            return
        if element.is_empty:
            element.close = element.end = element.inside
        else:
            element.close = self._parser.CurrentByteIndex
            element.end = self._xml.index(b">", element.close) + 1

    def characters(self, text: str) -> None:
        if self._open and (element := self._open[-1]) is not None and self._is_inside(element.name):
            element.pieces.append(text)

    def _wants(self, name: str) -> bool:
        if not self._open:
            return True
        parent = self._open[-1]
        return parent is not None and (
            name in (f"{RDF} RDF", DESCRIPTION) or name in self._properties or self._is_inside(parent.name)
        )

    def _is_inside(self, name: str) -> bool:
        return name in self._properties or name in _INSIDE


def _refuse(*_: object) -> None:
    raise broken("the XMP packet has a DOCTYPE, which XMP must not have")


def _without_prefix(full_name: str) -> str:
    """`namespace name` of what the parser gives: `namespace name prefix`, or less."""
    return " ".join(full_name.split(" ")[:2])


def _with_prefix(full_name: str) -> str:
    _, _, rest = full_name.partition(" ")
    name, _, prefix = rest.partition(" ")
    return f"{prefix}:{name}" if prefix else name or full_name
