"""The report: everything that it is handed is on the page, as text and never as markup."""

import io
import re

import pytest
from PIL import Image

pytest.importorskip("jinja2")
pytestmark = pytest.mark.torch  # jinja2 comes with the extra `train`

from captioner.report.page import Shown, page  # noqa: E402

EVIL = "<script>alert('a caption')</script>"
TRAINING = {
    "epochs": 3,
    "best_epoch": 2,
    "seconds": 61.4,
    "history": [{"train_loss": loss, "dev_cider": cider} for loss, cider in ((4.0, 10.0), (3.0, 40.0), (2.0, 30.0))],
}
SCORES = [
    {"name": "CIDEr", "split": "test", "search": search, "value": value, "signature": "CIDEr|refs:5"}
    for search, value in (("greedy", 40.25), ("beam 3", 46.84))
]


def shown(size=(20, 10), is_true=None) -> Shown:
    stream = io.BytesIO()
    Image.new("RGB", size, "red").save(stream, "PNG")
    return Shown("a.png", stream.getvalue(), EVIL, -3.5, ["a red box", EVIL], is_true)


def test_everything_is_on_the_page_and_nothing_of_it_is_markup():
    text = page("my pictures", "test, beam 3", [shown(), shown((3000, 9), False)], SCORES, TRAINING, [f"1 × {EVIL}"])
    assert "<script" not in text
    assert (
        text.count("&lt;script&gt;") == 7
    )  # twice as caption, as its alternative text and as reference, once left out
    assert text.count("not true") == 1
    for part in ("my pictures", "40.2", "46.8", "CIDEr|refs:5", "a red box", "3 epochs in 61 s", "40.00 in epoch 2"):
        assert part in text


def test_pictures_are_inside_the_page():
    links = re.findall(r'(?:src|href)="([^"]+)"', page("t", "p", [shown()], SCORES, TRAINING))
    assert [link.split(",")[0] for link in links] == ["data:image/png;base64"]


def test_curves_span_their_box():
    found = re.findall(r'points="([^"]+)"', page("t", "p", [], SCORES, TRAINING))
    assert found == ["0.0,0.0 150.0,50.0 300.0,100.0", "0.0,100.0 150.0,0.0 300.0,33.3"]
