"""`captioner alt`: which picture an address leads to, and what templates and site generators make of pages."""

import base64
import shutil
import socket
from urllib.parse import quote

import pytest
from alt_site import alt, contents, make_site, write


@pytest.fixture
def site(tmp_path):
    return make_site(tmp_path)


def checked(site, *arguments):
    """The addresses for which a text would be proposed, and all lines on stderr."""
    ended = alt(site, *(arguments or ("site",)), "--check")
    return [line.rpartition(" for ")[2] for line in ended.stdout.splitlines()], ended.stderr


ADDRESSES = (
    *("../img/a.png", "/img/a.png", "./../img/a.png", "../img//a.png", "../img/../img/a.png", " ../img/a.png\n"),
    *("../img/a.png?v=3", "../img/a.png#top", "../img/a%2Epng", "../im%67/a.png", "..\\img\\a.png", "&#46;./img/a.png"),
    *("sch%C3%B6n%20%231.png", "schön #1.png".replace("#", "%23"), "50%25.png", "50%.png"),
)


def test_addresses_are_followed_as_browsers_do(site):
    (site / "sub").mkdir()
    for name in ("schön #1.png", "50%.png"):
        shutil.copy(site / "img" / "a.png", site / "sub" / name)
    write(site / "sub", page="".join(f'<img src="{each}">\n' for each in ADDRESSES))
    ended = alt(site)
    assert "0 skipped, 0 failed" in ended.stderr
    assert f"{len(ADDRESSES)} proposed" in ended.stderr
    shown = [line for line in ended.stdout.splitlines() if line.startswith("+<img")]
    assert len({line.partition(" alt=")[2] for line in shown}) == 1  # the same picture, however it is called


def test_pictures_that_are_not_there_cost_a_line_and_the_status(site):
    (site / "img" / "text.png").write_text("no picture")
    (site / "img" / "empty.png").write_bytes(b"")
    names = ("gone.png", "text.png", "empty.png", "a.png", "x" * 300)
    write(site, page="".join(f'<img src="img/{name}">\n' for name in names), other="<img src=/gone.png>")
    ended = alt(site, "site", "--write")
    assert ended.returncode == 1
    assert "1 written, 0 skipped, 5 failed" in ended.stderr
    assert "site/page.html:1:1: there is no picture img/gone.png" in ended.stderr
    assert "site/other.html:1:1: there is no picture /gone.png (--root says which folder / is)" in ended.stderr
    for number, name in ((2, "text.png"), (3, "empty.png")):
        assert any(f"page.html:{number}:1" in line and name in line for line in ended.stderr.splitlines())
    assert (site / "page.html").read_text().count(" alt=") == 1


def test_nothing_is_fetched_and_nothing_outside_is_read(site, tmp_path):
    (tmp_path / "secret.png").write_bytes((site / "img" / "a.png").read_bytes())
    (site / "img" / "out.png").symlink_to(tmp_path / "secret.png")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        there = f"//127.0.0.1:{server.getsockname()[1]}/a.png"
        addresses = {
            "on another site": ("https:" + there, "HTTP:" + there, there, "\\\\127.0.0.1\\a.png"),
            "outside the folder of the site (--root)": (
                "../secret.png",
                "..%2Fsecret.png",
                "/../secret.png",
                "img/out.png",
            ),
            "an address that is no path": ("file:///etc/passwd", "blob:x", "javascript:x"),
            "an address that cannot be read": ("data:image/png;base64,#", "?x", "a%00.png", "data:"),
            "SVG, which is not read": ("img/x.svg", "data:image/svg+xml,<svg/>"),
        }
        write(site, page="".join(f"<img src='{each}'>" for group in addresses.values() for each in group))
        ended = alt(site)
        with pytest.raises(TimeoutError):
            server.accept()
    assert (ended.returncode, ended.stdout) == (0, "")
    for reason, group in addresses.items():
        assert f"  skipped: {len(group)} {reason}" in ended.stderr.splitlines(), ended.stderr


def test_embedded_lazy_and_responsive_pictures(site):
    data = base64.b64encode((site / "img" / "a.png").read_bytes()).decode()
    placeholder = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
    write(
        site,
        page=f"<img src='data:image/png;base64,{data}'>\n"
        f"<img src='data:image/png,{quote((site / 'img' / 'a.png').read_bytes())}'>\n"
        f"<img src='{placeholder}' data-src=img/a.png loading=lazy>\n"
        "<picture><source srcset='img/c.webp 2x'><img srcset='img/b.jpg 2x' src=img/a.png></picture>\n"
        "<img srcset='img/a.png 1x'>\n<img src=img/a.png width=1 height=1>\n",
    )
    ended = alt(site)
    assert ended.returncode == 0
    found = [line for line in ended.stdout.splitlines() if line.startswith("+") and " alt=" in line]
    assert len(found) == 4
    assert len({line.partition(' alt="')[2].partition('"')[0] for line in found}) == 1
    assert {"  skipped: 1 no address", "  skipped: 1 one pixel in size"} <= set(ended.stderr.splitlines())


