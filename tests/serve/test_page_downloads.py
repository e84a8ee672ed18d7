"""Captions taken home from the page: read back with Python's own readers, whatever the names and captions are."""

from __future__ import annotations

import csv
import io
import json
import zipfile
import zlib

import pytest
from pages import CHROMIUM, choose, chromium, expect, files, opened
from servers import running

from captioner.batch.sinks.table import plain

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
NAMES = ("dog.jpg", "dog.png", "Bär, „groß“.jpg", "=1+1.jpg", "dog.jpg", "图片.webp", ".hidden", "no suffix")
CAPTION = 'she said "ja", and — 狗 — left; =SUM(A1)'


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    """Eight pictures with difficult names, the first one corrected, and a ninth that is none."""
    with (
        running(tmp_path_factory.mktemp("serve"), "--workers=1") as server,
        chromium() as browser,
        opened(browser, server) as found,
    ):
        choose(found, *range(len(NAMES)), names=NAMES)
        found.set_input_files("#files", {"name": "letter.jpg", "mimeType": "image/jpeg", "buffer": b"Dear all,"})
        expect(found.locator('[data-status="failed"]')).to_have_count(1)
        found.locator(".edits").first.click()
        found.locator("textarea").first.fill(CAPTION)
        found.keyboard.press("Enter")
        yield found


def downloaded(tab, button) -> tuple[str, bytes]:
    with tab.expect_download() as waiting:
        tab.get_by_role("button", name=button).click()
    return waiting.value.suggested_filename, waiting.value.path().read_bytes()


def shown(tab) -> list[str]:
    return tab.locator(".caption:visible").all_inner_texts()


def test_csv(tab):
    name, data = downloaded(tab, "Download as CSV")
    assert name == "captions.csv"
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8"), newline=""), strict=True))
    assert [plain(row["path"]) for row in rows] == [*NAMES, "letter.jpg"]
    assert [row["caption"] for row in rows] == [*shown(tab), ""]
    assert rows[0]["caption"] == CAPTION
    assert rows[0]["was"]
    assert rows[0]["log_prob"] == rows[0]["confidence"] == ""  # they were those of another caption
    assert all(float(row["log_prob"]) < 0 < float(row["confidence"]) < 1 for row in rows[1:-1])
    assert rows[3]["path"] == "'=1+1.jpg"  # a text for spreadsheets, and no formula
    assert "not a picture" in rows[-1]["error"]


def test_json_lines(tab):
    name, data = downloaded(tab, "Download as JSON lines")
    assert name == "captions.jsonl"
    records = [json.loads(line) for line in data.decode("utf-8").splitlines()]
    assert [each["path"] for each in records] == [*NAMES, "letter.jpg"]
    assert [each.get("caption") for each in records] == [*shown(tab), None]
    assert records[0]["was"] == records[0]["candidates"][0]["caption"] != CAPTION
    assert all(len(each["candidates"]) == 5 for each in records[:-1])
    assert records[-1]["error"]["code"] == "unsupported"


def test_a_zip_of_texts_beside_pictures(tab):
    name, data = downloaded(tab, "Download Texts (ZIP)")
    assert name == "captions.zip"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None  # every CRC-32
        names = archive.namelist()
        texts = [archive.read(each).decode("utf-8") for each in names]
    assert names == ["dog.jpg.txt", "dog.png.txt", "Bär, „groß“.txt", "=1+1.txt", "dog.jpg (2).txt", "图片.txt",
                     ".hidden.txt", "no suffix.txt"]  # fmt: skip
    assert texts == [f"{caption}\n" for caption in shown(tab)]


def test_names_in_a_zip_lead_nowhere_else(tab):
    paths = ["../../etc/passwd.jpg", "/root/a.jpg", "a\\b:c.jpg", "x/./y.jpg", "nul\u0000.jpg", ""]
    names = tab.evaluate(
        """async (paths) => {
            const { texts } = await import("/page/downloads.js");
            return texts(paths.map((path) => ({ path, caption: "a" }))).map((each) => each.name);
        }""",
        paths,
    )
    assert names == ["_/_/etc/passwd.txt", "root/a.txt", "a_b_c.txt", "x/_/y.txt", "nul_.txt", "_.txt"]


def test_the_zip_writer_is_right_about_many_files_empty_ones_and_every_byte(tab):
    made = tab.evaluate(
        """async () => {
            const { zip, crc32 } = await import("/page/zip.js");
            const entry = (_, at) => ({ name: `${at}/é.txt`, text: "é".repeat(at % 50) });
            const entries = Array.from({ length: 3000 }, entry);
            const blob = zip(entries, new Date(2031, 1, 3, 4, 5, 6));
            const every = Uint8Array.from({ length: 256 }, (_, at) => at);
            return [Array.from(new Uint8Array(await blob.arrayBuffer())), crc32(every)];
        }"""
    )
    assert made[1] == zlib.crc32(bytes(range(256)))
    with zipfile.ZipFile(io.BytesIO(bytes(made[0]))) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 3000
        assert archive.read("49/é.txt").decode() == "é" * 49
        assert archive.read("50/é.txt") == b""
        assert archive.infolist()[0].date_time == (2031, 2, 3, 4, 5, 6)


def test_nothing_is_lost_without_a_question(tab):
    """A correction that is nowhere else holds the page back; after a download it does not."""
    ask = """() => {
        const event = new Event('beforeunload', { cancelable: true });
        dispatchEvent(event);
        return event.defaultPrevented;
    }"""
    tab.locator(".others button").nth(1).click()  # the first one is what it was before the correction
    assert tab.evaluate(ask)
    count = tab.locator(".picture").count()
    tab.evaluate("() => { window.confirm = (text) => { window.asked = text; return false; }; }")  # the answer is no
    tab.get_by_role("button", name="Remove all").click()
    assert tab.evaluate("asked") == "Some corrections are nowhere else. Remove all pictures?"
    assert tab.locator(".picture").count() == count > 0
    downloaded(tab, "Download as CSV")
    assert not tab.evaluate(ask)


def test_there_is_nothing_to_download_before_there_is_a_caption(tab):
    tab.get_by_role("button", name="Remove all").click()
    tab.set_input_files("#files", {"name": "letter.jpg", "mimeType": "image/jpeg", "buffer": b"Dear all,"})
    expect(tab.locator('[data-status="failed"]')).to_have_count(1)
    assert all(button.is_disabled() for button in tab.locator("[data-download]").all())
    tab.set_input_files("#files", files(1))
    expect(tab.locator("[data-download]:enabled")).to_have_count(3)
