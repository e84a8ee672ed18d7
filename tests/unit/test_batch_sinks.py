"""Every kind of output: what is in it is found again, a torn end is mended, names of any bytes survive."""

import csv
import html
import json
import os
import resource
import sqlite3
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from batch_fakes import caption_of

from captioner.batch.sinks.base import Sink
from captioner.batch.sinks.database import SqliteSink
from captioner.batch.sinks.gallery import ON_A_PAGE, GallerySink
from captioner.batch.sinks.parquet import ParquetSink
from captioner.batch.sinks.registry import Output, make_sink
from captioner.batch.sinks.table import CsvSink, plain
from captioner.batch.work import Item, Outcome, key_of
from captioner.errors import CaptionerError, ConfigError
from captioner.images import BytesSource

NAMES = [
    "a.jpg", "sub/a.jpg", "a.png", "line\nend.jpg", "tab\there.jpg", 'quote".jpg', "-rf.jpg", "#1.jpg", "100%.jpg",
    "end .jpg", "=1+1.jpg", "+x.jpg", "@x.jpg", "'x.jpg", "犬😀.jpg", "e\u0301.jpg", "\u00e9.jpg", "A.jpg",
    "x" * 250 + ".jpg", "<b>&.jpg", os.fsdecode(b"b\xe4r.jpg"), "\x1b[31m.jpg",
]  # fmt: skip
CAPTIONS = ["a dog", "=cmd()", 'says "hi", twice', "犬が走る", "<script>alert(1)</script>", "-1", "a\nb", "'quoted"]
KINDS = ("jsonl", "csv", "sqlite", "parquet", "html")


def outcomes(names=NAMES):
    return [
        Outcome(Item(name, BytesSource(name, b"")), caption_of(CAPTIONS[place % len(CAPTIONS)]))
        for place, name in enumerate(names)
    ]


def sink_of(kind, folder, *, fresh=False) -> Sink:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    existing = "overwrite" if fresh else "skip"
    return make_sink(Output(kind, str(folder / f"out.{kind}"), existing), folder)


def read(kind, folder):
    """Key and caption of each record, read by other programs than ours."""
    path = folder / f"out.{kind}"
    if kind == "jsonl":
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    elif kind == "html":
        rows = [json.loads(line) for line in (folder / "out.html.jsonl").read_text(encoding="utf-8").splitlines()]
    elif kind == "csv":
        with path.open(encoding="utf-8", newline="") as file:
            rows = [{name: plain(cell) for name, cell in row.items()} for row in csv.DictReader(file)]
    elif kind == "sqlite":
        with sqlite3.connect(path) as database:
            database.row_factory = sqlite3.Row
            return {(row["path"], row["caption"]) for row in database.execute("SELECT * FROM captions")}
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = [row for part in sorted(path.glob("part-*")) for row in parquet.read_table(part).to_pylist()]
    assert len(rows) == len({key_of(row) for row in rows})
    return {(key_of(row), row["caption"]) for row in rows}


def expected(kind, given):
    found = {(each.item.key, each.caption) for each in given}
    if kind == "sqlite":
        return {(key.encode("utf-8", "backslashreplace").decode(), caption) for key, caption in found}
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_read_by_others_and_found_again(kind, tmp_path):
    given = outcomes()
    with sink_of(kind, tmp_path) as sink:
        assert not any(sink.has(each.item) for each in given)
        for place in range(0, len(given), 5):
            assert not sink.write(given[place : place + 5])
    assert read(kind, tmp_path) == expected(kind, given)
    peeked = sink_of(kind, tmp_path).peek()
    assert all(peeked(each.item) for each in given)
    with sink_of(kind, tmp_path) as sink:
        assert all(sink.has(each.item) for each in given)
        assert not sink.has(Item("other.jpg", BytesSource("other.jpg", b"")))
    assert read(kind, tmp_path) == expected(kind, given)


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_is_not_utf8_and_one_that_looks_like_its_escape_are_two(kind, tmp_path):
    given = outcomes([os.fsdecode(b"a\xff.jpg"), r"a\udcff.jpg", r"a\xff.jpg"])
    with sink_of(kind, tmp_path) as sink:
        sink.write(given[:1])
        assert sink.has(given[0].item)
        assert not any(sink.has(each.item) for each in given[1:])
        sink.write(given[1:])
    assert len(read(kind, tmp_path)) == 3
    peeked = sink_of(kind, tmp_path).peek()
    assert all(peeked(each.item) for each in given)


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_begins_anew_and_only_once(kind, tmp_path):
    given = outcomes()
    with sink_of(kind, tmp_path) as sink:
        sink.write(given)
    sink = sink_of(kind, tmp_path, fresh=True)
    with sink:
        sink.write(given[:3])
    with sink:
        sink.write(given[3:5])
    assert read(kind, tmp_path) == expected(kind, given[:5])