def test_base_and_root(site):
    write(
        site / "sub",
        based="<base href='../img/'><img src=a.png>",
        rooted="<base href=/img/x.html><img src=a.png>",
        elsewhere="<base href=https://example.org/><img src=a.png>",
    )
    found, errors = checked(site)
    assert found == ["a.png", "a.png"]
    assert "1 on another site" in errors
    assert checked(site, "site/sub", "--root=site")[0] == ["a.png", "a.png"]
    assert checked(site, "site/sub/based.html", "--root", "site")[0] == ["a.png"]


@pytest.mark.parametrize(
    ("page", "picture", "address", "options"),
    [
        ("content/post/a.md", "static/img/x.png", "/img/x.png", ["site"]),  # Hugo
        ("content/post/a.md", "static/img/x.png", "/img/x.png", ["site/content", "--root", "site/static"]),
        ("content/post/a/index.md", "content/post/a/x.png", "x.png", ["site"]),
        ("content/a.md", "content/x.png", "x.png", ["site/content", "--root", "site/static"]),
        ("_posts/2024-01-01-a.md", "assets/x.png", "/assets/x.png", ["site"]),  # Jekyll
        ("docs/guide/a.md", "docs/img/x.png", "../img/x.png", ["site"]),  # MkDocs
        ("docs/guide/a.md", "docs/img/x.png", "../img/x.png", ["site/docs"]),
        ("docs/guide/a.mdx", "static/img/x.png", "/img/x.png", ["site"]),  # Docusaurus
        ("index.html", "public/x.png", "/x.png", ["site"]),  # Vite
    ],
)
def test_trees_of_site_generators(site, page, picture, address, options):
    (site / "static").mkdir()
    (site / picture).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(site / "img" / "a.png", site / picture)
    path = site / page
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'<img src="{address}">\n' if page.endswith("html") else f"---\ntitle: x\n---\n\n![]({address})\n")
    assert checked(site, *options) == (
        [address], "1 images in 1 files: 0 with a text, 0 decorative, 1 without, 0 skipped, 0 failed\n",
    )  # fmt: skip


UNSURE = {
    "jinja.html": "<img src=\"{{ url_for('static', filename='img/a.png') }}\">{{ '<img src=\"img/a.png\">' | safe }}\n"
    '<img src="img/a.png" {{ attributes }}><img src="img/a.png" {% if x > 3 %}alt="x"{% endif %}>'
    '{# <img src="img/a.png"> #}{% set x = "<img src=\'img/a.png\'>" %}',
    "liquid.md": '![]({{ site.baseurl }}/img/a.png)\n\n![]({% link img/a.png %})\n\n{% assign x = "![](img/a.png)" %}\n'
    "\n{% comment %}![](img/a.png){% endcomment %}\n",
    "hugo.md": '{{< figure src="img/a.png" >}}\n\n{{/* ![](img/a.png) */}}\n',
    "page.php": "<?php if ($a->b) echo \"<img src='img/a.png'>\"; ?>\n<img src='img/a.png' <?= $x->y ?> alt='x'>"
    "<img src='<?= $x->y ?>'><?php echo \"<img src='img/a.png'>\";",
    "page.erb": "<%= image_tag 'img/a.png' %><%= raw \"<img src='img/a.png'>\" %><img src=\"<%= x %>\">",
    "page.vue": '<template><img :src="x"><img src="img/a.png" :alt="y"><img src="img/a.png" v-bind="z"></template>\n'
    "<script>const x = '<img src=\"img/a.png\">'</script>",
    "page.svelte": '<img src={x} /><img {...x} src="img/a.png"><img src="img/a.png" on:click={() => x()} alt="y">',
    "page.mdx": 'import x from "x"\n\n<img src={x} />\n\n{/* ![](img/a.png) */}\n\n{x && <img src="img/a.png" />}\n',
}


def test_templates_are_left_alone_where_nobody_can_be_sure(site):
    for name, page in UNSURE.items():
        (site / name).write_text(page)
    before = contents(site)
    ended = alt(site, "site", *(f"--include={name}" for name in UNSURE), "--write")
    assert (ended.returncode, ended.stdout) == (0, "")
    assert f"in {len(UNSURE)} files" in ended.stderr
    assert contents(site) == before


def test_plain_images_of_templates_have_their_texts(site):
    sure = {
        "jinja.html": '{% extends "x" %}{% if a > b %}<img class="{{ c }}" src="img/a.png"^>{% endif %}',
        "page.php": '<?php foo(); ?><img src="img/a.png"^><?php bar(); ?>',
        "page.vue": '<template><img src="img/a.png"^ @click="a => b"></template>',
        "page.mdx": 'import x from "x"\n\n<Card>\n  <img src="img/a.png"^ width={300} />\n</Card>\n',
    }
    for name, page in sure.items():
        (site / name).write_text(page.replace("^", ""))
    assert alt(site, "site", *(f"--include={name}" for name in sure), "--write").returncode == 0
    for name, page in sure.items():
        before, after = page.split("^")
        written = (site / name).read_text()
        assert written.startswith(before + ' alt="')
        assert written.endswith('"' + after)
