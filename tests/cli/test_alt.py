"""`captioner alt` as a user types it, with the captioner that ships: a small site, its diff, and what is written."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from alt_site import ALT, FOUND, PICTURES, alt, contents, make_site, write
from conftest import ROOT, run


@pytest.fixture
def site(tmp_path):
    return make_site(tmp_path)


def texts(page: str) -> list[str | None]:
    """The alternative texts of a page as another parser sees them."""
    found = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.extend([dict(attrs).get("alt")] if tag == "img" else [])

    Parser().feed(page)
    return found


# ---- the diff -------------------------------------------------------------------------------------------------------

IMAGE, WORDS = '<img\tclass=x src="img/a.png"  width=3>', "é, ü\r\n"
VARIOUS = {
    "plain.html": f"<p>{IMAGE}</p>\n".encode(),
    "no end of line.html": IMAGE.encode(),
    "mark.html": b"\xef\xbb\xbf" + f"{WORDS}{IMAGE}\n".encode(),
    "windows.html": f"<p>\r\n{IMAGE}\r\n</p>\r\n".encode(),
    "mixed.html": f"a\r\nb\n{IMAGE}\r\nc\rd\n".encode(),
    "mac.html": f"<p>\r{IMAGE}\r{IMAGE}\r</p>".encode(),
    "latin.html": f"<meta charset=iso-8859-1>{WORDS}{IMAGE}\r\n".encode("latin-1"),
    "undeclared.html": f"{WORDS}{IMAGE}\n".encode("latin-1"),
    "utf16.html": f"\ufeff{WORDS}{IMAGE}\n\u0a0a\n".encode("utf-16-le"),
    "utf16be.html": f"\ufeff{WORDS}{IMAGE}".encode("utf-16-be"),
    "sjis.html": '<meta charset="Shift_JIS">\n写真ソ表'.encode("cp932") + IMAGE.encode(),
    "broken.html": b"<meta charset=utf-8>\n\xff\xfe\x00\x80" + IMAGE.encode() + b"\x00\n",
    "far apart.html": "".join(f"{number}\n" + IMAGE * (number in (3, 40, 46, 54)) for number in range(60)).encode(),
    "sub/dir/page.md": b"# ![](../../img/b.jpg)\r\n\r\n> ![](<../../img/c.webp>\r\n> 't') <img src=../../img/a.png>",
    "cäfé.md": b"![][a]\n\n[a]: img/a.png\n",
    'quo"te\\d.html': IMAGE.encode(),
    "none.html": b"<p>nothing to do</p>",
}


@pytest.mark.parametrize("tool", [["patch", "-p1", "-s"], ["git", "apply", "--whitespace=nowarn"]])
def test_the_diff_applied_is_what_write_writes(site, tool):
    if shutil.which(tool[0]) is None:
        pytest.skip(f"{tool[0]} is not installed")
    for name, data in VARIOUS.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(data)
    before = contents(site)
    proposed = alt(site, text=False)
    assert proposed.returncode == 0, proposed.stderr
    assert contents(site) == before
    copy = site.parent / "copy"
    shutil.copytree(site, copy / "site")
    applied = subprocess.run(tool, cwd=copy, input=proposed.stdout, capture_output=True)
    assert applied.returncode == 0, (applied.stdout, applied.stderr)

    written = alt(site, "site", "--write", text=False)
    assert written.returncode == 0
    assert written.stdout == proposed.stdout
    after = contents(site)
    assert after == contents(copy / "site")
    assert {name for name in before if before[name] != after[name]} == {*VARIOUS} - {"none.html"}
    for name in VARIOUS:
        if name.endswith(".html"):  # ASCII in all of these encodings, so what is new can be taken out as bytes
            wide = "utf-16-le" if name == "utf16.html" else "utf-16-be" if name == "utf16be.html" else "ascii"
            quoted = re.escape(' alt="'.encode(wide)) + b"[a-z \0]+?" + re.escape('"'.encode(wide))
            assert re.sub(quoted, b"", after[name]) == before[name], name

    times = {path: path.stat().st_mtime_ns for path in site.rglob("*")}
    again = alt(site, "site", "--write")
    assert (again.returncode, again.stdout) == (0, "")
    assert "0 written, 0 skipped, 0 failed" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in site.rglob("*")} == times


def test_a_diff_names_files_as_they_lie_whatever_links_lead_there(site, tmp_path):
    write(site, index=FOUND)
    (tmp_path / "other").symlink_to("site")
    (tmp_path / "page.html").symlink_to("site/index.html")
    for named in ("site", "other", "site/../site", str(site)):
        assert "--- a/site/index.html\n+++ b/site/index.html\n@@ -1,3 +1,3 @@\n" in alt(site, named).stdout
    assert "+++ b/site/index.html" in alt(site, "page.html", "--root", "site").stdout
    elsewhere = run(*ALT, site, cwd=site / "img")
    assert "--- a/index.html\n" in elsewhere.stdout  # to be applied with `patch -p1 -d FOLDER`


def test_what_is_inserted_is_the_caption_of_the_verb_caption(site):
    write(site, index=FOUND, page__md="![](img/b.jpg) and ![](img/c.webp)\n")
    captions = {}
    for line in run("-m", "captioner", "caption", "--json", *sorted(site.glob("img/*")), cwd=site).stdout.splitlines():
        record = json.loads(line)
        captions[Path(record["path"]).name] = record
    proposed = [json.loads(line) for line in alt(site, "site", "--json").stdout.splitlines()]
    assert [(each["file"], each["line"], each["column"], each["src"]) for each in proposed] == [
        ("site/index.html", 2, 1, "/img/a.png"),
        ("site/page.md", 1, 1, "img/b.jpg"),
        ("site/page.md", 1, 20, "img/c.webp"),
    ]
    for each in proposed:
        expected = captions[Path(each["src"]).name]
        assert each["alt"] == expected["caption"]
        assert each["confidence"] == pytest.approx(expected["confidence"], abs=1e-3)
    alt(site, "site", "--write")
    assert texts((site / "index.html").read_text()) == [proposed[0]["alt"]]
    assert (
        site / "page.md"
    ).read_text() == f"![{proposed[1]['alt']}](img/b.jpg) and ![{proposed[2]['alt']}](img/c.webp)\n"


def test_long_captions_end_with_a_word(site):
    write(site, index="".join(f"<img src=img/{name}>" for name in PICTURES))
    whole = [json.loads(line)["alt"] for line in alt(site, "site", "--json").stdout.splitlines()]
    cut = [json.loads(line)["alt"] for line in alt(site, "site", "--json", "--max-length=14").stdout.splitlines()]
    assert len(cut) == len(whole) == 3
    for short, full in zip(cut, whole, strict=True):
        assert len(short) <= 14 < len(full)
        assert short.endswith("…")
        assert full.startswith(short[:-1] + " ")


# ---- statuses -------------------------------------------------------------------------------------------------------


def test_check_is_for_ci(site):
    write(site, index=FOUND, good='<img src="img/a.png" alt="a dog"><img src="img/a.png" alt="">')
    before = contents(site)
    found = alt(site, "site", "--check", "--model", "nowhere")  # none is loaded
    assert (found.returncode, found.stdout) == (1, "site/index.html:2:1: no alternative text for /img/a.png\n")
    assert found.stderr.splitlines() == [
        "3 images in 2 files: 1 with a text, 1 decorative, 1 without, 0 skipped, 0 failed"
    ]
    assert json.loads(alt(site, "site", "--check", "--json").stdout) == {
        "file": "site/index.html", "line": 2, "column": 1, "src": "/img/a.png",
    }  # fmt: skip
    assert contents(site) == before
    alt(site, "site", "--write")
    assert alt(site, "site", "--check").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "PATH"),
        (["nowhere"], "nowhere: no such file or folder"),
        (["-"], "-: no such file or folder"),
        (["site", "--max-length=9"], "--max-length is 9; expected 10 to 1000"),
        (["site", "--min-confidence=2"], "--min-confidence is 2.0; expected 0 to 1"),
        (["site", "--threads=0"], "threads"),
        (["site", "--root=nowhere"], "--root: nowhere is no folder"),
        (["site", "--model=nowhere"], "nowhere"),
        (["site", "--beam=0"], "beam"),
        (["site", "--write", "--check"], "not allowed with"),
    ],
)
def test_wrong_usage_is_two_and_changes_nothing(site, arguments, told):
    write(site, index=FOUND)
    before = contents(site)
    ended = run(*ALT, *arguments, cwd=site.parent)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert told in ended.stderr.splitlines()[-1]
    assert contents(site) == before


def test_nothing_less_sure_than_asked_for_is_proposed(site):
    write(site, index=FOUND)
    ended = alt(site, "site", "--min-confidence=1")
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "1 a caption that is too unsure (--min-confidence)" in ended.stderr


def test_a_reader_that_has_seen_enough_ends_it_quietly(site):
    write(site, **{f"p{number}": FOUND * 300 for number in range(20)})

    script = f"{sys.executable} -m captioner alt site | head -n 1; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(["bash", "-c", script], cwd=site.parent, env=environment, capture_output=True, text=True)
    assert ended.stdout == "--- a/site/p0.html\n"
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr


# ---- which files ----------------------------------------------------------------------------------------------------


def test_files_folders_and_the_same_once_more(site, tmp_path):
    write(site, index=FOUND, other=FOUND, page__md="![](img/a.png)\n", page__txt=FOUND)
    ended = alt(site, "site/index.html", "site/page.txt", "site", "site/index.html", "--root=site", "--check")
    assert [line.split(":")[0] for line in ended.stdout.splitlines()] == [
        "site/index.html", "site/page.txt", "site/other.html", "site/page.md",
    ]  # fmt: skip
    some = alt(site, "site", "--include=*.txt", "--include=oth*", "--check")
    assert [line.split(":")[0] for line in some.stdout.splitlines()] == ["site/other.html", "site/page.txt"]
    less = alt(site, "site", "--exclude=*.html", "--check")
    assert [line.split(":")[0] for line in less.stdout.splitlines()] == ["site/page.md"]
    piped = alt(site, "/dev/stdin")
    assert piped.returncode == 1
    assert "/dev/stdin: is no file" in piped.stderr


def test_neither_the_work_of_others_nor_what_links_lead_to(site, tmp_path):
    for folder in (".git", "node_modules/x", ".hidden", "sub"):
        (site / folder).mkdir(parents=True)
        write(site / folder, index='<img src="/img/a.png">')
    write(site, **{".draft__html": FOUND})
    (tmp_path / "outside").mkdir()
    write(tmp_path / "outside", index=FOUND)
    (site / "loop").symlink_to(".")
    (site / "sub" / "up").symlink_to("..")
    (site / "itself.html").symlink_to("itself.html")
    (site / "out").symlink_to(tmp_path / "outside")
    os.mkfifo(site / "pipe.html")
    before = contents(tmp_path / "outside")
    ended = alt(site, "site", "--write", "--exclude", "itself.html")
    assert re.findall(r"^\+\+\+ (.*)", ended.stdout, re.MULTILINE) == ["b/site/sub/index.html"]
    assert "site/out: a link out of the folder is not followed" in ended.stderr
    assert contents(tmp_path / "outside") == before
    assert ended.returncode == 0
    assert alt(site, "site", "--check").returncode == 1  # a link that leads nowhere cannot be read
    assert "site/itself.html" in alt(site, "site", "--check").stderr


def test_scripts_are_refused(site):
    source = "const a = \"<img src='img/a.png'>\"; export default () => <img src='/img/a.png' />\n"
    write(site, app__jsx=source, app__ts=source)
    assert "0 images in 0 files" in alt(site).stderr
    ended = alt(site, "site", "--include=*.jsx", "site/app.ts", "--write")
    assert ended.returncode == 1
    assert ended.stderr.count("is JavaScript; only HTML and Markdown are read") == 2
    assert (site / "app.jsx").read_text() == (site / "app.ts").read_text() == source


@pytest.mark.slow
def test_five_thousand_pages(site):
    """In one go, with what a page has beside its image; a picture is captioned once."""
    filling = "<p class='x'>Some words, a <a href=x>link</a> &amp; more.</p>\n" * 50
    for number in range(5_000):
        folder = site / f"{number % 50}"
        folder.mkdir(exist_ok=True)
        name = f"{number}.md" if number % 2 else f"{number}.html"
        (folder / name).write_text(f"{filling}\n![](/img/b.jpg)\n\n<img src=/img/{PICTURES[number % 3]}>\n")
    ended = alt(site, "site", "--write")
    assert "10,000 images" not in ended.stderr  # what Markdown takes for an image HTML does not
    assert "7,500 images in 5,000 files: 0 with a text, 0 decorative, 7,500 written" in ended.stderr
    assert alt(site, "site", "--check").returncode == 0
