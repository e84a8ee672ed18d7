"""Trees of pages with whatever captions: escaped for their place, in the page's encoding, and nothing else changes."""

import html
import re
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioner.alttext.escape import one_line
from captioner.alttext.find import Account, Where, pages
from captioner.alttext.propose import Rules, propose
from captioner.types import Caption

HOSTILE = "\"'<&>]`[!{{ x }}{% y %}--><?$\\|&amp; café 犬 😀 *_~^#"


def caption(text: str) -> Caption:
    return Caption(text=text, log_prob=-1.0, words=(), candidates=())


def written(folder: Path, files: dict[str, bytes], text: str, most: int = 1000) -> dict[str, bytes]:
    """The files after the text was written for every image that has none."""
    (folder / "a.png").write_bytes(b"never opened here: captions are given")
    for name, data in files.items():
        (folder / name).write_bytes(data)
    account = Account(lambda line: None)
    found = list(pages(Where((str(folder),)), account))
    for proposed in propose(found, lambda pictures: (caption(text) for _ in pictures), Rules(most), account):
        proposed.write()
    return {name: (folder / name).read_bytes() for name in files}


class Seen(HTMLParser):
    """Tags and comments as another implementation sees them, images without their texts."""

    def __init__(self, text: str):
        super().__init__()
        self.seen, self.texts = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.texts.append(dict(attrs).get("alt"))
            attrs = [pair for pair in attrs if pair[0] != "alt"]
        self.seen.append((tag, attrs))

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag):
        self.seen.append(tag)

    def handle_data(self, data):
        if self.seen and self.seen[-1][0] == "text":  # pieces of the same text
            data = self.seen.pop()[1] + data
        self.seen.append(("text", data))

    def handle_comment(self, data):
        self.seen.append(("comment", data))


@pytest.mark.parametrize(
    ("codec", "head"),
    [
        ("utf-8", "<meta charset=utf-8>"),
        ("utf-8-sig", ""),
        ("latin-1", "<meta charset='ISO-8859-1'>"),
        ("cp1251", '<meta http-equiv="Content-Type" content="text/html; charset=windows-1251">'),
        ("cp932", "<meta charset=Shift_JIS>"),
        ("utf-16", ""),
        ("ascii", ""),
    ],
)
def test_any_caption_in_any_encoding_is_read_as_it_was_meant(tmp_path, codec, head):
    page = f"{head}<p>\r\n<img src=a.png></p>"
    after = written(tmp_path, {"page.html": page.encode(codec)}, HOSTILE)["page.html"].decode(codec)
    assert Seen(after).texts == [HOSTILE]
    assert Seen(after).seen == Seen(page).seen
    assert "{{" not in after
    assert "{%" not in after
    assert "<?" not in after


def test_any_caption_in_markdown_is_read_as_it_was_meant(tmp_path):
    markdown_it = pytest.importorskip("markdown_it")
    page = "x ![](a.png) `y`\n\n| a |\n| - |\n| ![](a.png) |\n"
    after = written(tmp_path, {"page.md": page.encode()}, HOSTILE)["page.md"].decode()
    rendered = Seen(markdown_it.MarkdownIt().enable("table").render(after))
    assert rendered.texts == [HOSTILE, HOSTILE]
    assert rendered.seen == Seen(markdown_it.MarkdownIt().enable("table").render(page)).seen


def test_a_limit_is_of_the_text_and_not_of_what_it_is_escaped_to(tmp_path):
    after = written(tmp_path, {"page.html": b"<img src=a.png>"}, "a & b & c & d & e", most=13)["page.html"]
    assert after == b'<img src=a.png alt="a &amp; b &amp; c &amp;\xe2\x80\xa6">'.replace(b"\xe2\x80\xa6", b"&#8230;")


def test_captions_that_are_none_are_not_written(tmp_path):
    assert written(tmp_path, {"page.html": b"<img src=a.png>"}, " \n\u202e\x00 ") == {"page.html": b"<img src=a.png>"}


# ---- properties -----------------------------------------------------------------------------------------------------

IN_HTML = (
    *(
        "<img src=a.png>",
        '<IMG class="x y"  SRC="a.png" width=3 />',
        "<img\r\n\tsrc='a.png'\n>",
        '<img src="a.png" alt>',
    ),
    *('<img src=a.png alt="">', "<img src='a.png' alt='a dog'>", "<img src=gone.png>", "<img>", "<img src=a.png/>"),
    *("<p>", "</p>", "<br/>", "a < b", "&amp;", "é", "\n", "\r\n", "\t", "<!-- ", " -->", "<!-- <img src=a.png> -->"),
    *("<script>", "</script>", "<style>", "</style>", "<textarea>", "</textarea>", "<a href='>'>", "</a>", "\x0c"),
    *("{{ x }}", "{% if x %}", '<img src="a.png" {{ x }}>', "<?php x ?>", "<!DOCTYPE html>"),
)
IN_MARKDOWN = (
    *("![](a.png)", "![ ](a.png)", "![a dog](a.png)", '![](<a.png> "t")', "![][r]", "[r]: a.png\n", "![](gone.png)"),
    *("`", "```\n", "\n", "\r\n", "    ", "> ", "- ", "1. ", "# ", "| ", "|\n|-|\n", "é", "\\", "[", "](a.png)", "***"),
    *("<img src=a.png>", "<div>", "</div>\n\n", "<!-- ", " -->", "{{ x }}", "{% raw %}", "---\n"),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.just(HOSTILE)


@given(st.lists(st.sampled_from(IN_HTML), max_size=16).map("".join), texts, st.sampled_from(["utf-8-sig", "utf-16"]))
@settings(max_examples=150, deadline=None)
def test_html_without_its_new_texts_is_what_it_was(page, text, codec):
    with TemporaryDirectory() as folder:
        data = page.encode(codec)
        after = written(Path(folder), {"page.html": data}, text)["page.html"]
    new = one_line(text)
    if after == data:
        return
    assert new
    # Each place where one version has what the other lacks is a text, whole.
    inserted = re.escape(f' alt="{"".join(map(escaped, new))}"')
    assert re.sub(inserted, "", after.decode(codec)) == page
    before, now = Seen(page), Seen(after.decode(codec))
    assert now.seen == before.seen
    assert all(
        one == other or (one is None and other == new) for one, other in zip(before.texts, now.texts, strict=True)
    )


def escaped(character: str) -> str:
    return (
        html.escape(character, quote=False).replace('"', "&quot;")
        if character not in "{}`|"
        else f"&#{ord(character)};"
    )


@given(st.lists(st.sampled_from(IN_MARKDOWN), max_size=14).map("".join), st.sampled_from(["md", "mdx"]))
@settings(max_examples=150, deadline=None)
def test_markdown_without_its_new_texts_is_what_it_was(page, suffix):
    text, name = "Ein Hund &  “Katze”", f"page.{suffix}"
    with TemporaryDirectory() as folder:
        after = written(Path(folder), {name: page.encode()}, text)[name].decode()
        second = written(Path(folder), {name: after.encode()}, text)[name].decode()
    new = "Ein Hund &amp; “Katze”"
    assert after.replace(f' alt="{new}"', "").replace(f"![{new}]", "![]") == page
    assert second == after
