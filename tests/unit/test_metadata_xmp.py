"""captioner.metadata.xmp: captions in packets of every form, and everything else in them to the byte."""

import difflib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures_with_metadata import CAPTION, OTHER_XMP

from captioner.errors import MetadataError
from captioner.metadata.xmp import Fields, captions_of, with_caption

RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
DC = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'


def packet(body, inside=""):
    return f'<rdf:RDF {RDF} {DC}><rdf:Description rdf:about="" {inside}>{body}</rdf:Description></rdf:RDF>'.encode()


def removed_and_added(old, new):
    """What differs, as text without layout."""
    old, new = (re.findall(r"<[^>]*>|[^<]+", text.decode()) for text in (old, new))
    lines = list(difflib.ndiff(old, new))
    return [[line[2:].strip() for line in lines if line[0] == sign and line[2:].strip()] for sign in "-+"]


def test_a_new_packet_has_both_captions_and_can_be_read_again():
    new = with_caption(None, Fields(CAPTION, "Short"), "overwrite")
    assert captions_of(new) == Fields(CAPTION, "Short")
    assert new.startswith(b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>')
    assert new.endswith(b'<?xpacket end="w"?>')
    assert captions_of(with_caption(None, Fields(alt="Short"), "append")) == Fields(None, "Short")
    assert with_caption(new, Fields(CAPTION, "Short"), "overwrite") is new


@settings(deadline=None)
@given(
    st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff") | st.sampled_from("\n\r\t"),
        min_size=1,
    )
)
def test_every_text_comes_back_as_it_was(text):
    if text.strip():
        for old in (None, OTHER_XMP):
            assert captions_of(with_caption(old, Fields(text, text), "overwrite")) == Fields(text, text)


def test_only_the_default_language_changes_and_the_length_stays():
    new = with_caption(OTHER_XMP, Fields("New"), "overwrite")
    assert removed_and_added(OTHER_XMP, new) == [["Old &amp; gray"], ["New"]]
    assert len(new) == len(OTHER_XMP)
    assert captions_of(with_caption(OTHER_XMP, Fields("New"), "append")) == Fields("Old & gray\nNew")
    assert captions_of(with_caption(OTHER_XMP, Fields("New"), "prepend")) == Fields("New\nOld & gray")
    assert with_caption(OTHER_XMP, Fields("Old & gray"), "append") is OTHER_XMP


def test_alt_is_put_beside_what_is_there():
    new = with_caption(OTHER_XMP, Fields(alt="New"), "overwrite")
    removed, added = removed_and_added(OTHER_XMP, new)
    assert not removed
    assert "New" in added
    assert captions_of(new) == Fields("Old & gray", "New")


def test_padding_is_renewed_when_it_is_used_up_and_never_added():
    long = with_caption(OTHER_XMP, Fields("x" * 5000), "overwrite")
    assert len(OTHER_XMP) + 5000 - 100 < len(long) < len(OTHER_XMP) + 5100
    assert re.search(rb">\s{2048}<\?xpacket end", long)
    bare = re.sub(rb"\s+<\?xpacket end", b"<?xpacket end", OTHER_XMP)
    assert len(with_caption(bare, Fields("Old & white"), "overwrite")) == len(bare) + 1
    fixed = OTHER_XMP.replace(b'end="w"', b'end="r"')
    assert len(with_caption(fixed, Fields("Old & white"), "overwrite")) == len(fixed) + 1