@pytest.mark.parametrize("kind", KINDS)
def test_peeking_makes_and_mends_nothing(kind, tmp_path):
    sink_of(kind, tmp_path).peek()
    assert list(tmp_path.iterdir()) == []
    with sink_of(kind, tmp_path) as sink:
        sink.write(outcomes()[:3])
    if kind in ("jsonl", "csv"):
        with (tmp_path / f"out.{kind}").open("a") as file:
            file.write('{"path": "to')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    sink_of(kind, tmp_path).peek()
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    # Whoever reads a database that is written with a log opens that log.
    assert {path: data for path, data in after.items() if not path.name.endswith(("-shm", "-wal"))} == before


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_an_output_that_is_cut_at_any_byte_of_its_last_record_goes_on(kind, tmp_path):
    given = outcomes()[:4]
    with sink_of(kind, tmp_path) as sink:
        sink.write(given[:3])
        three = (tmp_path / f"out.{kind}").read_bytes()
        sink.write(given[3:])
    whole = (tmp_path / f"out.{kind}").read_bytes()
    for end in range(len(three), len(whole) + 1):
        (tmp_path / f"out.{kind}").write_bytes(whole[:end])
        with sink_of(kind, tmp_path) as sink:
            assert all(sink.has(each.item) for each in given[:3])
            if not sink.has(given[3].item):
                sink.write(given[3:])
        assert (tmp_path / f"out.{kind}").read_bytes() == whole


def test_a_part_of_parquet_that_was_finished_when_the_process_was_killed_is_not_written_twice(tmp_path):
    pytest.importorskip("pyarrow")
    given = outcomes()
    with ParquetSink(tmp_path / "out.parquet", rows=8) as sink:
        sink.write(given[:6])
        kept = (tmp_path / "out.parquet" / "_unfinished.jsonl").read_bytes()
        sink.write(given[6:8])
    (tmp_path / "out.parquet" / "_unfinished.jsonl").write_bytes(kept)  # as if it had not been emptied yet
    with ParquetSink(tmp_path / "out.parquet", rows=8) as sink:
        sink.write([each for each in given if not sink.has(each.item)])
    assert read("parquet", tmp_path) == expected("parquet", given)
    assert not (tmp_path / "out.parquet" / "_unfinished.jsonl").exists()


def test_captions_that_wait_for_a_part_survive_a_next_run_that_can_write_nothing(tmp_path):
    pytest.importorskip("pyarrow")
    kept = tmp_path / "out.parquet" / "_unfinished.jsonl"
    with ParquetSink(tmp_path / "out.parquet") as sink:
        sink.write(outcomes()[:6])
        before = kept.read_bytes()
    (tmp_path / "out.parquet" / "part-00000.parquet").unlink()
    kept.write_bytes(before)  # as if the process had been killed there
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with suppress(OSError), ParquetSink(tmp_path / "out.parquet"):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert kept.read_bytes() == before


def test_a_table_that_is_damaged_in_its_middle_is_refused_and_not_cut_off_there(tmp_path):
    path = tmp_path / "out.csv"
    with CsvSink(path) as sink:
        sink.write(outcomes(["a.jpg", "b.jpg", "c.jpg"]))
    damaged = path.read_text().replace("b.jpg,", 'b.jpg,"x"', 1)
    path.write_text(damaged)
    with pytest.raises(CaptionerError, match=r"out.csv is damaged in line 3"), CsvSink(path):
        pass
    assert path.read_text() == damaged


