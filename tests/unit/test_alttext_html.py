"""Images in HTML: which have a text, which are none, and that an inserted text is all that a parser sees change."""

from html.parser import HTMLParser

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from captioner.alttext.document import Document, Insertion
from captioner.alttext.encoding import Markup
from captioner.alttext.escape import as_insertion, decode_attribute, one_line, shortened
from captioner.alttext.html import find_images
from captioner.alttext.html_tokens import Tags, read_tag
from captioner.alttext.records import Syntax, Text

ALT = 'a "dog" & <cat>'
WRITTEN = ' alt="a &quot;dog&quot; &amp; &lt;cat&gt;"'


def captioned(text: str, *, xml: bool = False, alt: str = ALT) -> str:
    """The page with the same text for every image that has none and is known."""
    document = Document.of(text.encode(), Markup.XHTML if xml else Markup.HTML)
    images = [image for image in document.scan.images if image.text is Text.MISSING and not image.unknown]
    return document.with_insertions(
        [Insertion(each.insertion, as_insertion(alt, each.syntax)) for each in images]
    ).decode()


@pytest.mark.parametrize(
    "page",
    [
        '<img src="a.png"^>',
        "<img src='a.png'^>",
        "<img src=a.png^>",
        "<img src=a.png^ width=3>",
        '<img src="a.png"^/>',
        '<img src="a.png"^ />',
        "<img src=a.png^ />",
        "<img src=a.png/^>",  # the slash belongs to the value
        '<IMG SRC="a.png"^ WIDTH=3>',
        '<img\n\tclass="x"\r\n\tsrc = "a.png"^\n\twidth="3"\n>',
        '<img title="a > b" src="a.png"^ longdesc=\'<img src="x.png">\'>',
        '<img data-alt="x" src="a.png"^>',
        '<img src="a.png"^width=3>',
        '<img src="a.png"^ src="b.png">',
        '<img src="" data-src="a.png"^>',
        '<img data-src="a.png"^>',
        '<img src="data:image/gif;base64,R0lGODlh" data-src="a.png"^>',
        '<picture><source srcset="a.webp"><img src="a.png"^ srcset="b.png 2x"></picture>',
        '<noscript><img src="a.png"^></noscript>',
        '<template><img src="a.png"^></template>',
        '<p/><img src="a.png"^></p>',
        '<img src="a.png"^ aria-hidden="false" role="img">',
        '<a href="x>y"><img src="a.png"^></a>',
        '<!-- <img src="b.png"> --><img src="a.png"^>',
        '<!--><img src="a.png"^>-->',
        '<!---><img src="a.png"^>',
        '<!-- --!><img src="a.png"^>',
        '<![if !IE]><img src="a.png"^><![endif]>',
        '<!--[if !IE]><!--><img src="a.png"^><!--<![endif]-->',
        '<!DOCTYPE html><img src="a.png"^>',
        '<script>"</scripts>"</script><img src="a.png"^>',
        '<script src=x></script ><img src="a.png"^>',
        '<script><!-- <script> <img src=b.png> </script> --></script><img src="a.png"^>',
        '<script><!--></script><img src="a.png"^>',
        '<style><img src=b.png></STYLE><img src="a.png"^>',
        '<textarea><img src=b.png></textareas></textarea><img src="a.png"^>',
        '<title><img src=b.png></title><img src="a.png"^>',
        '<svg><title/><style/></svg><img src="a.png"^>',
        '<svg><![CDATA[ > <img src="b.png"> ]]></svg><img src="a.png"^>',
        '<![CDATA[ x ><img src="a.png"^> ]]>',  # ends at the first > in HTML
        '<?xml version="1.0"?><img src="a.png"^>',
        '<?php if ($a->b) { echo "<img src=b.png>"; } ?><img src="a.png"^>',
        '3 < 4 <img src="a.png"^> <3 </ ><img src="a.png"^>',
        '<image src="b.png"><imgs src="b.png"><img-x src="b.png"><img src="a.png"^>',
        "---\ntitle: '<img src=x>'\n---\n<img src=\"a.png\"^>",
        '{# <img src="b.png"> #}<img src="a.png"^>',
        '{% comment %}<img src="b.png">{% endcomment %}<img src="a.png"^>{% comment %}',
        '{{/* <img src="b.png"> */}}<img src="a.png"^>',
        '<%-- <img src="b.png"> --%><img src="a.png"^>',
        '{% if x %}<img class="{{ y }}" src="a.png"^>{% endif %}',
        '{{< note >}}<img src="a.png"^>{{< /note >}}',
        '<img src="a.png"^ width={300}>',
    ],
)
def test_a_text_goes_behind_the_address(page):
    text = page.replace("^", "")
    assert captioned(text) == page.replace("^", WRITTEN)
    assert {image.source.rstrip("/") for image in find_images(text).images} == {"a.png"}


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ('<img src="a.png" alt="a dog">', Text.WRITTEN),
        ("<img alt=dog src=a.png>", Text.WRITTEN),
        ('<img ALT="a dog" SRC="a.png">', Text.WRITTEN),
        ('<img src="a.png" alt="x" alt="">', Text.WRITTEN),
        ('<img src="a.png" alt="" alt="x">', Text.DECORATIVE),
        ('<img src="a.png" alt="">', Text.DECORATIVE),
        ('<img src="a.png" alt=" ">', Text.DECORATIVE),
        ('<img src="a.png" alt>', Text.DECORATIVE),
        ('<img alt src="a.png">', Text.DECORATIVE),
        ('<img alt = "" src="a.png">', Text.DECORATIVE),
        ('<img src="a.png" alt=>', Text.DECORATIVE),
        ('<img src="a.png"alt="">', Text.DECORATIVE),
        ('<img src="a.png" role="presentation">', Text.DECORATIVE),
        ('<img src="a.png" role=" NONE img">', Text.DECORATIVE),
        ('<img src="a.png" aria-hidden="true">', Text.DECORATIVE),
        ('<img src="a.png" aria-label="a dog">', Text.WRITTEN),
        ('<img src="a.png" aria-labelledby="x">', Text.WRITTEN),
        ('<img src="a.png" :alt="dog">', Text.WRITTEN),
        ('<img src="a.png" v-bind:alt="dog">', Text.WRITTEN),
        ('<img src="a.png" [alt]="dog">', Text.WRITTEN),
        ('<img src="a.png" [attr.alt]="dog">', Text.WRITTEN),
        ('<img src="a.png" th:alt="#{dog}">', Text.WRITTEN),
        ('<img src="a.png" alt="{{ dog }}">', Text.WRITTEN),
    ],
)
def test_what_people_wrote_or_meant_stays(tag, text):
    assert [image.text for image in find_images(tag).images] == [text]
    assert captioned(tag) == tag


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("<img>", "no address"),
        ('<img src="">', "no address"),
        ("<img src>", "no address"),
        ("<img src= >", "no address"),
        ('<img srcset="a.png 2x">', "no address"),
        ('<img src="a.png" {{ attributes }}>', "an expression of a template"),
        ('<img src="a.png" {% if y %}alt="z"{% endif %}>', "an expression of a template"),
        ('<img src="a.png" {% block x %}>', "an expression of a template"),
        ("<img src=a.png <?= $attributes ?>>", "an expression of a template"),
        ('<img src="a.png" onClick={() => go()} alt="a dog">', "an expression of a template"),  # the tag ends at =>
        ('<img src="a.png" v-bind="all">', "an expression of a template"),
        ('<img src="count.gif" width=1 height="1">', "one pixel in size"),
    ],
)
def test_what_nothing_can_be_said_of_has_a_reason(tag, reason):
    assert [(image.text, image.unknown) for image in find_images(tag).images] == [(Text.MISSING, reason)]


