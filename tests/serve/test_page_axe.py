"""The page under axe-core, in all that it can show, light and dark, on a desk and on a phone: no rule is broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import CHROMIUM, choose, chromium, expect, files, opened
from servers import running

axe = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
pytest.importorskip("onnx")
pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]
SOURCE = Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
DIALOGS = ("token", "camera")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    from graphs import save_captioner, save_neighbours

    folder = tmp_path_factory.mktemp("serve")
    model = save_captioner(folder, more=save_neighbours(folder))
    with running(folder, "--workers=1", f"--model={model}") as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


def broken(tab):
    """The rules that the page breaks as it stands, each with the first element that does."""
    tab.evaluate(SOURCE)
    found = tab.evaluate("(rules) => axe.run(document, { runOnly: rules })", list(RULES))
    assert len(found["passes"]) > 15
    return [(rule["id"], rule["nodes"][0]["html"]) for rule in found["violations"]]


LOOKS = pytest.mark.parametrize(
    "look",
    [
        # The policy of the page lets no script in but its own, and so not axe's.
        pytest.param(
            {"color_scheme": scheme, "width": width, "reduced_motion": "reduce", "bypass_csp": True},
            id=f"{scheme}-{width}",
        )
        for scheme in ("light", "dark")
        for width in (1200, 360)
    ],
)


@LOOKS
def test_axe_finds_nothing(browser, server, look):
    with opened(browser, server, **look) as tab:
        expect(tab.locator("#about")).to_be_visible()
        assert broken(tab) == []
        choose(tab, 1, 2, 3)
        tab.set_input_files("#files", {"name": "letter.jpg", "mimeType": "image/jpeg", "buffer": b"Dear all,"})
        expect(tab.locator('[data-status="failed"]')).to_have_count(1)
        tab.locator(".likens").first.click()
        expect(tab.locator(".neighbours li")).to_have_count(3)
        tab.locator(".edits").nth(1).click()
        tab.locator("textarea").nth(1).fill("")
        tab.keyboard.press("Enter")
        tab.locator("summary").click()
        assert broken(tab) == []
        for dialog in DIALOGS:
            tab.evaluate("(name) => document.getElementById(name).showModal()", dialog)
            assert broken(tab) == []
            tab.evaluate("(name) => document.getElementById(name).close()", dialog)


@LOOKS
def test_nor_while_it_works_nor_when_it_is_stopped(browser, server, look):
    with opened(browser, server, **look) as tab:
        tab.route("**/v1/captions*", lambda route: None)  # answers do not come before axe has looked
        tab.set_input_files("#files", files(1, 2, 3, 4, 5))
        expect(tab.locator('[data-status="working"]')).to_have_count(3)
        assert broken(tab) == []
        tab.locator("#stop").click()
        expect(tab.locator('[data-status="stopped"]')).to_have_count(5)
        assert broken(tab) == []


@LOOKS
def test_nor_when_a_token_is_wrong_or_missing(browser, tmp_path, look):
    (tmp_path / "token.txt").write_text("a long enough token")
    with running(tmp_path, "--workers=1", "--token-file=token.txt") as server, opened(browser, server, **look) as tab:
        expect(tab.locator("#token")).to_be_visible()
        assert broken(tab) == []
        tab.locator("#token-field").fill("another token")
        tab.keyboard.press("Enter")
        expect(tab.locator("#token-wrong")).to_be_visible()
        assert broken(tab) == []
        tab.locator("#token-leave").click()
        expect(tab.locator("#trouble")).to_be_visible()
        assert broken(tab) == []


@LOOKS
def test_nor_when_a_word_is_lit_up(browser, tmp_path_factory, look):
    with (
        running(tmp_path_factory.mktemp("shipped"), "--workers=1") as server,
        opened(browser, server, **look) as tab,
    ):
        choose(tab, 1)
        tab.locator(".caption button").first.click()
        expect(tab.locator("canvas").first).to_be_visible()
        assert broken(tab) == []


def test_axe_finds_what_is_broken(browser, server):
    with opened(browser, server, bypass_csp=True) as tab:
        expect(tab.locator("#about")).to_be_visible()
        tab.evaluate("document.getElementById('choose').textContent = ''")
        assert [rule for rule, _ in broken(tab)] == ["button-name"]
