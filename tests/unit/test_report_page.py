"""The report: everything that it is handed is on the page, as text and never as markup."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("jinja2")
pytestmark = pytest.mark.torch  # jinja2 comes with the extra `train`

from captioner.errors import ImageError  # noqa: E402
from captioner.report.page import SIDE, Finding, Line, Report, Shown, page  # noqa: E402
from captioner.types import Score, Word  # noqa: E402

EVIL = "<script>alert('a caption')</script>"


def picture(width=20, height=10) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(stream, "PNG")
    return stream.getvalue()


def shown(name="a.png", *, caption="a red box", cider=50.0, log_prob=-3.5, data=None, references=None, is_true=None):
    words = [Word(text, log_prob / 5) for text in caption.split()]
    references = ["a red box on white", EVIL] if references is None else references
    return Shown(name, data or picture(), caption, log_prob, references, words, cider, is_true)


def score(name, value, interval=None) -> Score:
    return Score(name, value, (), f"{name}|refs:5", interval)


def report(**changes) -> Report:
    parts = {
        "title": "captioner: my pictures",
        "split": "dev",
        "search": "beam 3",
        "picture_count": 1234,
        "headline": score("CIDEr", 46.84, (43.8, 50.3)),
        "lines": [
            Line("model, greedy", {"CIDEr": score("CIDEr", 40.25, (38.0, 43.7))}, is_model=True),
            Line("model, beam 3", {"CIDEr": score("CIDEr", 46.84, (43.8, 50.3))}, is_model=True),
            Line("people", {"CIDEr": score("CIDEr", 83.2)}, "each against the others"),
            Line("model on novel", {"CIDEr": score("CIDEr", 30.1)}, is_model=True),
        ],
        "further": [score("Perplexity", 15.62)],
        "tutorial": [score("Tutorial BLEU-4", 18.49)],
        "missing": {"SPICE": "it needs a parser"},
        "training": {
            "epochs": 3,
            "best_epoch": 2,
            "seconds": 61.4,
            "history": [
                {"train_loss": 4.0 - epoch, "dev_loss": 3.5 - epoch / 3, "dev_cider": cider}
                for epoch, cider in enumerate((10.0, 40.0, 30.0))
            ],
        },
        "findings": [Finding("the same caption for 61 % of pictures", is_warning=True), Finding("all well", False)],
        "left_out": [f"1 × {EVIL}"],
        "shown": [shown()],
        "gallery_note": "the best and the worst",
        "confidence": {
            "measure": "CIDEr",
            "acceptable": 40.0,
            "accepted": 0.437,
            "error": 0.031,
            "reliability": [
                {"predicted": 0.213, "observed": 0.198, "pictures": 617},
                {"predicted": 0.656, "observed": 0.676, "pictures": 617},
            ],
        },
    }
    return Report(**{**parts, **changes})


class Tags(HTMLParser):
    """Which elements a page has, and that all that were opened are closed."""

    VOID = frozenset(["meta", "img", "input", "br", "line", "circle", "polyline"])

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes) -> None:
        self.found.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def attributes(self, tag, name) -> list[str | None]:
        return [attributes.get(name) for each, attributes in self.found if each == tag]


def test_everything_is_on_the_page():
    text = page(report(shown=[shown(is_true=False), shown("b.png", caption="a blue ball", cider=12.3)]))
    for part in (
        "captioner: my pictures", "1,234 pictures", "beam 3", "3 epochs of training in 61 s", "epoch 2",
        "46.8", "43.8–50.3", "40.2", "83.2", "each against the others", "CIDEr|refs:5",
        "Perplexity", "15.6", "SPICE is missing: it needs a parser",
        "Tutorial BLEU-4", "18.5", "Warning: the same caption for 61 % of pictures", "all well",
        "a red box on white", "a.png", "b.png", "12.3", "-3.50", "not true", "50 %", "the best and the worst",
    ):  # fmt: skip
        assert part in text, part


def test_it_begins_with_the_score_of_the_captions_that_it_shows():
    head = page(report()).split("</header>")[0]
    assert "CIDEr <b>46.8</b>" in head
    assert "30.1" not in head


def test_nothing_that_it_is_handed_is_markup():
    hostile = report(
        title=EVIL,
        lines=[Line(EVIL, {"CIDEr": score("CIDEr", 1.0)}, EVIL, is_model=True)],
        findings=[Finding(EVIL, is_warning=True)],
        shown=[shown(f'"><b>{EVIL}', caption=EVIL, references=[f'" onload="x {EVIL}'])],
        gallery_note=EVIL,
    )
    tags, clean = Tags(page(hostile)), Tags(page(report()))
    assert tags.attributes("script", "src") == [None]
    kinds = {tag for tag, _ in tags.found}
    assert kinds <= {tag for tag, _ in clean.found}
    assert not any("onload" in attributes for _, attributes in tags.found)


def test_the_page_needs_nothing_but_itself():
    tags = Tags(page(report()))
    assert not any(tag in ("link", "iframe", "object", "base", "form") for tag, _ in tags.found)
    assert all(value and value.startswith("data:image/") for value in tags.attributes("img", "src"))
    policy = next(attributes["content"] for tag, attributes in tags.found if "http-equiv" in attributes)
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_pictures_have_alternative_text():
    tags = Tags(page(report(shown=[shown(), shown(references=[])])))
    assert tags.attributes("img", "alt") == ["a red box on white", "a red box"]


@pytest.mark.parametrize(
    ("size", "expected"), [((20, 10), (20, 10)), ((1200, 900), (240, 180)), ((100, 3000), (8, 240))]
)
def test_thumbnails_keep_the_shape_and_are_small(size, expected):
    tags = Tags(page(report(shown=[shown(data=picture(*size))])))
    ((uri,), (width,), (height,)) = (tags.attributes("img", name) for name in ("src", "width", "height"))
    image = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
    assert image.size == (int(width), int(height)) == expected
    assert max(image.size) <= SIDE


def test_two_hundred_pictures_are_less_than_six_megabytes():
    detail = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)  # about as much as a photograph has
    stream = io.BytesIO()
    Image.fromarray(detail).resize((500, 375)).save(stream, "JPEG")
    assert len(page(report(shown=[shown(data=stream.getvalue())] * 200))) < 6_000_000


def test_a_picture_that_is_none_is_an_error_of_ours():
    with pytest.raises(ImageError):
        page(report(shown=[shown(data=b"no picture")]))


def test_a_build_without_loss_on_dev_has_one_curve_for_it():
    old = report()
    history = [{key: value for key, value in row.items() if key != "dev_loss"} for row in old.training["history"]]
    before, after = (
        page(each).count("<polyline") for each in (old, report(training={**old.training, "history": history}))
    )
    assert (before, after) == (3, 2)


def test_a_caption_without_words_is_shown():
    tags = Tags(page(report(shown=[shown(caption="")])))
    assert ("li", "card") in [(tag, attributes.get("class")) for tag, attributes in tags.found]


def test_the_numbers_that_the_script_sorts_by_are_those_of_the_captions():
    text = page(report(shown=[shown(cider=12.34567, log_prob=-4.0), shown(cider=0.0, log_prob=-8.0)]))
    assert re.findall(r'data-cider="([^"]+)" data-sure="([^"]+)"', text) == [
        ("12.3457", "-1.0000"),
        ("0.0000", "-2.0000"),
    ]


# ---- confidence, and training that went on from another -------------------------------------------------------------


def test_the_reliability_of_confidence_is_shown_row_by_row():
    text = page(report())
    rows = re.findall(r"<tr><td>(\d+) %</td><td>(\d+) %</td><td>(\d+)</td>", text)
    assert rows == [("21", "20", "617"), ("66", "68", "617")]
    assert "a CIDEr above 40: 44 % of the captions are" in text
    assert "3.1 points apart" in text
    judged = page(report(confidence={**report().confidence, "measure": "True", "acceptable": 50.0}))
    assert "true of the picture: 44 % of the captions are" in judged
    assert 'id="reliability"' not in page(report(confidence=None))


def test_self_critical_training_shows_its_reward_and_no_loss_that_is_none():
    history = [{"epoch": 0, "dev_cider": 44.0, "dev_loss": 2.8}]
    history += [
        {"epoch": epoch, "train_loss": -0.1, "train_reward": 30.0 + epoch, "dev_cider": 44.0 + epoch, "dev_loss": 2.9}
        for epoch in (1, 2)
    ]
    text = page(report(training={"epochs": 2, "best_epoch": 2, "seconds": 9.0, "history": history}))
    assert "Reward in training over 2 epochs: training from 31.00 to 32.00" in text
    assert "Loss on dev over 2 epochs: dev from 2.90 to 2.90" in text
    kept_start = page(report(training={"epochs": 2, "best_epoch": 0, "seconds": 9.0, "history": history}))
    assert "no epoch was better than the model that training started from" in kept_start