@pytest.mark.parametrize(
    "page",
    [
        "",
        "<",
        "<img",
        '<img src="a.png"',
        '<img src="a.png',
        "<!-- <img src=a.png>",
        "<!--[if IE]><img src=a.png><![endif]-->",
        "<script><img src=a.png>",
        "<script><!-- <script> </script> <img src=a.png>",
        "<textarea><img src=a.png></p>",
        "<xmp><img src=a.png></xmp>",
        "<iframe><img src=a.png></iframe>",
        "<plaintext><img src=a.png>",
        '<p title="<img src=a.png>">',
        "</p title='<img src=a.png>'>",
        "</img src=a.png>",
        "<!x <img src=a.png>",
        "&lt;img src=a.png>",
        "{{ '<img src=a.png>' | safe }}",
        "{% assign x = \"<img src='a.png'>\" %}",
        "<% x = \"<img src='a.png'>\" %>",
    ],
)
def test_what_is_no_image_is_left_alone(page):
    assert find_images(page).images == ()


def test_in_xhtml_empty_elements_end_and_sections_are_text():
    page = '<script src="x"/><title/><img src="a.png"^/><![CDATA[ > <img src="b.png"/> ]]><img src="a.png"^/>'
    assert captioned(page.replace("^", ""), xml=True) == page.replace("^", WRITTEN)
    assert captioned(page.replace("^", "")) == page.replace("^", "")  # in HTML all of it is a script


