"""A caption in an XMP packet: dc:description, and Iptc4xmpCore:AltTextAccessibility for screen readers.

Both are language alternatives (ISO 16684-1:2019, section 8.2.2.4), of which the one called `x-default` is the caption.
All else in a packet stays as it is, to the byte. Knows nothing of the files that packets are in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from captioner.metadata.container import broken
from captioner.metadata.merging import merged
from captioner.metadata.splice import Splice, apply
from captioner.metadata.xmp_tree import ALTERNATIVES, DESCRIPTION, ITEM, LANGUAGE, LISTS, RDF, Element, root_of

PADDING = 2048
"""White space at the end of a packet that has some already, for its next editor: ISO 16684-1:2019, section 7.3.2."""
_DC = "http://purl.org/dc/elements/1.1/"
_IPTC = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
_CAPTION, _ALT = f"{_DC} description", f"{_IPTC} AltTextAccessibility"
_WRITTEN = {_CAPTION: b"dc:description", _ALT: b"Iptc4xmpCore:AltTextAccessibility"}
_DEFAULT = "x-default"
_NEW = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="{RDF}">
  <rdf:Description rdf:about=""/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()
_END = re.compile(rb"<\?xpacket\s+end=[\"']w[\"']\s*\?>")
_LEAST_PADDING = 200  # less white space at the end is only layout


@dataclass(frozen=True)
class Fields:
    """Captions of a packet."""

    description: str | None = None
    """dc:description; None for none, or to leave it as it is."""
    alt: str | None = None
    """Iptc4xmpCore:AltTextAccessibility; the same."""


def captions_of(packet: bytes) -> Fields:
    """The captions in a packet: the default language, or else the first.

    Raises `MetadataError` when the packet is broken.
    """
    root = root_of(_Text.of(packet).xml, _WRITTEN)
    return Fields(*(_value(_descriptions(root), name) for name in _WRITTEN))


def with_caption(packet: bytes | None, fields: Fields, merge: str) -> bytes:
    """The packet with other captions, or a new one with nothing else; the very same bytes when nothing changes.

    Args:
        packet: UTF-8 or UTF-16, with or without wrapper; None for none.
        fields: what to write; what is None there stays as it is.
        merge: what becomes of captions that are there, as for `merging.merged`.

    Raises:
        MetadataError: the packet is broken, or has a caption in a form that is not known.
        ConfigError: as `merging.merged`.
    """
    text = _Text.of(_NEW if packet is None else packet)
    xml = text.xml
    for name, new in ((_CAPTION, fields.description), (_ALT, fields.alt)):
        if new is not None:
            xml = _with_property(xml, name, new, merge)
    if xml == text.xml and packet is not None:
        return packet
    return text.back(xml)


@dataclass(frozen=True)
class _Text:
    """A packet, and how it is written."""

    xml: bytes
    """In UTF-8."""
    encoding: str
    """In which the packet is written."""
    mark: bytes
    """Its byte order mark."""
    tail: bytes
    """Zeros that some write behind it."""

    @classmethod
    def of(cls, packet: bytes) -> _Text:
        encoding, mark = "utf-8", b""
        for bom, name in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
            if packet.startswith(bom):
                encoding, mark = name, bom
        if not mark and b"\0" in packet[:2]:
            encoding = "utf-16-be" if packet.startswith(b"\0") else "utf-16-le"
        try:
            full = packet[len(mark) :].decode(encoding)
            text = full.rstrip("\0")
            return cls(text.encode(), encoding, mark, full[len(text) :].encode(encoding))
        except ValueError as error:
            raise broken("the XMP packet is not valid UTF-8 or UTF-16") from error

    def back(self, xml: bytes) -> bytes:
        """Changed text as a packet; of the same length where the padding allows it, so that a file need not grow."""
        start, end = _padding(xml)
        if (length := end - start) >= _LEAST_PADDING:  # the same in old and new, where captions are not at the end
            more = (len(self._encoded(xml)) - len(self._encoded(self.xml))) // len(self._encoded(b" "))
            wanted = length - more if more < length else PADDING
            if wanted != length:
                lines = (b" " * 99 + b"\n") * (wanted // 100 + 1)
                xml = xml[:start] + lines[-wanted:] + xml[end:]
        return self.mark + self._encoded(xml) + self.tail

    def _encoded(self, xml: bytes) -> bytes:
        return xml if self.encoding == "utf-8" else xml.decode().encode(self.encoding)


def _padding(xml: bytes) -> tuple[int, int]:
    """From where to where there is white space for the next editor, at the end of a packet that may be changed."""
    end = max(xml.rfind(b"<?xpacket"), 0)
    return (len(xml[:end].rstrip()) if _END.match(xml, end) else end), end


def _with_property(xml: bytes, name: str, new: str, merge: str) -> bytes:
    """The packet with one property changed."""
    root = root_of(xml, _WRITTEN)
    descriptions = _descriptions(root)
    holders = _holders(descriptions, name)
    if not holders:
        text = merged("", new, merge)
        if descriptions:
            return apply(xml, [_into(descriptions[0], _property(name, text, descriptions[0].prefix))])
        body = b'\n  <rdf:Description xmlns:rdf="%s" rdf:about="">%s\n  </rdf:Description>' % (
            RDF.encode(),
            _property(name, text, b"rdf:"),
        )
        lists = root.named(f"{RDF} RDF")
        if not lists and root.name != f"{RDF} RDF":
            body = b'\n <rdf:RDF xmlns:rdf="%s">%s\n </rdf:RDF>' % (RDF.encode(), body)
        return apply(xml, [_into(lists[0] if lists else root, body)])
    description, element = holders[0]
    if element is None:  # the short form, an attribute: removed, and written as an element, the only form for languages
        text = merged(description.attributes[name], new, merge)
        start, end = description.attribute(xml, name)
        return apply(xml, [Splice(start, end, b""), _into(description, _property(name, text, description.prefix))])
    return apply(xml, _changed(element, name, new, merge, description.prefix))


def _changed(element: Element, name: str, new: str, merge: str, prefix: bytes) -> list[Splice]:
    """What changes in a property that is there: only the default language, where there are languages."""
    old = _text_of(element)
    text = merged(old, new, merge)
    if [child.name for child in element.children] != [ALTERNATIVES]:
        return [Splice(element.start, element.end, _property(name, text, prefix).strip())]
    alternatives = element.children[0]
    item = _default(alternatives)
    if item is None:
        return [_into(alternatives, _item(text, prefix))]
    if LANGUAGE not in item.attributes:
        return [Splice(item.start, item.end, _item(text, prefix).strip())]
    if text == old:
        return []
    if item.is_empty:
        return [Splice(item.inside - 2, item.inside, b">%s</%s>" % (_escaped(text), item.written))]
    return [Splice(item.inside, item.close, _escaped(text))]


def _descriptions(root: Element) -> list[Element]:
    """The elements that properties are in: all rdf:Description directly in rdf:RDF."""
    lists = [root] if root.name == f"{RDF} RDF" else root.named(f"{RDF} RDF")
    return [each for rdf in lists for each in rdf.named(DESCRIPTION)]


def _holders(descriptions: list[Element], name: str) -> list[tuple[Element, Element | None]]:
    """Where a property is: the rdf:Description, and its element, or None where it is an attribute; one at most.

    Raises `MetadataError` when it is there twice.
    """
    holders: list[tuple[Element, Element | None]] = [(each, None) for each in descriptions if name in each.attributes]
    holders += [(each, element) for each in descriptions for element in each.named(name)]
    if len(holders) > 1:
        raise broken(f"the XMP packet has {_WRITTEN[name].decode()} twice")
    return holders


def _value(descriptions: list[Element], name: str) -> str | None:
    """The text of a property; None for none."""
    for description, element in _holders(descriptions, name):
        return description.attributes[name] if element is None else _text_of(element)
    return None


def _text_of(element: Element) -> str:
    """The text of a property in any of the forms that editors write.

    Raises `MetadataError` for others, so that nothing which is not understood is ever replaced.
    """
    lists = element.named(ALTERNATIVES, *LISTS)
    if not element.children and set(element.attributes) <= {LANGUAGE}:
        return element.text
    if len(element.children) == len(lists) == 1 and not element.attributes:
        items = lists[0].children
        is_plain = all(item.name == ITEM and not item.children for item in items)
        if is_plain and (lists[0].name == ALTERNATIVES or len(items) <= 1):
            item = _default(lists[0]) or (items[0] if items else None)
            return item.text if item else ""
    raise broken("the XMP packet has a caption in a form that is not known")


def _default(alternatives: Element) -> Element | None:
    """The item in the default language; one without a language is that too."""
    for item in alternatives.named(ITEM):
        if item.attributes.get(LANGUAGE, _DEFAULT).lower() == _DEFAULT:
            return item
    return None


def _into(element: Element, content: bytes) -> Splice:
    """Content put in front of what is in an element, which is opened where it is a single tag."""
    if element.is_empty:
        return Splice(element.inside - 2, element.inside, b">%s\n</%s>" % (content, element.written))
    return Splice(element.inside, element.inside, content)


def _property(name: str, text: str, prefix: bytes) -> bytes:
    """A property on lines of its own; `prefix` stands for RDF where it is put."""
    written = _WRITTEN[name]
    space = name.partition(" ")[0].encode()
    declaration = b'xmlns:%s="%s"' % (written.partition(b":")[0], space)
    opening, closing = b"<%s %s><%sAlt>" % (written, declaration, prefix), b"</%sAlt></%s>" % (prefix, written)
    return b"\n   " + opening + _item(text, prefix) + closing


def _item(text: str, prefix: bytes) -> bytes:
    return b'\n    <%sli xml:lang="%s">%s</%sli>' % (prefix, _DEFAULT.encode(), _escaped(text), prefix)


def _escaped(text: str) -> bytes:
    """Text of an element; a bare carriage return would be read as a line feed (XML 1.0, section 2.11)."""
    for character, escape in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#xD;")):
        text = text.replace(character, escape)
    return text.encode()
