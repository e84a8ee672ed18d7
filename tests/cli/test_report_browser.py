"""The report in a real browser, opened from disk: sorting, filtering, probabilities, keyboard, phone, no network."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("jinja2")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.torch,  # jinja2 comes with the extra `train`
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]

from captioner.report.page import Finding, Line, Report, Shown, page  # noqa: E402
from captioner.types import Score, Word  # noqa: E402

EVIL = "<script>document.title = 'broken'</script>"
CARDS = (  # caption, CIDEr, log-probabilities of the words
    ("a red ball", 50.0, (-0.1, -0.2, -0.3)),
    ("a Café at night", 0.0, (-0.1, -3.0, -0.1, -0.1)),
    (f"a dog {EVIL}", 120.5, (-0.1, -0.7, -5.0, -0.1, -0.1)),
    ("two dogs on grass", 80.0, (-0.5, -0.5, -0.5, -0.5)),
)
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def shown(number: int) -> Shown:
    caption, cider, log_probs = CARDS[number]
    stream = io.BytesIO()
    Image.new("RGB", (300, 200), (60 * number, 90, 120)).save(stream, "JPEG")
    words = [Word(text, log_prob) for text, log_prob in zip(caption.split(), log_probs, strict=True)]
    references = [f"picture number {number}", "something on grass" if number == 0 else "something else"]
    return Shown(f"{number}.jpg", stream.getvalue(), caption, sum(log_probs), references, words, cider)


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    names = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr", "CIDEr-D", "METEOR"]
    scores = {name: Score(name, 46.8, (), f"{name}|tok:ptb|refs:5|version:1", (43.8, 50.3)) for name in names}
    history = [{"train_loss": 4 / n, "dev_loss": 4 / n + n / 9, "dev_cider": 10.0 * n} for n in range(1, 8)]
    file = tmp_path_factory.mktemp("a folder with ünïcödé") / "index.html"
    text = page(
        Report(
            title=f"captioner: {EVIL}",
            split="dev",
            search="beam 3",
            picture_count=len(CARDS),
            headline=scores["CIDEr"],
            lines=[Line("model, beam 3", scores, is_model=True), Line("people", scores, "each against the others")],
            further=[Score("Perplexity", 15.6, (), "Perplexity|tok:model|refs:5|unit:token|version:1")],
            tutorial=[Score("Tutorial BLEU-4", 18.5, (), "Tutorial BLEU-4|markers:kept|variant:nltk|version:1")],
            missing={},
            training={"epochs": 7, "best_epoch": 5, "seconds": 60.0, "history": history},
            findings=[Finding("the same caption for 61 % of pictures", is_warning=True)],
            left_out=[],
            shown=list(map(shown, range(len(CARDS)))),
        )
    )
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, report) -> Iterator["sync_api.Page"]:
    """The page, which must neither ask for anything nor complain."""
    tab = browser.new_page(viewport={"width": 1200, "height": 900})
    asked, complaints = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(report.as_uri())
    yield tab
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    assert complaints == []
    tab.close()


def captions(tab) -> list[str]:
    """The captions that can be seen, in their order, by picture number."""
    names = tab.locator(".card:visible .name").all_inner_texts()
    return [name.split(".")[0] for name in names]


def test_worst_first_and_the_other_orders(opened):
    assert captions(opened) == ["1", "0", "3", "2"]
    for order, expected in {"best": "2301", "data": "0123", "unsure": "2130", "sure": "0312", "worst": "1032"}.items():
        opened.select_option("#order", order)
        assert "".join(captions(opened)) == expected, order


def test_the_filter_finds_words_in_captions_and_references_and_counts(opened):
    count = opened.locator("#count")
    assert count.inner_text() == "4 pictures"
    for typed, expected in {
        "grass": "03",  # in a reference, in a caption
        "DOG": "32",
        "cafe": "1",  # without its accent
        "dog grass": "3",  # both words
        "2.jpg": "2",
        "zebra": "",
        "": "1032",
    }.items():
        opened.fill("#find", typed)
        assert sorted(captions(opened)) == sorted(expected), typed
        assert count.inner_text() == ("4 pictures" if not typed else f"{len(expected)} of 4 pictures")


def test_sorting_keeps_the_filter(opened):
    opened.fill("#find", "grass")
    opened.select_option("#order", "best")
    assert captions(opened) == ["3", "0"]


def test_a_words_probability_shows_on_hover(opened):
    word = opened.locator(".word", has_text="Café").first
    assert not word.locator("small").is_visible()
    word.hover()
    assert word.locator("small").is_visible()
    assert word.locator("small").inner_text() == "5 %"  # e to the -3


def test_a_words_probability_shows_on_focus_by_keyboard(opened):
    opened.locator("#words").focus()
    opened.keyboard.press("Tab")
    first = opened.locator(".card").first
    assert first.locator(".caption").evaluate("element => element === document.activeElement")
    assert first.locator("small").all_inner_texts() == ["90 %", "5 %", "90 %", "90 %"]
    assert not opened.locator(".card").nth(1).locator(".word small").first.is_visible()


def test_all_probabilities_show_with_the_space_key(opened):
    opened.locator("#words").focus()
    opened.keyboard.press("Space")
    assert all(each.is_visible() for each in opened.locator(".word small").all())
    opened.keyboard.press("Space")
    assert not any(each.is_visible() for each in opened.locator(".word small").all())


def test_markup_in_captions_shows_as_text(opened):
    assert opened.title() == f"captioner: {EVIL}"
    assert "<script>document.title" in opened.locator(".card", has_text="2.jpg").locator(".caption").inner_text()
    assert opened.locator("script").count() == 1


def test_without_script_everything_is_there(browser, report):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(report.as_uri())
    assert captions(tab) == ["0", "1", "2", "3"]
    assert not tab.locator("#controls").is_visible()
    context.close()


@pytest.mark.parametrize("width", [360, 400, 900, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_and_all_text_stands_out(opened, width, scheme):
    opened.emulate_media(color_scheme=scheme)
    opened.set_viewport_size({"width": width, "height": 800})
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    background, *texts = opened.evaluate(
        """() => ["body", "h1", ".soft", ".card .caption", ".references", ".findings .warning span", "a"].map(
               (name, place) => getComputedStyle(document.querySelector(name))[place ? "color" : "backgroundColor"])"""
    )
    assert (luminance(background) > 0.5) == (scheme == "light")
    for text in texts:
        assert contrast(text, background) >= 4.5  # WCAG 2.2, success criterion 1.4.3


def test_pictures_are_drawn_and_named(opened):
    for image in opened.locator(".card img").all():
        image.scroll_into_view_if_needed()
        opened.wait_for_function("image => image.complete && image.naturalWidth === 240", arg=image.element_handle())
    names = {image.get_attribute("alt") for image in opened.get_by_role("img").locator("xpath=self::img").all()}
    assert names == {f"picture number {number}" for number in range(len(CARDS))}


def test_controls_have_names_for_those_who_do_not_see_them(opened):
    assert opened.get_by_role("searchbox", name="Find in captions").count() == 1
    assert opened.get_by_role("combobox", name="Order").count() == 1
    assert opened.get_by_role("checkbox", name="probability").count() == 1
    assert opened.get_by_role("img", name="Loss over 7 epochs").count() == 1
    assert opened.get_by_role("table").count() == 3


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(…)`, 0 to 1 (WCAG 2.2)."""
    parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast of two colours, 1 to 21 (WCAG 2.2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