def test_the_first_base_counts():
    assert find_images('<base target=x><base href=" a&amp;b/ "><base href="c">').base == "a&b/"
    assert find_images("<img src=x>").base == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a&amp;b.png", "a&b.png"),
        ("caf&eacute;.png", "café.png"),
        ("&#97;&#x62;.png", "ab.png"),
        ("a?x=1&copy=2", "a?x=1&copy=2"),
        ("a&copy", "a©"),
        ("a&copy;=", "a©="),
        ("a&copyright", "a&copyright"),
        ("a&notit;", "a&notit;"),
        ("a & b &; &# ", "a & b &; &# "),
    ],
)
def test_references_in_attributes(value, expected):
    assert decode_attribute(value) == expected

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            self.seen = dict(attrs)["src"]

    if value not in ("a?x=1&copy=2", "a&copyright", "a&notit;"):  # where Python's parser once did otherwise
        parser = Parser()
        parser.feed(f'<img src="{value}">')
        assert parser.seen == expected


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("a dog runs", 10, "a dog runs"),
        ("a dog runs", 9, "a dog…"),
        ("a dog runs", 6, "a dog…"),
        ("a dog, running", 8, "a dog…"),
        ("a dog runs", 5, "a…"),
        ("incomprehensible", 10, "incompreh…"),
        ("incomprehensible dogs", 17, "incomprehensible…"),
    ],
)
def test_long_captions_are_cut_at_a_word(text, most, expected):
    assert shortened(text, most) == expected
    assert len(expected) <= most


@given(st.text(), st.integers(10, 40))
def test_a_cut_text_is_never_too_long(text, most):
    assert len(shortened(one_line(text), most)) <= most


# ---- properties -----------------------------------------------------------------------------------------------------

names = st.sampled_from(["src", "SRC", "class", "width", "title", "alt", "ALT", "data-src", "role", "loading", "x:y"])
values = st.text(st.sampled_from("ab./ <>&='\"%é\n"), max_size=8)


@st.composite
def attributes(draw):
    name, value = draw(names), draw(values)
    style = draw(st.sampled_from(['"', "'", "unquoted", "bare"]))
    if style == "bare":
        return name
    if style == "unquoted":
        value = "".join(c for c in value if c not in " <>&='\"\n/") or "a.png"
        return f"{name}={value}"
    return f"{name}={style}{value.replace(style, '').replace('&', '&amp;')}{style}"


@st.composite
def tags(draw):
    blanks = st.sampled_from([" ", "  ", "\n", "\r\n\t"])
    written = "".join(draw(blanks) + each for each in draw(st.lists(attributes(), max_size=4)))
    return f"<{draw(st.sampled_from(['img', 'IMG', 'p', 'br']))}{written}{draw(st.sampled_from(['', ' ', ' /']))}>"


markup = st.sampled_from(
    ["text", "\n", "é", "<p>", "</p>", "<!-- <img src=a> -->", "<script><img src=a></script>", "&amp;", " "]
)
pages = st.lists(tags() | markup, max_size=8).map("".join)


class Seen(HTMLParser):
    """Tags as another implementation sees them."""

    def __init__(self, text):
        super().__init__(convert_charrefs=False)
        self.tags = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, attrs))

    handle_startendtag = handle_starttag


@given(pages, st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20))
@settings(max_examples=200, deadline=None)
def test_another_parser_sees_the_new_texts_and_nothing_else_new(page, alt):
    assume("<%" not in page)  # ERB, for all that we know
    alt = one_line(alt) or "x"
    before, after = Seen(page).tags, Seen(captioned(page, alt=alt)).tags
    assert len(before) == len(after)
    images = find_images(page).images
    mine = iter(images)
    for (name, old), (same, new) in zip(before, after, strict=True):
        assert name == same
        image = next(mine) if name == "img" else None
        if image and image.text is Text.MISSING and not image.unknown:
            place = next(place for place, pair in enumerate(new) if pair == ("alt", alt))
            assert "alt" not in dict(old)
            assert new[:place] + new[place + 1 :] == old
        else:
            assert new == old
    assert next(mine, None) is None


@given(pages)
@settings(max_examples=200, deadline=None)
def test_a_second_run_finds_nothing_and_all_else_stays(page):
    document = Document.of(page.encode(), Markup.HTML)
    images = [image for image in document.scan.images if image.text is Text.MISSING and not image.unknown]
    once = captioned(page)
    assert captioned(once) == once
    assert once.replace(WRITTEN, "") == page.replace(WRITTEN, "")
    if not images:
        assert once == page


@given(st.text(st.sampled_from("<>/!-[]\"'= \nabimgscriptCDATA?"), max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_text_is_too_broken(text):
    for xml in (False, True):
        for tag in Tags(text, xml=xml):
            assert text[tag.start] == "<"
            assert text[tag.end - 1] == ">"
            assert all(tag.start < each.end < tag.end for each in tag.attributes)
    assert read_tag(text, 0) is None or text.startswith("<")


def test_hostile_pages_take_no_time():
    for piece in (
        "<!--",
        "<script",
        "<script>",
        '<img a="',
        "{#",
        "{% comment",
        "<![CDATA[",
        "<?php",
        "<a ",
        "</",
        "{{/*",
        "{{ ",
        "<a b={",
        "<a b=' c=",
    ):
        find_images(piece * 200_000)


def test_an_insertion_has_no_character_that_could_end_it():
    text = as_insertion("\"<>&`{}|'", Syntax.HTML)
    assert text == ' alt="&quot;&lt;&gt;&amp;&#96;&#123;&#125;&#124;\'"'
