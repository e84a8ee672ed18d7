"""Images in Markdown: what is one, what is code, and that other implementations read nothing else anew."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioner.alttext.document import Document, Insertion
from captioner.alttext.encoding import Markup
from captioner.alttext.escape import as_insertion
from captioner.alttext.markdown import find_images
from captioner.alttext.records import Syntax, Text

ALT = "a [dog]! & `cat`"
IN_MARKDOWN, IN_HTML = r"a \[dog\]\! &amp; \`cat\`", ' alt="a [dog]! &amp; &#96;cat&#96;"'


def captioned(text: str, *, mdx: bool = False, alt: str = ALT) -> str:
    """The page with the same text for every image that has none and is known."""
    document = Document.of(text.encode(), Markup.MDX if mdx else Markup.MARKDOWN)
    images = [image for image in document.scan.images if image.text is Text.MISSING and not image.unknown]
    insertions = [Insertion(each.insertion, as_insertion(alt, each.syntax)) for each in images]
    return document.with_insertions(insertions).decode()


def expected(page: str) -> str:
    return page.replace("^", IN_MARKDOWN).replace("~!~", IN_HTML)


@pytest.mark.parametrize(
    "page",
    [
        "![^](a.png)",
        "![^]( a.png )",
        '![^](a.png "a title")',
        "![^](a.png 'a title')",
        "![^](a.png (a title))",
        '![^](<a.png> "t\\"")',
        "![^](\na.png\n'a\ntitle'\n)",
        "[![^](a.png)](b.html)",
        "text ![^](a.png) and ![^](a.png), ![a dog](b.png)",
        "# ![^](a.png) #",
        "![^](a.png)\n===",
        "> ![^](a.png)\n![^](a.png)",
        "1.  x\n\n    ![^](a.png)\n\n    - y\n\n      ![^](a.png)",
        "para\n    ![^](a.png)",  # no code, but the same paragraph
        "- a\n  - b\n    ![^](a.png)",
        "\t![](code.png)\n\n ![^](a.png)",
        ">\t![^](a.png)\n>\n>\t\t![](code.png)",
        "| a | b |\n| - | - |\n| ![^](a.png) | ` |\n| ` | ![^](a.png) |",
        "![^][r]\n\n[r]: a.png",
        "![^][R  r]\n\n> [r\n> R]: <a.png>\n> 'title'",
        '[r]: a.png "t"\n[s]: b.png\n![^][r]',
        "`` ` ![](x) ` `` ![^](a.png)",
        "` ![^](a.png)",
        "\\` ![^](a.png) `",
        "\\\\![^](a.png)",
        "!![^](a.png)",
        "a <!-- ![](x) --> ![^](a.png)",
        "a <b title='![](x)'> ![^](a.png)",
        "<http://a.b/![](x)> ![^](a.png)",
        "~~~\n![](x)\n```\n![](x)\n~~~\n![^](a.png)",
        "```md\n![](x)\n````\n![^](a.png)",
        "> ```\n> ![](x)\n\n![^](a.png)",
        "- ```\n  ![](x)\n![^](a.png)",
        "---\ncover: ![](x)\n---\n![^](a.png)",
        "+++\ncover = '![](x)'\n+++\n![^](a.png)",
        "---\n\n![^](a.png)\n\n---",
        "[^1]: ![^](a.png)".replace("[^1]", "[1]", 1).replace("[1]:", "x:"),
        "{% comment %}![](x){% endcomment %} ![^](a.png)",
        "{% highlight md %}\n![](x)\n{% endhighlight %}\n![^](a.png)",
        "![^](a.png){width=300}",
        "![^](a\\.png)",
        "![^](a.pn&#103;)",
        "a\r\n\r\n![^](a.png)\r\n",
        "a\r\r![^](a.png)\r",
    ],
)
def test_a_text_goes_between_the_brackets(page):
    text = page.replace("^", "")
    assert captioned(text) == expected(page)
    found = [image for image in find_images(text).images if image.text is Text.MISSING]
    assert {image.source for image in found} == {"a.png"}


@pytest.mark.parametrize(
    "page",
    [
        '<img src="a.png"~!~>',
        '<div>\n<img src="a.png"~!~>\n</div>',
        'text <img src="a.png"~!~ width="3"> text',
        '> text <img\n> src="a.png"~!~\n> width="3"> text',
        "- <IMG SRC=a.png~!~>\n\n- <p><img src='a.png'~!~/></p>",
        '| a |\n| - |\n| <img src="a.png"~!~> |',
        '<pre>\n<img src="a.png"~!~>\n\n<img src="a.png"~!~>\n</pre>',
        '<script>\n\n<img src="x">\n\n</script>\n\n<img src="a.png"~!~>',
        '<div><!--\n\n<img src="x">\n\n![](x)\n\n--></div>\n\n<img src="a.png"~!~>',
        "`<img src=x>` <img src=a.png~!~>",
        "    <img src=x>\n\n<img src=a.png~!~>",
        "\\<img src=x> <img src=a.png~!~>",
    ],
)
def test_tags_are_read_as_html(page):
    assert captioned(page.replace("~!~", "")) == expected(page)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("![a dog](a.png)", Text.WRITTEN),
        ("![*](a.png)", Text.WRITTEN),
        ("![a `]` b](a.png)", Text.WRITTEN),
        ("![a ![](b.png) c](a.png)", Text.WRITTEN),
        ("![a <img src=b.png> c](a.png)", Text.WRITTEN),
        ("![r]\n\n[r]: a.png", Text.WRITTEN),
        ("![r][]\n\n[r]: a.png", Text.WRITTEN),
        ("![ ](a.png)", Text.DECORATIVE),
        ('![](a.png){alt="a dog"}', Text.WRITTEN),
        ("![](a.png){: aria-hidden=true}", Text.DECORATIVE),
        ("![](a.png){role=presentation}", Text.DECORATIVE),
        ('<img src="a.png" alt="">', Text.DECORATIVE),
        ('<p><img src="a.png" alt="x"></p>', Text.WRITTEN),
    ],
)
def test_what_people_wrote_or_meant_stays(page, text):
    assert [image.text for image in find_images(page).images] == [text]
    assert captioned(page) == page


@pytest.mark.parametrize(
    "page",
    [
        "",
        "!",
        "![",
        "![]",
        "![](",
        "![](a.png",
        "![] (a.png)",
        "![](a b.png)",
        "![](a.png =300x200)",
        "![](<a.png)",
        "![](<a\n.png>)",
        "![](a(.png)",
        "![][]\n\n[]: a.png",
        "![][r]",
        "![][r]\n\n[r]:\n\na.png",
        "![[a.png]]",
        "\\![](a.png)",
        "!\\[](a.png)",
        "![\\](a.png)",
        "`![](a.png)`",
        "`a\n![](a.png)`",
        "    ![](a.png)",
        "\t![](a.png)",
        "  \t![](a.png)",
        "> \t  ![](a.png)",
        "-     ![](a.png)",
        "- a\n\n      ![](a.png)",
        "```\n![](a.png)",
        "   ~~~\n![](a.png)\n    ~~~",
        "```\n![](a.png)\n``",
        "<!--\n\n![](a.png)\n\n-->",
        "<!-- x --> ![](a.png)",  # a block of HTML begins here, and takes the line (CommonMark 4.6, kind 2)
        "text <!-- ![](a.png)\n![](b.png) --> text",
        "<?php\n\n![](a.png)\n\n?>",
        "<script>\n\n![](a.png)\n</script>",
        "<pre><code>\n\n![](a.png)\n</code></pre>",
        "<div>\n![](a.png)\n</div>",
        "<a href='![](a.png)'>",
        "---\n![](a.png)\n---",
        "{# ![](a.png) #}",
    ],
)
def test_what_is_no_image_is_left_alone(page):
    assert find_images(page).images == ()


@pytest.mark.parametrize(
    "page",
    [
        "import x from '![](x)'\n\n![^](a.png)",
        "export const a = 1\n\n    ![^](a.png)",
        "<Card>\n  <Item>\n    ![^](a.png)\n  </Item>\n</Card>",
        "{/* ![](x) */} ![^](a.png)",
        '<Card a={{b: "![](x)"}}>![^](a.png)</Card>',
        '<img style={{width: 1 > 0}} src="a.png"~!~ />',
        "```jsx\n![](x)\n```\n![^](a.png)",
    ],
)
def test_mdx(page):
    assert captioned(page.replace("^", "").replace("~!~", ""), mdx=True) == expected(page)


@pytest.mark.parametrize("tag", ["<img src={logo} />", '<img src="a.png" {...all} />', '<img {...all} src="a.png" />'])
def test_expressions_of_jsx_are_not_known(tag):
    for image in find_images(f"x {tag}", mdx=True).images:
        assert image.unknown or image.source == "{logo}"
    assert [image.text for image in find_images(f"x {tag}", mdx=True).images] == [Text.MISSING]


def test_addresses_are_decoded():
    page = '![](<a b.png>) ![](a\\_b.png) ![](a&amp;b.png) ![](a_(1).png) ![](a"t") ![]() ![](<>)'
    assert [image.source for image in find_images(page).images] == [
        "a b.png",
        "a_b.png",
        "a&b.png",
        "a_(1).png",
        'a"t"',  # without a blank before it it is no title (CommonMark 6.3)
        "",
        "",
    ]


def test_every_special_character_comes_back_from_another_implementation():
    markdown_it = pytest.importorskip("markdown_it")
    alt = "\\`*_{}[]()<>#+-.!&|~$^'\" ![x](y) <b> &amp; ` _a_ *b* a"
    page = captioned("x ![](a.png) y `", alt=alt)
    image = next(token for token in markdown_it.MarkdownIt().parse(page)[1].children if token.type == "image")
    assert "".join(child.content for child in image.children) == alt
    assert [(each.text, each.source) for each in find_images(page).images] == [(Text.WRITTEN, "a.png")]


# ---- properties -----------------------------------------------------------------------------------------------------

PIECES = (
    *("![](1.png)", "![](2.png)", "![](3.png)", "![][r]", "![x](y)", "[x](y)", "`", "``", "```", "~~~", "\n", "\n\n"),
    *("    ", "  ", " ", "\t", "> ", "- ", "1. ", "* ", "  - ", "***", "# ", "===\n", "---\n", "[", "]", "(", ")"),
    *("<!--", "-->", "<div>", "</div>", "<img src=b>", "<b>", "word", "\\", "!", "<", "|", "| - | - |\n"),
    *("[r]: q.png\n", '![](<4.png> "t")', "<pre>", "</pre>", "<?", "?>", "&", '"', "<http://a.b>", "é"),
)
pages = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


def images_of(text: str) -> list[tuple[str, str]]:
    """Address and text of the images that another implementation of CommonMark sees."""
    from markdown_it import MarkdownIt

    found = []

    def walk(tokens):
        for token in tokens:
            if token.type == "image":
                found.append((token.attrs["src"], token.content))
            else:
                walk(token.children or ())

    walk(MarkdownIt("commonmark").enable("table").parse(text))
    return sorted(found)


@given(pages)
@settings(max_examples=600, deadline=None)
def test_another_implementation_sees_the_same_images_and_then_their_texts(page):
    pytest.importorskip("markdown_it")
    # Where the two differ on purpose: front matter, and what is below a definition that no blank line ends.
    if re.match(r"(---|\+\+\+)", page) or re.search(
        r"^[> ]*\[r\]: q\.png\n[ \t>]*( {2}|\t|\d|[>*-])", page, re.MULTILINE
    ):
        return
    found = [image for image in find_images(page).images if image.syntax is Syntax.MARKDOWN]
    missing = sorted(image.source for image in found if image.text is Text.MISSING)
    seen = images_of(page)
    theirs = sorted(source for source, text in seen if not text)
    if "<!--" not in page:  # a comment that goes on behind its block hides images from browsers, not from Markdown
        assert missing == theirs
        alt = "a dog"
        after = images_of(captioned(page, alt=alt))
        assert after == sorted((source, text or alt) for source, text in seen)
    assert not set(missing) - set(theirs)


@given(pages, st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_second_run_finds_nothing_and_all_else_stays(page, mdx):
    once = captioned(page, mdx=mdx)
    assert captioned(once, mdx=mdx) == once
    assert once.replace(IN_MARKDOWN, "").replace(IN_HTML, "") == page


@given(st.text(st.sampled_from("![]()<>`~-=#\\ \t\n\r\"'|{}:ab1.")), st.booleans())
@settings(max_examples=300, deadline=None)
def test_no_text_is_too_broken(text, mdx):
    for image in find_images(text, mdx=mdx).images:
        assert text[image.start] in "!<"
        assert image.start < image.insertion <= len(text) or image.unknown


def test_hostile_pages_take_no_time():
    for piece in (
        "![",
        "[",
        "![](",
        "`a",
        "<!-- ",
        "<a ",
        "> ",
        "- ",
        "<?",
        '![](a "',
        "[a]: ",
        "{",
        "{%comment ",
        "| ",
    ):
        for mdx in (False, True):
            find_images(piece * 20_000, mdx=mdx)
    find_images("".join("`" * count + " " for count in range(700)))
