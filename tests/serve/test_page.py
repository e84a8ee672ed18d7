"""The page in a real browser, with a real service: pictures come in, captions come out; faults are told."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
from pages import CHROMIUM, choose, chromium, drop, expect, files, opened
from servers import picture, running, until

import captioner

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
EVIL = "<img src=x onerror=alert(1)>.jpg"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("serve"), "--workers=1", "--corrections=better.tar") as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def tab(browser, server):
    with opened(browser, server) as found:
        yield found


@pytest.fixture(scope="module")
def model():
    return captioner.load("pretrained")


def test_because_of_these_names_the_training_pictures_that_look_alike(browser, tmp_path):
    pytest.importorskip("onnx")
    from graphs import save_captioner, save_neighbours

    folder = save_captioner(tmp_path, more=save_neighbours(tmp_path))
    with running(tmp_path, "--workers=1", f"--model={folder}") as server, opened(browser, server) as tab:
        choose(tab, 1, 2)
        card = tab.locator(".picture").first
        expect(card.locator(".neighbours")).to_be_hidden()
        card.get_by_role("button", name="Because of?").click()
        expect(card.locator(".neighbours li")).to_have_count(3)
        with server.client() as client:
            answer = client.post("/v1/neighbours", content=picture(1), headers={"content-type": "image/jpeg"}).json()
        told = [each["captions"][0] for each in answer["neighbours"]]
        assert card.locator(".neighbours li span[dir]").all_inner_texts() == told
        expect(card.locator(".neighbours")).to_be_focused()
        expect(card.get_by_role("button", name="Because of?")).to_be_hidden()
        expect(tab.locator(".picture").nth(1).locator(".neighbours")).to_be_hidden()


def test_a_captioner_without_training_pictures_offers_none(tab):
    choose(tab, 1)
    expect(tab.locator(".likens")).to_be_hidden()


def said(card) -> str:
    return card.locator(".caption").inner_text()


def test_a_dropped_picture_has_its_caption_its_candidates_and_their_probability(tab, tmp_path, model):
    (tmp_path / "dropped.jpg").write_bytes(picture(1))
    drop(tab, str(tmp_path / "dropped.jpg"))
    card = tab.locator(".picture")
    expect(card).to_have_attribute("data-status", "done")
    expected = model.caption(picture(1), beam=5, n_best=5)
    assert said(card) == expected.text
    assert card.locator(".others button").all_inner_texts() == [each.text for each in expected.candidates[1:]]
    for shown in card.locator(".others .share").all_inner_texts():
        assert re.fullmatch(r"(<\xa0)?[\d.]+\xa0%", shown)
    assert f"Confidence {100 * expected.confidence:.0f}\xa0%" in card.locator(".facts").inner_text()
    assert card.locator("img").evaluate("image => image.complete && image.naturalWidth") == 160
    expect(tab.locator("#said")).to_have_text(f"Caption: {expected.text}")


def test_of_a_dropped_folder_all_pictures_are_taken_in_order_and_the_rest_is_counted(tab, tmp_path):
    inner = tmp_path / "holidays" / "second day"
    inner.mkdir(parents=True)
    for number in (1, 2, 10):
        (tmp_path / "holidays" / f"{number}.jpg").write_bytes(picture(number))
    (inner / "3.jpg").write_bytes(picture(3))
    (inner / "notes.txt").write_text("rain")
    drop(tab, str(tmp_path / "holidays"))
    expect(tab.locator('[data-status="done"]')).to_have_count(4)
    names = [name.replace("holidays/", "") for name in tab.locator(".name").all_inner_texts()]
    assert names == ["1.jpg", "2.jpg", "10.jpg", "second day/3.jpg"]
    expect(tab.locator("#notice")).to_have_text("1 file that is no picture was left out.")


def test_a_pasted_picture_is_captioned_and_pasted_text_is_not(browser, server, model):
    with opened(browser, server, permissions=["clipboard-read", "clipboard-write"]) as tab:
        tab.evaluate("navigator.clipboard.writeText('a text')")
        tab.keyboard.press("Control+V")
        expect(tab.locator("#notice")).to_have_text("What was pasted is not a picture.")
        tab.evaluate(
            """async (bytes) => {
                const blob = new Blob([new Uint8Array(bytes)], { type: "image/png" });
                await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
            }""",
            list(picture(2, kind="PNG")),
        )
        tab.keyboard.press("Control+V")
        expect(tab.locator('[data-status="done"]')).to_have_count(1)
        tab.get_by_role("button", name="Paste", exact=True).click()
        expect(tab.locator('[data-status="done"]')).to_have_count(2)
        assert tab.locator(".name").all_inner_texts() == ["pasted-1.png", "pasted-2.png"]
        assert {said(card) for card in tab.locator(".picture").all()} == {model.caption(picture(2, kind="PNG")).text}


def test_a_photo_is_taken_with_the_camera(tab):
    tab.get_by_role("button", name="Take a photo").click()
    tab.get_by_role("button", name="Take it").click()
    expect(tab.locator('[data-status="done"]')).to_have_count(1)
    assert tab.locator(".name").inner_text() == "photo-1.jpg"
    assert tab.evaluate("document.getElementById('camera-view').srcObject") is None  # it is off again


def test_three_at_once_each_have_their_own_caption_in_their_order(tab, model):
    choose(tab, 11, 12, 13)
    cards = tab.locator(".picture").all()
    assert [said(card) for card in cards] == [model.caption(picture(seed)).text for seed in (11, 12, 13)]
    assert tab.locator("#count").inner_text() == "3 pictures captioned"


def test_bad_files_are_told_beside_the_good_ones_and_cost_them_nothing(tab):
    cut = picture(3)[:400]
    bad = [{"name": "letter.jpg", "mimeType": "image/jpeg", "buffer": b"Dear all,"},
           {"name": "cut.jpg", "mimeType": "image/jpeg", "buffer": cut},
           {"name": "empty.png", "mimeType": "image/png", "buffer": b""}]  # fmt: skip
    tab.set_input_files("#files", [*bad, *files(4)])
    expect(tab.locator('[data-status="failed"]')).to_have_count(3)
    expect(tab.locator('[data-status="done"]')).to_have_count(1)
    for state in tab.locator('[data-status="failed"] .state .text').all_inner_texts():
        assert state.startswith("This is not a picture that I can read: ")
    expect(tab.locator(".placeholder:visible")).to_have_count(3)
    expect(tab.locator(".retries:visible")).to_have_count(0)  # another try would not mend them


def test_names_of_files_are_text_and_never_markup(tab):
    choose(tab, 5, names=[EVIL])
    assert tab.locator(".name").inner_text() == EVIL
    assert tab.locator(".picture img").count() == 1
    tab.locator(".edits").click()
    tab.locator("textarea").fill(f"a {EVIL}")
    tab.keyboard.press("Enter")
    assert tab.locator(".caption").inner_text() == f"a {EVIL}"
    assert tab.locator(".picture img").count() == 1


def test_words_light_up_where_the_captioner_looked(tab, model):
    choose(tab, 6)
    maps = model.attention(picture(6))
    words = tab.locator("button.word")
    assert words.count() == len(maps)
    for place in (0, len(maps) - 1):
        words.nth(place).hover()
        canvas = tab.locator(".view canvas")
        expect(canvas).to_be_visible()
        veil = canvas.evaluate(
            """(canvas, side) => Array.from({ length: side * side }, (_, place) => {
                const x = ((place % side) + 0.5) * canvas.width / side;
                const y = (Math.floor(place / side) + 0.5) * canvas.height / side;
                return canvas.getContext("2d").getImageData(x, y, 1, 1).data[3];
            })""",
            maps.shape[1],
        )
        assert veil.index(min(veil)) == maps[place].argmax()
        assert max(veil) - min(veil) > 100
    tab.mouse.move(5, 5)
    expect(canvas).to_be_hidden()
    words.first.click()  # or a tap: it stays
    tab.mouse.move(5, 5)
    expect(canvas).to_be_visible()
    assert words.first.get_attribute("aria-pressed") == "true"


def test_words_are_reached_by_keyboard_with_one_stop_a_caption(tab):
    choose(tab, 6)
    tab.locator("button.word").first.focus()
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate("document.activeElement.dataset.place") == "1"
    expect(tab.locator(".view canvas")).to_be_visible()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "edits"
    expect(tab.locator(".view canvas")).to_be_hidden()


def test_without_attention_the_picture_is_covered_part_by_part_when_asked(browser, tmp_path):
    pytest.importorskip("onnx", reason="the library onnx is not installed")
    from graphs import save_captioner

    folder = save_captioner(tmp_path)
    with running(tmp_path, "--workers=1", f"--model={folder}") as server, opened(browser, server) as tab:
        choose(tab, 7)
        assert tab.locator("button.word").count() == 0
        tab.get_by_role("button", name="Where from?").click()
        expect(tab.locator("button.word").first).to_be_visible()
        expect(tab.locator(".note")).to_have_text("Rest on a word, or tap it: its part of the picture lights up.")
        tab.locator("button.word").first.hover()
        # it always says the same
        expect(tab.locator(".facts")).to_contain_text("no single part of the picture matters")
        assert tab.locator(".edits").inner_text() == "Correct"


def test_an_explanation_that_failed_can_be_asked_for_again(browser, tmp_path):
    pytest.importorskip("onnx", reason="the library onnx is not installed")
    from graphs import save_captioner

    folder = save_captioner(tmp_path)
    with running(tmp_path, "--workers=1", f"--model={folder}") as server, opened(browser, server, unless="504") as tab:
        choose(tab, 7)
        tab.route("**/v1/explanations*", lambda route: route.fulfill(status=504), times=1)
        tab.get_by_role("button", name="Where from?").click()
        expect(tab.locator(".note")).to_contain_text("the service answered with status 504")
        tab.get_by_role("button", name="Where from?").click()
        expect(tab.locator("button.word").first).to_be_visible()


def test_a_correction_is_kept_by_the_service_and_can_be_undone(tab, server):
    choose(tab, 8)
    card, own = tab.locator(".picture"), said(tab.locator(".picture"))
    card.locator(".edits").click()
    card.locator("textarea").fill("")
    tab.keyboard.press("Enter")
    expect(card.locator(".edit .bad")).to_have_text("Write a caption first, or cancel.")
    card.locator("textarea").fill("seven  colours,\nside by side ☂")
    tab.keyboard.press("Enter")
    assert said(card) == "seven colours, side by side ☂"
    expect(card.locator(".note")).to_have_text("Corrected; the service keeps it to learn from.")
    kept = (server.folder / "better.tar").read_bytes()
    assert "seven colours, side by side ☂\n".encode() in kept
    assert own.encode() in kept
    assert tab.evaluate("document.activeElement.className") == "edits"
    card.locator(".edits").click()
    card.locator("textarea").fill("six colours")  # what was kept before is not what is meant any more
    tab.keyboard.press("Enter")
    until(lambda: b"six colours\n" in (server.folder / "better.tar").read_bytes())
    assert b"seven colours" not in (server.folder / "better.tar").read_bytes()
    card.locator(".reverts").click()
    assert said(card) == own
    until(lambda: b"six colours" not in (server.folder / "better.tar").read_bytes())
    expect(card.locator(".note")).to_be_hidden()


def test_another_candidate_becomes_the_caption_with_a_click(tab):
    choose(tab, 9)
    other = tab.locator(".others button").nth(1).inner_text()
    tab.locator(".others button").nth(1).click()
    assert said(tab.locator(".picture")) == other
    assert other not in tab.locator(".others button").all_inner_texts()


def test_a_service_that_searches_less_is_asked_for_less(browser, tmp_path):
    with running(tmp_path, "--workers=1", "--beam=2", "--max-beam=2") as server, opened(browser, server) as tab:
        choose(tab, 9)
        assert tab.locator(".others button").count() == 1


def test_a_caption_is_copied(browser, server):
    with opened(browser, server, permissions=["clipboard-read", "clipboard-write"]) as tab:
        choose(tab, 10)
        tab.locator(".copies").click()
        expect(tab.locator(".note")).to_have_text("Copied.")
        assert tab.evaluate("navigator.clipboard.readText()") == said(tab.locator(".picture"))


def test_while_the_service_is_busy_the_page_says_so_waits_and_gets_all_captions(browser, tmp_path):
    with running(tmp_path, "--workers=1", "--queue=1") as server, opened(browser, server) as tab:
        choose(tab, 1)
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)
        tab.set_input_files("#files", files(*range(20, 25)))
        expect(tab.locator(".state", has_text="The service is busy; trying again in")).to_have_count(1)
        os.kill(worker, signal.SIGCONT)
        expect(tab.locator('[data-status="done"]')).to_have_count(6)


def test_what_runs_and_what_waits_is_stopped_also_in_the_service_and_begun_again(browser, server, tab):
    choose(tab, 1)
    (worker,) = server.workers()
    os.kill(worker, signal.SIGSTOP)
    tab.set_input_files("#files", files(*range(30, 36)))
    until(lambda: server.metric("captioner_in_flight") == 3)  # a few at a time
    tab.get_by_role("button", name="Stop").click()
    expect(tab.locator('[data-status="stopped"]')).to_have_count(6)
    until(lambda: server.metric("captioner_in_flight") == 0)
    os.kill(worker, signal.SIGCONT)
    tab.get_by_role("button", name="Try 6 again").click()
    expect(tab.locator('[data-status="done"]')).to_have_count(7)


def test_when_the_service_is_gone_the_page_says_so(browser, tmp_path):
    with running(tmp_path, "--workers=1") as server, opened(browser, server, unless="ERR_CONNECTION_REFUSED") as tab:
        choose(tab, 1)
        server.stop()
        tab.set_input_files("#files", files(2))
        expect(tab.locator('[data-status="failed"] .text')).to_contain_text("the service does not answer")
        expect(tab.locator(".retries:visible")).to_have_count(1)


def test_a_token_is_asked_for_once_and_kept_in_memory_alone(browser, tmp_path):
    (tmp_path / "token").write_text("a-token-of-24-characters\n")
    with running(tmp_path, "--workers=1", "--token-file=token") as server, opened(browser, server) as tab:
        for token in ("not-this-one-at-all", "a-token-of-24-characters"):
            tab.get_by_role("textbox", name="Token").fill(token)
            tab.keyboard.press("Enter")
            if token.startswith("not"):
                expect(tab.locator("#token-wrong")).to_be_visible()
        expect(tab.locator("#token")).to_be_hidden()
        choose(tab, 1, 2, 3)
        assert tab.locator('[data-status="done"]').count() == 3
        kept = tab.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])")
        assert json.loads(kept) == [{}, {}, ""]
        assert tab.locator("#token-field").input_value() == ""


@pytest.mark.slow
def test_a_file_with_too_many_bytes_is_made_smaller_and_it_says_so(browser, tmp_path):
    with running(tmp_path, "--workers=1", "--file-bytes=60000") as server, opened(browser, server) as tab:
        noisy = picture(1, size=(3000, 2000), kind="BMP")
        assert len(noisy) > 1_000_000
        tiff = picture(1, size=(400, 400), kind="TIFF")
        big = [
            {"name": "big.bmp", "mimeType": "image/bmp", "buffer": noisy},
            {"name": "big.tif", "mimeType": "image/tiff", "buffer": tiff},
        ]
        tab.set_input_files("#files", big)
        expect(tab.locator('[data-status="failed"] .text')).to_contain_text("this browser cannot make it smaller")
        expect(tab.locator('[data-status="done"] .note')).to_contain_text("Made smaller before it was sent: 18.0 MB →")


def test_a_picture_that_the_browser_cannot_show_is_captioned_all_the_same(tab, model):
    data = picture(4, kind="TIFF")
    tab.set_input_files("#files", {"name": "scan.tif", "mimeType": "image/tiff", "buffer": data})
    expect(tab.locator('[data-status="done"]')).to_have_count(1)
    assert said(tab.locator(".picture")) == model.caption(data).text
    expect(tab.locator(".placeholder")).to_be_visible()


@pytest.mark.slow
def test_three_hundred_pictures_leave_the_page_alive_and_what_is_removed_is_let_go(browser, server, tab):
    tab.evaluate(
        """() => {
            window.longest = 0;
            window.revoked = 0;
            let last = performance.now();
            setInterval(() => {
                window.longest = Math.max(window.longest, performance.now() - last);
                last = performance.now();
            }, 10);
            const revoke = URL.revokeObjectURL.bind(URL);
            URL.revokeObjectURL = (url) => { window.revoked += 1; revoke(url); };
        }"""
    )
    tab.set_input_files("#files", files(*range(300)))
    expect(tab.locator("#count")).to_have_text("300 pictures captioned", timeout=120_000)
    assert tab.evaluate("window.longest") < 1500  # milliseconds in which nothing else could happen
    tab.get_by_role("button", name="Remove all").click()
    assert tab.evaluate("window.revoked") == 300
    assert tab.locator(".picture").count() == 0
    assert tab.evaluate("document.activeElement.id") == "choose"


def test_every_file_of_the_page_is_served_with_its_policy_and_holds_nothing_inline(server):
    folder = Path(captioner.__file__).parent / "serve" / "page"
    with server.client() as client:
        for file in folder.iterdir():
            answer = client.get("/" if file.name == "page.html" else f"/page/{file.name}")
            assert answer.content == file.read_bytes()
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
    html = (folder / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*src=)", html)
    everything = "".join(file.read_text(encoding="utf-8") for file in folder.iterdir())
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|localStorage|sessionStorage|eval\(", everything)
    assert set(re.findall(r"https?://[\w./]+", everything)) <= {"http://www.w3.org/2000/svg"}