@pytest.mark.parametrize(
    ("old", "text"),
    [
        (packet(""), None),
        (packet("", 'dc:title=" dc:description=&apos;x&apos;"'), None),
        (packet("", 'dc:title=" dc:description=\'x\' " dc:description = \'Old\' dc:date="1"'), "Old"),
        (packet("<dc:description>Old</dc:description>"), "Old"),
        (packet('<dc:description xml:lang="de">Old</dc:description>'), "Old"),
        (packet("<dc:description/>"), ""),
        (packet("<dc:description><rdf:Alt/></dc:description>"), ""),
        (packet("<dc:description><rdf:Alt></rdf:Alt></dc:description>"), ""),
        (packet('<dc:description><rdf:Alt><rdf:li xml:lang="x-default"/></rdf:Alt></dc:description>'), ""),
        (packet("<dc:description><rdf:Alt><rdf:li>Old</rdf:li></rdf:Alt></dc:description>"), "Old"),
        (packet('<dc:description><rdf:Alt><rdf:li xml:lang="en">Old</rdf:li></rdf:Alt></dc:description>'), "Old"),
        (packet('<dc:description><rdf:Alt><rdf:li xml:lang="en">A</rdf:li><rdf:li xml:lang="X-Default"><![CDATA[Old]]>'
                "</rdf:li></rdf:Alt></dc:description>"), "Old"),
        (packet("<dc:description><rdf:Seq><rdf:li>Old</rdf:li></rdf:Seq></dc:description>"), "Old"),
        (f"<rdf:RDF {RDF}/>".encode(), None),
        (f'<rdf:RDF {RDF}><rdf:Description rdf:about="a>b"/></rdf:RDF>'.encode(), None),
        (b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>', None),
        (b'<RDF xmlns="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><Description/></RDF>', None),
        (b'<RDF xmlns="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></RDF>', None),
        (f'<r:RDF {RDF.replace(":rdf", ":r")}><r:Description r:about=""/></r:RDF>'.encode(), None),
        (b"\xef\xbb\xbf" + packet("") + b"\0\0", None),
        (b"<?xml version='1.0' encoding='UTF-8'?>\n" + packet(""), None),
    ],
)  # fmt: skip
def test_every_form_that_editors_write(old, text):
    assert captions_of(old).description == text
    for merge, expected in (
        ("overwrite", "New"),
        ("append", f"{text}\nNew" if text else "New"),
        ("prepend", f"New\n{text}" if text else "New"),
    ):
        new = with_caption(old, Fields("New", "Alt"), merge)
        assert captions_of(new) == Fields(expected, "Alt")
        assert with_caption(new, Fields("New", "Alt"), merge) is new
        if b'xml:lang="en"' in old:
            assert b'xml:lang="en">' + (b"A<" if b">A<" in old else b"Old<") in new


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_encoding_of_a_packet_stays(encoding, mark):
    old = (mark + OTHER_XMP.decode()).encode(encoding)
    new = with_caption(old, Fields(CAPTION), "overwrite")
    assert captions_of(new) == Fields(CAPTION)
    assert len(new) == len(old)
    assert new.decode(encoding).startswith(mark + "<?xpacket")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b"", "not well-formed"),
        (b"\xff\xfe<", "not valid UTF-8 or UTF-16"),
        (b"<a>\xe4</a>", "not valid UTF-8"),
        (OTHER_XMP[:500], "not well-formed"),
        (b"<a/>", "no x:xmpmeta"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]>' + packet("&b;"), "DOCTYPE"),
        (packet("<dc:description>&undefined;</dc:description>"), "not well-formed"),
        (packet("<undeclared:x/>"), "not well-formed"),
        (packet("<dc:description>a</dc:description><dc:description>b</dc:description>"), "twice"),
        (packet("<dc:description>a</dc:description>", 'dc:description="b"'), "twice"),
        (packet("<dc:description><rdf:Seq><rdf:li>a</rdf:li><rdf:li>b</rdf:li></rdf:Seq></dc:description>"), "form"),
        (packet("<dc:description><rdf:Alt><rdf:li><b/></rdf:li></rdf:Alt></dc:description>"), "form"),
        (packet('<dc:description rdf:parseType="Resource"><rdf:value>a</rdf:value></dc:description>'), "form"),
        (packet('<dc:description rdf:resource="a"/>'), "form"),
        (packet("<dc:description>" + "<rdf:li/>" * 20_000 + "</dc:description>"), "too much"),
    ],
)  # fmt: skip
def test_what_is_broken_or_not_understood_is_never_replaced(broken, reason):
    for call in (captions_of, lambda old: with_caption(old, Fields("New"), "overwrite")):
        with pytest.raises(MetadataError, match=reason) as error:
            call(broken)
        assert error.value.code == "metadata"


def test_long_and_deep_packets_take_no_time_and_no_stack():
    deep = packet("<dc:creator>" + "<rdf:li>" * 50_000 + "</rdf:li>" * 50_000 + "</dc:creator>")
    assert captions_of(with_caption(deep, Fields("New"), "overwrite")) == Fields("New")
    wide = packet("<dc:creator>x</dc:creator>" + " " * 2_000_000 + "<!-- -->")
    assert captions_of(with_caption(wide, Fields("New"), "overwrite")) == Fields("New")
    nested = packet("<dc:description>" + "<rdf:li>" * 9_000 + "</rdf:li>" * 9_000 + "</dc:description>")
    with pytest.raises(MetadataError, match="form"):
        captions_of(nested)
