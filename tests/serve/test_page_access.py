"""The page for everybody: keyboard alone, names for those who do not see, contrast, target sizes, phones, no motion."""

from __future__ import annotations

import itertools

import pytest
from pages import CHROMIUM, CONTRASTS, choose, chromium, expect, files, opened
from servers import running

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
LONG = "a-very-long-name-without-any-space-that-somebody-gave-to-a-picture-of-a-holiday-in-the-year-2026.jpg"
CONTROLS = {"button", "textbox", "link", "checkbox", "combobox", "progressbar", "DisclosureTriangle", "toolbar", "list"}
FOCUSED = """() => {
  const element = document.activeElement;
  if (element === document.body) return null;
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  return {
    name: element.getAttribute("aria-label") ?? element.textContent.trim(),
    ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    top: box.top + scrollY, inside: box.bottom > 0 && box.top < innerHeight,
  };
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("serve"), "--workers=1") as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


def fill(tab):
    """All that a page can show: captions, a correction being written, a problem."""
    choose(tab, 1, 2, 3, names=["first.jpg", LONG, "third.jpg"])
    tab.set_input_files("#files", {"name": "letter.jpg", "mimeType": "image/jpeg", "buffer": b"Dear all,"})
    expect(tab.locator('[data-status="failed"]')).to_have_count(1)
    tab.locator(".edits").nth(2).click()
    tab.locator("textarea").nth(2).fill("")
    tab.keyboard.press("Enter")
    tab.locator("summary").click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out(browser, server, scheme):
    with opened(browser, server, color_scheme=scheme, reduced_motion="reduce") as tab:
        expect(tab.locator("#model")).to_contain_text("Captions for pictures")
        texts = tab.evaluate(CONTRASTS)
        fill(tab)
        tab.locator("button.word").first.hover()
        texts += tab.evaluate(CONTRASTS)
        tab.evaluate("document.getElementById('token').showModal()")
        texts += tab.evaluate(CONTRASTS)
        assert len(texts) > 100
        assert [each for each in texts if each[2] < 4.5] == []
        background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (int(background[4:].split(",")[0]) > 128) == (scheme == "light")


@pytest.mark.parametrize("width", [320, 360, 768, 1600])
def test_nothing_scrolls_sideways_and_targets_are_large_enough(browser, server, width):
    with opened(browser, server, width=width, height=780) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        fill(tab)
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        sizes = tab.evaluate(
            """() => [...document.querySelectorAll("button, summary, textarea, input:not([hidden])")]
                .filter((each) => each.checkVisibility())
                .map((each) => [each.textContent, each.className, each.getBoundingClientRect().width,
                                each.getBoundingClientRect().height])"""
        )
        assert len(sizes) > 20
        for text, kind, wide, high in sizes:
            assert high >= 24, text
            assert wide >= 24 or "word" in kind, text  # words stand in a sentence (WCAG 2.2, 2.5.8, inline)
        outside = tab.evaluate(
            """() => [...document.querySelectorAll("main *, footer *")].filter((each) => each.checkVisibility()
                && !each.closest(".unseen, svg, dialog") && each.getBoundingClientRect().right > innerWidth + 0.5)
                .map((each) => each.outerHTML.slice(0, 80))"""
        )
        assert outside == []


def test_every_control_has_a_name_and_every_name_is_another(browser, server):
    with opened(browser, server) as tab:
        fill(tab)
        nodes = tab.context.new_cdp_session(tab).send("Accessibility.getFullAXTree")["nodes"]
        controls = [node for node in nodes if not node["ignored"] and node["role"]["value"] in CONTROLS]
        names = [node.get("name", {}).get("value", "") for node in controls if node["role"]["value"] != "list"]
        assert len(names) > 40
        assert all(names)
        acts = [name for name in names if name.startswith(("Remove ", "Correct ", "Copy ", "Try "))]
        assert len(acts) == len(set(acts))
        assert tab.locator("html").get_attribute("lang") == "en"
        headings = tab.locator("h1, h2, h3, h4").evaluate_all(
            "all => all.filter((each) => each.checkVisibility()).map((each) => Number(each.tagName[1]))"
        )
        assert headings[0] == 1
        assert all(below <= above + 1 for above, below in itertools.pairwise(headings))
        assert [
            alt
            for alt in tab.locator(".picture img:visible").evaluate_all("all => all.map((each) => each.alt)")
            if not alt
        ] == []
        assert (
            len(set(tab.locator("[id]").evaluate_all("all => all.map((each) => each.id)")))
            == tab.locator("[id]").count()
        )


def test_the_keyboard_alone_chooses_reads_corrects_downloads_and_removes(browser, server):
    with opened(browser, server) as tab:
        # Listened for from the start: Chromium is told to hand its dialog over, which takes a while on a busy machine.
        tab.on("filechooser", lambda chooser: chooser.set_files(files(1, 2)))
        expect(tab.locator("#about")).to_be_visible()
        tab.keyboard.press("Tab")
        assert tab.evaluate(FOCUSED)["name"] == "Choose pictures"
        tab.keyboard.press("Enter")
        expect(tab.locator('[data-status="done"]')).to_have_count(2)
        seen = []
        while (found := tab.evaluate(FOCUSED)) is not None and len(seen) < 60:
            seen.append(found)
            tab.keyboard.press("Tab")
        names = [each["name"] for each in seen]
        assert names[:3] == ["Choose pictures", "Take a photo", "Paste"]
        assert names[3:7] == ["Download as CSV", "Download as JSON lines", "Download Texts (ZIP)", "Remove all"]
        assert names[7] == "Remove picture 1.jpg"
        assert names[9:11] == ["Correct the caption of picture 1.jpg", "Copy the caption of picture 1.jpg"]
        assert names[-1] == "About this captioner"
        assert all(each["ring"] and each["inside"] for each in seen)
        tab.locator(".edits").first.focus()
        tab.keyboard.press("Enter")
        tab.keyboard.type("by hand")
        tab.keyboard.press("Escape")
        assert tab.locator(".caption").first.inner_text() != "by hand"
        tab.keyboard.press("Enter")
        tab.keyboard.type("by hand")
        tab.keyboard.press("Enter")
        assert tab.locator(".caption").first.inner_text() == "by hand"
        tab.locator("[data-download=csv]").focus()
        with tab.expect_download():
            tab.keyboard.press("Space")
        tab.locator(".remove").first.focus()
        tab.keyboard.press("Enter")
        assert tab.evaluate(FOCUSED)["name"] == "Remove picture 2.jpg"  # the next one, and not the top of the page
        tab.keyboard.press("Enter")
        assert tab.evaluate(FOCUSED)["name"] == "Choose pictures"


def test_the_skip_link_leads_past_the_controls(browser, server):
    with opened(browser, server) as tab:
        choose(tab, 1)
        tab.evaluate("document.getElementById('skip').focus()")
        assert tab.evaluate(FOCUSED)["inside"]
        tab.keyboard.press("Enter")
        tab.keyboard.press("Tab")
        assert tab.evaluate(FOCUSED)["name"] == "Remove picture 1.jpg"


def test_progress_is_told_to_those_who_do_not_see_it(browser, server):
    with opened(browser, server) as tab:
        tab.evaluate(
            """() => {
                window.told = [];
                const region = document.getElementById("said");
                new MutationObserver(() => window.told.push(region.textContent)).observe(region, { childList: true });
            }"""
        )
        choose(tab, *range(40))
        told = tab.evaluate("window.told")
        assert told[0] == "40 pictures added."
        assert told[-1] == "Ready. 40 pictures captioned."
        assert len(told) < 20  # and not one for each picture
        assert tab.locator("#said").get_attribute("aria-live") == "polite"


def test_nothing_moves_for_those_who_do_not_want_it(browser, server):
    for motion, moves in (("reduce", False), ("no-preference", True)):
        with opened(browser, server, reduced_motion=motion) as tab:
            tab.set_input_files("#files", files(*range(30)))
            tab.locator('[data-status="working"]').first.wait_for()
            rules = tab.evaluate(
                """() => {
                    const dot = document.querySelector('[data-status="working"] .dot') ?? document.body;
                    return document.getAnimations().length > 0 || getComputedStyle(dot).animationName !== "none";
                }"""
            )
            assert rules is moves
            expect(tab.locator('[data-status="done"]')).to_have_count(30)