def test_no_cell_of_a_table_is_a_formula(tmp_path):
    with CsvSink(tmp_path / "out.csv") as sink:
        sink.write(outcomes())
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    formulas = [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert all(float(cell) < 0 for cell in formulas)
    assert formulas


@pytest.mark.parametrize("sink", [CsvSink, SqliteSink])
def test_a_file_of_something_else_is_refused_and_left_alone(sink, tmp_path):
    (tmp_path / "mine").write_text("name,age\nAda,36\n")
    with pytest.raises(CaptionerError, match=r"choose another name"), sink(tmp_path / "mine"):
        pass
    assert (tmp_path / "mine").read_text() == "name,age\nAda,36\n"


@pytest.mark.parametrize("text", ['[\n  {"a": 1}\n]\n', '{"images": [], "annotations": []}', "my notes\n", "notes"])
def test_json_of_something_else_is_refused_and_left_alone(text, tmp_path):
    (tmp_path / "mine.json").write_text(text)
    sink = make_sink(Output(out=str(tmp_path / "mine.json")), tmp_path)
    with pytest.raises(CaptionerError, match=r"mine.json holds something else than captions; choose another name"):
        sink.peek()
    with pytest.raises(CaptionerError, match=r"choose another name"), sink:
        pass
    assert (tmp_path / "mine.json").read_text() == text


class Images(HTMLParser):
    """What a browser finds in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.found.append(dict(attrs))


def test_a_gallery_links_its_pictures_and_escapes_everything(tmp_path):
    given = outcomes()
    for each in given:
        path = tmp_path / "pictures" / each.item.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with GallerySink(tmp_path / "pages" / "out.html", tmp_path / "pictures") as sink:
        sink.write(given)
    page = Images()
    page.feed((tmp_path / "pages" / "out.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert [image["alt"] for image in page.found] == [each.caption for each in given]
    links = [os.fsdecode(unquote_to_bytes(image["src"])) for image in page.found]
    assert links == [f"../pictures/{each.item.key}" for each in given]


def test_a_large_gallery_has_pages_that_know_each_other(tmp_path):
    names = [f"{number}.jpg" for number in range(2 * ON_A_PAGE + 3)]
    for name in names:
        (tmp_path / name).touch()
    with GallerySink(tmp_path / "out.html", tmp_path) as sink:
        sink.write(outcomes(names))
    pages = [(tmp_path / name).read_text() for name in ("out.html", "out-2.html", "out-3.html")]
    assert [page.count("<img") for page in pages] == [ON_A_PAGE, ON_A_PAGE, 3]
    assert all(html.escape("out-3.html") in page for page in pages)
    with GallerySink(tmp_path / "out.html", tmp_path, fresh=True) as sink:
        sink.write(outcomes(names[:2]))
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["out.html"]


@pytest.mark.parametrize("name", ["index.html", "index-2.html", "index-3.html"])
def test_a_gallery_neither_writes_over_nor_removes_a_page_of_somebody_else(name, tmp_path):
    (tmp_path / name).write_text("<!doctype html><title>mine</title>")
    (tmp_path / "index-old.html").write_text("no page of any gallery")
    for fresh in (False, True):
        sink = GallerySink(tmp_path / "index.html", tmp_path, fresh=fresh)
        with pytest.raises(CaptionerError, match=rf"{name} is no page of a gallery; choose another name"), sink:
            pass
    assert (tmp_path / name).read_text() == "<!doctype html><title>mine</title>"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (Output(), "where captions shall go is not said"),
        (Output(out="captions.xyz"), "--out FILE, ending in one of"),
        (Output(to="cvs", out="x.csv"), "--to cvs is unknown; choose one of jsonl, csv"),
        (Output(to="csv"), "--to csv wants a place: --out captions.csv"),
        (Output(out="a.csv", existing="append"), "append is for sidecar and metadata"),
        (Output(out="a.csv", existing="replace"), "--existing replace is unknown"),
        (Output(to="metadata", out="x"), "leave out --out"),
        (Output(to="metadata", fields=("title",)), "--fields title"),
    ],
)
def test_outputs_that_nobody_can_make_are_refused(output, reason):
    with pytest.raises(ConfigError, match=reason):
        make_sink(output, Path())


def test_a_database_passes_the_check_of_sqlite_and_can_be_read_by_its_shell(tmp_path):
    with sink_of("sqlite", tmp_path) as sink:
        sink.write(outcomes())
    with sqlite3.connect(tmp_path / "out.sqlite") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize(
    ("output", "what"),
    [
        (Output("sidecar", "texts.jsonl"), "ends like a file"),
        (Output("", "out.jsonl", fields=("alt",)), "--fields are those of --to metadata"),
        (Output("sidecar", fields=("alt",)), "--fields are those of --to metadata"),
        (Output("", "-", "append"), "here: skip or overwrite"),
    ],
)
def test_what_does_not_go_together_is_refused(output, what, tmp_path):
    with pytest.raises(ConfigError, match=what):
        make_sink(output, tmp_path)


def test_a_database_of_somebody_else_stays_to_the_byte(tmp_path):
    with sqlite3.connect(tmp_path / "out.sqlite") as database:
        database.execute("CREATE TABLE captions (picture TEXT, said TEXT)")
    before = (tmp_path / "out.sqlite").read_bytes()
    with pytest.raises(CaptionerError, match="cannot be used as a database of captions"):
        sink_of("sqlite", tmp_path).__enter__()
    assert (tmp_path / "out.sqlite").read_bytes() == before


def test_lines_of_others_that_name_pictures_are_no_captions(tmp_path):
    (tmp_path / "out.jsonl").write_text('{"path": "a.jpg", "text": "mine"}\n')
    with pytest.raises(CaptionerError, match="holds something else than captions"):
        sink_of("jsonl", tmp_path).__enter__()


def test_a_gallery_shows_what_is_there(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    with sink_of("html", tmp_path) as sink:
        sink.write(outcomes(["a.jpg", f"shard/{'long' * 200}"]))
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert (page.count("<img"), page.count("<figure>")) == (1, 2)
